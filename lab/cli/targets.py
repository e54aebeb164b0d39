"""``lab targets``: the kinds of boards that this checkout knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lab.base import ui
from lab.base.errors import ConfigError
from lab.cli.coordinator import Address

if TYPE_CHECKING:
    from lab.boards.target import Target

app = typer.Typer(help="The kinds of boards that can be run: targets/NAME.yaml.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


COLUMNS: tuple[str, ...] = ("TARGET", "SOC", "BOARD", "DECODERS", "IOMMU", "UNVERIFIED")


def _names(incomplete: str) -> list[str]:
    from lab.boards.target import names

    return [name for name in names() if name.startswith(incomplete)]


Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET", help="Name of a target, or a target file (default: all).", autocompletion=_names
    ),
]


@app.command("list")
def list_targets(as_json: Json = False) -> None:
    """List the targets of this checkout, each one checked against labgrid."""
    from lab.boards.target import load_target, names

    targets = [load_target(name).check() for name in names()]
    if as_json:
        rows = [{"name": t.name, "soc": t.soc, "board": t.board, "modes": t.modes} for t in targets]
        ui.out.print_json(json.dumps(rows))
        return
    table = [COLUMNS, *map(_row, targets)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:  # whole lines, however narrow the terminal: a name that is cut off is of no use
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        style = "bold" if row is COLUMNS else None
        ui.out.print("  ".join(cells).rstrip(), style=style, soft_wrap=True)
    ui.out.print("unverified: facts that no source states. lab targets show TARGET lists them.", style="dim")


def _row(target: Target) -> tuple[str, ...]:
    decoders = ", ".join(decoder.name for decoder in target.decoders) or "none in mainline"
    unverified = "virtual" if target.virtual is not None else str(len(target.unverified))
    return target.name, target.soc, target.board, decoders, target.iommu.driver or "none", unverified


@app.command()
def show(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="Name of a target, or a target file.",
            autocompletion=_names,
            show_default=False,
        ),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(
            "--board",
            metavar="PLACE|TARGET",
            help="Boot this board, a place of yours or a virtual target, and ask its decoders for formats.",
            show_default=False,
        ),
    ] = None,
    coordinator: Address = None,
    as_json: Json = False,
) -> None:
    """Show one target's facts and how it is put into each IOMMU mode. The file is checked."""
    from lab.boards.target import load_target
    from lab.cli.targets_view import asked, lines, said

    if (target is None) == (board is None):
        raise ConfigError("show wants either a target or --board")
    formats = None
    if board is not None:
        found, formats = asked(board, coordinator)
    else:
        found = load_target(str(target)).check()
    if as_json:
        data = json.loads(found.model_dump_json())
        ui.out.print_json(json.dumps(data if formats is None else {**data, "formats": formats}))
        return
    head = f"[bold]{escape(found.name)}[/]  {escape(found.board)}, {found.memory} RAM"
    ui.out.print(head, markup=True, soft_wrap=True)
    for label, text in [*lines(found), *(said(found, formats) if formats is not None else ())]:
        ui.out.print(f"{label:<11}{text}", soft_wrap=True)


@app.command()
def check(
    names: Names = None,
    as_json: Json = False,
    mirror: Annotated[str | None, typer.Option(help="Debian mirror to take the kernels from.")] = None,
) -> None:
    """Hold facts against Debian's arm64 kernels, U-Boot and labgrid; exit code 1 where one is wrong.

    Device trees, modules, configuration and words of the kernels that the image's
    recipe names; the first time they are downloaded (200 MB). With names every
    fact is shown, without only what is wrong.
    """
    from lab.boards.checks import check as hold
    from lab.boards.target import load_target
    from lab.boards.target import names as all_names
    from lab.cli.targets_check import as_data, show_each, show_summary
    from lab.imaging.kernels import Kernels

    targets: list[Target] = [load_target(name) for name in names or all_names()]
    images = {target.image: Kernels.of(target.image, use_mirror=mirror) for target in targets}
    reports = [hold(target, images[target.image].found, use_mirror=mirror) for target in targets]
    missing = {name: why for image in images.values() for name, why in image.missing.items()}
    if as_json:
        ui.out.print_json(json.dumps(as_data(reports, missing)))
    elif names:
        show_each(reports)
    else:
        show_summary(reports)
    for name, why in missing.items():
        line = f"[yellow]not checked against kernel {name}:[/] {escape(why)}"
        ui.err.print(line, markup=True, soft_wrap=True)
    if any(report.wrong for report in reports):
        raise typer.Exit(1)


@app.command()
def tree(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="Name of a target, or a target file.", autocompletion=_names),
    ],
    decoders: Annotated[
        list[str] | None,
        typer.Option("--decoder", metavar="NAME", help="Only this one loses its IOMMU; repeat for more."),
    ] = None,
    kernel: Annotated[str, typer.Option(help="Whose device tree: a kernel of the image's recipe.")] = "board",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it.", show_default="TARGET.dtb"),
    ] = None,
    mirror: Annotated[str | None, typer.Option(help="Debian mirror to take the kernels from.")] = None,
) -> None:
    """Write the device tree without the decoders' IOMMU, for boards that the lab does not boot itself.

    Says what was taken out, and the same as commands for U-Boot. Only that differs from the kernel's tree.
    """
    from lab.boards.target import load_target
    from lab.cli.targets_tree import off_tree
    from lab.imaging.kernels import Kernels

    found = load_target(target)
    off_tree(found, Kernels.of(found.image, use_mirror=mirror), kernel, decoders or [], output)


@app.command("table")
def print_table() -> None:
    """Print all targets, with what of them is not verified, as docs/target-table.md has it."""
    from lab.boards.target import load_target, names
    from lab.cli.targets_table import markdown

    print(markdown([load_target(name) for name in names()]), end="")
