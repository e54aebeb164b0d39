"""A person's terminal joined with a board's serial console, by labgrid's console driver."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from types import TracebackType
from typing import Any, Self

import pexpect

from lab.base import dirs, ui
from lab.base.errors import LabError

ESCAPE = b"\x1d"
"""Ctrl-], as telnet and labgrid's own console have it."""

TICK = 0.03
"""Seconds that a key waits at most while the board is silent."""

KEPT = 1 << 20
"""Bytes of a place's earlier output that are kept, about."""


class Console:
    """One look at a console. As a context manager it leaves the terminal as it was."""

    def __init__(self, name: str, driver: Any, lost: threading.Event) -> None:
        """``driver`` is active; ``lost``: the board is somebody else's, leave it."""
        self._name = name
        self._driver = driver
        self._lost = lost
        self._keyboard = sys.stdin.fileno()
        self._before: list[Any] | None = None
        folder = dirs.state() / "console"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / f"{name}.log"
        self._cut()
        self._log = self._path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        if os.isatty(self._keyboard):
            self._before = termios.tcgetattr(self._keyboard)
        ui.err.print(f"console of {self._name}: Ctrl-] leaves it, the board runs on", style="dim")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._before)
        self._log.close()
        sys.stdout.buffer.write(b"\r\n")
        ui.err.print(f"left the console of {self._name}", style="dim")

    def show(self, lines: int) -> None:
        """The last ``lines`` of what was seen before."""
        earlier = self._path.read_bytes().splitlines()[-lines:] if lines else []
        if earlier:
            ui.err.print(f"earlier ({self._path}):", style="dim", soft_wrap=True)
            sys.stdout.buffer.write(b"\r\n".join(earlier) + b"\r\n")
            ui.err.print("now:", style="dim")

    def run(self) -> None:
        """Until Ctrl-] is typed, the input ends, or the board is lost. Raises LabError: the line is gone."""
        if self._before is not None:
            tty.setraw(self._keyboard, termios.TCSADRAIN)  # what was typed meanwhile is for the board, too
        typing = True
        while not self._lost.is_set():
            self._from_board()
            if typing and select.select([self._keyboard], [], [], 0)[0]:
                typed = os.read(self._keyboard, 4096)
                keys, escape, _ = typed.partition(ESCAPE)
                if keys:
                    self._driver.write(keys)
                if escape or not typed:
                    self._from_board()
                    return

    def _from_board(self) -> None:
        try:
            data = self._driver.read(size=1, timeout=TICK)
        except pexpect.TIMEOUT:
            return
        except Exception as error:  # pyserial's and labgrid's have no common root
            raise LabError(f"{self._name}: the console's connection is gone ({error})") from error
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        self._log.write(data)

    def _cut(self) -> None:
        """Keep the younger half of a log that has grown too long."""
        if self._path.exists() and self._path.stat().st_size > 2 * KEPT:
            self._path.write_bytes(self._path.read_bytes()[-KEPT:])
