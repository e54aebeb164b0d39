"""The difference between a lab file and the coordinator's places, and how it is made to vanish."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from lab.admin.labfile import LabFile, Match, WantedPlace
from lab.places import OWN_TAGS

if TYPE_CHECKING:
    from lab.places import Session

FROM_FILE = frozenset({"max_per_user"})
"""What sharelab keeps in a place's tags, but takes from the lab file."""


class Kind(Enum):
    """What becomes of a place."""

    NEW = "new"
    CHANGED = "changed"
    EXTRA = "not in the file"


@dataclass(frozen=True)
class Change:
    """What is to be done to one place.

    ``tags`` are to be set (empty: removed), ``before`` is what they were. ``held``: who has the
    place. labgrid lets one change the matches of a held place and delete it, and then forgets to
    give its resources back; so that waits.
    """

    place: str
    kind: Kind
    tags: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)
    add: tuple[Match, ...] = ()
    remove: tuple[Match, ...] = ()
    held: str = ""

    @property
    def waits(self) -> bool:
        """Whether a part of it has to wait until nobody holds the place."""
        return bool(self.held) and (self.kind is Kind.EXTRA or bool(self.add or self.remove))

    def lines(self) -> Iterator[str]:
        """The difference, ``-`` what goes and ``+`` what comes."""
        for match in self.remove:
            yield f"- match {match}"
        for match in self.add:
            yield f"+ match {match}"
        for key, value in self.tags.items():
            if key in self.before:
                yield f"- {key}={self.before[key]}"
            if value:
                yield f"+ {key}={value}"


def present(session: Session) -> list[Any]:
    """The coordinator's places as labgrid's messages: with the names of their matches."""
    from lab.places.wire import pb

    return list(session.call("GetPlaces", pb.GetPlacesRequest()).places)


def differences(lab: LabFile, messages: Iterable[Any]) -> list[Change]:
    """What has to change, the file's places first. Places that are as they should be are left out."""
    there = {message.name: message for message in messages}
    found = [_difference(wanted, there.pop(wanted.name, None)) for wanted in lab.places]
    extra = [Change(name, Kind.EXTRA, held=one.acquired) for name, one in sorted(there.items())]
    return [one for one in found if one is not None] + extra


def _difference(wanted: WantedPlace, message: Any | None) -> Change | None:
    if message is None:
        return Change(wanted.name, Kind.NEW, tags=wanted.tags, add=wanted.matches)
    ours = {key: value for key, value in message.tags.items() if key not in OWN_TAGS - FROM_FILE}
    tags = {key: value for key, value in wanted.tags.items() if ours.get(key) != value}
    tags |= dict.fromkeys(ours.keys() - wanted.tags.keys(), "")
    matches = [_match(one) for one in message.matches]
    add = tuple(one for one in wanted.matches if one not in matches)
    remove = tuple(one for one in matches if one not in wanted.matches)
    if not (tags or add or remove):
        return None
    return Change(wanted.name, Kind.CHANGED, tags, ours, add, remove, message.acquired)


def _match(message: Any) -> Match:
    parts = [message.exporter, message.group, message.cls]
    return Match("/".join([*parts, message.name] if message.name else parts), message.rename)


def apply(session: Session, change: Change) -> None:
    """Do it, except for what has to wait. Applied again to what it made, it would be no difference."""
    if change.kind is Kind.EXTRA:
        if not change.waits:
            session.delete(change.place)
        return
    if change.kind is Kind.NEW:
        session.create(change.place, change.tags)
    elif change.tags:
        session.set_tags(change.place, change.tags)
    if not change.waits:
        for match in change.remove:  # first: labgrid takes a match with another name for the same one
            session.unmatch(change.place, match.pattern)
        for match in change.add:
            session.match(change.place, match.pattern, match.rename or None)
