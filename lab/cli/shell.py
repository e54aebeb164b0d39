"""``lab shell``: a terminal on a board of the running rack, or in the guest on it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Annotated

import typer

from lab.base import ui
from lab.base.errors import LabError
from lab.cli.coordinator import Address
from lab.cli.own_board import LOST, SSH_FAILED, OwnBoard, find_board, warned
from lab.cli.remote import BoardName, Directory, Iommu, RackBoard

GUEST_SHELL = """
import fcntl, os, pty, select, struct, termios
child, terminal = pty.fork()
if child == 0:
    os.environ.update({environment!r})
    os.execv("/bin/sh", ["sh", "-i"])
os.write(1, b"\\0")  # what is typed before would have gone where the line before was read
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", {rows}, {columns}, 0, 0))
poll = select.poll()
poll.register(0, select.POLLIN)
poll.register(terminal, select.POLLIN)
try:
    while True:
        for number, _ in poll.poll():
            data = os.read(number, 65536)
            if not data:
                raise SystemExit
            os.write(1 if number == terminal else terminal, data)
except OSError:
    pass  # the shell has ended
"""
"""Run by Python in the guest: it has no ssh, so its terminal is made there and comes over vsock."""

END_OF_FILE = b"\x04"

CONNECT = 15
"""Seconds for a board to answer ssh: a rack takes connections for one that is silent."""


def shell(
    board: BoardName = None,
    guest: Annotated[bool, typer.Option("--guest", help="In the guest on the board (lab vm start).")] = False,
    iommu: Iommu = None,
    directory: Directory = None,
    coordinator: Address = None,
) -> None:
    """Open a shell on a board that you have reserved, or of the rack here; it is booted where it is off."""
    with find_board(board, directory, coordinator) as found:
        ssh = ["ssh", "-o", "LogLevel=ERROR", "-o", f"ConnectTimeout={CONNECT}", *found.destination]
        if guest:
            _guest_shell(found, ssh)
            return
        found.boot(iommu)
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


def _guest_shell(found: OwnBoard | RackBoard, ssh: list[str]) -> None:
    _guest_runs(found)
    size = os.get_terminal_size() if sys.stdin.isatty() else os.terminal_size((80, 24))
    environment = {"TERM": os.environ.get("TERM", "dumb"), "PS1": "guest# "}
    source = GUEST_SHELL.format(rows=size.lines, columns=size.columns, environment=environment)
    process = subprocess.Popen(
        [*ssh, "exec /usr/lib/lab/guest-connect"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{source!r}\n".encode())
        if not process.stdout.read(1):
            raise BrokenPipeError
        with _raw(sys.stdin.fileno()):
            _join(sys.stdin.fileno(), process.stdin, process.stdout)
    except BrokenPipeError:
        raise LabError(f"the guest of {found.name} has gone", hint="lab vm status") from None
    finally:
        process.kill()
        process.wait()


def _guest_runs(found: OwnBoard | RackBoard) -> None:
    with found.agent() as agent:
        if not agent.call("vm_status")["running"]:
            raise LabError(f"no virtual machine runs on {found.name}", hint=f"lab vm start {found.name}")


def _join(keyboard: int, sink: IO[bytes], source: IO[bytes]) -> None:
    """Pass on what is typed and show what comes, until nothing comes any more."""
    poll = select.poll()
    poll.register(keyboard, select.POLLIN)
    poll.register(source, select.POLLIN)
    while True:
        for number, _ in poll.poll():
            data = os.read(number, 65536)
            if number == keyboard:
                sink.write(data or END_OF_FILE)
                if not data:
                    poll.unregister(keyboard)
            elif data:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            else:
                return


@contextmanager
def _raw(keyboard: int) -> Iterator[None]:
    """Every key goes to the guest, Ctrl-C too; nothing to do where nobody types."""
    if not os.isatty(keyboard):
        yield
        return
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
