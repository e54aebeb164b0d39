"""How the cells of a run came out in the runs before it, in the words of `lab.results.diff`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from lab.base.words import Status
from lab.results.diff import Change
from lab.results.look import STATUSES, Look, look_of
from lab.results.matrix import label_of
from lab.results.model import CellKey, Result
from lab.results.outcome import Outcome

if TYPE_CHECKING:
    from lab.results.store import Store

RUNS = 12
"""How many runs a page looks back."""

FLAKY = 2
"""A cell is flaky when it changed its mind at least so often: once is a change, of code or board."""


@dataclass(frozen=True, slots=True)
class Point:
    """How a cell came out in one run. ``judged``: that says something; a lost or skipped attempt does not."""

    run: str
    look: Look
    as_expected: bool
    judged: bool

    @classmethod
    def of(cls, cell: Result) -> Point:
        """From the attempt that counted."""
        return cls(
            cell.run,
            look_of(cell.status, cell.verdict),
            cell.as_expected,
            cell.judged and cell.status is not Status.SKIP,
        )


@dataclass(frozen=True, slots=True)
class TrendRow:
    """One cell over the runs, oldest first; None where a run did not have it."""

    key: CellKey
    label: str
    points: tuple[Point | None, ...]

    @property
    def flake_rate(self) -> float:
        """Of the times that it was measured again, how often it came out otherwise than before: 0 to 1."""
        found = self._judged
        pairs = max(len(found) - 1, 0)
        return self._changes / pairs if pairs else 0.0

    @property
    def state(self) -> Change:
        """A word for it, one of ``_TOLD`` or ``_QUIET``."""
        last, found = self.points[-1], self._judged
        before = [point for point in self.points[:-1] if point is not None]
        if last is None or last.look == STATUSES[Status.MISS]:
            return Change.MISSING
        if not before:
            return Change.ADDED if len(self.points) > 1 else Change.SAME
        if self._changes >= FLAKY:
            return Change.FLAKY
        former = found[:-1]
        if not former or not last.judged:
            return Change.SAME if last.as_expected else Change.STILL
        if last.as_expected != former[-1].as_expected:
            return Change.FIXED if last.as_expected else Change.NEW
        if not last.as_expected:
            return Change.STILL
        return Change.CHANGED if last.look != former[-1].look else Change.SAME

    @property
    def _judged(self) -> list[Point]:
        return [point for point in self.points if point is not None and point.judged]

    @property
    def _changes(self) -> int:
        return sum(a.look != b.look or a.as_expected != b.as_expected for a, b in pairwise(self._judged))


_TOLD = (Change.NEW, Change.FLAKY, Change.STILL, Change.MISSING, Change.CHANGED, Change.FIXED)
_QUIET = (Change.ADDED, Change.SAME)  # counted, and no line each


@dataclass(frozen=True, slots=True)
class Trends:
    """``rows``: the cells that are worth a line, gravest first. ``runs``: names, oldest first."""

    runs: tuple[str, ...]
    rows: tuple[TrendRow, ...]
    counts: dict[Change, int]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Trends | None:
        """Of the runs in ``outcomes``, oldest first, the shown one last. None where nothing came before."""
        last = outcomes[-1] if outcomes else None
        if last is None:
            return None
        here = {cell.target for cell in last.cells}
        kept = [o for o in outcomes[:-1] if any(c.target in here and c.judged for c in o.cells)]
        if not kept:
            return None
        kept.append(last)
        by_run = [{cell.key: cell for cell in outcome.cells if cell.target in here} for outcome in kept]
        rows = [_row(key, by_run) for key in _keys(last, by_run)]
        told = sorted((row for row in rows if row.state in _TOLD), key=lambda row: _TOLD.index(row.state))
        names = tuple(outcome.run.id if outcome.run else "" for outcome in kept)
        return cls(names, tuple(told), Counter(row.state for row in rows))

    @property
    def summary(self) -> str:
        """``10 runs of these targets, this one the last: 2 flaky, 1 fixed, 80 same``."""
        told = ", ".join(f"{self.counts[state]} {state}" for state in (*_TOLD, *_QUIET) if self.counts[state])
        return f"{len(self.runs)} runs of these targets, this one the last: {told or 'nothing measured'}."


def look_back(store: Store, outcome: Outcome, runs: int = RUNS) -> Trends | None:
    """The trends of the run in ``outcome``, from the runs that ``store`` has from before it."""
    if outcome.run is None:
        return None
    present = outcome.run
    earlier = [run for run in store.runs(4 * runs) if run.started < present.started][: runs - 1]
    return Trends.of([*(store.outcome(run, heavy=False) for run in reversed(earlier)), outcome])


def _keys(last: Outcome, by_run: Iterable[dict[CellKey, Result]]) -> list[CellKey]:
    """The cells of the last run, then those that it could have had: of the same suite, target and mode."""
    shown = {cell.key: None for cell in last.cells}
    scope = {(cell.target, cell.iommu_asked, cell.suite) for cell in last.cells}
    partly = len({cell.test for cell in last.cells})
    for cells in by_run:
        for key, cell in cells.items():
            # A run of a few chosen tests (lab run -k) does not miss the others.
            whole = len({each.test for each in cells.values()}) <= partly
            if whole and (cell.target, cell.iommu_asked, cell.suite) in scope:
                shown.setdefault(key)
    return list(shown)


def _row(key: CellKey, by_run: Sequence[dict[CellKey, Result]]) -> TrendRow:
    found = [cells.get(key) for cells in by_run]
    named = next(cell for cell in reversed(found) if cell is not None)
    points = tuple(Point.of(cell) if cell is not None else None for cell in found)
    return TrendRow(key, label_of(named), points)
