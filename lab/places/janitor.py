"""Whatever died without giving back: its places and its turn in the queue are freed here.

A janitor that stays also shows that it is there: it keeps a reservation that nothing can satisfy, which
every machine sees, and whose age says how long the coordinator runs at least. Two at once do no harm:
a place is released from a named holder, which the coordinator does in one step, or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from lab.base.errors import LabError
from lab.places import view
from lab.places.lease import MARGIN, release, set_tags
from lab.places.model import JANITOR, LEASE, SUFFIX, LeaseInfo, Place, ours
from lab.places.queue import FOREIGN_TTL
from lab.places.retake import take_again
from lab.places.wire import CONNECT_TIMEOUT, RefusedError, Wire, pb

PERIOD = 2.0
SILENCE = 12.0  # a living client polls what it was allocated every 4 s (lab.places.queue)
LIFETIME = 60.0  # of a reservation from its last poll (labgrid, remote/common.py)
MARKER_POLL = 15.0


class Janitor:
    """Frees what is over. ``foreign``: seconds after which a lock without a lease is released, if at all."""

    def __init__(self, wire: Wire, *, foreign: float | None = None, stays: bool = True) -> None:
        """``stays``: it runs on, so that it can tell a kick from a restart of the coordinator."""
        self.wire = wire
        self.foreign = foreign
        self.stays = stays
        self._marker = ""
        self._polled = 0.0
        self._incarnation = 0
        self._seen: dict[str, str] = {}  # place -> holder that had it acquired, in this incarnation
        self._timed: dict[str, LeaseInfo] = {}  # place -> the timed lease that was seen on it last
        self._retakes: dict[str, asyncio.Task[None]] = {}
        self._news: list[str] = []
        self._odd: dict[tuple[str, str], float] = {}  # place and holder -> since when it has no lease

    async def run(self, tell: Callable[[str], None]) -> None:
        """Sweep until cancelled."""
        while True:
            version = self.wire.version
            if self.wire.online:
                try:
                    for line in await self.sweep():
                        tell(line)
                except LabError as error:
                    tell(f"{error}")
            await asyncio.sleep(0.1)  # one sweep for a burst of changes
            await self.wire.wait_change(version, PERIOD)

    async def close(self) -> None:
        """Take the sign of its presence away."""
        for task in self._retakes.values():
            task.cancel()
        await asyncio.gather(*self._retakes.values(), return_exceptions=True)
        if self._marker:
            with contextlib.suppress(LabError):
                await self._cancel(self._marker)

    async def sweep(self) -> list[str]:
        """One round. What was done, a line each."""
        if self._incarnation != self.wire.incarnation:
            self._seen.clear()
            self._incarnation = self.wire.incarnation
            self._polled = 0.0
        if self.stays:
            await self._show()
        done, self._news = self._news, []
        for message in list(self.wire.places.values()):
            place = view.place(message, {})
            if place.acquired:
                done += await self._taken(place, place.acquired)
            elif place.reservation is None:
                done += await self._free(place)
        return done + await self._reservations()

    async def _taken(self, place: Place, holder: str) -> list[str]:
        self._seen[place.name] = holder
        now = view.moment(self.wire.now())
        lease = place.lease
        if lease is not None:
            if lease.valid(now - timedelta(seconds=MARGIN)):
                self._timed.pop(place.name, None)
                if lease.timed:
                    self._timed[place.name] = lease
                return []
            why = f"its lease ended at {lease.until:%H:%M:%S} UTC"
        else:
            limit = FOREIGN_TTL if SUFFIX.search(holder) else self.foreign
            first = self._odd.setdefault((place.name, holder), time.monotonic())
            age = time.monotonic() - first
            if not self.stays:
                age = (now - place.changed).total_seconds()
            if limit is None or age < limit:
                return []
            why = f"it had no lease for {age:.0f} s"
        await release(self.wire, place.name, holder, place.reservation or "")
        self._odd.pop((place.name, holder), None)
        return [f"released {place.name} from {holder}: {why}"]

    async def _free(self, place: Place) -> list[str]:
        """A lease on a place that nobody has: kicked by labgrid's own client, or forgotten in a restart.

        A holder that lives takes its place again itself; a timed lease has none.
        """
        seen = self._seen.pop(place.name, None)
        known = self._timed.pop(place.name, None)
        lease = place.last
        if known is not None and seen is None and (lease is None or lease.since < known.since):
            lease = known  # the coordinator saves its places every 15 s only
        now = view.moment(self.wire.now())
        if lease is None or not lease.valid(now) or not self.stays:
            return []
        if seen == lease.holder:
            await set_tags(self.wire, place.name, {LEASE: lease.ended(now).text()})
            return [f"{place.name} was taken from {lease.holder}: its lease is over"]
        if not lease.timed:
            return []
        running = self._retakes.get(place.name)
        if running is None or running.done():
            self._retakes[place.name] = asyncio.create_task(self._take_again(place.name, lease))
        return []

    async def _take_again(self, place: str, lease: LeaseInfo) -> None:
        with contextlib.suppress(LabError):
            await set_tags(self.wire, place, {LEASE: lease.text()})
            if not await take_again(self.wire, place, lease.holder):
                until = f"{lease.until:%H:%M} UTC"
                self._news.append(f"took {place} again for {lease.holder}, whose lease runs until {until}")

    async def _reservations(self) -> list[str]:
        """Cancel what was allocated to clients that died: each would block its place for a minute or more."""
        answer = await self.wire.call("GetReservations", pb.GetReservationsRequest())
        done = []
        for one in answer.reservations:
            silent = self.wire.now() - (one.timeout - LIFETIME)
            if one.state == view.ALLOCATED and ours(one.prio) and silent > SILENCE:
                with contextlib.suppress(RefusedError):
                    await self._cancel(one.token)
                    place = one.allocations.get("main", "?")
                    done.append(
                        f"cancelled the reservation of {one.owner} for {place}: silent for {silent:.0f} s"
                    )
        return done

    async def _show(self) -> None:
        if self._marker and time.monotonic() - self._polled < MARKER_POLL:
            return
        try:
            if not self._marker:
                raise RefusedError("none yet")
            await self.wire.call("PollReservation", pb.PollReservationRequest(token=self._marker))
        except RefusedError:
            request: Any = pb.CreateReservationRequest(prio=0.0)
            request.filters["main"].filter.update(JANITOR)
            answer = (await self.wire.call("CreateReservation", request)).reservation
            self._marker = answer.token
            self.wire.hear_clock(answer.created)
        self._polled = time.monotonic()

    async def _cancel(self, token: str) -> None:
        await self.wire.call("CancelReservation", pb.CancelReservationRequest(token=token))


async def serve(
    address: str, tell: Callable[[str], None], *, foreign: float | None = None, once: bool = False
) -> None:
    """Keep the lab at ``address`` tidy until cancelled, or once.

    A janitor that stays waits for a coordinator that is not there yet, or no longer. Raises LabError
    where one that is to sweep once finds none.
    """
    wire = Wire(address, f"{socket.gethostname()}/janitor.{secrets.token_hex(2)}")
    janitor = Janitor(wire, foreign=foreign, stays=not once)
    if once:
        await wire.open()
    else:
        wire.start()
        if not await wire.wait_online(CONNECT_TIMEOUT):
            tell(f"no labgrid coordinator answers at {address} yet")
    try:
        if once:
            for line in await janitor.sweep():
                tell(line)
        else:
            await janitor.run(tell)
    finally:
        await janitor.close()
        await wire.close()
