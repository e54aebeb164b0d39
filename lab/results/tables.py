"""The store's tables, alike in SQLite and PostgreSQL.

A result is narrow: what repeats from run to run lies in rows of its own that many results share.
``cell`` is what a trend follows; ``detail`` is what the suite and the constraint model say of a cell;
``setup`` is the board and the versions that ran. The whole result, with evidence and logs, is the line
of the log that it came in as, kept with its neighbours in a ``block`` that is read for one run or one
result at a time. So a comparison over a million results touches rows of some hundred bytes only.

Names come from anywhere and may be long, which an index of PostgreSQL refuses: rows are told apart by
``digest`` instead. Points in time are integers, microseconds since 1970 in UTC: both databases order
them alike. Changes here need a migration in ``migrations/versions`` (docs/store.md).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Id = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself in a column of exactly this type only."""

DIGEST = 32
"""Length of a digest, in hexadecimal digits."""


class Table(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {str: Text}  # noqa: RUF012


class RunRow(Table):
    """A run. ``complete``: its own line was read; else it is known by its results only.

    ``planned`` and ``environment`` are JSON.
    """

    __tablename__ = "run"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    started: Mapped[int] = mapped_column(BigInteger, index=True)
    command: Mapped[str]
    planned: Mapped[str]
    environment: Mapped[str]
    complete: Mapped[bool]


class CellRow(Table):
    """What makes a cell: the same test on the same kind of board in the same mode, in whichever run."""

    __tablename__ = "cell"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    digest: Mapped[str] = mapped_column(String(DIGEST), unique=True)
    target: Mapped[str]
    iommu: Mapped[str] = mapped_column(String(16))
    test: Mapped[str]


class DetailRow(Table):
    """What was said of a cell when it was measured. ``expectation`` is JSON, empty where there was none."""

    __tablename__ = "detail"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    digest: Mapped[str] = mapped_column(String(DIGEST), unique=True)
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id"))
    soc: Mapped[str]
    suite: Mapped[str]
    allocator: Mapped[str]
    importer: Mapped[str]
    path: Mapped[str]
    decoder: Mapped[str]
    expected: Mapped[str | None] = mapped_column(String(16))
    expected_errno: Mapped[int | None]
    expected_reason: Mapped[str]
    repeat: Mapped[str]
    expectation: Mapped[str]


class SetupRow(Table):
    """The board and what ran on it. ``image``: digest of its manifest; ``environment`` is JSON."""

    __tablename__ = "setup"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    digest: Mapped[str] = mapped_column(String(DIGEST), unique=True)
    place: Mapped[str]
    image: Mapped[str]
    kernel: Mapped[str]
    vmm: Mapped[str]
    environment: Mapped[str]


class ResultRow(Table):
    """One attempt at a cell in a run; ``metrics`` is JSON. ``slot``: its place in its block, from 0."""

    __tablename__ = "result"
    __table_args__ = (
        UniqueConstraint("run_id", "cell_id", "attempt"),
        Index("result_cell", "cell_id", "started"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id"))
    detail_id: Mapped[int] = mapped_column(ForeignKey("detail.id"))
    setup_id: Mapped[int] = mapped_column(ForeignKey("setup.id"))
    block_id: Mapped[int] = mapped_column(ForeignKey("block.id"))
    slot: Mapped[int]
    attempt: Mapped[int]
    started: Mapped[int] = mapped_column(BigInteger)
    duration: Mapped[float]
    status: Mapped[str] = mapped_column(String(16))
    verdict: Mapped[str | None] = mapped_column(String(16))
    errno: Mapped[int | None]
    iommu_verified: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str]
    metrics: Mapped[str]


class BlockRow(Table):
    """Whole results, of one batch: their lines of the log, one after the other (`lab.results.blocks`)."""

    __tablename__ = "block"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    data: Mapped[bytes]


class NoteRow(Table):
    """What a run had to do with a place: a lease or a health check (`lab.results.places`), as its line."""

    __tablename__ = "note"
    __table_args__ = (Index("note_at", "kind", "at"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    digest: Mapped[str] = mapped_column(String(DIGEST), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    place: Mapped[str]
    at: Mapped[int] = mapped_column(BigInteger)
    line: Mapped[str]
