"""Taking a place again that a restarted coordinator has forgotten to be ours.

At once would be too early: exporters come back a second or more after the coordinator, and labgrid
acquires for a place what is there at that moment and nothing later. So the place is reserved at once, before
all who wait, and acquired when its resources are there.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from lab.base.errors import LabError
from lab.places import view
from lab.places.loop import finish
from lab.places.model import RETAKE
from lab.places.wire import RefusedError, Wire, pb

PATIENCE = 30.0  # without its exporter for so long, a place is taken as it is
POLL = 4.0


async def take_again(wire: Wire, place: str, holder: str) -> str:
    """Have ``place`` acquired by ``holder``, who held it; why that is not possible, or an empty string.

    Raises LabError where the coordinator goes away again.
    """
    if wire.identity == holder:
        return await _take(wire, place)
    other = Wire(wire.address, holder)  # labgrid takes everyone at his word about who he is
    await other.open()
    try:
        return await _take(other, place)
    finally:
        await other.close()


async def _take(wire: Wire, place: str) -> str:
    request: Any = pb.CreateReservationRequest(prio=RETAKE)
    request.filters["main"].filter["name"] = place
    token = (await wire.call("CreateReservation", request)).reservation.token
    started = polled = time.monotonic()
    try:
        while True:
            version = wire.version
            message = wire.places.get(place)
            if message is None:
                return "the place was deleted"
            if message.acquired == wire.identity:
                return ""
            if message.acquired:
                return f"{message.acquired} has it"
            if message.reservation not in ("", token):
                return "it was given to somebody else after a restart of the coordinator"
            waited = time.monotonic() - started
            if message.reservation == token and (_complete(wire, message) or waited > PATIENCE):
                with contextlib.suppress(RefusedError):
                    await finish(wire.call("AcquirePlace", pb.AcquirePlaceRequest(placename=place)))
                    return ""
            if not wire.online:
                raise LabError("the coordinator is gone again")
            if time.monotonic() - polled > POLL:
                await wire.call("PollReservation", pb.PollReservationRequest(token=token))
                polled = time.monotonic()
            await wire.wait_change(version, 0.5)
    finally:
        with contextlib.suppress(LabError):
            await wire.call("CancelReservation", pb.CancelReservationRequest(token=token), timeout=5.0)


def _complete(wire: Wire, message: Any) -> bool:
    return not view.place(message, wire.resources).lacking and wire.settled(message)
