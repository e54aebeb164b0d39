"""What the commands about shared boards have in common: which coordinator, whose lease, how it is said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from lab.base import duration

if TYPE_CHECKING:
    from lab.places import LeaseInfo
    from lab.places.notes import Note

Address = Annotated[
    str | None,
    typer.Option(
        "--coordinator",
        metavar="HOST[:PORT]",
        help="labgrid's coordinator (default: LG_COORDINATOR, or the lab that lab up runs here).",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def seconds_option(value: str | None) -> float | None:
    """Callback of options that take a span of time: seconds."""
    return None if value is None else duration.seconds(value)


def clock(moment: datetime, now: datetime | None = None) -> str:
    """A moment as a person reads it: local time, with the date where it is not today."""
    local = moment.astimezone()
    today = (now or datetime.now(UTC)).astimezone().date()
    return f"{local:%H:%M}" if local.date() == today else f"{local:%d %b %H:%M}"


def who(identity: str) -> str:
    """A holder ``host/user.1f2e`` as a person writes it: ``user@host``."""
    from lab.places.model import person

    return f"{person(identity)}@{identity.partition('/')[0]}"


def end_of(lease: LeaseInfo) -> str:
    """When a lease ends; one that a process keeps alive has no end of its own."""
    return clock(lease.until) if lease.timed else "job ends"


def own_lease(address: str | None, place: str | None) -> Note:
    """The lease that this user holds from this machine, the one on ``place`` where that is given.

    Raises ConfigError where there is none, or more than one to choose from.
    """
    from lab.base.errors import ConfigError
    from lab.places import notes
    from lab.places.address import coordinator_address

    found = [
        note for note in notes.all_notes(coordinator_address(address)) if place is None or note.place == place
    ]
    if not found:
        which = f"no lease on '{place}'" if place else "no lease"
        raise ConfigError(f"you hold {which} from this machine", hint="lab reserve soc=NAME --for 2h")
    if len({note.place for note in found}) > 1:
        names = ", ".join(sorted({note.place for note in found}))
        raise ConfigError(f"you hold more than one board ({names})", hint="name the one that you mean")
    return found[-1]
