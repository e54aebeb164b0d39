"""The store's tables.

Light and heavy parts of a result lie apart: lists, matrices and comparisons read ``result`` rows
of some hundred bytes; evidence and console logs are read for one result at a time. A cell's
identity is a row of its own, so that a trend over many runs follows one number.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from lab.base.words import IommuMode, Status, Verdict


class UtcTime(TypeDecorator[datetime]):
    """A point in time; databases that keep no zone keep it in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


def _word(kind: type[IommuMode] | type[Status] | type[Verdict]) -> Enum:
    """A column of one of our words, kept as the word itself and without a constraint on it."""
    return Enum(
        kind, native_enum=False, length=16, values_callable=lambda words: [word.value for word in words]
    )


class Table(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {  # noqa: RUF012
        datetime: UtcTime,
        IommuMode: _word(IommuMode),
        Status: _word(Status),
        Verdict: _word(Verdict),
        str: Text,
    }


class RunRow(Table):
    """A run. ``complete``: its own line was read; else it is known by its results only."""

    __tablename__ = "run"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String, unique=True)
    started: Mapped[datetime] = mapped_column(index=True)
    command: Mapped[str] = mapped_column(default="")
    planned: Mapped[list[Any]] = mapped_column(JSON, default=list)
    environment: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    complete: Mapped[bool] = mapped_column(default=False)


class CellRow(Table):
    """What makes a cell: the same test on the same kind of board in the same mode, in whichever run."""

    __tablename__ = "cell"
    __table_args__ = (UniqueConstraint("target", "iommu", "test"), Index("cell_test", "test"))

    id: Mapped[int] = mapped_column(primary_key=True)
    target: Mapped[str]
    iommu: Mapped[IommuMode]
    test: Mapped[str]


class ResultRow(Table):
    """One attempt at a cell in a run."""

    __tablename__ = "result"
    __table_args__ = (UniqueConstraint("run_id", "cell_id", "attempt"), Index("result_cell", "cell_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    cell_id: Mapped[int] = mapped_column(ForeignKey("cell.id"))
    attempt: Mapped[int]
    started: Mapped[datetime]
    duration: Mapped[float]
    status: Mapped[Status]
    verdict: Mapped[Verdict | None]
    expected: Mapped[Verdict | None]
    expected_errno: Mapped[int | None]
    expected_reason: Mapped[str]
    errno: Mapped[int | None]
    reason: Mapped[str]
    iommu_verified: Mapped[IommuMode | None]
    place: Mapped[str]
    soc: Mapped[str]
    suite: Mapped[str]
    allocator: Mapped[str]
    importer: Mapped[str]
    path: Mapped[str]
    decoder: Mapped[str]
    image: Mapped[str]
    kernel: Mapped[str]
    repeat: Mapped[str]
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)


class EvidenceRow(Table):
    """The heavy part of a result."""

    __tablename__ = "evidence"

    result_id: Mapped[int] = mapped_column(ForeignKey("result.id"), primary_key=True)
    evidence: Mapped[dict[str, Any]] = mapped_column(JSON)
    reasons: Mapped[list[Any]] = mapped_column(JSON)
    environment: Mapped[dict[str, Any]] = mapped_column(JSON)
    log: Mapped[str]


class LeaseRow(Table):
    """A place that a run held (`lab.results.places.LeaseRecord`); ``run`` is the run's name."""

    __tablename__ = "lease"

    id: Mapped[int] = mapped_column(primary_key=True)
    run: Mapped[str] = mapped_column(index=True)
    place: Mapped[str] = mapped_column(index=True)
    target: Mapped[str]
    soc: Mapped[str]
    holder: Mapped[str]
    asked: Mapped[datetime]
    since: Mapped[datetime]
    until: Mapped[datetime]
    ended: Mapped[str]
    reason: Mapped[str]
    cells: Mapped[int]


class HealthRow(Table):
    """What was found of a place's health (`lab.results.places.HealthRecord`)."""

    __tablename__ = "health"

    id: Mapped[int] = mapped_column(primary_key=True)
    run: Mapped[str]
    place: Mapped[str] = mapped_column(index=True)
    target: Mapped[str]
    soc: Mapped[str]
    started: Mapped[datetime]
    duration: Mapped[float]
    health: Mapped[str]
    reason: Mapped[str]
