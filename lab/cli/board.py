"""``lab power``, ``lab boot``, ``lab console``: a board that the user has leased, in the user's hands."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from lab.base import ui
from lab.cli.coordinator import Address
from lab.cli.own_board import LOST, STAGES, OwnBoard, warned
from lab.cli.remote import Place


class Action(StrEnum):
    """What can be done to a board's power."""

    ON = "on"
    OFF = "off"
    CYCLE = "cycle"
    STATUS = "status"


def power(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="What to do; cycle: off and on again.")],
    place: Place = None,
    coordinator: Address = None,
) -> None:
    """Switch a board that you have reserved, or say whether it is on."""
    from lab.base.errors import LabError
    from lab.boards.reach import unreachable

    with OwnBoard(place, coordinator) as found:
        driver = found.driver("PowerProtocol")
        try:
            if action is not Action.STATUS:
                getattr(driver, action)()
            get = getattr(driver, "get", None)
            state = {None: "cannot be asked", True: "on", False: "off"}[get() if get else None]
        except Exception as error:  # labgrid, requests and whatever the model uses have no common root
            raise LabError(f"{found.name}: power {action} failed ({unreachable(error) or error})") from error
        ui.out.print(f"{found.name}: power {state}", soft_wrap=True)


def boot(
    place: Place = None,
    iommu: Annotated[
        str | None, typer.Option(metavar="MODE", help="IOMMU mode (default: the target's first).")
    ] = None,
    coordinator: Address = None,
) -> None:
    """Boot a board that you have reserved afresh, verify its IOMMU mode, and leave it running."""
    with OwnBoard(place, coordinator) as found:
        board = found.boot_again(iommu)
        shown = "  ".join(
            f"{word} {board.times[stage]:.1f} s" for stage, word in STAGES.items() if stage in board.times
        )
        ui.out.print(
            f"{found.name} is up in mode {board.mode} (verified: {board.verified})  [dim]{shown}[/]",
            markup=True,
            soft_wrap=True,
        )
        ui.out.print("lab shell · lab console · lab power cycle · lab release")


def console(
    place: Place = None,
    history: Annotated[
        int,
        typer.Option("--history", "-n", min=0, metavar="LINES", help="Earlier lines to show first."),
    ] = 20,
    coordinator: Address = None,
) -> None:
    """Open the serial console of a board that you have reserved. Ctrl-] leaves it; the board runs on.

    All that it says while you look is kept, and shown the next time.
    """
    from lab.cli.terminal import Console

    with OwnBoard(place, coordinator) as found:
        driver = found.driver("ConsoleProtocol")
        with Console(found.name, driver, found.lease.lost) as seen, warned(found.lease, ui.aside):
            seen.show(history)
            seen.run()
        if found.lease.lost.is_set():
            ui.err.print(
                f"[bold red]lab:[/] {escape(found.name)} is no longer yours: "
                f"{escape(found.lease.lost_reason)}; disconnected",
                markup=True,
                soft_wrap=True,
            )
            raise typer.Exit(LOST)
