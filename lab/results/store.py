"""The result store: every run that was ingested, in one SQLite file.

Ingesting is idempotent: a run, cell and attempt that the store has is left as it is. So a log may be
ingested as often as one likes, also one that was cut off, and again when it is whole.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, insert, select, update
from sqlalchemy.exc import DatabaseError, OperationalError

from lab.base.errors import ConfigError, LabError
from lab.results.log import LogContents, read
from lab.results.model import Cell, CellKey, Result, Run, as_dict, from_dict
from lab.results.outcome import Outcome
from lab.results.places import HealthRecord, LeaseRecord
from lab.results.tables import CellRow, EvidenceRow, HealthRow, LeaseRow, ResultRow, RunRow, Table

BUSY_SECONDS = 30
"""How long a process waits for another one that is writing."""

_CHUNK = 500
_HEAVY = ("evidence", "reasons", "environment", "log")
_LIGHT = tuple(
    column.key for column in ResultRow.__table__.columns if column.key not in ("id", "run_id", "cell_id")
)

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Ingested:
    """What came of one ingest: results that are new, results that the store had, unreadable lines."""

    new: int
    known: int
    problems: tuple[str, ...] = ()


class Store:
    """A result store. Use it as a context manager, or ``close`` it."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open the SQLite file at ``path``; without ``create`` ConfigError where there is none."""
        self.path = path
        if not path.exists():
            if not create:
                raise ConfigError(f"no result store at {path}", hint="lab run makes one")
            path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = _engine(path)
        self._writer = self._engine.execution_options(lab_write=True)
        with self._write() as connection:
            Table.metadata.create_all(connection)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def ingest(self, source: Path | LogContents) -> Ingested:
        """Take in a result log, all of it or nothing. Raises ConfigError where it cannot be read at all."""
        contents = read(source) if isinstance(source, Path) else source
        new = 0
        with self._write() as connection:
            for run in contents.runs:
                _put_run(connection, run)
            for name, results in _by_run(contents.results):
                new += _put_results(connection, name, results)
            for lease in contents.leases:
                _put_record(connection, lease)
            for check in contents.health:
                _put_record(connection, check)
        return Ingested(new, len(contents.results) - new, contents.problems)

    def runs(self, limit: int | None = None) -> list[Run]:
        """The latest runs, newest first."""
        query = select(RunRow.__table__).order_by(RunRow.started.desc(), RunRow.id.desc()).limit(limit)
        with self._read() as connection:
            return [_run_of(row._mapping) for row in connection.execute(query)]

    def find(self, name: str) -> Run:
        """The run of that name or whose name begins so; ``last``: the newest. Raises ConfigError."""
        names = select(RunRow.name).order_by(RunRow.started.desc(), RunRow.id.desc())
        with self._read() as connection:
            if name == "last":
                found = list(connection.scalars(names.limit(1)))
            else:
                found = list(connection.scalars(names.where(RunRow.name == name)))
                found = found or list(
                    connection.scalars(names.where(RunRow.name.startswith(name, autoescape=True)).limit(6))
                )
            if len(found) != 1:
                problem = f"{len(found)} runs begin so: {', '.join(found[:5])}" if found else "no such run"
                raise ConfigError(f"run '{name}': {problem}", hint="lab results list shows the runs")
            query = select(RunRow.__table__).where(RunRow.name == found[0])
            return _run_of(connection.execute(query).one()._mapping)

    def results(self, run: str, *, heavy: bool = True) -> list[Result]:
        """All attempts of the run named ``run``, in the order in which they came in.

        Without ``heavy`` they come without evidence, reasons, environment and log, a good deal faster.
        """
        columns: list[Any] = [CellRow.target, CellRow.test, CellRow.iommu.label("iommu_asked")]
        columns += [getattr(ResultRow, name) for name in _LIGHT]
        query = select(*columns).join(CellRow, ResultRow.cell_id == CellRow.id)
        query = query.join(RunRow, ResultRow.run_id == RunRow.id)
        if heavy:
            query = query.add_columns(*(getattr(EvidenceRow, name) for name in _HEAVY))
            query = query.join(EvidenceRow, EvidenceRow.result_id == ResultRow.id)
        query = query.where(RunRow.name == run).order_by(ResultRow.id)
        with self._read() as connection:
            return [_result_of(run, row._mapping) for row in connection.execute(query)]

    def outcome(self, run: Run, *, heavy: bool = True) -> Outcome:
        """What counts of ``run``, with the planned cells that are missing."""
        return Outcome.of(self.results(run.id, heavy=heavy), run)

    def leases(self, place: str | None = None, limit: int | None = None) -> list[LeaseRecord]:
        """Leases that runs held (of ``place``), newest first."""
        return self._records(LeaseRow, LeaseRecord, LeaseRow.since, place, limit)

    def health(self, place: str | None = None, limit: int | None = None) -> list[HealthRecord]:
        """What was found of the health of places (of ``place``), newest first."""
        return self._records(HealthRow, HealthRecord, HealthRow.started, place, limit)

    def _records(
        self, table: Any, kind: type[Row], order: Any, place: str | None, limit: int | None
    ) -> list[Row]:
        columns = [column for column in table.__table__.columns if column.key != "id"]
        query = select(*columns).order_by(order.desc(), table.id.desc()).limit(limit)
        if place is not None:
            query = query.where(table.place == place)
        with self._read() as connection:
            return [kind(**row._mapping) for row in connection.execute(query)]

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with _explained(self.path), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with _explained(self.path), self._writer.begin() as connection:
            yield connection


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path.absolute()}", connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        # sqlite3 would begin transactions late and by itself; ours begin below, where we say so.
        connection.isolation_level = None
        _wait_for(lambda: connection.execute("PRAGMA journal_mode=WAL"))
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes the lock at once: it may then read what is there and add what is not.
        write = connection.get_execution_options().get("lab_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _wait_for(switch: Callable[[], object]) -> None:
    """Do ``switch``: the change to WAL answers "locked" at once, whatever the busy time-out."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            switch()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Errors of the database as errors of ours."""
    try:
        yield
    except OperationalError as error:
        raise LabError(f"result store {path}: {error.orig}") from None
    except DatabaseError as error:
        if "not a database" in str(error.orig) or "malformed" in str(error.orig):
            raise ConfigError(f"{path}: no result store ({error.orig})", hint="move the file away") from None
        raise


def _put_run(connection: Connection, run: Run) -> None:
    """Add ``run``, or to what the store has of it: an earlier log may have been cut off."""
    known = connection.execute(select(RunRow.__table__).where(RunRow.name == run.id)).one_or_none()
    if known is not None and known.complete:
        run = _run_of(known._mapping).joined(run)
    values = {
        "started": run.started,
        "command": run.command,
        "planned": [as_dict(cell) for cell in run.planned],
        "environment": run.environment,
        "complete": True,
    }
    if known is None:
        connection.execute(insert(RunRow), {"name": run.id, **values})
    else:
        connection.execute(update(RunRow).where(RunRow.id == known.id).values(**values))


def _put_results(connection: Connection, name: str, results: Sequence[Result]) -> int:
    """Add what is new of ``results``, all of the run ``name``; says how many were."""
    run_id = connection.scalar(select(RunRow.id).where(RunRow.name == name))
    if run_id is None:
        started = min(result.started for result in results)
        values = {"name": name, "started": started, "planned": [], "environment": {}}
        run_id = connection.scalar(insert(RunRow).returning(RunRow.id), values)
    known = {
        (CellKey(row.target, row.iommu, row.test), row.attempt)
        for row in connection.execute(
            select(CellRow.target, CellRow.iommu, CellRow.test, ResultRow.attempt)
            .join(CellRow, ResultRow.cell_id == CellRow.id)
            .where(ResultRow.run_id == run_id)
        )
    }
    fresh: dict[tuple[CellKey, int], Result] = {}
    for result in results:
        if (result.key, result.attempt) not in known:
            fresh.setdefault((result.key, result.attempt), result)
    cells = _cell_ids(connection, {key for key, _ in fresh})
    for chunk in _chunks(list(fresh.values())):
        rows = [
            {
                "run_id": run_id,
                "cell_id": cells[result.key],
                **{name: getattr(result, name) for name in _LIGHT},
            }
            for result in chunk
        ]
        ids = connection.scalars(
            insert(ResultRow).returning(ResultRow.id, sort_by_parameter_order=True), rows
        )
        heavy = [
            {
                "result_id": number,
                "evidence": result.evidence,
                "reasons": list(result.reasons),
                "environment": result.environment,
                "log": result.log,
            }
            for number, result in zip(ids, chunk, strict=True)
        ]
        connection.execute(insert(EvidenceRow), heavy)
    return len(fresh)


def _put_record(connection: Connection, record: LeaseRecord | HealthRecord) -> None:
    """Add it unless it is there: a place has one of them in one moment of a run."""
    table, moment = (
        (LeaseRow, LeaseRow.since) if isinstance(record, LeaseRecord) else (HealthRow, HealthRow.started)
    )
    found = select(table.id).where(
        table.run == record.run, table.place == record.place, moment == getattr(record, moment.key)
    )
    if connection.scalar(found) is None:
        values = {item.name: getattr(record, item.name) for item in fields(record)}
        connection.execute(insert(table), values)


def _cell_ids(connection: Connection, keys: set[CellKey]) -> dict[CellKey, int]:
    """The row of every cell of ``keys``; made where there is none yet."""
    found: dict[CellKey, int] = {}
    for target in {key.target for key in keys}:
        query = select(CellRow.id, CellRow.target, CellRow.iommu, CellRow.test).where(
            CellRow.target == target
        )
        for row in connection.execute(query):
            found[CellKey(row.target, row.iommu, row.test)] = row.id
    new = sorted(keys - found.keys())
    for chunk in _chunks(new):
        rows = [{"target": key.target, "iommu": key.iommu, "test": key.test} for key in chunk]
        ids = connection.scalars(insert(CellRow).returning(CellRow.id, sort_by_parameter_order=True), rows)
        found.update(zip(chunk, ids, strict=True))
    return found


def _by_run(results: Iterable[Result]) -> list[tuple[str, list[Result]]]:
    runs: dict[str, list[Result]] = {}
    for result in results:
        runs.setdefault(result.run, []).append(result)
    return list(runs.items())


def _chunks(items: list[Row]) -> Iterator[list[Row]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


def _run_of(row: Any) -> Run:
    started: datetime = row["started"]
    planned = tuple(from_dict(Cell, cell) for cell in row["planned"])
    return Run(
        id=row["name"],
        started=started,
        command=row["command"],
        planned=planned,
        environment=row["environment"],
    )


def _result_of(run: str, row: Any) -> Result:
    values = dict(row)
    if "reasons" in values:
        values["reasons"] = tuple(values["reasons"])
    return Result(run=run, **values)
