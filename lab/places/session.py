"""The coordinator as the rest of sharelab uses it: plain calls, leases as context managers."""

from __future__ import annotations

import contextlib
import getpass
import os
import queue
import re
import secrets
import socket
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from types import TracebackType

from lab.base.errors import ConfigError, LabError
from lab.places import loop, notes
from lab.places.address import coordinator_address, nobody_there
from lab.places.held import Lease
from lab.places.inventory import Inventory
from lab.places.lease import release
from lab.places.model import LEASE, LeaseLostError, Waiting
from lab.places.queue import Seeker, Wish
from lab.places.retake import take_again
from lab.places.wire import Wire, unanswered

UNFIT_FOR_NAME = re.compile(r"[^A-Za-z0-9_.@+-]+")


def connect(address: str | None = None, *, user: str | None = None) -> Session:
    """A session with the coordinator at ``address`` (``coordinator_address`` says which by default).

    ``user`` names whoever works here (default: LG_USERNAME, or the login name); four random digits
    make it unique, for labgrid tells holders apart by nothing else.

    Raises LabError where no coordinator answers.
    """
    host = os.environ.get("LG_HOSTNAME") or socket.gethostname()
    name = user or os.environ.get("LG_USERNAME") or login_name()
    clean_host, clean_name = (UNFIT_FOR_NAME.sub("-", word) for word in (host, name))
    if nobody_there(address):
        raise unanswered(coordinator_address(address))
    return Session(coordinator_address(address), f"{clean_host}/{clean_name}.{secrets.token_hex(2)}")


def login_name() -> str:
    """The user's name; in a container that runs under a number without a name, that: ``uid-1000700000``."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


class Session(Inventory):
    """A connection to a coordinator under one identity. As a context manager it gives back what it holds."""

    def __init__(self, address: str, identity: str) -> None:
        """Connect. Raises LabError where nobody answers."""
        self.address = address
        self.identity = identity
        self._leases: list[Lease] = []
        self._seeking: set[Future[Lease]] = set()
        self._wire: Wire = loop.run(self._open())

    async def _open(self) -> Wire:
        wire = Wire(self.address, self.identity)
        await wire.open()
        return wire

    def stop_waiting(self) -> None:
        """Make every ``reserve`` that waits, in whichever thread, leave the queue and raise LabError."""
        for future in list(self._seeking):
            future.cancel()

    def close(self) -> None:
        """Give back what is held by heartbeats, and leave."""
        self.stop_waiting()
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
        self._seeking.add(future)
        try:
            while (told := news.get()) is not None:
                if on_wait is not None:
                    on_wait(told)
        except BaseException:
            future.cancel()  # counts as done at once: it has left the queue when it says so itself
            with contextlib.suppress(queue.Empty):
                while news.get(timeout=15.0) is not None:
                    pass
            raise
        finally:
            self._seeking.discard(future)
        if future.cancelled():
            raise LabError("the wait was broken off")
        return future.result()

    async def _seek(
        self,
        wish: Wish,
        wait: float | None,
        news: queue.SimpleQueue[Waiting | None],
        on_lost: Callable[[str], None] | None,
    ) -> Lease:
        try:
            place, info = await Seeker(self._wire, wish, news.put).seek(wait)
            lease = Lease(self, self._wire, place, info, on_lost)
            self._leases.append(lease)  # here: whoever waited may have been interrupted just now
            return lease
        finally:
            news.put(None)

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
        last = found.last
        if found.acquired is None and last is not None and last.holder == holder and last.valid(self.now()):
            # the coordinator was restarted, and no janitor was there
            loop.run(self._acquire(place, holder))
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

    async def _acquire(self, place: str, holder: str) -> None:
        await take_again(self._wire, place, holder)
        await self._wire.sync()

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
        loop.run(release(self._wire, place, found.acquired, found.reservation or ""))
        return found.acquired
