"""``lab boards``: every place of the lab, who has it and who waits."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lab.base import duration, ui
from lab.cli.coordinator import Address, Json, clock, end_of, who

if TYPE_CHECKING:
    from datetime import datetime

    from lab.places import Place, Session, Waiting

HEALTH = {"healthy": Text("healthy", "green"), "quarantined": Text("quarantined", "red")}
WIDE = 110
"""Columns of a terminal from which on all tags of a place stand in one line."""
SHOWN_OTHERWISE = {"soc"}


def boards(
    filters: Annotated[
        list[str] | None, typer.Argument(metavar="TAG=VALUE", help="Only places with these tags.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it as it changes.")] = False,
    as_json: Json = False,
    coordinator: Address = None,
) -> None:
    """Show every board of the lab: SoC, tags, health, who holds it until when, who waits.

    Examples:
      lab boards soc=rk3588
      lab boards --watch
    """
    from lab.cli.reserve import tags
    from lab.places import connect

    asked = tags(filters or [])
    with connect(coordinator) as session:
        if watch:
            _watch(session, asked, as_json=as_json)
        elif as_json:
            ui.out.print_json(json.dumps(_data(session, asked)))
        else:
            ui.out.print(picture(session, asked))


def _watch(session: Session, asked: dict[str, str], *, as_json: bool) -> None:
    from lab.base.errors import LabError

    try:
        if as_json:
            for _ in session.events(idle=60.0):
                print(json.dumps(_data(session, asked)), flush=True)
            return
        with Live(console=ui.out, auto_refresh=False, screen=ui.out.is_terminal) as live:
            for _ in session.events():
                try:
                    live.update(picture(session, asked), refresh=True)
                except LabError as error:
                    live.update(Text(f"{error}; trying again", "red"), refresh=True)
    except KeyboardInterrupt:
        pass


def picture(session: Session, asked: dict[str, str]) -> Group:
    """The places with the tags ``asked``, and who waits for them."""
    places = [one for one in session.places() if one.satisfies(asked)]
    names = {one.name for one in places}
    waiting = [
        one
        for one in session.waiting()
        if one.place in names or any(place.suits(one.filters) for place in places)
    ]
    if not places:
        which = " with these tags" if asked else " yet (lab sync LAB.yaml makes them)"
        return Group(Text(f"the lab at {session.address} has no places{which}"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    waited = [sum(not one.place and place.suits(one.filters) for one in waiting) for place in places]
    queued = ("WAITING",) if any(waited) else ()
    wide = ui.out.width >= WIDE
    for column in ("PLACE", "SOC", "TAGS", "HEALTH", "HELD BY", "UNTIL", *queued, *([""] if wide else [])):
        table.add_column(column, no_wrap=bool(column), overflow="fold")
    between = " " if wide else "\n"
    for place, count in zip(places, waited, strict=True):
        table.add_row(
            Text(place.name),
            Text(place.soc or "-"),
            Text(between.join(f"{key}={value}" for key, value in _other_tags(place).items()) or "-"),
            HEALTH.get(place.health.value, Text("unknown", "yellow")) if place.live else Text("dead", "red"),
            *_holder(place),
            *([str(count or "-")] if queued else []),
            *([Text(_note(place), "dim")] if wide else []),
        )
    parts: list[Any] = [table]
    notes = Table(box=None, pad_edge=False, show_header=False)
    for place in places:
        if _note(place):
            notes.add_row(Text(place.name), Text(_note(place), "dim"))
    if notes.row_count and not wide:
        parts += [Text(""), notes]
    if waiting:
        parts += [Text(""), _queue(waiting, session.now())]
    if session.janitor() is None:
        parts += [
            Text(""),
            Text("No janitor runs in this lab: what dead jobs hold is not freed (lab janitor).", "yellow"),
        ]
    return Group(*parts)


def _other_tags(place: Place) -> dict[str, str]:
    from lab.places import OWN_TAGS

    return {key: value for key, value in sorted(place.tags.items()) if key not in OWN_TAGS | SHOWN_OTHERWISE}


def _holder(place: Place) -> tuple[Text, str]:
    if place.acquired is None:
        return Text("-"), "-"
    return Text(who(place.acquired)), end_of(place.lease) if place.lease else "?"


def _note(place: Place) -> str:
    words = []
    if place.health.value == "quarantined" and place.health_reason:
        words.append(place.health_reason)
    if place.lacking:
        words.append(f"no live {', '.join(place.lacking)}")
    if place.lease is not None and place.lease.reason:
        words.append(place.lease.reason)
    if place.acquired and place.lease is None:
        words.append("locked without a lease")
    return "; ".join(words)


def _queue(waiting: list[Waiting], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("WAITING", "FOR", "PRIORITY", "SINCE", ""):
        table.add_column(column, no_wrap=True)
    for one in waiting:
        asked = {key: value for key, value in one.filters.items() if key != "health"}
        position = f"is given {one.place}" if one.place else f"{ordinal(one.position)} in line"
        since = f"{clock(one.since, now)} ({duration.written((now - one.since).total_seconds())})"
        wanted = " ".join(f"{key}={value}" for key, value in asked.items()) or "any board"
        table.add_row(Text(who(one.owner)), Text(wanted), f"{one.priority:g}", since, Text(position))
    return table


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, ..."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _data(session: Session, asked: dict[str, str]) -> dict[str, Any]:
    """What --json prints. Times are ISO 8601, UTC."""
    from lab.places.model import stamp

    places = []
    for place in session.places():
        if not place.satisfies(asked):
            continue
        lease = place.lease
        places.append(
            {
                "name": place.name,
                "soc": place.soc,
                "target": place.target,
                "tags": _other_tags(place),
                "health": place.health.value,
                "health_reason": place.health_reason,
                "live": place.live,
                "lacking": list(place.lacking),
                "acquired": place.acquired,
                "lease": None
                if lease is None
                else {
                    **asdict(lease),
                    "timed": lease.timed,
                    **{key: stamp(getattr(lease, key)) for key in ("since", "until", "beat")},
                },
            }
        )
    waiting = [
        {
            "owner": one.owner,
            "filters": dict(one.filters),
            "priority": one.priority,
            "position": one.position,
            "since": stamp(one.since),
            "place": one.place,
        }
        for one in session.waiting()
    ]
    return {
        "coordinator": session.address,
        "time": stamp(session.now()),
        "janitor": session.janitor(),
        "places": places,
        "waiting": waiting,
    }
