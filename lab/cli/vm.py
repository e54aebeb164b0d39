"""``lab vm``: the virtual machine on a board of the running rack."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from lab.base import ui
from lab.cli.own_board import find_board
from lab.cli.remote import BoardName, Directory, Iommu

app = typer.Typer(
    help="The virtual machine on a board that you have reserved, or of the rack here.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def start(
    board: BoardName = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="Other than the target's vmm: gpu=virgl."),
    ] = None,
    iommu: Iommu = None,
    directory: Directory = None,
) -> None:
    """Start the guest, and the board where it is off; what ran before is ended."""
    from lab.boards.driver import places
    from lab.boards.guest import Guest

    with find_board(board, directory) as found:
        vmm = found.target.with_vmm(settings or []).vmm
        assert vmm is not None
        found.boot(iommu)
        where = places(found.target)
        with found.agent() as agent, ui.task(f"guest of {found.name}"):
            guest = Guest.start(f"{found.name} guest", agent, found.destination, vmm, where, keep=True)
            guest.leave()
        ui.out.print(f"guest of {found.name} is up: {vmm.title}")
        ui.out.print("lab shell --guest  lab vm status  lab vm stop")


@app.command()
def stop(board: BoardName = None, directory: Directory = None) -> None:
    """End the guest. Nothing where none runs."""
    with find_board(board, directory) as found:
        with found.agent() as agent:
            running = agent.call("vm_status")["running"]
            agent.call("vm_stop")
        if not running:
            ui.err.print(f"no virtual machine runs on {found.name}")


@app.command()
def status(board: BoardName = None, directory: Directory = None, as_json: Json = False) -> None:
    """Whether a guest runs, what it shares with the board, and its last words."""
    with find_board(board, directory) as found:
        with found.agent() as agent:
            state: dict[str, Any] = agent.call("vm_status")
            state["console"] = agent.call("vm_console")["text"].splitlines()[-10:]
            state["dmabufs"] = agent.call("vm_dmabufs") if state["running"] else []
        if as_json:
            ui.out.print_json(json.dumps({"board": found.name, **state}))
            return
        what = f"runs, process {state['pid']}" if state["running"] else "does not run"
        ui.out.print(f"guest of {found.name} {what}")
        for buffer in state["dmabufs"]:
            ui.out.print(f"  dma-buf {buffer['inode']}  {buffer['size']} bytes of {buffer['exporter']}")
        for title in ("log", "console"):
            lines = state[title].splitlines() if isinstance(state[title], str) else state[title]
            for line in lines[-10:]:
                ui.out.print(f"  {title}: {line}", soft_wrap=True)
