"""``lab sync``: bring the coordinator's places in line with the lab's file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from lab.base import ui
from lab.cli.coordinator import Address
from lab.cli.units import LabYaml, load_lab

if TYPE_CHECKING:
    from lab.admin.labfile import LabFile
    from lab.admin.sync import Change
    from lab.places import Session


def sync(
    file: LabYaml,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show the difference only.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove the places that the file does not have.")
    ] = False,
    coordinator: Address = None,
) -> None:
    """Show how the coordinator's places differ from the lab's file, and make them the same.

    The coordinator is the one of --coordinator, of LG_COORDINATOR, or of the file.

    Health, leases and who holds what are never touched. Matches of a place that
    someone holds are left for later, and it is not removed.
    """
    from lab.places import connect

    lab = load_lab(file)
    with connect(coordinator or os.environ.get("LG_COORDINATOR") or lab.address) as session:
        ui.err.print(f"{file} and the coordinator at {session.address}", soft_wrap=True)
        bring_in_line(lab, session, dry_run=dry_run, prune=prune)
        if not dry_run:
            next_steps(lab, session)


def bring_in_line(lab: LabFile, session: Session, *, dry_run: bool = False, prune: bool = False) -> None:
    """Show the difference and, without ``dry_run``, apply it."""
    from lab.admin.sync import Kind, apply, differences, present

    done = waiting = 0
    for change in differences(lab, present(session)):
        skipped = change.kind is Kind.EXTRA and not prune
        _show(change, skipped)
        if not skipped:
            waiting += change.waits
            done += not (change.waits and change.kind is Kind.EXTRA)
            if not dry_run:
                apply(session, change)
    _summary(done, waiting, dry_run)


def _show(change: Change, skipped: bool) -> None:
    from lab.admin.sync import Kind

    notes = {Kind.NEW: "new", Kind.CHANGED: "", Kind.EXTRA: "goes"}
    note = "not in the file (--prune removes it)" if skipped else notes[change.kind]
    sign = {Kind.NEW: "+", Kind.CHANGED: "~", Kind.EXTRA: "?" if skipped else "-"}[change.kind]
    ui.out.print(f"{sign} {change.place:<16} {note}".rstrip(), soft_wrap=True)
    for line in change.lines():
        later = "    (later)" if change.waits and " match " in line else ""
        ui.out.print(f"    {line}{later}", soft_wrap=True)
    if change.waits and not skipped:
        ui.out.print(f"    held by {change.held}: lab sync again when it is free", soft_wrap=True)


def _summary(done: int, waiting: int, dry_run: bool) -> None:
    if not done and not waiting:
        ui.out.print("no difference")
        return
    verb = "would be changed" if dry_run else "changed"
    later = f", {waiting} held: their matches or their removal wait" if waiting else ""
    ui.out.print(f"{done} {'place' if done == 1 else 'places'} {verb}{later}")


def next_steps(lab: LabFile, session: Session) -> None:
    """What still keeps a place of the file from being reserved."""
    from lab.places import Health

    wanted = {place.name for place in lab.places}
    here = [place for place in session.places() if place.name in wanted]
    without: dict[str, list[str]] = {}
    for place in here:
        for exporter in {match.split("/")[0] for match in place.lacking}:
            without.setdefault(exporter, []).append(place.name)
    for exporter, names in without.items():
        text = f"exporter {exporter} does not offer all that these need: {', '.join(names)}"
        ui.err.print(f"{text}  (lab doctor {lab.path})", soft_wrap=True)
    new = [place for place in here if place.health is Health.UNKNOWN]
    if new:
        text = f"without health, so nobody gets them yet: {', '.join(place.name for place in new)}"
        ui.err.print(text, soft_wrap=True)
        tries = next((f"lab health {place.name} tries it; " for place in new if place.target), "")
        ui.err.print(f"  {tries}lab heal {new[0].name} trusts it", soft_wrap=True)
