"""``lab quarantine``, ``lab heal``, ``lab janitor``: a lab kept in order by hand, or by itself."""

from __future__ import annotations

import contextlib
import signal
from datetime import UTC, datetime
from typing import Annotated

import typer

from lab.base import duration, ui
from lab.cli.coordinator import Address, who


def quarantine(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="The place.")],
    reason: Annotated[str, typer.Argument(metavar="REASON", help="Why: everyone sees it in lab boards.")],
    coordinator: Address = None,
) -> None:
    """Let no reservation get this place any more; whoever holds it keeps it."""
    from lab.places import Health, connect

    with connect(coordinator) as session:
        found = session.place(place)
        session.set_health(place, Health.QUARANTINED, f"{reason} ({who(session.identity)})")
        held = f"; {who(found.acquired)} still holds it" if found.acquired else ""
        ui.out.print(f"{place} is quarantined{held}.  lab heal {place}")


def heal(
    places: Annotated[list[str], typer.Argument(metavar="PLACE", help="The places.")],
    coordinator: Address = None,
) -> None:
    """Say that places are healthy, so that reservations get them again (lab health tries it out first)."""
    from lab.places import Health, connect

    with connect(coordinator) as session:
        for place in places:
            found = session.place(place)
            session.set_health(place, Health.HEALTHY, f"by hand ({who(session.identity)})")
            lack = f", but has no live {', '.join(found.lacking)}" if found.lacking else ""
            ui.out.print(f"{place} is healthy{lack}.")


def janitor(
    once: Annotated[bool, typer.Option("--once", help="One round, for a timer; else it stays.")] = False,
    foreign: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Also release locks that plain labgrid-client has held for this long.",
        ),
    ] = None,
    coordinator: Address = None,
) -> None:
    """Free what dead jobs and ended leases hold. Any number of janitors may run, anywhere.

    One that stays is better: it also brings timed leases back after a restart of the coordinator.
    """
    import asyncio

    from lab.places import loop
    from lab.places.address import coordinator_address
    from lab.places.janitor import serve

    limit = None if foreign is None else duration.seconds(foreign)
    address = coordinator_address(coordinator)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        loop.run(serve(address, _say, foreign=limit, once=once))


def coordinator(
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where.")] = "127.0.0.1:20408",
) -> None:
    """Run labgrid's coordinator, as lab up and the systemd units do; its places are kept in this folder."""
    from lab.places.coordinator import run

    run(listen)


def _say(text: str) -> None:
    ui.out.print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}", soft_wrap=True)
