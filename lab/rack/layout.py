"""Where a rack keeps what, and what its two processes tell each other through these files.

::

    DIRECTORY/
      lock                held by the supervisor while it lives
      plan.json           Plan: what the supervisor is to offer (written by Rack.start)
      state.json          State: what it offers, and where (written by the supervisor)
      supervisor.log      stderr of the supervisor
      known_hosts         the boards' ssh host keys
      boot-files.cpio     per-boot files, to append to the initrd
      boards/NAME/
        console.log       every byte the board wrote to its console
        board.log         power events, QEMU's stdout and stderr, guest errors
        tftp/             what the board gets by TFTP
        http/             what it gets by HTTP

Both files hold the token of the rack's URLs: they are for their owner only. Standard library
only: the supervisor imports this.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class BoardPlan:
    """One board: a Machine in plain words, and the files that it boots from."""

    name: str
    machine: str
    cpu: str
    smp: int
    memory: str
    devices: tuple[str, ...]
    extra: tuple[str, ...]
    uboot: str
    squashfs: str
    disk: bool = True
    serial_port: int = 0  # 0: any free one
    ssh_port: int = 0


@dataclass(frozen=True)
class Plan:
    """What a supervisor is to offer. ``parent``: it ends when this process does; 0: it stays.

    ``snapshots`` is the folder for them; empty: the user's.
    """

    token: str
    boards: tuple[BoardPlan, ...]
    http_port: int = 0
    parent: int = 0
    snapshots: str = ""


@dataclass(frozen=True)
class BoardPorts:
    """Where on the loopback interface a board's console and ssh are found."""

    serial: int
    ssh: int


@dataclass(frozen=True)
class State:
    """What a running supervisor offers. ``started`` is in seconds since the epoch."""

    pid: int
    started: float
    token: str
    http_port: int
    boards: dict[str, BoardPorts]


def board_directory(directory: Path, name: str) -> Path:
    """The folder of board ``name`` in the rack at ``directory``."""
    return directory / "boards" / name


def files_token(token: str) -> str:
    """The first part of the URLs of files for boards: what a board is told must not switch power."""
    return hashlib.sha256(token.encode()).hexdigest()[:22]


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, in one step: no reader ever sees a part of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    part.replace(path)


def write_plan(directory: Path, plan: Plan) -> None:
    """Store ``plan`` for the supervisor."""
    write_private(directory / "plan.json", json.dumps(dataclasses.asdict(plan), indent=1).encode())


def read_plan(directory: Path) -> Plan:
    """The plan that ``write_plan`` stored."""
    data = json.loads((directory / "plan.json").read_bytes())
    boards = tuple(
        BoardPlan(**{**board, "devices": tuple(board["devices"]), "extra": tuple(board["extra"])})
        for board in data.pop("boards")
    )
    return Plan(boards=boards, **data)


def write_state(directory: Path, state: State) -> None:
    """Store ``state`` for everyone who looks for the rack."""
    write_private(directory / "state.json", json.dumps(dataclasses.asdict(state), indent=1).encode())


def read_state(directory: Path) -> State:
    """The state of the rack at ``directory``. Raises FileNotFoundError where there never was one."""
    data = json.loads((directory / "state.json").read_bytes())
    boards = {name: BoardPorts(**ports) for name, ports in data.pop("boards").items()}
    return State(boards=boards, **data)
