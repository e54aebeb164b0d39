"""Boards shared by many: labgrid's coordinator from Python, with leases that end, and a queue that is told.

``connect`` gives a ``Session``; its ``reserve`` waits for a place and gives a ``Lease``. The
names are imported on first use: gRPC takes a fifth of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.places.held import Lease
    from lab.places.model import OWN_TAGS, Health, LeaseInfo, LeaseLostError, Place, Waiting
    from lab.places.session import Session, connect

__all__ = [
    "OWN_TAGS",
    "Health",
    "Lease",
    "LeaseInfo",
    "LeaseLostError",
    "Place",
    "Session",
    "Waiting",
    "connect",
]

_HOME = {"Session": "session", "connect": "session", "Lease": "held"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"lab.places.{_HOME.get(name, 'model')}"), name)
