"""The result store: every run that was taken in, in one SQLite file or in a PostgreSQL database.

Ingesting is idempotent: a run, cell and attempt that the store has is left as it is. So a log may be
ingested as often as one likes, also one that was cut off, and again when it is whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, select, text

from lab.base.errors import ConfigError, LabError
from lab.base.words import IommuMode
from lab.results.blocks import unpack
from lab.results.database import explained, open_engine, shown, url_of, writer
from lab.results.ingest import BATCH, BATCH_BYTES, Known, Note, put_batch
from lab.results.log import LogContents, lines, unreadable
from lab.results.model import LineError, Result, Run, parse_line
from lab.results.outcome import Outcome
from lab.results.places import HealthRecord, LeaseRecord
from lab.results.query import FIELDS, Query, latest, matching, modes, only_missed, values_of
from lab.results.records import CellIs, DetailIs, Record, RunRecord, SetupIs, parse, record_of, run_record_of
from lab.results.rows import Narrow, Plan, Row, light_result, result_of, run_of
from lab.results.tables import BlockRow, CellRow, DetailRow, NoteRow, ResultRow, RunRow, SetupRow

RETRY_SECONDS = 60
"""How long a writer waits for a database server that went away."""

_CHUNK = 5000


@dataclass(frozen=True, slots=True)
class Ingested:
    """What came of one ingest: results that are new, results that the store had, unreadable lines."""

    new: int
    known: int
    problems: tuple[str, ...] = ()


class Store:
    """A result store. Use it as a context manager, or ``close`` it."""

    def __init__(self, where: Path | str, *, create: bool = True) -> None:
        """Open the store at a URL, or the SQLite file at a path; its tables are made or migrated.

        Without ``create`` ConfigError where there is none. LabError where the database does not answer.
        """
        url = url_of(where)
        self.name = shown(url)
        self._engine = open_engine(url, create=create)
        self._writer = writer(self._engine)
        self._known = Known()
        self._details: dict[int, tuple[CellIs, DetailIs]] = {}
        self._setups: dict[int, SetupIs] = {}

    @classmethod
    def open(cls, where: Path | str, *, create: bool = False) -> Store:
        """The store at a URL or a path, which has to be there unless ``create`` is given."""
        return cls(where, create=create)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def ingest(self, source: Path | LogContents, *, retry: float = RETRY_SECONDS) -> Ingested:
        """Take in a result log, in batches of which each is taken whole or not at all.

        Interrupted anywhere and done again it is as if done once. A server that goes away is waited for,
        ``retry`` seconds at most. Raises ConfigError where the log cannot be read at all.
        """
        problems: list[str] = []
        new = total = 0
        for batch in _batches(source, problems):
            new += self._put(batch, retry)
            total += len(batch.records)
        if new and self._engine.dialect.name == "postgresql":
            self._analyze()
        return Ingested(new, total - new, tuple(problems))

    def runs(self, limit: int | None = None) -> list[Run]:
        """The latest runs, newest first."""
        query = select(RunRow.__table__).order_by(RunRow.started.desc(), RunRow.id.desc()).limit(limit)
        with self._read() as connection:
            return [run_of(row) for row in connection.execute(query)]

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
            return run_of(connection.execute(select(RunRow.__table__).where(RunRow.name == found[0])).one())

    def plans(self, names: Iterable[str]) -> list[Plan]:
        """What the runs called ``names`` planned, the newest run first."""
        query = select(RunRow.name, RunRow.started, RunRow.planned).where(RunRow.name.in_(list(names)))
        with self._read() as connection:
            return [Plan.of(*row) for row in connection.execute(query.order_by(RunRow.started.desc()))]

    def results(self, run: str, *, heavy: bool = True) -> list[Result]:
        """All attempts of the run named ``run``, in the order in which they came in.

        Without ``heavy`` they come without evidence, reasons, environment and log, a good deal faster.
        """
        if not heavy:
            return [light_result(row) for row in self.select(Query(runs=(run,)))]
        of_run = select(RunRow.id).where(RunRow.name == run).scalar_subquery()
        query = select(ResultRow.block_id, ResultRow.slot).where(ResultRow.run_id == of_run)
        with self._read() as connection:
            places = connection.execute(query.order_by(ResultRow.id)).all()
            return [result_of(line) for line in _lines_of(connection, places)]

    def result(self, number: int) -> Result:
        """The whole result of a `Row`'s ``id``. Raises ConfigError."""
        query = select(ResultRow.block_id, ResultRow.slot).where(ResultRow.id == number)
        with self._read() as connection:
            places = connection.execute(query).all()
            if not places:
                raise ConfigError(f"result {number}: no such result in {self.name}")
            return result_of(_lines_of(connection, places)[0])

    def outcome(self, run: Run, *, heavy: bool = True) -> Outcome:
        """What counts of ``run``, with the planned cells that are missing."""
        return Outcome.of(self.results(run.id, heavy=heavy), run)

    def select(self, query: Query | None = None, *, limit: int | None = None) -> list[Row]:
        """All attempts that match, in the order in which they came in.

        With ``limit`` only the newest ones, newest first.
        """
        with self._read() as connection:
            return self._rows(connection, matching(query or Query(), limit))

    def latest(self, query: Query | None = None, *, samples: int = 1) -> list[Row]:
        """For every cell the newest ``samples`` results that match, newest first, cell after cell.

        Results that the lab broke (MISS) are left out, but for cells that have no other: of those the newest.
        """
        query = query or Query()
        with self._read() as connection:
            lateral = connection.dialect.name == "postgresql"
            found = self._rows(connection, latest(query, samples, lateral=lateral))
            found += self._rows(connection, only_missed(query, lateral=lateral))
        return found

    def modes(self, query: Query | None = None) -> list[tuple[str, IommuMode]]:
        """Each target with the IOMMU modes in which it has a result that matches."""
        with self._read() as connection:
            found = connection.execute(modes(query or Query()))
            return [(target, IommuMode(mode)) for target, mode in found]

    def values(self, name: str, query: Query | None = None) -> list[str]:
        """The different values of a field in the store: run, target, iommu, test, soc, suite, allocator,
        decoder, place, image, kernel or vmm. Of ``query`` only filters on the same part of a result count.
        """  # fmt: skip
        if name not in FIELDS:
            raise ConfigError(f"'{name}' is not a field of results", hint=", ".join(FIELDS))
        with self._read() as connection:
            return [str(value) for value in connection.scalars(values_of(name, query or Query()))]

    def leases(self, place: str | None = None, limit: int | None = None) -> list[LeaseRecord]:
        """Leases that runs held (of ``place``), newest first."""
        return self._notes("lease", place, limit)

    def health(self, place: str | None = None, limit: int | None = None) -> list[HealthRecord]:
        """What was found of the health of places (of ``place``), newest first."""
        return self._notes("health", place, limit)

    def _notes(self, kind: str, place: str | None, limit: int | None) -> list[Any]:
        query = select(NoteRow.line).where(NoteRow.kind == kind)
        if place is not None:
            query = query.where(NoteRow.place == place)
        with self._read() as connection:
            lines = connection.scalars(query.order_by(NoteRow.at.desc(), NoteRow.id.desc()).limit(limit))
            return [parse_line(line) for line in lines]

    def _analyze(self) -> None:
        """Let PostgreSQL count anew if the store has doubled; what comes later its autovacuum counts.

        By an empty table's statistics it reads `detail` for every cell.
        """
        doubled = "SELECT max(id) > 2 * (SELECT reltuples FROM pg_class WHERE oid = 'result'::regclass)"
        with suppress(LabError), self._write() as connection:
            if connection.scalar(text(f"{doubled} FROM result")):
                connection.execute(text("ANALYZE run, cell, detail, setup, result"))

    def _put(self, batch: _Batch, retry: float) -> int:
        deadline = time.monotonic() + retry
        pause = 0.1
        while True:
            try:
                with self._write() as connection:
                    runs = list(batch.runs.values())
                    new, found = put_batch(connection, runs, batch.records, self._known, batch.notes)
            except LabError:
                if time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, 2.0)
            else:
                self._known.update(found)
                return new

    def _rows(self, connection: Connection, statement: Any) -> list[Row]:
        narrow = [Narrow._make(row) for row in connection.execute(statement).all()]
        self._look_up(connection, narrow)
        details, setups = self._details, self._setups
        return [Row(row, *details[row.detail_id], setups[row.setup_id]) for row in narrow]

    def _look_up(self, connection: Connection, rows: Sequence[Narrow]) -> None:
        """Read the details and setups of ``rows`` that are not known yet; they never change."""
        cell, detail = (CellRow.target, CellRow.iommu, CellRow.test), DetailIs._fields
        columns = (*cell, *(getattr(DetailRow, name) for name in detail))
        for numbers in _chunks({row.detail_id for row in rows} - self._details.keys()):
            query = select(DetailRow.id, *columns).join(CellRow, DetailRow.cell_id == CellRow.id)
            for number, *values in connection.execute(query.where(DetailRow.id.in_(numbers))):
                self._details[number] = (CellIs(*values[:3]), DetailIs(*values[3:]))
        setup = (getattr(SetupRow, name) for name in SetupIs._fields)
        query = select(SetupRow.id, *setup)
        for numbers in _chunks({row.setup_id for row in rows} - self._setups.keys()):
            for number, *values in connection.execute(query.where(SetupRow.id.in_(numbers))):
                self._setups[number] = SetupIs(*values)

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with explained(self.name), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with explained(self.name), self._writer.begin() as connection:
            yield connection


