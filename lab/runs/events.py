"""What a pytest process on a board tells the ``lab run`` that started it: JSON lines through a pipe.

Events are for the eyes only. Results are written by the pytest process itself, so that nothing
that was measured depends on somebody reading the pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


class EventWriter:
    """Writes events to the file descriptor ``fd``; None: nobody listens."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def emit(self, event: str, **fields: Any) -> None:
        """Send one event. A reader that went away is not an error."""
        if self._fd is None:
            return
        line = json.dumps({"event": event, **fields}) + "\n"
        with contextlib.suppress(BrokenPipeError):
            os.write(self._fd, line.encode())


class Diary:
    """Keeps events in a file that others read meanwhile (``lab serve``). Nobody's truth: it never raises."""

    def __init__(self, path: Path, board: str) -> None:
        self._path = path
        self._board = board

    def note(self, event: dict[str, Any]) -> None:
        """Append ``event`` with the board and the time, as one line in one piece."""
        line = json.dumps({"time": round(time.time(), 3), "board": self._board, **event}) + "\n"
        with contextlib.suppress(OSError), self._path.open("ab", buffering=0) as file:
            file.write(line.encode())


def read_events(stream: IO[str]) -> Iterator[dict[str, Any]]:
    """The events of ``stream`` until the writer's end is closed; a cut last line is left out."""
    for line in stream:
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)
