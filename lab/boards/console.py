"""What the board wrote to its serial console, as far as labgrid's console driver read it."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path
from typing import Any

import pexpect
from labgrid.binding import BindingState
from labgrid.step import StepEvent, steps


class ConsoleLog:
    """Listens to the reads of one labgrid console driver and keeps the bytes, in a file too if asked.

    labgrid reads the console only while something waits for it, so `mark` and `since` first read
    what has arrived meanwhile. Not for several threads, as all of labgrid's steps.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._bytes = bytearray()
        self._file: FileIO | None = None
        steps.subscribe(self._notify)

    def keep(self, path: Path | None) -> None:
        """From now on also in the file ``path``, if that is not so already; None changes nothing."""
        if path is not None and (self._file is None or self._file.name != str(path)):
            before, self._file = self._file, FileIO(str(path), "ab")
            if before is not None:
                before.close()

    def close(self) -> None:
        """Stop listening. What was kept can still be read."""
        steps.unsubscribe(self._notify)
        if self._file is not None:
            self._file.close()

    def _notify(self, event: StepEvent) -> None:
        step = event.step
        if step.tag != "console" or step.title != "read" or step.source is not self._driver:
            return
        if event.data.get("state") == "stop" and step.result:
            self._bytes += step.result
            if self._file is not None:
                self._file.write(step.result)

    def drain(self) -> None:
        """Take over what the console has to say by now, without waiting."""
        if self._driver.state is not BindingState.active:
            return
        try:
            while True:
                self._driver.read(size=1, timeout=0.0)
        except (pexpect.TIMEOUT, OSError):
            return  # nothing more, or the line is gone, which the next use of it reports

    def mark(self) -> int:
        """The present end, for `since`."""
        self.drain()
        return len(self._bytes)

    def since(self, mark: int = 0) -> str:
        """The text after ``mark``, carriage returns removed."""
        self.drain()
        return self._bytes[mark:].decode(errors="backslashreplace").replace("\r", "")

    def tail(self, lines: int = 20) -> str:
        """The last non-empty lines."""
        text = [line for line in self.since(max(0, len(self._bytes) - 16384)).splitlines() if line.strip()]
        return os.linesep.join(text[-lines:])