@dataclass(slots=True)
class _Batch:
    """What goes into one transaction."""

    runs: dict[str, RunRecord] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    size: int = 0  # bytes of the results' lines

    def add(self, record: RunRecord | Record | Note | None) -> None:
        """Take it to the others of its kind."""
        if isinstance(record, Record):
            self.records.append(record)
            self.size += len(record.line)
        elif isinstance(record, RunRecord):
            known = self.runs.get(record.name)
            self.runs[record.name] = run_record_of(known.run.joined(record.run)) if known else record
        elif record is not None:
            self.notes.append(record)


def _batches(source: Path | LogContents, problems: list[str]) -> Iterator[_Batch]:
    """``source`` in pieces of at most BATCH results, or of as many as fill BATCH_BYTES."""
    if isinstance(source, LogContents):
        problems += source.problems
    batch = _Batch()
    for record in _parsed(source, problems) if isinstance(source, Path) else _given(source):
        batch.add(record)
        if len(batch.records) == BATCH or batch.size > BATCH_BYTES:
            yield batch
            batch = _Batch()
    yield batch


def _parsed(path: Path, problems: list[str]) -> Iterator[RunRecord | Record | Note | None]:
    for line, where, complete in lines(path, problems):
        try:
            yield parse(line)
        except LineError as error:
            problems.append(unreadable(line, where, error, complete=complete))


def _given(contents: LogContents) -> Iterator[RunRecord | Record | Note]:
    yield from (run_record_of(run) for run in contents.runs)
    yield from (record_of(result) for result in contents.results)
    yield from contents.leases
    yield from contents.health


def _lines_of(connection: Connection, places: Sequence[Any]) -> list[bytes]:
    """The lines at (block, slot), in that order."""
    blocks: dict[int, list[bytes]] = {}
    for numbers in _chunks({block for block, _ in places}):
        query = select(BlockRow.id, BlockRow.data).where(BlockRow.id.in_(numbers))
        blocks.update((number, unpack(data)) for number, data in connection.execute(query))
    return [blocks[block][slot] for block, slot in places]


def _chunks(numbers: set[int]) -> Iterator[list[int]]:
    ordered = sorted(numbers)
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]
