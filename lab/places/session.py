"""The coordinator as the rest of sharelab uses it: plain calls, leases as context managers."""

from __future__ import annotations

import contextlib
import getpass
import os
import queue
import re
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType
from typing import Any

from lab.base.errors import ConfigError
from lab.places import loop, notes, view
from lab.places.address import coordinator_address
from lab.places.held import Lease
from lab.places.lease import release, set_tags
from lab.places.model import HEALTH, HEALTH_REASON, LEASE, Health, LeaseLostError, Place, Waiting
from lab.places.queue import Seeker, Wish
from lab.places.wire import Wire, pb

UNFIT_FOR_NAME = re.compile(r"[^A-Za-z0-9_.@+-]+")


def connect(address: str | None = None, *, user: str | None = None) -> Session:
    """A session with the coordinator at ``address`` (``coordinator_address`` says which by default).

    ``user`` names whoever works here (default: LG_USERNAME, or the login name); four random digits
    make it unique, for labgrid tells holders apart by nothing else.

    Raises LabError where no coordinator answers.
    """
    host = os.environ.get("LG_HOSTNAME") or socket.gethostname()
    name = user or os.environ.get("LG_USERNAME") or getpass.getuser()
    clean_host, clean_name = (UNFIT_FOR_NAME.sub("-", word) for word in (host, name))
    return Session(coordinator_address(address), f"{clean_host}/{clean_name}.{secrets.token_hex(2)}")


