"""What came of one fact."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Whether a fact is true; OPEN: nothing here can tell."""

    OK = "ok"
    WRONG = "wrong"
    OPEN = "cannot be checked"


@dataclass(frozen=True)
class Finding:
    """One fact of a target, by its dotted path, and what the witness says about it.

    ``line`` of the file, from 1, where that is known better than by the path.
    """

    fact: str
    state: State
    says: str
    line: int | None = None


def ok(fact: str, says: str) -> Finding:
    """The witness agrees."""
    return Finding(fact, State.OK, says)


def wrong(fact: str, says: str) -> Finding:
    """The witness says otherwise."""
    return Finding(fact, State.WRONG, says)


def settle(fact: str, agrees: bool, says: str, otherwise: str) -> Finding:
    """``says`` where the witness agrees, else ``otherwise``."""
    return ok(fact, says) if agrees else wrong(fact, otherwise)
