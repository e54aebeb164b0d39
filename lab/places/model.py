"""What is known of places, leases and those who wait: pure.

All that sharelab adds to a place lies in the place's own tags, so that every machine sees it and
labgrid's reservations can filter by it:

=================  ==========================================================================
``lease``          who holds the place until when (``LeaseInfo``); the last holder once it ended
``health``         ``healthy`` or ``quarantined``; reservations ask for ``health=healthy``
``health_reason``  why, and since when
``misses``         how many leases in a row nothing could be judged under, the lab having failed
``max_per_user``   how many places one person may hold at a time (from the lab's YAML)
=================  ==========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from lab.base.errors import LabError

LEASE = "lease"
HEALTH = "health"
HEALTH_REASON = "health_reason"
MAX_PER_USER = "max_per_user"
MISSES = "misses"
OWN_TAGS = frozenset({LEASE, HEALTH, HEALTH_REASON, MAX_PER_USER, MISSES})
"""Tags that sharelab keeps on a place itself; whoever syncs tags leaves these as they are."""

JANITOR = {"name": "(a janitor is here)"}
"""The filter of the reservation by which a janitor shows that it is there: no place has that name."""

NOBODY = {"name": "(nobody)"}
"""A filter of a reservation that is made for what the coordinator does beside: it looks at all others."""

SUFFIX = re.compile(r"\.[0-9a-f]{4}$")


class LeaseLostError(LabError):
    """The place is no longer ours: stop touching the board, now. Status MISS."""


class Health(StrEnum):
    """Whether reservations may get a place."""

    HEALTHY = "healthy"
    QUARANTINED = "quarantined"
    UNKNOWN = "unknown"  # nobody has said so far: treated as not healthy


def stamp(moment: datetime) -> str:
    """``moment`` as written in a tag: ISO 8601, UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def person(identity: str) -> str:
    """The person or CI user behind a holder ``host/user.1f2e``: the name without host and job's suffix."""
    return SUFFIX.sub("", identity.rpartition("/")[2])


@dataclass(frozen=True)
class LeaseInfo:
    """The lease that a place's tag tells of. Times are in the coordinator's clock.

    ``ttl``: seconds that each heartbeat adds; 0 for a timed lease, which no process keeps alive.
    ``over``: it was ended, by its holder or by somebody else; the tag stays to tell who was last.
    ``notice``: seconds that may pass until its holder knows of that (lab.places.doze); 0: he is told at once.
    ``token``: the reservation that he keeps to be told by.
    """

    holder: str
    since: datetime
    until: datetime
    beat: datetime
    ttl: float = 0.0
    reason: str = ""
    over: bool = False
    notice: float = 0.0
    token: str = ""

    @property
    def timed(self) -> bool:
        """Whether it ends at ``until`` without any process behind it."""
        return self.ttl == 0

    def valid(self, now: datetime) -> bool:
        """Whether it still runs."""
        return now < self.until and not self.over

    def busy(self, now: datetime) -> bool:
        """Whether its holder may still drive the board: until then nobody else must."""
        return now < self.until

    def text(self) -> str:
        """As the tag's value: ``key=value`` words, the reason last for it may have spaces."""
        words = [f"holder={self.holder}", f"until={stamp(self.until)}", f"since={stamp(self.since)}"]
        words += [f"beat={stamp(self.beat)}", f"ttl={self.ttl:g}", *(["over=yes"] if self.over else [])]
        words += [f"notice={self.notice:g} token={self.token}"] if self.notice else []
        reason = " ".join(self.reason.split())
        return " ".join(words) + (f" reason={reason}" if reason else "")

    @classmethod
    def parse(cls, text: str) -> LeaseInfo | None:
        """From a tag's value; None for what is no lease."""
        head, _, reason = text.partition(" reason=")
        words = dict(word.partition("=")[::2] for word in head.split())
        try:
            moments = {key: datetime.fromisoformat(words[key]) for key in ("since", "until", "beat")}
            if any(moment.tzinfo is None for moment in moments.values()):
                return None  # somebody else's tag: such times cannot be held against ours
            return cls(
                holder=words["holder"],
                ttl=float(words["ttl"]),
                reason=reason,
                over="over" in words,
                notice=float(words.get("notice", 0)),
                token=words.get("token", ""),
                **moments,
            )
        except (KeyError, ValueError):
            return None

    def ended(self, now: datetime, reason: str | None = None, *, by_holder: bool = False) -> LeaseInfo:
        """The same lease, over since ``now``; somebody else than its holder has to give him notice."""
        said = self.reason if reason is None else reason
        end = now if by_holder else now + timedelta(seconds=self.notice)
        return replace(self, until=min(end, self.until), reason=said, over=True)


