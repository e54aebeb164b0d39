"""Waiting for a place with labgrid's reservations.

One who waits has a reservation in the coordinator's queue. What labgrid allocates may be of no use:
its scheduler does not know whether a place's exporter lives, or whether a holder of before a
restart still drives the board. Such a place is kept allocated, so that nobody else is sent there,
and another reservation is made for the same wait, as old as the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from lab.base.errors import ConfigError, LabError
from lab.places import view
from lab.places.doze import NOTICE, crowded, doze
from lab.places.lease import release, set_tags
from lab.places.loop import finish
from lab.places.model import HEALTH, LEASE, Health, LeaseInfo, Place, Waiting, aged, person
from lab.places.wire import RefusedError, Wire, pb
from lab.places.wording import vocabulary, words

POLL = 15.0  # labgrid forgets a reservation that nobody polled for 60 s
POLL_ALLOCATED = 4.0  # the janitor thinks one dead that holds a place allocated and is silent for 12 s
LOOK_QUIETLY = 60.0  # in a crowded lab
LOOK = 2.0  # also without a change that concerns us: someone ahead may have left
# After a coordinator's start holders come back and take their places again; others stand back so long.
GRACE = 3.0
FOREIGN_TTL = 60.0


@dataclass(frozen=True)
class Wish:
    """What is asked for. ``hold``: seconds of a timed lease; None for one that heartbeats keep alive."""

    filters: Mapping[str, str]
    hold: float | None = None
    ttl: float = 60.0
    reason: str = ""
    priority: float = 0.0
    exclude: frozenset[str] = frozenset()
    healthy: bool = True


_clock = time.monotonic


class Seeker:
    """One wait for one place."""

    def __init__(self, wire: Wire, wish: Wish, on_wait: Callable[[Waiting], None] | None) -> None:
        self.wire = wire
        self.wish = wish
        self.on_wait = on_wait
        self._since = view.moment(wire.now())
        self._mine: dict[str, Any] = {}  # token -> reservation as last seen
        self._polled: dict[str, float] = {}
        self._incarnation = 0
        self._not_before: dict[str, float] = {}  # place -> when another try makes sense
        self._respect: dict[tuple[str, str], float] = {}  # place and holder -> until when we wait for him
        self._got: dict[str, str] = {}  # our reservations that were allocated a place
        self._refused: dict[str, str] = {}
        self._next_look = 0.0
        self._trying: tuple[str, LeaseInfo] | None = None
        self._waiting = 0  # who waited when we came

    async def seek(self, wait: float | None) -> tuple[str, LeaseInfo]:
        """The place, acquired, and its lease as written to it.

        Raises ConfigError where no place could ever do, LabError when ``wait`` seconds were not enough.
        """
        self.wire.watchers += 1
        try:
            await self.wire.wake()
            found = await self._wait(wait)
            await finish(self._leave(found[1].token))
        except BaseException:  # also a wait that was broken off just after its place was taken
            await finish(self._give_up())
            raise
        finally:
            self.wire.watchers -= 1
        return found

    async def _wait(self, wait: float | None) -> tuple[str, LeaseInfo]:
        end = None if wait is None else _clock() + max(wait, 1.0)
        self.candidates()
        while True:
            version = self.wire.version
            if self.wire.online and self._incarnation != self.wire.incarnation:
                stood = await self._stand_back()
                end = None if end is None else end + stood
            if self.wire.online:
                with contextlib.suppress(LabError):
                    found = await self._step()
                    if found is not None:
                        return found
            if end is not None and _clock() >= end:
                raise LabError(self._why_not(wait or 0.0), hint=self._hint())
            left = LOOK_QUIETLY if end is None else end - _clock()
            if self._may_doze():
                await self._doze(min(left, LOOK_QUIETLY))
            else:
                await self.wire.wait_change(version, min(1.0, left))

    def candidates(self) -> list[Place]:
        """The places that could do, now or later. Raises ConfigError where there are none."""
        messages = self.wire.places.values()
        resources = self.wire.resources
        fit = [one for one in messages if view.satisfies(one, self.wish.filters)]
        found = [view.place(message, resources) for message in fit]
        if not found:
            places = [view.place(message, resources) for message in messages]
            raise ConfigError(
                f"no place has {words(self.wish.filters)}", hint=vocabulary(places, self.wish.filters)
            )
        left = [one for one in found if one.name not in self.wish.exclude]
        if not left:
            raise ConfigError(
                f"no place has {words(self.wish.filters)} besides {', '.join(sorted(self.wish.exclude))}"
            )
        return left

    def _may_doze(self) -> bool:
        waits = bool(self._mine) and not self._got and self.wire.online and self.wire.watchers == 1
        return (
            waits
            and crowded(self.wire, self._waiting)
            and not any(token in self.wire.allocated for token in self._mine)
        )

    async def _doze(self, seconds: float) -> None:
        if await doze(self.wire, list(self._mine), self._waiting, seconds):
            self._incarnation = self.wire.incarnation  # it knows our reservations, so it was not restarted
        self._polled = dict.fromkeys(self._mine, _clock())
        self._next_look = 0.0

    async def _step(self) -> tuple[str, LeaseInfo] | None:
        await self._poll()
        got = {token: name for token in self._mine if (name := self.wire.allocated.get(token))}
        if not got and not self._got and _clock() < self._next_look:
            return None  # this runs on every change in the lab
        self._got, self._next_look = got, _clock() + LOOK
        candidates = self.candidates()
        if self._at_limit(candidates):
            await self._leave()
        else:
            for name in got.values():
                found = await self._try(self._place(name))
                if found is not None:
                    return found
            if await self._ask(candidates, set(got.values())):
                return None
        await self._tell(candidates)
        return None

    def _place(self, name: str) -> Place:
        return view.place(self.wire.places[name], self.wire.resources)

    async def _stand_back(self) -> float:
        """Let holders of before a restart come first, unless this coordinator has run long enough already.

        What it forgets when it ends tells how long it runs at least: reservations, and who acquired what.
        Returns the seconds that this took.
        """
        incarnation = self.wire.incarnation
        try:
            answer = await self.wire.call("GetReservations", pb.GetReservationsRequest())
        except LabError:
            return 0.0
        self._waiting = sum(one.state == view.WAITING for one in answer.reservations)
        seen = [one.created for one in answer.reservations]
        seen += [one.changed for one in self.wire.places.values() if one.acquired]
        age = max(self.wire.now() - min(seen, default=self.wire.now()), _clock() - self.wire.since)
        pause = max(GRACE - age, 0.0)
        await asyncio.sleep(pause)
        self._polled = dict.fromkeys(self._mine, 0.0)  # after a restart they are gone, after a cut they live
        self._incarnation = incarnation
        return pause

    async def _ask(self, candidates: list[Place], got: set[str]) -> bool:
        """See that a reservation waits for all that could come free; whether one has a place already."""
        lucky = False
        waiting = [view.filters(one) for token, one in self._mine.items() if token not in self.wire.allocated]
        for filters in self._filters(candidates):
            could = {one.name for one in candidates if one.satisfies(filters)}
            if filters in waiting or (could and could <= got):
                continue  # one is made also where nothing is healthy now: others see who waits
            answer = await finish(self._queue_up(filters))
            lucky |= answer.state == view.ALLOCATED
        return lucky

    async def _queue_up(self, filters: Mapping[str, str]) -> Any:
        request = pb.CreateReservationRequest(prio=aged(self.wish.priority, self._since))
        request.filters["main"].filter.update(filters)
        answer = (await self.wire.call("CreateReservation", request)).reservation
        self.wire.hear_clock(answer.created)
        self._mine[answer.token] = answer
        self._polled[answer.token] = _clock()
        return answer

    def _filters(self, places: list[Place]) -> list[dict[str, str]]:
        """labgrid cannot exclude a place: where one is to be avoided, each other one is asked for by name."""
        health = {HEALTH: Health.HEALTHY.value} if self.wish.healthy else {}
        asked = {**self.wish.filters, **health}
        if self.wish.exclude:
            return [{**asked, "name": one.name} for one in places]
        return [asked]

    def _at_limit(self, places: list[Place]) -> bool:
        limits = [one.max_per_user for one in places if one.max_per_user is not None]
        if not limits:
            return False
        me = person(self.wire.identity)
        return sum(
            bool(one.acquired) and person(one.acquired) == me for one in self.wire.places.values()
        ) >= max(limits)

    async def _poll(self) -> None:
        """Keep the reservations alive, and drop those that the coordinator has dropped."""
        for token in list(self._mine):
            pause = POLL_ALLOCATED if token in self.wire.allocated else POLL
            if _clock() - self._polled[token] < pause:
                continue
            try:
                answer = await self.wire.call("PollReservation", pb.PollReservationRequest(token=token))
            except RefusedError:
                del self._mine[token]
                continue
            self._polled[token] = _clock()
            if answer.reservation.state not in (view.WAITING, view.ALLOCATED):
                del self._mine[token]
                with contextlib.suppress(RefusedError):
                    await self.wire.call("CancelReservation", pb.CancelReservationRequest(token=token))

    async def _try(self, place: Place) -> tuple[str, LeaseInfo] | None:
        """Take ``place``, which is allocated to us, where that is right."""
        now = view.moment(self.wire.now())
        me = self.wire.identity
        if (
            place.lacking
            or not self.wire.settled(self.wire.places[place.name])
            or place.acquired not in (None, me)
            or self._not_before.get(place.name, 0.0) > _clock()
        ):
            return None
        if place.last is not None and place.last.busy(now) and place.last.holder != me:
            # nobody has it acquired, yet someone's lease runs: cut off, or too late after a restart
            ttl = place.last.ttl or FOREIGN_TTL
            if self._respect.setdefault((place.name, place.last.holder), _clock() + ttl) > _clock():
                return None
        seconds = self.wish.ttl if self.wish.hold is None else self.wish.hold
        ttl = self.wish.ttl if self.wish.hold is None else 0.0
        until = now + timedelta(seconds=seconds)
        info = LeaseInfo(me, now, until, now, ttl, self.wish.reason)
        if ttl and crowded(self.wire) and self.wire.watchers == 1:
            info = replace(info, notice=NOTICE, token=place.reservation or "")
        # first the tag: nobody ever sees a place acquired by one of us without a lease
        self._trying = place.name, info
        await set_tags(self.wire, place.name, {LEASE: info.text()})
        try:
            if place.acquired is None:
                await finish(self.wire.call("AcquirePlace", pb.AcquirePlaceRequest(placename=place.name)))
                await self.wire.sync()  # the answer may be here before the stream has told so
        except RefusedError as error:
            self._trying = None
            self._refused[place.name] = f"{place.name} could not be taken ({error.message})"
            self._not_before[place.name] = _clock() + 5.0
            await set_tags(self.wire, place.name, {LEASE: info.ended(now, by_holder=True).text()})
            return None
        return place.name, info

    async def _tell(self, places: list[Place]) -> None:
        if self.on_wait is None:
            return
        answer = await self.wire.call("GetReservations", pb.GetReservationsRequest())
        everyone = [view.place(message, self.wire.resources) for message in self.wire.places.values()]
        queue = view.queue(answer.reservations, everyone)
        own = [one for one in queue if one.token in self._mine and one.place is None]
        free_at, note = view.outlook(places, view.moment(self.wire.now()))
        if self._refused and not note:
            note = "; ".join(self._refused.values())
        if self._at_limit(places):
            note = f"{person(self.wire.identity)} holds as many places as one may at a time"
        first = min(own, key=lambda one: one.position, default=None)
        if first is None:
            first = Waiting("", self.wire.identity, self.wish.filters, self.wish.priority, 0, self._since)
        told = replace(first, since=self._since, filters=self.wish.filters, priority=self.wish.priority)
        self.on_wait(replace(told, free_at=free_at, note=note))

    async def _give_up(self) -> None:
        """Leave the queue, and the place that was taken or being taken."""
        if self._trying is not None:
            place, info = self._trying
            now = view.moment(self.wire.now())
            with contextlib.suppress(LabError):
                await set_tags(self.wire, place, {LEASE: info.ended(now, by_holder=True).text()})
                await release(self.wire, place, self.wire.identity)
        await self._leave()

    async def _leave(self, keep: str = "") -> None:
        """Cancel all reservations but ``keep``."""
        for token in self._mine.keys() - {keep}:
            with contextlib.suppress(LabError):
                await self.wire.call(
                    "CancelReservation", pb.CancelReservationRequest(token=token), timeout=5.0
                )
        self._mine.clear()

    def _why_not(self, wait: float) -> str:
        return f"no place with {words(self.wish.filters)} came free" + (
            f" within {wait:.0f} s" if wait else ""
        )

    def _hint(self) -> str:
        with contextlib.suppress(ConfigError):
            return (
                view.outlook(self.candidates(), view.moment(self.wire.now()))[1]
                or "lab boards shows who has them"
            )
        return ""
