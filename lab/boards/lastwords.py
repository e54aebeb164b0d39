"""What there is to say of a board that was lost: the error, its console's last lines, its rack's log."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from lab.base.errors import BoardError, LabError
from lab.boards.errors import LostBoardError, UnreachableError
from lab.boards.reach import unreachable

if TYPE_CHECKING:
    from lab.boards.console import ConsoleLog


class LastWords:
    """Of one board. ``log_tail`` gives the last lines of what powers it; None where nothing keeps any."""

    def __init__(self, name: str, console: ConsoleLog, log_tail: Callable[[], str] | None) -> None:
        self._name = name
        self._console = console
        self._log_tail = log_tail

    def text(self) -> str:
        """The last lines of the console and, for a virtual board, of the rack's log."""
        console = self._console.tail()
        text = f"last console lines:\n{console or '(none)'}"
        log = self._log()
        return f"{text}\nlast lines of the rack's log:\n{log}" if log else text

    def error(self, cause: Exception) -> LostBoardError:
        """What ``cause``, of labgrid or of ours, means for the board: one line, and all that was said."""
        from lab.boards.strategy import ENDS  # imports labgrid

        message = cause.message if isinstance(cause, (LabError, BoardError)) else _text(cause)
        kind = LostBoardError
        if why := unreachable(cause):
            kind, message = UnreachableError, f"its power or serial line cannot be reached ({why})"
        detail = [self.text()]
        if extra := getattr(cause, "detail", ""):
            detail.append(extra)
        told = re.search(ENDS, f"{message}\n")  # in the board's own words: what comes behind them tells less
        last = ["" if told else self._console.tail(1), self._log(1)]
        return kind(
            message if message.startswith(self._name) else f"{self._name}: {message}",
            hint=" | ".join(line.strip() for line in last if line.strip()),
            detail="\n".join(detail),
        )

    def _log(self, lines: int = 20) -> str:
        text = self._log_tail() if self._log_tail else ""
        return "\n".join(text.splitlines()[-lines:])


def _text(error: Exception) -> str:
    """One line about an exception of labgrid or below it."""
    text = getattr(error, "msg", None) or str(error).strip().partition("\n")[0]
    return str(text) if text else type(error).__name__
