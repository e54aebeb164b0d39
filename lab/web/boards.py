"""The lab's boards as pages show them, and what a person who may can do with one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lab.base import dirs, duration
from lab.base.errors import ConfigError, LabError, SharelabError
from lab.places import OWN_TAGS, Health, Place, Waiting, connect, notes
from lab.places.model import person

if TYPE_CHECKING:
    from lab.places import Session

AGAIN = 5.0
"""Seconds between two tries to reach a coordinator."""

PATIENCE = 0.5
"""How long a page waits for a coordinator that has not answered yet, in seconds."""

QUEUE_AGE = 2.0
"""How old the queue may be, in seconds: unlike places it is asked for."""

POWER_TIMEOUT = 90.0
POWER = ("cycle", "on", "off")
LONGEST = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Row:
    """One board. ``holder`` is empty for a free one; ``ours``: the lease was made on this machine."""

    name: str
    soc: str
    target: str
    tags: str
    health: str
    note: str
    holder: str
    until: str
    reason: str
    waiting: int
    ours: bool

    @property
    def free(self) -> bool:
        """Whether it can be reserved now."""
        return not self.holder and self.health == Health.HEALTHY


@dataclass(frozen=True, slots=True)
class Waiter:
    """Somebody in the queue."""

    who: str
    wanted: str
    since: str
    place: str


@dataclass(frozen=True, slots=True)
class LabView:
    """``problem``: why nothing, or nothing new, is known of the lab."""

    address: str
    rows: tuple[Row, ...] = ()
    queue: tuple[Waiter, ...] = ()
    janitor: bool = True
    problem: str = ""


class Boards:
    """A connection to a lab that comes and goes. Safe to use from several threads."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._tried = -AGAIN
        self._problem = "not asked yet"
        self._opener = ThreadPoolExecutor(1, "lab-coordinator")
        self._opening: Future[Session] | None = None
        self._queue: tuple[float, list[Waiting], bool] = (-QUEUE_AGE, [], True)

    def close(self) -> None:
        """Leave the lab."""
        with self._lock:
            self._opener.shutdown(wait=False, cancel_futures=True)
            if self._session is not None:
                self._session.close()
                self._session = None

    def view(self) -> LabView:
        """What the lab looks like now. Never raises."""
        with self._lock:
            try:
                return self._view(self._connected())
            except SharelabError as error:
                return LabView(self.address, problem=error.message)

    def reserve(self, name: str, who: str, hold: str, reason: str) -> str:
        """Take the board ``name`` for ``who``, if it is free now. Raises ConfigError and LabError."""
        seconds = duration.seconds(hold)
        if not 1 <= seconds <= LONGEST:
            raise ConfigError("a reservation from a web page lasts a second at least, and 24 hours at most")
        self._known(name)
        with connect(self.address, user=who) as session:
            lease = session.reserve({"name": name}, wait=0, hold=seconds, reason=reason[:120])
            lease.note()
            return f"{lease.place} is yours until {clock(lease.until)}."

    def release(self, name: str) -> str:
        """Give back a lease that was made on this machine. Raises ConfigError and LabError."""
        note = self._note(name)
        with connect(self.address) as session:
            session.adopt(note).release()
        return f"{name} is free."

    def power(self, name: str, action: str) -> str:
        """Switch the board of a lease that was made on this machine. Raises ConfigError and LabError."""
        if action not in POWER:
            raise ConfigError(f"'{action}' is not a power action", hint=", ".join(POWER))
        note = self._note(name)
        with connect(self.address) as session:
            lease = session.adopt(note)
            lease.check()
            environment = lease.labgrid_environment()
            self._labgrid_power(name, action, environment)
            lease.close()
        return f"{name}: power {action} done."

    def _labgrid_power(self, name: str, action: str, environment: Mapping[str, str]) -> None:
        words = [sys.executable, "-m", "labgrid.remote.client", "-p", name, "power", action]
        try:
            done = subprocess.run(
                words,
                cwd=dirs.root(),  # python -m looks for modules in the current folder first
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=POWER_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"{name}: power {action} took more than {POWER_TIMEOUT:.0f} s") from None
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise LabError(f"{name}: power {action} failed", hint="".join(last))

    def _note(self, name: str) -> notes.Note:
        found = [note for note in notes.all_notes(self.address) if note.place == name]
        if not found:
            raise ConfigError(f"no lease on '{name}' was made here", hint="lab release, where it was made")
        return found[-1]

    def _known(self, name: str) -> None:
        with self._lock:
            self._connected().place(name)

    def _connected(self) -> Session:
        """The session, where there is one by now: no page waits long for a lab that does not answer."""
        if self._session is None:
            if self._opening is None:
                if time.monotonic() - self._tried < AGAIN:
                    raise LabError(self._problem)
                self._tried = time.monotonic()
                self._opening = self._opener.submit(connect, self.address)
            try:
                self._session = self._opening.result(PATIENCE)
            except TimeoutError:
                raise LabError("the lab's coordinator has not answered yet") from None
            except SharelabError as error:
                self._problem = error.message
                raise
            finally:
                if self._opening.done():
                    self._opening = None
        return self._session

    def _view(self, session: Session) -> LabView:
        places = session.places()
        if time.monotonic() - self._queue[0] > QUEUE_AGE and session.online:
            self._queue = (time.monotonic(), session.waiting(), session.janitor() is not None)
        _, waiting, janitor = self._queue
        ours = {note.holder for note in notes.all_notes(self.address)}
        return LabView(
            self.address,
            tuple(_row(place, waiting, ours) for place in places),
            tuple(_waiter(one) for one in waiting),
            janitor,
            "" if session.online else "the coordinator is out of reach; this is what was last known",
        )


def clock(moment: datetime) -> str:
    """A moment for people in several places: UTC, with the date where it is not today."""
    utc = moment.astimezone(UTC)
    return f"{utc:%H:%M} UTC" if utc.date() == datetime.now(UTC).date() else f"{utc:%d %b %H:%M} UTC"


def _row(place: Place, waiting: list[Waiting], ours: set[str]) -> Row:
    said = [place.health_reason] if place.health is Health.QUARANTINED else []
    said += [f"no live {', '.join(place.lacking)}"] if place.lacking else []
    lease = place.lease
    holder = place.acquired or ""
    if holder and lease is None:
        said.append("locked without a lease")
    return Row(
        name=place.name,
        soc=place.soc or "",
        target=place.target or "",
        tags=" ".join(
            f"{key}={value}"
            for key, value in sorted(place.tags.items())
            if key not in OWN_TAGS | {"soc", "target"}
        ),
        health=place.health.value if place.live else "dead",
        note="; ".join(filter(None, said)),
        holder=_who(holder) if holder else "",
        until=(clock(lease.until) if lease.timed else "it is done") if lease else "",
        reason=lease.reason if lease else "",
        waiting=sum(not one.place and place.suits(one.filters) for one in waiting),
        ours=bool(holder) and holder in ours,
    )


def _waiter(one: Waiting) -> Waiter:
    wanted = " ".join(f"{key}={value}" for key, value in one.filters.items() if key != "health")
    return Waiter(_who(one.owner), wanted or "any board", clock(one.since), one.place or "")


def _who(identity: str) -> str:
    return f"{person(identity)}@{identity.partition('/')[0]}"
