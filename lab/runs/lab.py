"""The lab as one pytest process sees it: one board, on a labgrid place or on a virtual rack of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from lab.base.errors import LabError
from lab.base.words import IommuMode
from lab.boards import Board, Target
from lab.boards.board import preload
from lab.imaging import Image, build
from lab.rack import Rack
from lab.rack.machine import machine
from lab.runs.events import EventWriter

MAX_FAILED_BOOTS = 2
"""Boots in one IOMMU mode that may fail before the rest of its cells are MISS without another try."""


class Lab:
    """One board for the time of a pytest session.

    The place is a labgrid place (``LG_PLACE``), or an ephemeral virtual rack that ``open`` starts
    and ``close`` stops.
    """

    def __init__(self, target: Target, *, place: str | None, events: EventWriter) -> None:
        self.target = target
        self.place = place or target.name
        self.image: Image = build(target.image)
        self._remote = place is not None
        self._events = events
        self._stack = ExitStack()
        self._board: Board | None = None
        self._rack: Rack | None = None
        self._environment: Path | None = None
        self._failed_boots: dict[IommuMode, list[str]] = {}

    def open(self) -> Path:
        """Start the rack where the board is virtual; the labgrid environment for this board."""
        preload()
        directory = Path(tempfile.mkdtemp(prefix="lab-"))
        self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        resources = keyfile = boot_files = None
        if self.target.virtual is not None and not self._remote:
            board = machine(self.target.virtual, error=self.target.error)
            rack = Rack.start({self.target.name: board}, image=self.image, directory=directory / "rack")
            self._rack = self._stack.enter_context(rack)
            resources = self._rack.resources(self.target.name)
            keyfile, boot_files = self._rack.keyfile, self._rack.boot_files
        self._environment = self.target.write_environment(
            directory, resources=resources, image=self.image, keyfile=keyfile, boot_files=boot_files
        )
        return self._environment

    def close(self) -> None:
        """Board off, rack down, temporary files gone. Safe to call at any moment and more than once."""
        self._stack.close()

    def board(self, mode: IommuMode) -> Board:
        """The board, booted and verified in ``mode``; nothing is done where it is so already.

        Raises LabError when it does not come up. After MAX_FAILED_BOOTS failures in a mode the
        error comes at once, so that a dead board does not hold a run up for every cell.
        """
        failures = self._failed_boots.setdefault(mode, [])
        if len(failures) >= MAX_FAILED_BOOTS:
            tried = f"{self.place} did not boot in mode {mode}, tried {len(failures)} times"
            raise LabError(f"{tried}: {failures[-1]}")
        board = self._open_board()
        before = board.times
        self._events.emit("boot", mode=str(mode))
        try:
            board.boot(mode)
        except LabError as error:
            failures.append(error.message)
            raise
        failures.clear()
        if board.times is not before:
            self._events.emit("booted", mode=str(mode), times=board.times, verified=board.verified)
        return board

    def _open_board(self) -> Board:
        if self._board is None:
            assert self._environment is not None, "open the lab first"
            board = Board.open(self._environment, self.target, self.image, log_tail=self._log_tail)
            self._board = self._stack.enter_context(board)
        return self._board

    def _log_tail(self) -> str:
        return self._rack.log_tail(self.target.name) if self._rack else ""


def place_from_environment() -> str | None:
    """The labgrid place that the user chose, as any labgrid tool would take it."""
    return os.environ.get("LG_PLACE")
