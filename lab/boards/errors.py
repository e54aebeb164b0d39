"""Errors of a board with what was seen when they happened: console, rack log, traceback from the board."""

from __future__ import annotations

from lab.base.errors import BoardError, LabError


class LostBoardError(LabError):
    """The board did not boot, did not answer, or came up in another mode than asked.

    ``detail`` holds the last console lines and, for a virtual board, the rack's log: many lines of
    text for a report, where ``str()`` is one line for the terminal.
    """

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message, hint=hint)
        self.detail = detail


class UnreachableError(LostBoardError):
    """The board's power or serial line cannot be reached. Nothing is known about the board."""


class LostGuestError(LostBoardError):
    """The guest or its VMM did not come up, or was lost. The board itself may be well."""


class RefusedVmmError(LostGuestError):
    """The VMM does not know what it was asked for: a device, a property or an option that it lacks."""


class CallError(BoardError):
    """A call of the agent ended in an exception on the board.

    ``errno`` is that of an OSError there, else 0; ``kind`` the exception's class name;
    ``detail`` the traceback from the board.
    """

    def __init__(self, message: str, *, errno: int = 0, kind: str = "", detail: str = "") -> None:
        super().__init__(message, errno=errno)
        self.kind = kind
        self.detail = detail
