"""From the store what a comparison needs, and no more: a few results of every cell that it shows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from lab.base.errors import ConfigError
from lab.base.words import IommuMode, Status
from lab.results.compare.build import compare
from lab.results.compare.columns import ALL, BOARDS, WIDEST, Mode, dimension_of
from lab.results.compare.measured import Measured
from lab.results.compare.model import Comparison
from lab.results.look import MODES
from lab.results.model import CellKey, Run
from lab.results.outcome import Outcome
from lab.results.query import Query
from lab.results.store import Store

SAMPLES = 10
"""How many results of a cell count as its samples, newest first."""

_PLANS = 40  # runs whose plans are looked through for cells that nobody ever measured, newest first
_FIELDS = {"target": "target", "soc": "soc", "iommu": "iommu", "kernel": "kernel", "vmm": "vmm"}
_FIELDS |= {"board": "place", "run": "run"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be compared. ``by`` empty: found out from ``names``. ``iommu``: as `columns.lay_out` has it.

    ``targets``, ``suites``, ``kernels``: only these. ``samples``: results of a cell.
    """

    names: tuple[str, ...] = ()
    by: str = ""
    iommu: str = WIDEST
    targets: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    since: datetime | None = None
    samples: int = SAMPLES

    @property
    def query(self) -> Query:
        """What all columns have in common."""
        return Query(targets=self.targets, suites=self.suites, kernels=self.kernels, since=self.since)


def comparison(store: Store, request: Request) -> Comparison:
    """The comparison of ``request`` from what ``store`` has. Raises ConfigError where nothing fits."""
    by, names = _resolved(store, request)
    mode = request.iommu if request.iommu in (WIDEST, ALL) else ""
    query = request.query
    if not mode:
        query = replace(query, modes=(IommuMode(request.iommu),))
    besides: set[Mode] = set()
    if by == "run":
        found = _of_runs(store, names, query)
    else:
        found, besides = _newest(store, by, names, query, request)
    if not found:
        raise ConfigError("nothing was measured that fits", hint="lab results list shows the runs")
    return compare(found, by=by, names=names, iommu=request.iommu, besides=besides)


def _resolved(store: Store, request: Request) -> tuple[str, tuple[str, ...]]:
    """What is compared, and by which names. Runs may be named by their beginning, dates by theirs."""
    names = request.names
    if request.by in ("run", "date") and not names:
        raise ConfigError(f"--by {request.by} wants the names of two or more", hint="lab results list")
    if request.by == "run":
        return "run", tuple(store.find(name).id for name in names)
    if request.by == "date" or (not request.by and names and all(_day(name) for name in names)):
        for name in names:
            if _day(name) is None:
                raise ConfigError(f"'{name}' is not a date", hint="2026-11-22, say")
        return "date", names
    if request.by:
        if names:
            dimension_of(names, {request.by: _values(store, request.by, request)})
        return request.by, names
    if not names:
        return "target", ()
    known: dict[str, list[str]] = {}
    for by in _FIELDS:
        known[by] = [] if by == "run" else _values(store, by, request)
        if set(names) <= set(known[by]):
            return by, names
    runs = _runs(store, names)
    if runs is not None:
        return "run", runs
    return dimension_of(names, known), names


def _values(store: Store, by: str, request: Request) -> list[str]:
    return store.values(_FIELDS[by], request.query)


def _runs(store: Store, names: Sequence[str]) -> tuple[str, ...] | None:
    """The runs that ``names`` mean; None where one of them means none."""
    try:
        return tuple(store.find(name).id for name in names)
    except ConfigError:
        return None


def _newest(
    store: Store, by: str, names: Sequence[str], query: Query, request: Request
) -> tuple[list[Measured], set[Mode]]:
    """The newest results of every cell of every column, and in which modes boards were measured besides."""
    found: list[Measured] = []
    besides: set[Mode] = set()
    if by in BOARDS and request.iommu == WIDEST:
        for board, part in _boards(store, by, names, query, request):
            rows, others = _of_widest_modes(store, part, request.samples)
            found += rows
            besides |= {(board or target, mode) for target, mode in others}
    elif by in BOARDS or by == "iommu":
        query = _narrowed(query, by, tuple(names)) if names else query
        found += store.latest(query, samples=request.samples)
    else:
        for name in names or _values(store, by, request):
            found += store.latest(_narrowed(query, by, (name,)), samples=request.samples)
    if by in ("target", "soc", "iommu"):
        found += _never_measured(store, query, found, besides)
    return found, besides


