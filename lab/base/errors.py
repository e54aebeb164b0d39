"""The errors that mean something to a user, and the exit code each one ends in.

``ConfigError`` is the user's to mend (exit code 2), ``LabError`` is a fault of the lab and is
never a test result (exit code 3, status MISS), ``BoardError`` is the device under test
answering in a way that a test has to judge.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit codes of ``lab run`` (docs/results.md)."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    LAB = 3
    BISECT_SKIP = 125


class SharelabError(Exception):
    """Root of the errors that are printed as one line, without a traceback.

    ``hint`` is the next step for the user; it is printed behind the message.
    """

    exit_code = ExitCode.LAB

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class ConfigError(SharelabError):
    """Something that the user wrote or asked for cannot be used.

    ``file`` and ``line`` (counted from 1) say where it is written, when it is written anywhere.
    """

    exit_code = ExitCode.USAGE

    def __init__(
        self, message: str, *, file: Path | str | None = None, line: int | None = None, hint: str = ""
    ) -> None:
        where = "" if file is None else f"{file}:{line}: " if line else f"{file}: "
        super().__init__(where + message, hint=hint)
        self.file = file
        self.line = line


class LabError(SharelabError):
    """The infrastructure failed: power, console, network, build host. Never a verdict."""


class BoardError(SharelabError):
    """The device under test refused or failed an operation.

    ``errno`` is the board kernel's error number, 0 where there is none.
    """

    exit_code = ExitCode.UNEXPECTED

    def __init__(self, message: str, *, errno: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errno = errno
