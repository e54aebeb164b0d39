"""``lab health``: try the boards of a lab out, and let reservations have those that are well."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.base import duration, ui
from lab.cli.coordinator import Address, who
from lab.cli.ending import Ending

if TYPE_CHECKING:
    from lab.places import Place


def health(
    places: Annotated[
        list[str] | None, typer.Argument(metavar="PLACE", help="The places (default: all that are free).")
    ] = None,
    wait: Annotated[str, typer.Option(metavar="TIME", help="Wait at most this long for a place.")] = "2m",
    results: Annotated[Path, typer.Option(metavar="DIR", help="Folder for this and earlier runs.")] = Path(
        "results"
    ),
    coordinator: Address = None,
) -> None:
    """Boot each board, run the cell that every SoC must pass, and set the place healthy or quarantined.

    Exit code 0: all that were tried are healthy; 3: at least one is not, or could not be tried.
    """
    from lab.base.errors import ExitCode, SharelabError
    from lab.places import Health, connect
    from lab.runs import health as checks

    Ending()  # on the way out the board goes off and the place is given back
    seconds = duration.seconds(wait)
    bad = 0
    with connect(coordinator) as session:
        found = [session.place(name) for name in places or ()] or session.places()
        for place in found:
            if not places and place.acquired:
                _say(place.name, "in use", who(place.acquired))
                continue
            if problem := _cannot(place):
                _say(place.name, "not tried", problem)
                bad += 1
                continue
            try:
                with ui.task(f"board {place.name}"):
                    request, folder = _run(place, results.absolute())
                    said = checks.check(session, place, request, folder, wait=seconds, listen=_ignore)
                    folder.publish()
            except SharelabError as error:
                _say(place.name, "not tried", str(error))
                bad += 1
                continue
            bad += said.health != Health.HEALTHY
            _say(place.name, said.health, said.reason or f"booted and measured in {said.duration:.0f} s")
    if bad:
        raise typer.Exit(int(ExitCode.LAB))


def _cannot(place: Place) -> str:
    """Why there is nothing to try out; empty where there is."""
    from lab.places import notes

    if not place.target:
        return f"it does not say its kind: labgrid-client -p {place.name} set-tags target=NAME"
    if place.lacking:
        return f"no live {', '.join(place.lacking)}: its exporter is away"
    mine = any((note.place, note.holder) == (place.name, place.acquired) for note in notes.all_notes())
    return f"you have it yourself: lab release {place.name}, then again" if mine else ""


def _run(place: Place, base: Path) -> Any:
    from datetime import UTC, datetime

    from lab.base.ids import new_id
    from lab.results.folder import RunFolder
    from lab.results.model import Run
    from lab.runs.health import request_for

    command = shlex.join(["lab", *sys.argv[1:]])
    run = Run(id=new_id(), started=datetime.now(UTC), command=command)
    folder, log = RunFolder.create(run, base)
    log.close()
    return request_for(place.target or "", run.id, folder, command), folder


def _ignore(_: dict[str, Any]) -> None:
    """Events are for those who watch a run."""


def _say(place: str, health: str, reason: str) -> None:
    colour = {"healthy": "green", "quarantined": "red"}.get(health, "yellow")
    from rich.markup import escape

    ui.out.print(f"{escape(place):12} [{colour}]{health:12}[/] {escape(reason)}", markup=True, soft_wrap=True)
