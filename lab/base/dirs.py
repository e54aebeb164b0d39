"""Where things lie: the checkout, the user's cache, the results."""

from __future__ import annotations

import os
from pathlib import Path

from lab.base.errors import ConfigError


def root() -> Path:
    """The checkout: the folder that holds ``lab/``, ``targets/``, ``images/`` and ``suites/``."""
    return Path(__file__).resolve().parents[2]


def cache() -> Path:
    """The user's cache folder for sharelab (XDG base directory specification); made if missing.

    Raises ConfigError where it cannot be made, as `runtime` and `state` do: not every HOME can be written to.
    """
    return _made(_home("XDG_CACHE_HOME", ".cache"), "XDG_CACHE_HOME", 0o777)


def runtime() -> Path:
    """Where the sockets and state of running racks lie; made if missing, for this user only."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return _made(Path(base) / "sharelab" if base else cache() / "run", "XDG_RUNTIME_DIR", 0o700)


def state() -> Path:
    """What a user's commands remember between logins (XDG base directory specification); made if missing."""
    return _made(state_path(), "XDG_STATE_HOME", 0o700)


def state_path() -> Path:
    """Where `state` is, there or not: for who only looks."""
    return _home("XDG_STATE_HOME", ".local/state")


def there(path: Path) -> bool:
    """Whether there is such a file or folder; False also for what none can be called (a name too long)."""
    try:
        return path.exists()
    except OSError:
        return False


def _home(variable: str, default: str) -> Path:
    if base := os.environ.get(variable):
        return Path(base) / "sharelab"
    try:
        return Path.home() / default / "sharelab"
    except RuntimeError:
        raise ConfigError("this user has no home folder", hint=f"set HOME, or {variable}") from None


def _made(path: Path, variable: str, mode: int) -> Path:
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        hint = f"{variable} names another place"
        raise ConfigError(f"cannot be made ({error.strerror})", file=path, hint=hint) from None
    return path
