"""Whose the board is while tests run on it: asked before each test, and heard of when it is lost.

The lease is kept by another process (``lab run``, or whoever reserved the place). What happens to it
reaches the tests in two ways: `Holding.check` before a test touches the board, and an exception in the
middle of one. Then nobody touches the board again from here, not even to switch it off: it may be in
somebody else's hands already.
"""

from __future__ import annotations

import getpass
import json
import os
import queue
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Protocol

from lab.base.errors import LabError
from lab.places.model import LeaseLostError
from lab.runs.events import EventWriter
from lab.runs.launch import ASK, LOST

if TYPE_CHECKING:
    from lab.places import Lease

ANSWER = 90.0
"""Seconds until ``lab run`` has answered whether a lease holds; it knows for itself when one has run out."""


class Keeper(Protocol):
    """Who keeps the lease of the place."""

    def check(self) -> None:
        """Return when the place is still ours. Raises LeaseLostError."""


class Holding:
    """What a pytest session does about the lease of its board. Made in the main thread."""

    def __init__(self, keeper: Keeper) -> None:
        self.lost = ""
        """Why the place is not ours any more; empty while it is."""
        self._keeper = keeper
        self._main = threading.get_ident()
        self._open = False
        signal.signal(signal.SIGUSR1, self._interrupt)

    def check(self) -> None:
        """Ask whether the place is still ours. Raises LeaseLostError."""
        if not self.lost:
            try:
                self._keeper.check()
            except LeaseLostError as error:
                self.lost = str(error)
        if self.lost:
            raise LeaseLostError(self.lost)

    def lose(self, reason: str) -> None:
        """From any thread: the place is lost, now. What the main thread does on the board is broken off."""
        self.lost = self.lost or reason
        signal.pthread_kill(self._main, signal.SIGUSR1)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A stretch of the main thread that a loss may break off: a test, not the writing of its result."""
        self._open = True
        try:
            yield
        finally:
            self._open = False

    def _interrupt(self, *_: object) -> None:
        if self._open:
            self._open = False
            raise LeaseLostError(self.lost)


class Told:
    """``lab run`` keeps the lease; it is asked by an event, and answers and warns through a pipe."""

    def __init__(self, events: EventWriter, answers: IO[str]) -> None:
        self._events = events
        self._answers = answers
        self._held: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen(self, holding: Holding) -> None:
        """Hear of a loss from now on."""
        threading.Thread(target=self._read, args=(holding,), name="lease", daemon=True).start()

    def check(self) -> None:
        """See `Keeper`."""
        self._events.emit(ASK)
        try:
            reason = self._held.get(timeout=ANSWER)
        except queue.Empty:
            reason = f"nobody could say within {ANSWER:.0f} s whether the lease still holds"
        if reason:
            raise LeaseLostError(reason)

    def _read(self, holding: Holding) -> None:
        for line in self._answers:
            message = json.loads(line)
            if LOST in message:
                self._held.put(message[LOST])
                holding.lose(message[LOST])
            else:
                self._held.put("")


class Own:
    """Somebody reserved the place before: a lease that lives on elsewhere, or a plain labgrid lock."""

    def __init__(self, place: str) -> None:
        """Raises LabError where the place is not held under LG_HOSTNAME and LG_USERNAME."""
        from lab.places import connect  # gRPC: not for a board of a rack of our own

        self._session = connect()
        self._place = place
        self._holder = _identity()
        self._lease: Lease | None = None
        found = self._session.place(place)
        if found.acquired != self._holder:
            who = f"{found.acquired} has it" if found.acquired else "nobody has"
            raise LabError(
                f"place {place} is not reserved by {self._holder}: {who}",
                hint=f"lab reserve name={place} -- COMMAND sets what the command needs",
            )
        self._leased = found.lease is not None

    def listen(self, holding: Holding) -> None:
        """Hear of a loss from now on, where there is a lease."""
        if self._leased:
            self._lease = self._session.lease(self._place, self._holder, on_lost=holding.lose)

    def check(self) -> None:
        """See `Keeper`."""
        if self._lease is not None:
            self._lease.check()
        elif (now := self._session.place(self._place).acquired) != self._holder:
            raise LeaseLostError(f"{self._place} is no longer ours", hint=f"{now or 'nobody'} has it")


def own(place: str) -> Holding:
    """What there is to hold on to at a place that was reserved before. Errors as for `Own`."""
    keeper = Own(place)
    holding = Holding(keeper)
    keeper.listen(holding)
    return holding


def _identity() -> str:
    """Who we are to labgrid, by the rules of its own client."""
    host = os.environ.get("LG_HOSTNAME") or socket.gethostname()
    return f"{host}/{os.environ.get('LG_USERNAME') or getpass.getuser()}"