def _boards(
    store: Store, by: str, names: Sequence[str], query: Query, request: Request
) -> Iterator[tuple[str, Query]]:
    """A query for all, or for each board of its own: they may have been measured in different modes."""
    if by == "board":
        for name in names or _values(store, by, request):
            yield name, _narrowed(query, by, (name,))
    else:
        yield "", _narrowed(query, by, tuple(names)) if names else query


def _of_widest_modes(store: Store, query: Query, samples: int) -> tuple[list[Measured], set[Mode]]:
    """The newest of all cells in the mode of their target that translates most, and the other modes."""
    measured = store.modes(query)
    widest: dict[str, IommuMode] = {}
    for target, mode in sorted(measured, key=lambda item: MODES.index(item[1])):
        widest.setdefault(target, mode)
    found: list[Measured] = []
    for mode in dict.fromkeys(widest.values()):
        targets = tuple(target for target, own in widest.items() if own is mode)
        found += store.latest(replace(query, targets=targets, modes=(mode,)), samples=samples)
    return found, {(target, mode) for target, mode in measured if widest[target] is not mode}


def _narrowed(query: Query, by: str, names: tuple[str, ...]) -> Query:
    if by == "date":
        day = _day(names[0])
        assert day is not None
        return replace(query, since=day, until=day + timedelta(days=1))
    if by == "iommu":
        return replace(query, modes=tuple(IommuMode(name) for name in names))
    plural = {"target": "targets", "soc": "socs", "board": "places", "kernel": "kernels", "vmm": "vmms"}[by]
    values: dict[str, tuple[str, ...]] = {plural: names}
    return replace(query, **values)  # type: ignore[arg-type]


def _never_measured(
    store: Store, query: Query, found: Sequence[Measured], besides: Collection[Mode]
) -> list[Measured]:
    """Cells that a run of the results that count planned, and that no run has any result of.

    ``besides``: modes that are not shown.
    """
    known: dict[CellKey, Measured] = {}
    for item in found:
        key = CellKey(item.target, item.iommu_asked, item.test)
        if key not in known or item.started > known[key].started:
            known[key] = item
    targets = {key.target for key in known}
    runs = {item.run: item.started for item in known.values()}
    newest = sorted(runs, key=lambda name: runs[name], reverse=True)[:_PLANS]
    missing: dict[CellKey, Measured] = {}
    for plan in store.plans(newest):
        planned = tuple(
            cell.cell
            for cell in plan.cells
            if cell.target in targets
            and (cell.target, cell.iommu) not in besides
            and (cell.target, cell.iommu, cell.test) not in known
            and (not query.modes or cell.iommu in query.modes)
            and (not query.suites or cell.suite in query.suites)
        )
        run = Run(id=plan.run, started=plan.started, planned=planned)
        for cell in Outcome.of((), run).cells:
            missing.setdefault(cell.key, cell)
    if not missing:
        return []
    # A filter may have hidden results of it: then it is not missing.
    tests = Query(tests=tuple({key.test for key in missing}), targets=tuple({key.target for key in missing}))
    measured = {row.key for row in store.latest(tests)}
    return [cell for key, cell in missing.items() if key not in measured]


def _of_runs(store: Store, names: Sequence[str], query: Query) -> list[Measured]:
    """All attempts of the runs, with the cells that they planned and have no result of."""
    found: list[Measured] = []
    for name in names:
        run = store.find(name)
        found += store.select(replace(query, runs=(run.id,)))
        found += [
            cell
            for cell in store.outcome(run, heavy=False).cells
            if cell.status is Status.MISS
            and (not query.targets or cell.target in query.targets)
            and (not query.modes or cell.iommu_asked in query.modes)
            and (not query.suites or cell.suite in query.suites)
        ]
    return found


def _day(name: str) -> datetime | None:
    try:
        return datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
