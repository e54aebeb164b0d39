"""``lab doctor``: is this machine, the way to the coordinator and the lab behind it as they should be."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lab.base import ui
from lab.base.errors import ExitCode, LabError
from lab.cli.coordinator import Address, Json

if TYPE_CHECKING:
    from lab.admin.doctor.finding import Finding
    from lab.places import Session

SIGNS = {"ok": "[green]✓[/]", "info": "·", "warning": "[yellow]![/]", "bad": "[red]✗[/]"}


def doctor(
    file: Annotated[
        Path | None, typer.Argument(metavar="[LAB.yaml]", help="The lab's file, to hold the lab against.")
    ] = None,
    coordinator: Address = None,
    as_json: Json = False,
) -> None:
    """Check this machine and a lab, step by step, and say what to do.

    Nothing is changed, and no board is touched. Exit code 3 where something
    keeps a board from being used.
    """
    found: list[tuple[str, Finding]] = []
    chapter = subject = ""
    for title, finding in _findings(file, coordinator):
        found.append((title, finding))
        if not as_json:
            if title != chapter:
                ui.out.print(title, style="bold")
            _show(finding, again=(title, finding.subject) == (chapter, subject))
            chapter, subject = title, finding.subject
    bad = sum(finding.state == "bad" for _, finding in found)
    warnings = sum(finding.state == "warning" for _, finding in found)
    if as_json:
        rows = [{"chapter": title, **dataclasses.asdict(finding)} for title, finding in found]
        ui.out.print_json(json.dumps(rows))
    else:
        ui.out.print(f"\n{_count(bad, 'problem')}, {_count(warnings, 'warning')}")
    raise typer.Exit(ExitCode.LAB if bad else ExitCode.OK)


def _findings(file: Path | None, coordinator: str | None) -> Iterator[tuple[str, Finding]]:
    from lab.admin.doctor import machine, network
    from lab.cli.units import load_lab

    lab = load_lab(file) if file else None
    for finding in machine.checks():
        yield "this machine", finding
    from lab.admin.doctor import places
    from lab.admin.doctor.finding import ok
    from lab.boards.target import load_target
    from lab.places.address import address_file, coordinator_address

    by_file = lab.address if lab and "LG_COORDINATOR" not in os.environ else None
    address = coordinator_address(coordinator or by_file)
    title = f"the coordinator at {address}"
    for finding in network.proxy():
        yield title, finding
    session = None if network.obstacle(*network.split(address)) else _connected(address)
    if session is None:
        named = bool(coordinator or lab or "LG_COORDINATOR" in os.environ or address_file().exists())
        yield title, network.unreachable(address, named=named, file=str(file or ""))
        return
    with session:
        yield title, ok("answers", "yes")
        for finding in network.exposure(address):
            yield title, finding
        for finding in places.checks(session, lambda name: load_target(name).check(), lab):
            yield "the lab", finding


def _connected(address: str) -> Session | None:
    from lab.places import connect

    try:
        return connect(address)
    except LabError:
        return None


def _show(finding: Finding, *, again: bool) -> None:
    sign = SIGNS[finding.state]
    subject = "" if again else escape(finding.subject)
    ui.out.print(f"  {sign} {subject:<12} ", end="", markup=True)
    ui.out.print(finding.text, soft_wrap=True)
    for line in finding.todo:
        if line:
            ui.out.print(f"{'':<17}{line}", soft_wrap=True)


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
