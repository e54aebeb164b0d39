"""``lab bringup``: the first hour with a new board, as a guided check."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lab.base import ui
from lab.base.errors import ConfigError, ExitCode
from lab.cli.bench import bench_of
from lab.cli.coordinator import Address, Json

if TYPE_CHECKING:
    from lab.boards.bringup import Outcome

SIGNS = {"green": "[green]✓[/]", "red": "[red]✗[/]", "not tried": "[dim]·[/]"}


def bringup(
    name: Annotated[
        str,
        typer.Argument(
            metavar="PLACE|TARGET", help="A place that you have reserved, or a virtual target (name or file)."
        ),
    ],
    write: Annotated[
        Path | None,
        typer.Option(
            "--write", metavar="FILE", help="Write the proposed target file here.", show_default=False
        ),
    ] = None,
    coordinator: Address = None,
    as_json: Json = False,
) -> None:
    """Check a new board step by step: power, serial, boot loader, network, kernel, decoders, IOMMU modes.

    Each step is green, or red with what to do. What the board says of itself is
    proposed as its target file. The board is off at the end. Exit code 3 where a step is red.
    """
    from lab.boards.bringup import State, run, steps
    from lab.boards.bringup.proposal import diff, proposed
    from lab.results.folder import write_file

    if write is not None and not write.parent.is_dir():
        raise ConfigError(
            "no such folder", file=write.parent, hint="--write names a file in one that is there"
        )

    outcomes = []
    with bench_of(name, coordinator) as bench:
        if not as_json:
            ui.out.print(f"{bench.name}  [dim]{escape(bench.target.board)}[/]", markup=True, soft_wrap=True)
        for outcome in run(bench, steps(bench)):
            outcomes.append(outcome)
            if not as_json:
                _show(outcome)
        target, text = bench.target, proposed(bench.target, bench.facts)
        changed = diff(target, text)
    red = sum(outcome.state is State.RED for outcome in outcomes)
    if as_json:
        rows = [dataclasses.asdict(outcome) for outcome in outcomes]
        data = {"board": bench.name, "target": target.name, "steps": rows, "proposed": text, "diff": changed}
        ui.out.print_json(json.dumps(data))
    else:
        _conclude(outcomes, changed, target.path.name)
    if write is not None:  # last: it may fail, and by then all has been said
        write_file(text.encode, write)
        ui.err.print(f"written to {write}", soft_wrap=True)
    raise typer.Exit(ExitCode.LAB if red else ExitCode.OK)


def _show(outcome: Outcome) -> None:
    said = f"[dim]{outcome.said}[/]" if outcome.state == "not tried" else escape(outcome.said)
    ui.out.print(f"  {SIGNS[outcome.state]} {outcome.step:<16} {said}", markup=True, soft_wrap=True)
    for line in outcome.console:
        ui.out.print(f"{'':<21}| {line}", soft_wrap=True, style="dim")
    for line in outcome.todo:
        ui.out.print(f"{'':<21}- {line}", soft_wrap=True)


def _conclude(outcomes: list[Outcome], changed: list[str], file: str) -> None:
    counts = {state: sum(outcome.state == state for outcome in outcomes) for state in SIGNS}
    ui.out.print(f"\n{', '.join(f'{number} {state}' for state, number in counts.items() if number)}")
    if changed:
        ui.out.print(f"\nthe board differs from {file}; proposed:")
        for line in changed:
            ui.out.print(line, soft_wrap=True)
    elif not counts["red"]:
        ui.out.print(f"nothing that the board said differs from {file}")
