"""``lab targets``: the kinds of boards that this checkout knows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lab.base import ui

if TYPE_CHECKING:
    from lab.boards.target import Target

app = typer.Typer(help="The kinds of boards that can be run: targets/NAME.yaml.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_targets(as_json: Json = False) -> None:
    """List the targets of this checkout, each one checked."""
    from lab.boards.target import load_target, names

    targets = [load_target(name).check() for name in names()]
    if as_json:
        rows = [{"name": t.name, "soc": t.soc, "board": t.board, "modes": t.modes} for t in targets]
        ui.out.print_json(json.dumps(rows))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("TARGET", "SOC", "BOARD", "MEMORY", "DECODERS", "IOMMU MODES"):
        table.add_column(column)
    for target in targets:
        decoders = ", ".join(f"{decoder.name} {decoder.dma_mask} bit" for decoder in target.decoders)
        table.add_row(target.name, target.soc, target.board, target.memory, decoders, " ".join(target.modes))
    ui.out.print(table)


@app.command()
def show(
    target: Annotated[str, typer.Argument(help="Name of a target, or a target file.")],
    as_json: Json = False,
) -> None:
    """Show one target's facts and how it is put into each IOMMU mode. The file is checked."""
    from lab.boards import uboot
    from lab.boards.target import load_target

    found = load_target(target).check()
    if as_json:
        ui.out.print_json(found.model_dump_json())
        return
    ui.out.print(f"[bold]{found.name}[/]  {found.board}, {found.memory} RAM")
    ui.out.print(f"file      {found.path}", soft_wrap=True, markup=False)
    for decoder in found.decoders:
        ui.out.print(f"decoder   {_decoder(found, decoder.name)}", soft_wrap=True, markup=False)
    device = f" ({found.iommu.device})" if found.iommu.device else ""
    ui.out.print(f"iommu     {found.iommu.driver or 'none'}{device}", markup=False)
    width = max(len(mode) for mode in found.modes)
    for mode, setup in found.iommu.modes.items():
        by_default = "*" if mode in found.default_modes else " "
        ui.out.print(
            f"  {by_default} {mode:<{width}}  {uboot.bootargs(found.boot, setup)}",
            soft_wrap=True,
            markup=False,
        )
        for command in setup.uboot:
            ui.out.print(f"    {'':<{width}}  U-Boot: {command}", soft_wrap=True, markup=False)
    ui.out.print("* by default, without --iommu")


def _decoder(target: Target, name: str) -> str:
    decoder = target.decoder(name)
    words = [
        f"{decoder.dma_mask}-bit DMA mask",
        "contiguous memory" if decoder.contiguous else "scattered memory",
        "behind the IOMMU" if decoder.behind_iommu else "no IOMMU before it",
        f"{'/'.join(decoder.coded)} to {'/'.join(decoder.raw)}",
    ]
    return f"{name} ({decoder.driver} at {decoder.device}): {', '.join(words)}"
