"""Command lines of the VMMs: a `Vmm` and the places of things on the board -> what to start there."""

from __future__ import annotations

from collections.abc import Callable

from lab.boards.vmm import Vmm
from lab.boards.vmms import crosvm, qemu
from lab.boards.vmms.command import Command, Places

COMMANDS: dict[str, Callable[[Vmm, Places], Command]] = {"qemu": qemu.command, "crosvm": crosvm.command}

__all__ = ["COMMANDS", "Command", "Places", "command", "version_command"]


def command(vmm: Vmm, places: Places) -> Command:
    """What to start on the board. Raises ConfigError for what this VMM cannot do."""
    return COMMANDS[vmm.kind](vmm, places)


def version_command(vmm: Vmm) -> list[str]:
    """What to run on the board to hear its version; nothing for QEMU, whose monitor says it."""
    return [crosvm.program(vmm), "version"] if vmm.kind == "crosvm" else []
