"""Where things lie: the checkout, the user's cache, the results."""

from __future__ import annotations

import os
from pathlib import Path


def root() -> Path:
    """The checkout: the folder that holds ``lab/``, ``targets/``, ``images/`` and ``suites/``."""
    return Path(__file__).resolve().parents[2]


def cache() -> Path:
    """The user's cache folder for sharelab (XDG base directory specification); made if missing."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "sharelab"
    path.mkdir(parents=True, exist_ok=True)
    return path


def runtime() -> Path:
    """Where the sockets and state of running racks lie; made if missing, for this user only."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base) / "sharelab" if base else cache() / "run"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def state() -> Path:
    """What a user's commands remember between logins (XDG base directory specification); made if missing."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    path = Path(base) / "sharelab"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
