"""A place held: kept alive by heartbeats, watched, prolonged, given back.

The truth about who holds a place is the coordinator's ``acquired``, which only one can have. The
tag adds what that lacks: an end, and a memory that outlives the coordinator. Both are watched on
the connection's stream, so that a kick is known within a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from lab.base.errors import LabError
from lab.places import view
from lab.places.loop import finish
from lab.places.model import LEASE, LeaseInfo, LeaseLostError
from lab.places.retake import take_again
from lab.places.wire import RefusedError, Wire, boottime, pb

# A lease counts as over this much before its end: the janitor's machine may notice first.
MARGIN = 0.5
PULSE = 2.0  # from one question to the next, for one who is not told


class HeldPlace:
    """The asynchronous half of ``Lease``; lives on the connection's loop."""

    def __init__(self, wire: Wire, place: str, info: LeaseInfo, on_lost: Callable[[str], None]) -> None:
        self.wire = wire
        self.place = place
        self.info = info
        self.lost = ""
        self._on_lost = on_lost
        self._end = boottime() + info.until.timestamp() - wire.now()
        self._can_ask = bool(info.token)
        self._confirmed = wire.incarnation
        self._next_beat = 0.0
        self._task: asyncio.Task[None] | None = None
        self._retake: asyncio.Task[None] | None = None
        self._release: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch, and send heartbeats where the lease needs them."""
        self._next_beat = boottime() + self.info.ttl / 3 if self.info.ttl else math.inf
        self.wire.watchers += 1
        self._task = asyncio.create_task(self._watch())

    async def check(self) -> None:
        """Return when the coordinator says that the place is ours; waits out a lost connection until the end.

        Raises LeaseLostError.
        """
        if self.wire.is_quiet:
            await self._ask()
        while not self.lost:
            version = self.wire.version
            self._look()
            if self.lost or (self.wire.online and self._confirmed == self.wire.incarnation):
                break
            await self.wire.wait_change(version, min(1.0, self._end - boottime()))
        if self.lost:
            raise LeaseLostError(f"{self.place} is no longer ours", hint=self.lost)

    async def extend(self, seconds: float) -> None:
        """Move the end of a timed lease by ``seconds``. Raises LeaseLostError, or LabError when offline."""
        await self.check()
        await self._write(replace(self.info, until=self.info.until + timedelta(seconds=seconds)))
        self._end = boottime() + self.info.until.timestamp() - self.wire.now()

    async def release(self) -> None:
        """Give the place back. Nothing happens where it is lost already. Raises LabError when offline.

        Two threads may ask for it: both wait until it is done.
        """
        if self._release is None:
            self._release = asyncio.create_task(self._give_back())
        await finish(self._release)

    async def _give_back(self) -> None:
        await self.stop()
        if self.lost:
            return
        self.lost = "it was given back"
        now = view.moment(self.wire.now())
        try:
            # first the tag: should we die in between, the janitor sees at once that it is over
            await self._write(self.info.ended(now, by_holder=True))
            await release(self.wire, self.place, self.info.holder, self.info.token)
        except LabError as error:
            hint = f"the janitor frees it by {self.info.until:%H:%M:%S} UTC"
            raise LabError(f"{self.place} could not be given back ({error.message})", hint=hint) from None

    async def stop(self) -> None:
        """No more heartbeats."""
        if self._task is not None:
            self.wire.watchers -= 1
        tasks = [task for task in (self._task, self._retake) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = self._retake = None

    async def _watch(self) -> None:
        try:
            await self._keep()
        except Exception as error:  # unwatched, it might be anyone's
            self.lost = f"it cannot be watched any more ({error!r})"
        self._on_lost(self.lost)
        with contextlib.suppress(LabError):
            await cancel(self.wire, self.info.token)  # it would keep the place from others for a minute

    async def _keep(self) -> None:
        while not self.lost:
            if self._may_be_quiet():
                await self._keep_quietly()
            version = self.wire.version
            if self.wire.online and self._confirmed != self.wire.incarnation:
                self._come_back()
            self._look()
            if self.lost:
                break
            if self.wire.online and boottime() >= self._next_beat:
                await self._beat()
            until = min(self._end - MARGIN, self._next_beat)
            await self.wire.wait_change(version, max(until - boottime(), 0.05))

    def _may_be_quiet(self) -> bool:
        wire, known = self.wire, self._confirmed == self.wire.incarnation
        return self._can_ask and wire.online and known and wire.watchers == 1

    async def _keep_quietly(self) -> None:
        """In a crowded lab: without the stream, which tells of every other place as well."""
        await self.wire.quiet()
        while not self.lost and self.wire.is_quiet:
            await self._ask()
            if boottime() >= self._next_beat:
                await self._beat()
            if self.wire.watchers > 1:
                await self.wire.wake()
            self._look()
            await asyncio.sleep(PULSE)

    async def _ask(self) -> None:
        """Ask about our reservation: acquired as long as the place is ours, unknown to a new coordinator."""
        try:
            request = pb.PollReservationRequest(token=self.info.token)
            answer = await self.wire.call("PollReservation", request)
        except RefusedError:
            self._can_ask = False
            await self.wire.wake()
        except LabError:
            await self.wire.wake()
        else:
            if answer.reservation.state != view.ACQUIRED:
                self.lost = "somebody released it (kick)"

    def _look(self) -> None:
        """Find out whether the place is lost."""
        if self.lost:
            return
        if boottime() > self._end - MARGIN:
            self.lost = f"the lease ended at {self.info.until:%H:%M:%S} UTC"
        elif self.wire.online and self._confirmed == self.wire.incarnation:
            message = self.wire.places.get(self.place)
            if message is None:
                self.lost = "the place was deleted"
            elif message.acquired != self.info.holder:
                self.lost = (
                    f"{message.acquired} has it" if message.acquired else "somebody released it (kick)"
                )
            else:
                self._follow(message)

    def _follow(self, message: Any) -> None:
        """Learn from the tag that somebody ended the lease, or another process of ours moved its end."""
        found = LeaseInfo.parse(message.tags.get(LEASE, ""))
        if found is None or not self._mine(found):
            self._next_beat = 0.0  # someone who had it before us was late to notice
        elif found.over:
            why = found.reason if found.reason != self.info.reason else "kick"
            self.lost = f"somebody ended it ({why})"
        elif found.until != self.info.until and not self.info.ttl:
            self.info = found
            self._end = boottime() + found.until.timestamp() - self.wire.now()

    async def _beat(self) -> None:
        """Write the tag; a lease that heartbeats keep alive ends so much later."""
        sent = boottime()
        now = view.moment(self.wire.now())
        until = now + timedelta(seconds=self.info.ttl) if self.info.ttl else self.info.until
        try:
            await self._write(replace(self.info, beat=now, until=until))
        except LabError:
            self._next_beat = boottime() + 1.0
            return
        if self.info.ttl:
            self._end = sent + self.info.ttl
        self._next_beat = sent + self.info.ttl / 3 if self.info.ttl else math.inf

    def _come_back(self) -> None:
        """After a connection was lost: the place is still ours, or nobody's, or it is lost."""
        message = self.wire.places.get(self.place)
        if message is not None and message.acquired == self.info.holder:
            self._confirmed = self.wire.incarnation
        elif message is not None and not message.acquired and not self._kicked(message):
            if self._retake is None or self._retake.done():
                self._retake = asyncio.create_task(self._take_again(self.wire.incarnation))
        else:
            self._confirmed = self.wire.incarnation  # it is lost: _look says why

    async def _take_again(self, incarnation: int) -> None:
        with contextlib.suppress(LabError):
            await self._write(self.info)  # the coordinator may know an old heartbeat, or none
            why_not = await take_again(self.wire, self.place, self.info.holder)
            if why_not:
                self.lost = why_not
            else:
                await self.wire.sync()
                self._confirmed = incarnation
            self.wire.touch()

    def _kicked(self, message: Any) -> bool:
        """Whether somebody ended the lease while the coordinator was out of our reach."""
        found = LeaseInfo.parse(message.tags.get(LEASE, ""))
        return found is not None and self._mine(found) and found.over

    def _mine(self, found: LeaseInfo) -> bool:
        return (found.holder, found.since) == (self.info.holder, self.info.since)

    async def _write(self, info: LeaseInfo) -> None:
        await set_tags(self.wire, self.place, {LEASE: info.text()})
        self.info = info


async def set_tags(wire: Wire, place: str, tags: dict[str, str]) -> None:
    """Set tags of a place; an empty value removes the tag."""
    await wire.call("SetPlaceTags", pb.SetPlaceTagsRequest(placename=place, tags=tags))


async def cancel(wire: Wire, token: str) -> None:
    """Cancel a reservation, where there is one."""
    if token:
        with contextlib.suppress(RefusedError):
            await wire.call("CancelReservation", pb.CancelReservationRequest(token=token))


async def release(wire: Wire, place: str, holder: str, token: str = "") -> None:
    """Release the place if ``holder`` still has it: the coordinator checks that in the same step.

    First his reservation ``token``, if he kept it: the place would stay allocated to him for a minute.
    """
    await cancel(wire, token)
    await wire.call("ReleasePlace", pb.ReleasePlaceRequest(placename=place, fromuser=holder))
