"""Being told to end: Ctrl-C, SIGTERM (a cancelled CI job), SIGHUP (a terminal that was closed)."""

from __future__ import annotations

import signal
from typing import Any


class TerminatedError(SystemExit):
    """SIGTERM or SIGHUP. The exit code is the one that a shell has for it."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class Ending:
    """Turns the first of these signals into an exception of the main thread: then comes the orderly end.

    The exception can be lost: what is raised in a ``__del__`` or in the callback of a weak reference is
    printed, and forgotten. So whoever waits for long looks here from time to time.
    """

    def __init__(self) -> None:
        """From now on."""
        self._told = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._tell)

    def check(self) -> None:
        """Raise what was told: KeyboardInterrupt or TerminatedError."""
        if self._told == signal.SIGINT:
            raise KeyboardInterrupt
        if self._told:
            raise TerminatedError(self._told)

    def _tell(self, number: int, _: Any) -> None:
        self._told = number
        signal.signal(signal.SIGINT, signal.default_int_handler)  # for whom the end takes too long
        for other in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)
        self.check()
