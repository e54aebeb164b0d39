"""Narrow results, what they share in rows of their own, whole results in blocks; PostgreSQL as well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"

_OLD = ("run", "cell", "result", "evidence")


def upgrade() -> None:
    """Make the new tables, carry everything over, drop the old ones."""
    connection = op.get_bind()
    for name in _OLD:
        op.rename_table(name, f"old_{name}")
    for index in ("ix_run_started", "cell_test", "result_cell"):
        op.drop_index(index)
    # The tables as they are made today are right as long as this is the newest migration. The one after
    # it replaces this call by the statements that `lab.results.tables` gives now.
    from lab.results.tables import Table

    _free_names(connection)
    Table.metadata.create_all(connection)
    _carry_over(connection)
    _carry_notes(connection)
    for name in reversed(_OLD):
        op.drop_table(f"old_{name}")


def _free_names(connection: sa.Connection) -> None:
    """PostgreSQL keeps the names of constraints and sequences when a table is renamed."""
    if connection.dialect.name != "postgresql":
        return
    for kind, query in (
        ("INDEX", "SELECT indexname FROM pg_indexes WHERE tablename LIKE 'old\\_%'"),
        ("SEQUENCE", "SELECT relname FROM pg_class WHERE relkind = 'S' AND relname LIKE '%\\_id\\_seq'"),
    ):
        for name in connection.scalars(sa.text(query)).all():
            op.execute(f'ALTER {kind} "{name}" RENAME TO "old_{name}"')


def _carry_over(connection: sa.Connection) -> None:
    from lab.results.ingest import Known, put_batch
    from lab.results.records import RunRecord, parse

    known = Known()
    runs = connection.execute(sa.text("SELECT * FROM old_run ORDER BY id")).mappings().all()
    for row in runs:
        header = {name: _json(row[name]) for name in ("planned", "environment")}
        data = {"id": row["name"], "started": _iso(row["started"]), "command": row["command"], **header}
        run = parse(json.dumps({"schema": 1, "kind": "run", **data}, separators=(",", ":")).encode("ascii"))
        assert isinstance(run, RunRecord)
        records = [parse(line) for line in _lines(connection, row["id"], row["name"])]
        _, found = put_batch(connection, [run] if row["complete"] else [], records, known)  # type: ignore[arg-type]
        known.update(found)
        if not row["complete"] and not records:
            put_batch(connection, [run], [], known)


def _carry_notes(connection: sa.Connection) -> None:
    """Leases and health checks; the tables of them that only some of the first stores have."""
    from lab.results.ingest import Known, put_batch
    from lab.results.records import parse

    there = sa.inspect(connection).get_table_names()
    for kind in [name for name in ("lease", "health") if name in there]:
        notes = []
        for row in connection.execute(sa.text(f"SELECT * FROM {kind} ORDER BY id")).mappings():
            values = {name: value for name, value in row.items() if name != "id"}
            times = {
                name: _iso(values[name]) for name in ("asked", "since", "until", "started") if name in values
            }
            line = json.dumps({"schema": 1, "kind": kind, **values, **times}, separators=(",", ":"))
            notes.append(parse(line.encode("ascii")))
        put_batch(connection, [], [], Known(), notes)  # type: ignore[arg-type]
        op.drop_table(kind)


def _lines(connection: sa.Connection, number: int, name: str) -> Iterator[bytes]:
    query = sa.text(
        "SELECT r.*, c.target, c.iommu, c.test, e.evidence, e.reasons, e.environment, e.log"
        " FROM old_result r JOIN old_cell c ON c.id = r.cell_id"
        " LEFT JOIN old_evidence e ON e.result_id = r.id WHERE r.run_id = :run ORDER BY r.id"
    )
    for row in connection.execute(query, {"run": number}).mappings():
        values: dict[str, Any] = dict(row)
        for key in ("id", "run_id", "cell_id"):
            del values[key]
        for key in ("metrics", "evidence", "reasons", "environment"):
            values[key] = _json(values[key])
        data = {"run": name, "iommu_asked": values.pop("iommu"), **values, "started": _iso(row["started"])}
        yield json.dumps({"schema": 1, "kind": "result", **data}, separators=(",", ":")).encode("ascii")


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _iso(value: Any) -> str:
    """SQLite gives the text that it kept, in UTC and without a zone."""
    time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return time.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
