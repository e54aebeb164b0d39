"""Names of runs. Imports little: a run begins with one."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime


def new_id(now: datetime | None = None) -> str:
    """A run's name: UTC time, and four digits that keep two machines apart; it sorts by time."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H-%M-%S}-{secrets.token_hex(2)}"
