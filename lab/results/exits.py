"""The exit code of a run (docs/results.md)."""

from __future__ import annotations

from collections.abc import Iterable

from lab.base.errors import ExitCode
from lab.base.words import Status
from lab.results.model import Cell, Result
from lab.results.outcome import Outcome


def exit_code(results: Iterable[Result], planned: Iterable[Cell] = (), *, bisect: bool = False) -> ExitCode:
    """0 all as expected, 1 something unexpected, 2 nothing to run, 3 the lab failed.

    A wrong verdict outweighs a lab that failed elsewhere: it was measured. With ``bisect`` the
    answer is for ``git bisect run``: only a wrong verdict makes a revision bad (what is known to
    fail and passes is none), and one that could not be judged (the lab or the test itself broke)
    is skipped by 125.
    """
    return outcome_code(Outcome.of(results, planned=planned), bisect=bisect)


def outcome_code(outcome: Outcome, *, bisect: bool = False) -> ExitCode:
    """``exit_code`` of results that are joined already."""
    if not outcome.cells:
        return ExitCode.BISECT_SKIP if bisect else ExitCode.USAGE
    wrong = {cell.status for cell in outcome.unexpected}
    if Status.FAIL in wrong:
        return ExitCode.UNEXPECTED
    if bisect:
        return ExitCode.BISECT_SKIP if wrong & {Status.ERROR, Status.MISS} else ExitCode.OK
    if wrong - {Status.MISS}:
        return ExitCode.UNEXPECTED
    return ExitCode.LAB if wrong else ExitCode.OK
