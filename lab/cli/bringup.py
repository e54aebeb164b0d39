"""``lab bringup``: the first hour with a new board, as a guided check."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lab.base import ui
from lab.base.errors import ConfigError, ExitCode
from lab.cli.coordinator import Address, Json

if TYPE_CHECKING:
    from lab.boards import Target
    from lab.boards.bringup import Bench, Outcome

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


@contextmanager
def bench_of(name: str, coordinator: str | None) -> Iterator[Bench]:
    """The board called ``name``: leased, or virtual and in a rack of its own for the time of the command."""
    from lab.boards import load_target
    from lab.boards.bringup import Bench
    from lab.boards.target import names
    from lab.cli.own_board import OwnBoard, has_lease
    from lab.imaging import build

    with ExitStack() as stack:
        if has_lease(name, coordinator):
            own = stack.enter_context(OwnBoard(name, coordinator))
            image = build(own.target.image)
            yield stack.enter_context(Bench(own.environment(image), own.target, name=own.name))
            return
        if name not in names() and not Path(name).exists():
            raise ConfigError(
                f"you hold no board called '{name}', and no target is called so",
                hint=f"lab reserve name={name} --for 1h, or see lab targets list",
            )
        target = load_target(name).check()
        if target.virtual is None:
            raise ConfigError(
                f"{name} is a target for physical boards, and you have no board called so",
                hint="lab reserve name=PLACE --for 1h, then lab bringup PLACE (docs/add-a-board.md)",
            )
        yield stack.enter_context(Bench(stack.enter_context(_own_rack(target)), target))


@contextmanager
def _own_rack(target: Target) -> Iterator[Path]:
    """A labgrid environment for a virtual board in a rack of its own."""
    import tempfile

    from lab.imaging import build
    from lab.rack import Rack
    from lab.rack.machine import machine
    from lab.runs.offered import rack_environment

    assert target.virtual is not None
    image = build(target.image)
    board = machine(target.virtual, error=target.error)
    with (
        tempfile.TemporaryDirectory(prefix="lab-") as name,
        Rack.start({target.name: board}, image=image, directory=Path(name) / "rack") as rack,
    ):
        yield rack_environment(rack, target.name, target, image, Path(name))


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
    elif counts["green"]:
        ui.out.print(f"nothing that the board said differs from {file}")