@dataclass(frozen=True)
class Place:
    """One place as the coordinator and its tags tell of it.

    ``lacking``: the matches that no live resource answers now; ``live``: there are none.
    ``lease``: of whoever has the place acquired; None when it is free, or was locked without a
    lease (by plain ``labgrid-client``). ``last``: what the lease tag says, running or over.
    ``resources``: class name -> parameters, of those that are matched and live.
    """

    name: str
    tags: Mapping[str, str]
    health: Health
    health_reason: str
    lacking: tuple[str, ...]
    acquired: str | None
    lease: LeaseInfo | None
    last: LeaseInfo | None
    reservation: str | None
    changed: datetime
    comment: str = ""
    matches: tuple[str, ...] = ()
    resources: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def target(self) -> str | None:
        """The target (``targets/NAME.yaml``) of the board here."""
        return self.tags.get("target")

    @property
    def soc(self) -> str | None:
        """The SoC of the board here."""
        return self.tags.get("soc")

    @property
    def live(self) -> bool:
        """Whether an exporter offers everything that the place consists of."""
        return not self.lacking

    @property
    def max_per_user(self) -> int | None:
        """How many places one person may hold at a time."""
        text = self.tags.get(MAX_PER_USER, "")
        return int(text) if text.isdigit() else None

    def unfit(self) -> str:
        """Why nobody can get this place now; empty if they can, or when it is only taken."""
        if self.health is Health.QUARANTINED:
            return f"{self.name} is quarantined" + (f" ({self.health_reason})" if self.health_reason else "")
        if self.health is Health.UNKNOWN:
            return f"{self.name} has no health yet (lab health {self.name}, or lab heal {self.name})"
        if self.lacking:
            return f"{self.name} has no live {', '.join(self.lacking)}"
        return ""

    def satisfies(self, filters: Mapping[str, str]) -> bool:
        """Whether labgrid would allocate this place for ``filters`` (tags, or ``name``)."""
        return all(
            (self.name if key == "name" else self.tags.get(key)) == value for key, value in filters.items()
        )

    def suits(self, filters: Mapping[str, str]) -> bool:
        """Whether one who waits with ``filters`` could be given this place, now or once it is healed."""
        return self.satisfies({key: value for key, value in filters.items() if key != HEALTH})


@dataclass(frozen=True)
class Waiting:
    """One reservation in the queue.

    ``position``: 1 for whoever is next, among those who could take a place that this one could.
    ``place``: what it was allocated, if it was. ``free_at``: the place that is free first, and when
    at the latest. ``note``: why nothing can come of it now; empty when something can.
    """

    token: str
    owner: str
    filters: Mapping[str, str]
    priority: float
    position: int
    since: datetime
    place: str | None = None
    free_at: tuple[str, datetime] | None = None
    note: str = ""


# An hour of waiting weighs as much as this much priority, so that nothing waits for ever.
PRIORITY_PER_HOUR = 6.0
RETAKE = 1e12  # of who takes his place again after a restart: before all others
_ZERO = datetime(2200, 1, 1, tzinfo=UTC)
_OURS = 1000.0


def aged(priority: float, since: datetime) -> float:
    """labgrid's priority of a reservation that waits since ``since``.

    Priority that grows by the same rate for everyone keeps their order for ever, so that the
    order can be had from the moment each one began to wait, without a new reservation every minute.
    Greater than any that a person gives to ``labgrid-client reserve --prio``.
    """
    return priority + PRIORITY_PER_HOUR * ((_ZERO - since) / timedelta(hours=1))


def given(labgrid_priority: float, since: datetime) -> float:
    """The priority that was asked for, from the one labgrid knows. Others' is as it is."""
    if not ours(labgrid_priority):
        return labgrid_priority
    return round(labgrid_priority - aged(0.0, since), 1)


def ours(labgrid_priority: float) -> bool:
    """Whether a reservation was made here, and not by plain ``labgrid-client``."""
    return labgrid_priority > _OURS
