"""The tables of the first store, which kept every field in a column and was SQLite only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def upgrade() -> None:
    """Make them; a store that was made before there were migrations has them already."""
    op.create_table(
        "run",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("started", sa.DateTime, nullable=False, index=True),
        *_text("command"),
        sa.Column("planned", sa.JSON, nullable=False),
        sa.Column("environment", sa.JSON, nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
    )
    op.create_table(
        "cell",
        sa.Column("id", sa.Integer, primary_key=True),
        *_text("target"),
        sa.Column("iommu", sa.String(16), nullable=False),
        *_text("test"),
        sa.UniqueConstraint("target", "iommu", "test"),
    )
    op.create_index("cell_test", "cell", ["test"])
    op.create_table(
        "result",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("run.id"), nullable=False),
        sa.Column("cell_id", sa.Integer, sa.ForeignKey("cell.id"), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("started", sa.DateTime, nullable=False),
        sa.Column("duration", sa.Float, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(16)),
        sa.Column("expected", sa.String(16)),
        sa.Column("expected_errno", sa.Integer),
        *_text("expected_reason"),
        sa.Column("errno", sa.Integer),
        *_text("reason"),
        sa.Column("iommu_verified", sa.String(16)),
        *_text("place", "soc", "suite", "allocator", "importer", "path", "decoder", "image", "kernel"),
        *_text("repeat"),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.UniqueConstraint("run_id", "cell_id", "attempt"),
    )
    op.create_index("result_cell", "result", ["cell_id"])
    op.create_table(
        "evidence",
        sa.Column("result_id", sa.Integer, sa.ForeignKey("result.id"), primary_key=True),
        sa.Column("evidence", sa.JSON, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("environment", sa.JSON, nullable=False),
        *_text("log"),
    )
