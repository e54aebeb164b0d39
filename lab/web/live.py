"""Runs that go on just now, read from what they write into their folders: pure reading, no locks."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.base.words import Status
from lab.results.evidence import clean
from lab.results.folder import RunFolder
from lab.results.look import STATUSES, Look

RECENT = 6 * 3600.0
"""A folder whose events are older than this many seconds is of a run that was killed."""

CONSOLE = 48_000
"""Bytes of a console that a page shows at most: its end."""

_EVENTS = 4_000_000  # bytes of a run's events that are read


@dataclass
class BoardNow:
    """What one board of a running run does. ``doing`` is for people; ``since`` in seconds of the epoch."""

    target: str
    doing: str = "getting ready"
    mode: str = ""
    test: str = ""
    since: float = 0.0
    planned: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """Cells that have their result."""
        return sum(self.counts.values())

    @property
    def looks(self) -> list[tuple[Look, int]]:
        """The statuses so far."""
        return [(STATUSES[status], self.counts[status]) for status in Status if self.counts[status]]

    @property
    def left(self) -> int:
        """Cells still to come."""
        return max(self.planned - self.done, 0)


@dataclass(frozen=True)
class RunNow:
    """A run that goes on."""

    id: str
    boards: tuple[BoardNow, ...]

    @property
    def done(self) -> int:
        """Cells that have their result, on all boards."""
        return sum(board.done for board in self.boards)

    @property
    def planned(self) -> int:
        """Cells of all boards."""
        return sum(board.planned for board in self.boards)


class Running:
    """The runs of one folder of results that have not ended."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def runs(self) -> list[RunNow]:
        """Newest first. A run has ended when its report is there, or when it has been silent for long."""
        found = []
        for folder in self._folders():
            now = run_now(folder)
            if now is not None:
                found.append(now)
        return found

    def folder(self, run: str) -> RunFolder | None:
        """The folder of the run of exactly that name."""
        if run in ("", ".", "..") or "/" in run or "\0" in run:
            return None
        folder = RunFolder(self.base / run)
        return folder if folder.log.is_file() else None

    def _folders(self) -> Iterator[RunFolder]:
        try:
            names = sorted((entry.name for entry in os.scandir(self.base) if entry.is_dir()), reverse=True)
        except OSError:
            return
        for name in names[:30]:
            if name != "latest":
                yield RunFolder(self.base / name)


def run_now(folder: RunFolder) -> RunNow | None:
    """The state of the run in ``folder``; None where it does not go on."""
    try:
        if folder.report.exists() or time.time() - folder.events.stat().st_mtime > RECENT:
            return None
        with folder.events.open("rb") as file:
            lines = file.read(_EVENTS).split(b"\n")
    except OSError:
        return None
    boards: dict[str, BoardNow] = {}
    for line in lines:
        try:
            event: dict[str, Any] = json.loads(line)
            target = str(event["board"])
        except (ValueError, TypeError, KeyError):
            continue  # the last line may be half written
        _take(boards.setdefault(target, BoardNow(target)), event)
    return RunNow(folder.path.name, tuple(boards.values()))


def _take(board: BoardNow, event: dict[str, Any]) -> None:
    """What ``event`` (`lab.runs.session`, `lab.runs.lab`) changes."""
    kind, at = event.get("event"), event.get("time")
    board.since = float(at) if isinstance(at, int | float) else board.since
    mode = clean(str(event.get("iommu") or event.get("mode") or board.mode))
    if kind == "plan":
        board.planned = int(event.get("cells", 0))
    elif kind == "boot":
        board.doing, board.mode = "boots for" if board.test else "boots", mode
    elif kind == "booted":
        board.doing, board.mode = "runs" if board.test else "is up", mode
    elif kind == "begin":
        board.doing, board.mode = "runs", mode
        board.test = clean(str(event.get("test", ""))).rpartition("::")[2]
    elif kind == "result":
        board.doing, board.test = "is up", ""
        if not event.get("retried"):
            board.counts[str(event.get("status", ""))] += 1
    elif kind == "end":
        board.doing, board.mode, board.test = "is done", "", ""


def console(folder: RunFolder, target: str, start: int) -> tuple[str, int]:
    """The board's console from byte ``start``, and where it ends now; the end alone of one that is long.

    ``target`` has to be a board of the run; anything else has no console.
    """
    path = folder.console(target)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(begin := max(start if start <= size else 0, size - CONSOLE))
            data = file.read(size - begin)
    except (OSError, ValueError):
        return "", start
    return clean(data.decode(errors="replace")), begin + len(data)
