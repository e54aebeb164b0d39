"""Which coordinator."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from lab.base import dirs
from lab.base.errors import ConfigError

DEFAULT = "127.0.0.1:20408"


def coordinator_address(given: str | None = None) -> str:
    """``given``, else LG_COORDINATOR, else the lab that ``lab up`` runs here, else labgrid's default."""
    return _named(given) or DEFAULT


def nobody_there(given: str | None = None) -> bool:
    """Whether labgrid's default is all there is to try, and nothing listens on that port of this machine.

    A coordinator that somebody named may be starting just now: that one is worth being waited for.
    """
    if _named(given):
        return False
    host, _, port = DEFAULT.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False


def _named(given: str | None) -> str:
    if named := given or os.environ.get("LG_COORDINATOR"):
        return with_port(named)
    try:
        return address_file().read_text(encoding="utf-8").strip()
    except (OSError, ConfigError):  # no such file, or no folder for it
        return ""


def address_file() -> Path:
    """Where a running ``lab up`` says where its coordinator listens."""
    return dirs.runtime() / "lab" / "coordinator"


def with_port(address: str) -> str:
    """labgrid's port is added where none is given."""
    return address if address.rpartition(":")[2].isdigit() else f"{address}:20408"
