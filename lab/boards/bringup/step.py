"""A step of a bring-up, and how steps are gone through: one that needs a red one is not tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lab.base.errors import SharelabError
from lab.boards.reach import unreachable

if TYPE_CHECKING:
    from lab.boards.bringup.bench import Bench


class State(StrEnum):
    """How a step ended."""

    GREEN = "green"
    RED = "red"
    NOT_TRIED = "not tried"


class RedError(Exception):
    """What a step was to show is not so. ``todo``: what to do about it, beside the step's own advice."""

    def __init__(self, message: str, *todo: str) -> None:
        super().__init__(message)
        self.todo = todo


@dataclass(frozen=True)
class Step:
    """One thing that a board has to show.

    ``needs`` are names of steps that must be green before. ``do`` returns what was seen, in a line, and
    raises `RedError` (or whatever labgrid and the agent raise) where it is not as it should be. ``todo``:
    what to do then, the most likely first.
    """

    name: str
    needs: tuple[str, ...]
    do: Callable[[Bench], str]
    todo: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How one step ended. ``console``: the last lines of the board's console where it is red."""

    step: str
    state: State
    said: str
    todo: tuple[str, ...] = ()
    console: tuple[str, ...] = ()


def run(bench: Bench, steps: Iterable[Step]) -> Iterator[Outcome]:
    """Go through ``steps`` and give each outcome as it is known."""
    green: set[str] = set()
    for step in steps:
        missing = [name for name in step.needs if name not in green]
        if missing:
            yield Outcome(step.name, State.NOT_TRIED, f"needs {missing[0]}")
            continue
        mark = bench.console.mark()
        try:
            said = step.do(bench)
        except Exception as error:  # labgrid, pexpect, pyserial and requests have no common root
            own = error.todo if isinstance(error, RedError) else ()
            lines = [line for line in bench.console.since(mark).splitlines() if line.strip()]
            yield Outcome(step.name, State.RED, one_line(error), (*own, *step.todo), tuple(lines[-8:]))
            continue
        green.add(step.name)
        yield Outcome(step.name, State.GREEN, said)


def one_line(error: Exception) -> str:
    """An exception, in a line."""
    if isinstance(error, SharelabError):
        return error.message
    if why := unreachable(error):
        return f"the equipment is out of reach: {why}"
    text = str(getattr(error, "msg", None) or error).strip().partition("\n")[0]
    return text or type(error).__name__
