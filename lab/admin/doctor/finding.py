"""What a check found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How it stands. ``BAD`` keeps a board from being used; ``WARN`` may, or endangers somebody."""

    OK = "ok"
    INFO = "info"
    WARN = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's. ``todo``: commands and sentences, the next step first."""

    subject: str
    state: State
    text: str
    todo: tuple[str, ...] = ()


def ok(subject: str, text: str) -> Finding:
    """As it should be."""
    return Finding(subject, State.OK, text)


def info(subject: str, text: str, *todo: str) -> Finding:
    """Worth knowing."""
    return Finding(subject, State.INFO, text, todo)


def warn(subject: str, text: str, *todo: str) -> Finding:
    """May go wrong, or is dangerous."""
    return Finding(subject, State.WARN, text, todo)


def bad(subject: str, text: str, *todo: str) -> Finding:
    """Does not work."""
    return Finding(subject, State.BAD, text, todo)
