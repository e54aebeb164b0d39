"""The lab as one pytest process sees it: one board, on a labgrid place or on a virtual rack of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from contextlib import AbstractContextManager, ExitStack, nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lab.base.errors import LabError
from lab.base.words import IommuMode
from lab.boards import Board, Target
from lab.boards.board import preload
from lab.imaging import Image
from lab.rack import Rack
from lab.rack.machine import machine
from lab.runs.events import EventWriter
from lab.runs.holding import Holding
from lab.runs.images import build_image, find_image
from lab.runs.offered import place_environment, rack_environment
from lab.runs.outage import PATIENCE, outlast

if TYPE_CHECKING:
    from lab.imaging.own.given import Own

MAX_FAILED_BOOTS = 2
"""Boots in one IOMMU mode that may fail before the rest of its cells are MISS without another try."""

LOADED = ("kernel", "restored")
"""Stages of a boot after which nothing more is loaded."""


class Lab:
    """One board for the time of a pytest session.

    The place is a labgrid place (``LG_PLACE``), or an ephemeral virtual rack that ``open`` starts
    and ``close`` stops.
    """

    def __init__(
        self,
        target: Target,
        *,
        place: str | None,
        events: EventWriter | None = None,
        snapshots: bool | None = None,
        switching: bool = False,
        own: Own | None = None,
    ) -> None:
        """``own``: what takes the place of parts of the target's image.

        ``snapshots``: let a virtual board go on from saved boots; None: as LAB_SNAPSHOT says.

        ``switching``: let a running board change its decoders' mode where it can do so without a boot.

        ``place``: a labgrid place, empty while it is not known which; None for a rack of its own.
        """
        self.own = own
        self.target = target.with_vmm(own.settings) if own and target.vmm else target
        self.place = place or target.name
        self.holding: Holding | None = None
        """The lease of the place; None where the place is of our own making."""
        self.console: Path | None = None
        """Where the board's console is kept for those who watch; None: nowhere."""
        self._remote = place is not None
        self._events = events or EventWriter(None)
        self._use_snapshots = snapshots_from_environment() if snapshots is None else snapshots
        self._switching = switching
        self._stack = ExitStack()
        self._image: Image | None = None
        self._directory: Path | None = None
        self._board: Board | None = None
        self._rack: Rack | None = None
        self._environment: Path | None = None
        self._early_boot: threading.Thread | None = None
        self._early_error: BaseException | None = None
        self._told_times: dict[str, float] = {}
        self._failed_boots: dict[IommuMode, list[str]] = {}

    @property
    def remote(self) -> bool:
        """Whether the board is a labgrid place, and not of a rack of our own."""
        return self._remote

    def take(self, place: str, holding: Holding) -> None:
        """The labgrid place and its lease; before `open`."""
        self.place, self.holding = place, holding

    def interruptible(self) -> AbstractContextManager[None]:
        """A stretch that the loss of the lease may break off by LeaseLostError."""
        return self.holding.interruptible() if self.holding is not None else nullcontext()

    @property
    def image(self) -> Image:
        """What the board boots; built where it is not there yet."""
        if self._image is None:
            self._take_image(build_image(self.target, self.own))
            assert self._image is not None
        return self._image

    def _take_image(self, image: Image) -> None:
        """From now on the target is what this image's kernel makes of it."""
        self._image = image
        self.target = self.target.at(image.manifest["kernel"])

    def prepare(self) -> None:
        """What switches nothing and is soon done: check the target, start its virtual rack, open the board.

        Rack and board have to wait for `open` where the image has yet to be built, or the place is not ours
        yet. Raises ConfigError for what is wrong with the target or with parts of one's own, LabError where
        the rack does not start.
        """
        loading = preload()
        image = find_image(self.target, self.own)
        if image is not None:
            self._take_image(image)
            self._start_rack(image)
        loading.join()
        self.target.check()
        if self._rack is not None:
            self.open()
            self._open_board()

    def open(self) -> Path:
        """The labgrid environment for this board, with its image and, where it is virtual, its rack."""
        if self._environment is not None:
            return self._environment
        image = self.image
        self._start_rack(image)
        if self._rack is not None:
            self._environment = rack_environment(
                self._rack, self.target.name, self.target, image, self._scratch()
            )
        else:
            self._environment = place_environment(self.target, self.place, self._scratch(), image)
        return self._environment

    @property
    def environment(self) -> Path:
        """The labgrid environment that `open` gave."""
        assert self._environment is not None, "open the lab first"
        return self._environment

    def _scratch(self) -> Path:
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="lab-"))
            self._stack.callback(shutil.rmtree, self._directory, ignore_errors=True)
        return self._directory

    def _start_rack(self, image: Image) -> None:
        if self._rack is None and self.target.virtual is not None and not self._remote:
            board = machine(self.target.virtual, error=self.target.error)
            rack = Rack.start({self.target.name: board}, image=image, directory=self._scratch() / "rack")
            self._rack = self._stack.enter_context(rack)

    def close(self) -> None:
        """Board off, rack down, temporary files gone. Safe to call at any moment and more than once.

        A board whose lease is lost is left as it is.
        """
        lost = self.holding.lost if self.holding is not None else ""
        if self._early_boot is not None:
            if self._rack is not None:
                self._rack.close()  # ends the boot, too
            self.stop(lost or "the run was ended")
            self._early_boot.join(timeout=1.0 if lost else None)
        if lost and self._board is not None:
            self._board.abandon(lost)
            self._board = None
        self._stack.close()

    def stop(self, reason: str) -> None:
        """From any thread: break off what is done to the board just now."""
        if self._board is not None:
            self._board.stop(reason)

    def _switch_off(self) -> None:
        if self._board is not None:
            self._board.close()

    def board(self, mode: IommuMode) -> Board:
        """The board, booted and verified in ``mode``; nothing is done where it is so already.

        Raises LabError when it does not come up. After MAX_FAILED_BOOTS failures in a mode the
        error comes at once, so that a dead board does not hold a run up for every cell.
        """
        if self.holding is not None:
            self.holding.check()
        failures = self._failed_boots.setdefault(mode, [])
        if len(failures) >= MAX_FAILED_BOOTS:
            tried = f"{self.place} did not boot in mode {mode}, tried {len(failures)} times"
            raise LabError(f"{tried}: {failures[-1]}")
        if self._board is None or self._board.mode is not mode:
            self._events.emit("boot", mode=str(mode))
        try:
            self._join_early_boot()
            if self.holding is not None and self._told_times:  # it was up before: not dead, but cut off
                board = outlast(lambda: self._boot(mode), self.holding.check, self._tell_outage)
            else:
                board = self._boot(mode)
        except LabError as error:
            failures.append(error.message)
            raise
        failures.clear()
        if board.times is not self._told_times:
            self._told_times = board.times
            verified = f"{board.verified}, {board.snapshot}" if board.snapshot else board.verified
            self._events.emit("booted", mode=str(mode), times=board.times, verified=verified)
        return board

    def _tell_outage(self, reason: str) -> None:
        self._events.emit("outage", reason=reason, patience=PATIENCE)

    def boot_early(self, mode: IommuMode) -> None:
        """Begin to boot while pytest still collects; the first ``board`` waits for it.

        Returns when the board has loaded its kernel, which keeps an emulated board's host as busy as
        pytest would. labgrid's steps are not for two threads: nobody else may use them until then.
        """
        loaded = threading.Event()

        def boot() -> None:
            try:
                self._open_board().tell_stages(lambda stage: loaded.set() if stage in LOADED else None)
                self._boot(mode)
            except BaseException as error:
                self._early_error = error
            finally:
                loaded.set()

        self._early_boot = threading.Thread(target=boot, name="early-boot", daemon=True)
        self._early_boot.start()
        import_module("lab.boards.agent")  # U-Boot has just been switched on: nobody waits for this process
        loaded.wait()

    def _join_early_boot(self) -> None:
        thread, self._early_boot = self._early_boot, None
        if thread is not None:
            thread.join()
        error, self._early_error = self._early_error, None
        if error is not None:
            raise error

    def _boot(self, mode: IommuMode) -> Board:
        board = self._open_board()
        board.keep_console(self.console)
        board.boot(mode)
        return board

    def _open_board(self) -> Board:
        if self._board is None:
            own = self._rack if self._use_snapshots else None
            self._board = Board.open(
                self.environment,
                self.target,
                self.image,
                log_tail=self._log_tail,
                snapshots=own.snapshots(self.target.name) if own is not None else None,
                name=self.place,
            )
            self._board.switching = self._switching
            self._stack.callback(self._switch_off)
        return self._board

    def _log_tail(self) -> str:
        return self._rack.log_tail(self.target.name) if self._rack else ""


def snapshots_from_environment() -> bool:
    """Whether the user wants boards to go on from saved boots."""
    return os.environ.get("LAB_SNAPSHOT", "") not in ("", "0")


def place_from_environment() -> str | None:
    """The labgrid place that the user chose, as any labgrid tool would take it."""
    return os.environ.get("LG_PLACE")