class Session:
    """A connection to a coordinator under one identity. As a context manager it gives back what it holds."""

    def __init__(self, address: str, identity: str) -> None:
        """Connect. Raises LabError where nobody answers."""
        self.address = address
        self.identity = identity
        self._leases: list[Lease] = []
        self._wire: Wire = loop.run(self._open())

    async def _open(self) -> Wire:
        wire = Wire(self.address, self.identity)
        await wire.open()
        return wire

    def close(self) -> None:
        """Give back what is held by heartbeats, and leave."""
        for lease in list(self._leases):
            lease.close()
        loop.run(self._wire.close())

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def forget(self, lease: Lease) -> None:
        """For leases that are given back."""
        if lease in self._leases:
            self._leases.remove(lease)

    @property
    def online(self) -> bool:
        """Whether the coordinator is connected just now."""
        return self._wire.online

    def now(self) -> datetime:
        """The time by the coordinator's clock, as far as this session has seen it."""
        return view.moment(self._wire.now())

    def places(self) -> list[Place]:
        """All places, by name."""
        resources = dict(self._wire.resources)
        messages = sorted(self._wire.places.copy().items())
        return [view.place(message, resources) for _, message in messages]

    def place(self, name: str) -> Place:
        """The place ``name``. Raises ConfigError where there is none."""
        message = self._wire.places.get(name)
        if message is None:
            known = ", ".join(sorted(self._wire.places)) or "it has none yet"
            raise ConfigError(f"the lab has no place '{name}'", hint=f"places: {known}")
        return view.place(message, dict(self._wire.resources))

    def resources(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        """What exporters offer: (exporter, group, name) -> cls, avail, acquired, params."""
        return {
            key: {
                "cls": one.cls,
                "avail": one.avail,
                "acquired": one.acquired or None,
                "params": view.values(one.params),
            }
            for key, one in self._wire.resources.copy().items()
        }

    def waiting(self) -> list[Waiting]:
        """Everyone who waits, or was just allocated a place, next first."""
        answer = self.call("GetReservations", pb.GetReservationsRequest())
        return view.queue(answer.reservations, self.places())

    def reserve(
        self,
        filters: Mapping[str, str],
        *,
        wait: float | None = None,
        hold: float | None = None,
        ttl: float = 60.0,
        reason: str = "",
        priority: float = 0.0,
        exclude: Collection[str] = (),
        healthy: bool = True,
        on_wait: Callable[[Waiting], None] | None = None,
        on_lost: Callable[[str], None] | None = None,
    ) -> Lease:
        """Wait for a place whose tags are ``filters`` (``name`` is the place's own) and take it.

        ``wait``: seconds at most; None: for ever; 0: only what is free now. ``hold``: a timed lease of
        so many seconds; None: one that this process keeps alive, ``ttl`` seconds from each heartbeat.
        ``healthy=False``: take also what is quarantined. ``on_wait`` is called in this thread, every
        few seconds of waiting; ``on_lost`` in another one, with the reason, as soon as a place is lost.

        Raises ConfigError for what no place could ever satisfy, LabError after ``wait`` seconds.
        """
        wish = Wish(dict(filters), hold, ttl, reason, priority, frozenset(exclude), healthy)
        news: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        future = loop.start(self._seek(wish, wait, news, on_lost))
        try:
            while (told := news.get()) is not None:
                if on_wait is not None:
                    on_wait(told)
            lease = future.result()
        except BaseException:
            self._abandon(future)
            raise
        self._leases.append(lease)
        return lease

    async def _seek(
        self,
        wish: Wish,
        wait: float | None,
        news: queue.SimpleQueue[Waiting | None],
        on_lost: Callable[[str], None] | None,
    ) -> Lease:
        try:
            place, info = await Seeker(self._wire, wish, news.put).seek(wait)
            return Lease(self, self._wire, place, info, on_lost)
        finally:
            news.put(None)

    @staticmethod
    def _abandon(future: Future[Lease]) -> None:
        """Leave the queue; give back what came in the very moment."""
        future.cancel()
        with contextlib.suppress(BaseException):
            future.result(15.0).release()

    def lease(
        self, place: str, holder: str | None = None, on_lost: Callable[[str], None] | None = None
    ) -> Lease:
        """Take up the lease on ``place`` of ``holder`` (default: the one that this user noted here).

        Raises LeaseLostError where that one holds it no longer, ConfigError where none is noted.
        """
        if holder is None:
            noted = [one for one in notes.all_notes(self.address) if one.place == place]
            if not noted:
                raise ConfigError(
                    f"you hold no lease on '{place}'", hint=f"lab reserve name={place} --for 2h"
                )
            holder = noted[-1].holder
        found = self.place(place)
        if found.lease is None or found.lease.holder != holder:
            notes.forget(self.address, place, holder)
            now = f"{found.acquired} has it" if found.acquired else "nobody has it"
            raise LeaseLostError(f"your lease on {place} is over", hint=f"{now}; lab reserve name={place}")
        info = found.lease

        async def hold() -> Lease:
            return Lease(self, self._wire, place, info, on_lost, adopted=True)

        lease = loop.run(hold())
        self._leases.append(lease)
        return lease

    def adopt(self, note: notes.Note, on_lost: Callable[[str], None] | None = None) -> Lease:
        """Take up the lease that ``note`` tells of. Raises LeaseLostError where it is over."""
        return self.lease(note.place, note.holder, on_lost)

    def kick(self, place: str, reason: str = "") -> str | None:
        """End whatever lease or lock is on ``place``; its holder loses it at once. Who that was."""
        found = self.place(place)
        if found.acquired is None:
            return None
        if found.lease is not None:
            self.set_tags(place, {LEASE: found.lease.ended(self.now(), reason or None).text()})
        loop.run(release(self._wire, place, found.acquired))
        return found.acquired

    def set_tags(self, place: str, tags: Mapping[str, str]) -> None:
        """Set tags; an empty value removes one. Raises ConfigError for a place that is not there."""
        self.place(place)
        loop.run(set_tags(self._wire, place, dict(tags)))

    def set_health(self, place: str, health: Health, reason: str = "") -> None:
        """Say whether reservations may get ``place``, and why."""
        self.set_tags(
            place, {HEALTH: health.value if health is not Health.UNKNOWN else "", HEALTH_REASON: reason}
        )

    def create(self, place: str, tags: Mapping[str, str] = {}, matches: Collection[str] = ()) -> None:
        """Make a place; matches are ``EXPORTER/GROUP/CLASS[/NAME]``. It has no health yet."""
        self.call("AddPlace", pb.AddPlaceRequest(name=place))
        for one in matches:
            self.match(place, one)
        if tags:
            self.call("SetPlaceTags", pb.SetPlaceTagsRequest(placename=place, tags=dict(tags)))

    def delete(self, place: str) -> None:
        """Remove a place."""
        self.call("DeletePlace", pb.DeletePlaceRequest(name=place))

    def match(self, place: str, pattern: str, rename: str | None = None) -> None:
        """Add a match to a place."""
        request = pb.AddPlaceMatchRequest(placename=place, pattern=pattern)
        if rename is not None:
            request.rename = rename
        self.call("AddPlaceMatch", request)

    def unmatch(self, place: str, pattern: str, rename: str | None = None) -> None:
        """Take a match from a place."""
        request = pb.DeletePlaceMatchRequest(placename=place, pattern=pattern)
        if rename is not None:
            request.rename = rename
        self.call("DeletePlaceMatch", request)

    def set_comment(self, place: str, comment: str) -> None:
        """labgrid's free text about a place."""
        self.call("SetPlaceComment", pb.SetPlaceCommentRequest(placename=place, comment=comment))

    def call(self, method: str, request: Any) -> Any:
        """Any other call of labgrid's service; messages are in ``lab.places.wire.pb``."""
        return loop.run(self._wire.call(method, request))

    def events(self, pause: float = 0.2, idle: float = 5.0) -> Iterator[None]:
        """Yield once now, then after every change (at most one each ``pause`` s), and every ``idle`` s."""
        while True:
            version = self._wire.version
            yield
            time.sleep(pause)
            loop.run(self._wire.wait_change(version, idle))
