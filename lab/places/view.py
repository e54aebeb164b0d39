"""From labgrid's messages to ``Place`` and ``Waiting``: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from lab.places.model import (
    HEALTH,
    HEALTH_REASON,
    JANITOR,
    LEASE,
    RETAKE,
    Health,
    LeaseInfo,
    Place,
    Waiting,
    given,
)

WAITING, ALLOCATED, ACQUIRED = 0, 1, 2
"""States of labgrid's reservations (remote/common.py, ReservationState)."""

WILD = frozenset("*?[")
Resources = Mapping[tuple[str, str], Mapping[str, Any]]
"""What exporters offer: (exporter, group) -> name -> message."""


def moment(seconds: float) -> datetime:
    """Seconds since the epoch as UTC, to the millisecond: what a tag keeps of it."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)


def place(message: Any, resources: Resources) -> Place:
    """A place, joined with the resources that its matches find."""
    found: dict[str, dict[str, object]] = {}
    lacking = []
    for match in message.matches:
        hits = [one for one in _found(match, resources) if one.avail]
        if not hits:
            lacking.append(pattern(match))
        for resource in hits:
            name = match.rename if match.HasField("rename") and match.rename else resource.cls
            found[name] = values(resource.params)
    tags = dict(message.tags)
    last = LeaseInfo.parse(tags.get(LEASE, ""))
    acquired = message.acquired or None
    health = tags.get(HEALTH, "")
    return Place(
        name=message.name,
        tags=tags,
        health=Health(health) if health in (Health.HEALTHY, Health.QUARANTINED) else Health.UNKNOWN,
        health_reason=tags.get(HEALTH_REASON, ""),
        lacking=tuple(lacking),
        acquired=acquired,
        lease=last if last is not None and last.holder == acquired else None,
        last=last,
        reservation=message.reservation or None,
        changed=moment(message.changed),
        comment=message.comment,
        matches=tuple(pattern(match) for match in message.matches),
        resources=found,
    )


def pattern(match: Any) -> str:
    """``EXPORTER/GROUP/CLASS[/NAME]``."""
    parts = [match.exporter, match.group, match.cls]
    return "/".join([*parts, match.name] if match.HasField("name") else parts)


def _found(match: Any, resources: Resources) -> Iterator[Any]:
    """The resources that a match finds: as labgrid's ResourceMatch.ismatch (remote/common.py)."""
    for name, resource in _named(match, resources):
        fits = not match.HasField("name") or not match.name or fnmatchcase(name, match.name)
        if fits and fnmatchcase(resource.cls, match.cls):
            yield resource


def _named(match: Any, resources: Resources) -> Iterator[tuple[str, Any]]:
    """Those of the right exporter and group; at once, where the match names them without wild cards."""
    if WILD.isdisjoint(match.exporter + match.group):
        yield from resources.get((match.exporter, match.group), {}).items()
        return
    for (exporter, group), found in resources.items():
        if fnmatchcase(exporter, match.exporter) and fnmatchcase(group, match.group):
            yield from found.items()


def values(params: Any) -> dict[str, object]:
    """Parameters of a resource as plain values."""
    values: dict[str, object] = {}
    for key, value in params.items():
        kind = value.WhichOneof("kind")
        values[key] = None if kind is None else getattr(value, kind)
    return values


def filters(reservation: Any) -> dict[str, str]:
    """The tags that a reservation asks for."""
    return dict(reservation.filters["main"].filter)


def order(reservations: Iterable[Any]) -> list[Any]:
    """In the order in which the coordinator serves them."""
    return sorted(reservations, key=lambda one: (-one.prio, one.created))


def satisfies(message: Any, asked: Mapping[str, str]) -> bool:
    """As ``Place.satisfies``, of a message."""
    return all(
        (message.name if key == "name" else message.tags.get(key)) == value for key, value in asked.items()
    )


def queue(reservations: Iterable[Any], places: Sequence[Place]) -> list[Waiting]:
    """Everyone who waits, or was allocated a place that he has not yet taken, next first."""
    result: list[Waiting] = []
    ahead: Counter[tuple[tuple[str, str], ...]] = Counter()  # what is asked for -> by how many
    acquired = {one.name for one in places if one.acquired}
    wants: dict[tuple[tuple[str, str], ...], frozenset[str]] = {}
    for one in order(reservations):
        asked = filters(one)
        if asked == JANITOR or one.prio == RETAKE:
            continue
        allocated = one.allocations.get("main")
        if one.state not in (WAITING, ALLOCATED) or allocated in acquired:
            continue
        key = tuple(sorted(asked.items()))
        if key not in wants:
            wants[key] = frozenset(each.name for each in places if each.suits(asked))
        candidates = wants[key]
        position = 1 + sum(n for other, n in ahead.items() if not candidates.isdisjoint(wants[other]))
        if not allocated:
            ahead[key] += 1
        since = moment(one.created)
        result.append(
            Waiting(
                token=one.token,
                owner=one.owner,
                filters=asked,
                priority=given(one.prio, since),
                position=0 if allocated else position,
                since=since,
                place=allocated or None,
            )
        )
    return result


def outlook(candidates: Sequence[Place], now: datetime) -> tuple[tuple[str, datetime] | None, str]:
    """For one who waits: the candidate that is free first, and when at the latest; or why none will be."""
    fit = [one for one in candidates if not one.unfit()]
    if not fit:
        return None, "; ".join(one.unfit() for one in candidates)
    ends = [(one.lease.until, one.name) for one in fit if one.lease is not None and one.lease.timed]
    if not ends:
        return None, ""
    until, name = min(ends)
    return (name, max(until, now)), ""
