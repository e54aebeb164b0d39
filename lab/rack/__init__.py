"""The virtual rack: QEMU boards offered as lab equipment (power, serial console, TFTP, ssh).

``Rack`` starts, finds and ends a rack; ``Machine`` describes one board of it. The names are
imported on first use, because the supervisor process lives in this package too, and its start
is a good part of what a user waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.rack.machine import Machine
    from lab.rack.rack import Rack

__all__ = ["Machine", "Rack"]


def __getattr__(name: str) -> Any:
    if name == "Machine":
        from lab.rack.machine import Machine

        return Machine
    if name == "Rack":
        from lab.rack.rack import Rack

        return Rack
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
