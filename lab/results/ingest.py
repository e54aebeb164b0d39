"""Taking results into the store: in batches, each in one transaction, every result once.

What a result shares with others (run, cell, detail, setup) is found or made first, then the new rows
are written at once. A transaction that fails (a database server that restarts, say) leaves nothing
behind, and the batch can be tried again: what the store has is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, insert, select, text, tuple_, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from lab.results.blocks import cut, pack
from lab.results.model import to_line
from lab.results.places import HealthRecord, LeaseRecord
from lab.results.records import (
    CellIs,
    DetailIs,
    Measured,
    Record,
    RunRecord,
    SetupIs,
    digest,
    microseconds,
    run_record_of,
)
from lab.results.rows import run_of
from lab.results.tables import BlockRow, CellRow, DetailRow, NoteRow, ResultRow, RunRow, SetupRow, Table

BATCH = 10_000
"""Results in one transaction: half a second. Runs that come in together lie side by side in the index of
cells, so that a page of it is written once for several of them."""

BATCH_BYTES = 64 << 20
"""A transaction is closed once its lines are longer than that."""

_CHUNK = 500

Note = LeaseRecord | HealthRecord
"""What is said of a place."""

K = TypeVar("K", bound=Hashable)

_RESULT = ("id", "run_id", "cell_id", "detail_id", "setup_id", "block_id", "slot", *Measured._fields)


@dataclass(slots=True)
class Known:
    """Numbers of rows that are committed; they never change, so they need not be asked for again."""

    runs: dict[str, int] = field(default_factory=dict)
    cells: dict[CellIs, int] = field(default_factory=dict)
    details: dict[tuple[CellIs, DetailIs], int] = field(default_factory=dict)
    setups: dict[SetupIs, int] = field(default_factory=dict)

    def update(self, other: Known) -> None:
        """Take over what ``other`` found, once its transaction is committed."""
        self.runs.update(other.runs)
        self.cells.update(other.cells)
        self.details.update(other.details)
        self.setups.update(other.setups)


def put_batch(
    connection: Connection,
    runs: Sequence[RunRecord],
    records: Sequence[Record],
    known: Known,
    notes: Sequence[Note] = (),
) -> tuple[int, Known]:
    """Add what is new; how many results that were, and the rows found. Twice is as good as once."""
    _lock_runs(connection, {run.name for run in runs} | {record.run for record in records})
    for run in sorted(runs, key=lambda run: run.name):
        _put_run(connection, run)
    found = _references(connection, records, known)
    fresh = _fresh(connection, records, found)
    _put_results(connection, fresh, found)
    if notes:
        _intern(connection, NoteRow, "digest", {note["digest"]: note for note in map(_note_row, notes)})
    return len(fresh), found


def _put_results(connection: Connection, fresh: Sequence[Record], found: Known) -> None:
    numbers = iter(_reserve(connection, "result", len(fresh)))
    sizes = cut([len(record.line) for record in fresh])
    blocks, rows = [], []
    start = 0
    for block, size in zip(_reserve(connection, "block", len(sizes)), sizes, strict=True):
        together = fresh[start : start + size]
        start += size
        blocks.append((block, pack([record.line for record in together])))
        for slot, record in enumerate(together):
            ids = (next(numbers), found.runs[record.run], found.cells[record.cell])
            detail = found.details[record.cell, record.detail]
            rows.append((*ids, detail, found.setups[record.setup], block, slot, *record.measured))
    _put(connection, BlockRow, ("id", "data"), blocks)
    _put(connection, ResultRow, _RESULT, rows)


def _note_row(note: Note) -> dict[str, Any]:
    """Its row: a place has one of a kind in one moment of a run."""
    kind, at = ("lease", note.since) if isinstance(note, LeaseRecord) else ("health", note.started)
    key = digest((kind, note.run, note.place, microseconds(at)))
    return {
        "digest": key,
        "kind": kind,
        "place": note.place,
        "at": microseconds(at),
        "line": to_line(kind, note),
    }


def _lock_runs(connection: Connection, names: set[str]) -> None:
    """One process at a time writes to a run (PostgreSQL; SQLite has one writer anyway)."""
    if connection.dialect.name == "postgresql":
        keys = sorted(int(digest((name,))[:15], 16) for name in names)
        connection.execute(
            text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key"),
            {"keys": keys},
        )


def _put_run(connection: Connection, run: RunRecord) -> None:
    """Add ``run``, or to what the store has of it: an earlier log may have been cut off."""
    known = connection.execute(select(RunRow.__table__).where(RunRow.name == run.name)).one_or_none()
    if known is not None and known.complete:
        run = run_record_of(run_of(known).joined(run.run))
    values = {
        "started": run.started,
        "command": run.command,
        "planned": run.planned,
        "environment": run.environment,
        "complete": True,
    }
    if known is None:
        connection.execute(insert(RunRow), {"name": run.name, **values})
    else:
        connection.execute(update(RunRow).where(RunRow.id == known.id).values(**values))


def _references(connection: Connection, records: Sequence[Record], known: Known) -> Known:
    """The rows that ``records`` refer to; made where there are none."""
    earliest: dict[str, int] = {}
    for record in records:
        if record.run not in known.runs:
            earliest[record.run] = min(record.measured.started, earliest.get(record.run, 1 << 62))
    empty = {"command": "", "planned": "[]", "environment": "{}", "complete": False}
    runs = {name: {"name": name, "started": at, **empty} for name, at in earliest.items()}
    numbers = _intern(connection, RunRow, "name", runs)
    found = Known(runs={**known.runs, **numbers})
    found.cells = _numbers(
        connection, CellRow, {record.cell for record in records}, known.cells, lambda cell: cell._asdict()
    )
    found.details = _numbers(
        connection,
        DetailRow,
        {(record.cell, record.detail) for record in records},
        known.details,
        lambda pair: {"cell_id": found.cells[pair[0]], **pair[1]._asdict()},
    )
    found.setups = _numbers(
        connection,
        SetupRow,
        {record.setup for record in records},
        known.setups,
        lambda setup: setup._asdict(),
    )
    return found


def _numbers(
    connection: Connection,
    table: type[Table],
    wanted: set[K],
    known: dict[K, int],
    row: Callable[[K], dict[str, Any]],
) -> dict[K, int]:
    """The number of the row of each of ``wanted``; ``row`` gives its columns where it has to be made."""
    found = {item: known[item] for item in wanted if item in known}
    new = {digest(item): item for item in wanted - found.keys()}
    numbers = _intern(connection, table, "digest", {key: {"digest": key, **row(new[key])} for key in new})
    found.update((new[key], number) for key, number in numbers.items())
    return found


def _intern(
    connection: Connection, table: type[Table], key: str, rows: dict[str, dict[str, Any]]
) -> dict[str, int]:
    """The number of the row with each key, made from ``rows`` where there is none yet.

    In the order of their keys, so that two writers that make the same rows wait instead of blocking
    each other.
    """
    add: Any = sqlite_insert
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as add  # late: many modules
    column, number_of = table.__table__.c[key], table.__table__.c.id
    found: dict[str, int] = {}
    ordered = sorted(rows)
    for start in range(0, len(ordered), _CHUNK):
        keys = ordered[start : start + _CHUNK]
        there = select(column, number_of).where(column.in_(keys))
        found.update((name, number) for name, number in connection.execute(there))
        new = [rows[name] for name in keys if name not in found]
        if new:
            connection.execute(add(table).on_conflict_do_nothing(), new)
            found.update((name, number) for name, number in connection.execute(there))
    return found


def _fresh(connection: Connection, records: Iterable[Record], found: Known) -> list[Record]:
    """What the store does not have; of equal keys the first one, as everywhere."""
    fresh: dict[tuple[int, int, int], Record] = {}
    cells_of: dict[int, set[int]] = {}
    for record in records:
        run, cell = found.runs[record.run], found.cells[record.cell]
        fresh.setdefault((run, cell, record.measured.attempt), record)
        cells_of.setdefault(run, set()).add(cell)
    for run, cells in cells_of.items():
        key_of = tuple_(ResultRow.run_id, ResultRow.cell_id)  # as a row: by the index of exactly these
        there = select(ResultRow.run_id, ResultRow.cell_id, ResultRow.attempt).where(
            key_of >= tuple_(run, min(cells)), key_of <= tuple_(run, max(cells))
        )
        for key in connection.execute(there):
            fresh.pop(tuple(key), None)  # type: ignore[arg-type]
    return list(fresh.values())


def _reserve(connection: Connection, table: str, count: int) -> Iterable[int]:
    """Numbers for ``count`` new rows."""
    if connection.dialect.name == "postgresql":
        block = text(f"SELECT nextval('{table}_id_seq') FROM generate_series(1, :count)")
        return list(connection.scalars(block, {"count": count}))
    start = int(connection.scalar(text(f"SELECT coalesce(max(id), 0) FROM {table}")) or 0) + 1
    return range(start, start + count)


def _put(connection: Connection, table: type[Table], columns: Sequence[str], rows: list[Any]) -> None:
    """Many rows at once, past SQLAlchemy's handling of each: that would be most of an ingest's time."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        cursor = connection.connection.cursor()
        with cursor.copy(f"COPY {table.__tablename__} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        cursor.close()
        return
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) VALUES ({marks})"
    connection.exec_driver_sql(statement, rows)
