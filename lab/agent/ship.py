"""The host's half of starting an agent: what to send. Not used on the board."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any

_HOST_ONLY = {"boot", "ship"}


def boot_source() -> str:
    """Return the source to give to ``gateway.remote_exec``."""
    return resources.files(__package__).joinpath("boot.py").read_text()


def sources() -> dict[str, str]:
    """Return full module name -> source."""
    found = {"lab": "", "lab.agent": ""}
    for entry in resources.files(__package__).iterdir():
        name, _, suffix = entry.name.rpartition(".")
        if suffix == "py" and name != "__init__" and name not in _HOST_ONLY:
            found[f"{__package__}.{name}"] = entry.read_text()
    return found


def ship(channel: Any) -> None:
    """Do the host's part of `boot` on the channel that ``remote_exec`` returned."""
    found = sources()
    channel.send({name: hashlib.sha256(source.encode()).hexdigest() for name, source in found.items()})
    channel.send({name: found[name] for name in channel.receive()})
