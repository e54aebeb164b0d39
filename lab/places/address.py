"""Which coordinator."""

from __future__ import annotations

import os
from pathlib import Path

from lab.base import dirs
from lab.base.errors import ConfigError

DEFAULT = "127.0.0.1:20408"


def coordinator_address(given: str | None = None) -> str:
    """``given``, else LG_COORDINATOR, else the lab that ``lab up`` runs here, else labgrid's default."""
    if given:
        return with_port(given)
    if named := os.environ.get("LG_COORDINATOR"):
        return with_port(named)
    try:
        return address_file().read_text(encoding="utf-8").strip() or DEFAULT
    except (OSError, ConfigError):  # no such file, or no folder for it
        return DEFAULT


def address_file() -> Path:
    """Where a running ``lab up`` says where its coordinator listens."""
    return dirs.runtime() / "lab" / "coordinator"


def with_port(address: str) -> str:
    """labgrid's port is added where none is given."""
    return address if address.rpartition(":")[2].isdigit() else f"{address}:20408"
