"""``lab shell``: a terminal on a board, or in the guest on it; or one command there."""

from __future__ import annotations

import os
import shlex
import sys
import time
from typing import Annotated

import typer

from lab.base import ui
from lab.base.errors import LabError
from lab.cli import guest_shell
from lab.cli.coordinator import Address
from lab.cli.own_board import LOST, SSH_FAILED, OwnBoard, find_board, warned
from lab.cli.remote import BoardName, Directory, Iommu, RackBoard

CONNECT = 15
"""Seconds for a board to answer ssh: a rack takes connections for one that is silent."""


def shell(
    ctx: typer.Context,
    board: BoardName = None,
    guest: Annotated[bool, typer.Option("--guest", help="In the guest on the board (lab vm start).")] = False,
    iommu: Iommu = None,
    directory: Directory = None,
    coordinator: Address = None,
) -> None:
    """Open a shell on a board that you have reserved, or of the rack here; it is booted where it is off.

    With a command, that is run instead, its words as they are. The exit code
    is the command's, 255 where ssh failed, 3 where the board was lost under it.
    In the guest it gets no input.

    Examples:
      lab shell
      lab shell rock5b-1 -- dmesg --level err
      lab shell --guest -- uname -r
    """
    command: list[str] = ctx.meta["command"]
    with find_board(board, directory, coordinator) as found:
        ssh = ["ssh", "-o", "LogLevel=ERROR", "-o", f"ConnectTimeout={CONNECT}", *found.destination]
        if guest:
            _guest_runs(found)
            if command:
                raise typer.Exit(guest_shell.command(found.name, ssh, command))
            guest_shell.terminal(found.name, ssh)
            return
        found.boot(iommu)
        if command:
            if sys.stdin.isatty() and sys.stdout.isatty():
                ssh.insert(1, "-t")
            ssh.append(shlex.join(command))
        sys.stdout.flush()
        if isinstance(found, RackBoard):
            os.execvp("ssh", ssh)
        raise typer.Exit(_watched(found, ssh))


def _watched(found: OwnBoard, ssh: list[str]) -> int:
    """ssh, for as long as the board is ours; its exit status."""
    from lab.places.hold import run_command

    began = time.monotonic()
    with warned(found.lease, ui.aside):
        status = run_command(found.lease, ssh, ui.aside)
    if status == SSH_FAILED and time.monotonic() - began < 2 * CONNECT:
        ui.aside(f"is {found.name} up? lab console shows what it says")
    return LOST if found.lease.lost.is_set() else status


def _guest_runs(found: OwnBoard | RackBoard) -> None:
    with found.agent() as agent:
        if not agent.call("vm_status")["running"]:
            raise LabError(f"no virtual machine runs on {found.name}", hint=f"lab vm start {found.name}")
