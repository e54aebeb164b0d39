"""Which attempt counts for each cell of a run, and which planned cells have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from lab.base.words import Status
from lab.results.model import Cell, CellKey, Result, Run

NO_RESULT = "no result: the run ended before this cell was measured"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One result per cell, in the order in which the cells were planned or came in.

    ``cells`` holds the attempt that counts; a planned cell without any is there as a MISS.
    ``attempts`` counts the tries of each cell, 0 for one that was never tried.
    """

    run: Run | None
    cells: tuple[Result, ...]
    attempts: dict[CellKey, int]

    @classmethod
    def of(cls, results: Iterable[Result], run: Run | None = None, planned: Iterable[Cell] = ()) -> Outcome:
        """Join ``results`` (all attempts, repeats allowed) with what ``run`` or ``planned`` promised."""
        tries: dict[CellKey, dict[int, Result]] = {}
        plan = {cell.key: cell for cell in (*(run.planned if run else ()), *planned)}
        for key in plan:
            tries[key] = {}
        for result in results:
            # The first line of an attempt counts, as in the store: a repeated line changes nothing.
            tries.setdefault(result.key, {}).setdefault(result.attempt, result)
        cells = tuple(_counts(found) if found else _missing(plan[key], run) for key, found in tries.items())
        return cls(run, cells, {key: len(found) for key, found in tries.items()})

    @property
    def unexpected(self) -> tuple[Result, ...]:
        """What someone has to look at: wrong verdicts, broken tests, the lab, known failures that pass."""
        order = (Status.FAIL, Status.ERROR, Status.MISS, *Status)
        found = (cell for cell in self.cells if not cell.as_expected)
        return tuple(sorted(found, key=lambda cell: order.index(cell.status)))

    @property
    def counts(self) -> dict[Status, int]:
        """How many cells have each status; statuses that nothing has are left out."""
        found = Counter(cell.status for cell in self.cells)
        return {status: found[status] for status in Status if found[status]}

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets, in order of appearance."""
        return tuple(dict.fromkeys(cell.target for cell in self.cells))


def _counts(tries: dict[int, Result]) -> Result:
    """The last attempt that the lab let through; the last one at all where it let none through."""
    ordered = [tries[number] for number in sorted(tries)]
    judged = [result for result in ordered if result.judged]
    return (judged or ordered)[-1]


def _missing(cell: Cell, run: Run | None) -> Result:
    return Result(
        run=run.id if run else "",
        test=cell.test,
        target=cell.target,
        iommu_asked=cell.iommu,
        status=Status.MISS,
        started=run.started if run else datetime.fromtimestamp(0, UTC),
        soc=cell.soc,
        suite=cell.suite,
        allocator=cell.allocator,
        importer=cell.importer,
        path=cell.path,
        decoder=cell.decoder,
        reason=NO_RESULT,
    )
