"""Leases that this user holds from this machine: for the next command, which is another process."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.base import dirs
from lab.base.errors import ConfigError


@dataclass(frozen=True)
class Note:
    """One lease: where its coordinator is, which place, and the identity it was taken with."""

    coordinator: str
    place: str
    holder: str


def write(note: Note) -> None:
    """Remember a lease. Raises ConfigError where there is no place to write it to."""
    dirs.state()
    path = _path(note)
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        part.write_text(json.dumps(asdict(note)), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot be written ({error.strerror})", file=path) from None


def forget(coordinator: str, place: str, holder: str) -> None:
    """The lease is over. A note that stays does no harm: who uses it is told that the lease is over."""
    with contextlib.suppress(OSError, ConfigError):
        _path(Note(coordinator, place, holder)).unlink(missing_ok=True)


def all_notes(coordinator: str | None = None) -> list[Note]:
    """The leases noted (with ``coordinator``: of that one), oldest first."""
    found = []
    for path in _folder().glob("*.json"):
        try:
            found.append((path.stat().st_mtime, Note(**json.loads(path.read_bytes()))))
        except (OSError, ValueError, TypeError):
            continue  # just removed by another command, or written by another version
    ordered = [note for _, note in sorted(found, key=lambda one: one[0])]
    return [note for note in ordered if coordinator is None or note.coordinator == coordinator]


def _path(note: Note) -> Path:
    name = "_".join((note.coordinator, note.place, note.holder)).replace("/", "_")
    return _folder() / f"{name}.json"


def _folder() -> Path:
    return dirs.state_path() / "leases"
