"""Which results: filters, and the statements that find them by way of the small tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, select, true
from sqlalchemy.orm import aliased

from lab.base.words import IommuMode, Status
from lab.results.records import microseconds
from lab.results.tables import CellRow, DetailRow, ResultRow, RunRow, SetupRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which results. An empty tuple (or None) asks for nothing; of several values any may be met.

    ``runs``, ``tests`` and so on are whole names; ``since`` is included, ``until`` is not.
    """

    runs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    modes: tuple[IommuMode, ...] = ()
    tests: tuple[str, ...] = ()
    socs: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    allocators: tuple[str, ...] = ()
    decoders: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    vmms: tuple[str, ...] = ()
    statuses: tuple[Status, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


_CELL = {"targets": "target", "modes": "iommu", "tests": "test"}
_DETAIL = {"socs": "soc", "suites": "suite", "allocators": "allocator", "decoders": "decoder"}
_SETUP = {"places": "place", "images": "image", "kernels": "kernel", "vmms": "vmm"}
FIELDS: dict[str, Any] = {
    "run": RunRow.name,
    "target": CellRow.target,
    "iommu": CellRow.iommu,
    "test": CellRow.test,
    **{name: getattr(DetailRow, name) for name in _DETAIL.values()},
    **{name: getattr(SetupRow, name) for name in _SETUP.values()},
}
"""What `values_of` can list: all of them columns of small tables."""

NARROW = ("cell_id", "detail_id", "setup_id", "attempt", "started", "duration", "status", "verdict")
_MORE = ("errno", "iommu_verified", "reason", "metrics")


def matching(query: Query, limit: int | None) -> Select[Any]:
    """All attempts that match, in the order in which they came in; with ``limit`` the newest of them."""
    found = _narrow(ResultRow).where(*_conditions(query, ResultRow))
    if limit is None:
        return found.order_by(ResultRow.id)
    return found.order_by(ResultRow.started.desc(), ResultRow.id.desc()).limit(limit)


def latest(query: Query, samples: int, *, lateral: bool) -> Select[Any]:
    """The newest ``samples`` results of every cell, that the lab let through.

    ``lateral``: for a database that has LATERAL. PostgreSQL would else ask for every pair of a cell and a
    result; SQLite does not have it, and finds its way by IN.
    """
    inner = aliased(ResultRow)
    conditions = (inner.status != Status.MISS.value, *_conditions(query, inner, of_cell=True))
    found = _of_cells(inner, conditions, samples, lateral=lateral).where(*_cells(query))
    newest_first = (ResultRow.started.desc(), ResultRow.id.desc())
    return found.order_by(ResultRow.cell_id, *newest_first)


def only_missed(query: Query, *, lateral: bool) -> Select[Any]:
    """Of cells for which there is nothing but MISS: the newest."""
    inner, other = aliased(ResultRow), aliased(ResultRow)
    judged = select(other.id).where(
        other.cell_id == CellRow.id,
        other.status != Status.MISS.value,
        *_conditions(query, other, of_cell=True),
    )
    found = _of_cells(inner, _conditions(query, inner, of_cell=True), 1, lateral=lateral).where(
        *_cells(query)
    )
    return found.where(~judged.correlate(CellRow).exists()).order_by(ResultRow.cell_id)


def modes(query: Query) -> Select[str, str]:
    """Target and IOMMU mode of every cell that has a matching result."""
    inner = aliased(ResultRow)
    measured = select(inner.id).where(inner.cell_id == CellRow.id, *_conditions(query, inner, of_cell=True))
    found = select(CellRow.target, CellRow.iommu).distinct().where(*_cells(query))
    return found.where(measured.correlate(CellRow).exists()).order_by(CellRow.target, CellRow.iommu)


def _of_cells(
    inner: Any, conditions: Iterable[ColumnElement[bool]], count: int, *, lateral: bool
) -> Select[Any]:
    """The newest ``count`` rows of ``inner`` that meet ``conditions``, of every cell."""
    newest = (
        select(inner.id)
        .where(inner.cell_id == CellRow.id, *conditions)
        .order_by(inner.started.desc(), inner.id.desc())
        .limit(count)
        .correlate(CellRow)
    )
    columns = [getattr(ResultRow, name) for name in (*NARROW, *_MORE)]
    found = select(ResultRow.id, RunRow.name, *columns).select_from(CellRow)
    if lateral:
        picked = newest.lateral()
        found = found.join(picked, true()).join(ResultRow, ResultRow.id == picked.c.id)
    else:
        found = found.join(ResultRow, ResultRow.id.in_(newest.scalar_subquery()))
    return found.join(RunRow, ResultRow.run_id == RunRow.id)


def values_of(name: str, query: Query) -> Select[Any]:
    """The different values of a field among everything stored, narrowed by the filters of its own table."""
    column = FIELDS[name]
    found = select(column).where(column != "").distinct().order_by(column)
    for group, table in ((_CELL, CellRow), (_DETAIL, DetailRow), (_SETUP, SetupRow)):
        if name in group.values():
            found = found.where(*_in(query, group, table))
    if name in _DETAIL.values() and _in(query, _CELL, CellRow):
        found = found.where(DetailRow.cell_id.in_(select(CellRow.id).where(*_in(query, _CELL, CellRow))))
    return found


def _narrow(result: Any) -> Select[Any]:
    columns = [getattr(result, name) for name in (*NARROW, *_MORE)]
    return select(result.id, RunRow.name, *columns).join(RunRow, result.run_id == RunRow.id)


def _cells(query: Query) -> list[ColumnElement[bool]]:
    """Which cells can have matching results at all."""
    conditions = _in(query, _CELL, CellRow)
    details = _in(query, _DETAIL, DetailRow)
    if details:
        conditions.append(CellRow.id.in_(select(DetailRow.cell_id).where(*details)))
    if query.runs:
        of_runs = select(RunRow.id).where(RunRow.name.in_(query.runs))
        conditions.append(CellRow.id.in_(select(ResultRow.cell_id).where(ResultRow.run_id.in_(of_runs))))
    return conditions


def _conditions(query: Query, result: Any, *, of_cell: bool = False) -> list[ColumnElement[bool]]:
    """What a row of ``result`` has to meet; ``of_cell``: its cell has been chosen already."""
    found: list[ColumnElement[bool]] = []
    for group, table, column in (
        *([] if of_cell else [(_CELL, CellRow, result.cell_id)]),
        (_DETAIL, DetailRow, result.detail_id),
        (_SETUP, SetupRow, result.setup_id),
    ):
        row: Any = aliased(table)
        wanted = _in(query, group, row)
        if wanted:
            found.append(column.in_(select(row.id).where(*wanted)))
    if query.runs:
        run = aliased(RunRow)
        found.append(result.run_id.in_(select(run.id).where(run.name.in_(query.runs))))
    if query.statuses:
        found.append(result.status.in_([status.value for status in query.statuses]))
    if query.since is not None:
        found.append(result.started >= microseconds(query.since))
    if query.until is not None:
        found.append(result.started < microseconds(query.until))
    return found


def _in(query: Query, group: dict[str, str], table: Any) -> list[ColumnElement[bool]]:
    return [
        getattr(table, column).in_([str(value) for value in getattr(query, name)])
        for name, column in group.items()
        if getattr(query, name)
    ]
