"""The device tree that QEMU makes for a virtual board, as a file."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.base.errors import LabError
from lab.base.proc import require
from lab.rack.command import escape
from lab.rack.machine import Machine

TIMEOUT = 20.0
"""Seconds; it takes 0.2 s on an idle machine."""


def dump_tree(machine: Machine, firmware: Path, path: Path) -> None:
    """Write the tree of ``machine``, which boots ``firmware``, to ``path``.

    It is the one that the firmware finds but for what differs from start to start: seeds of random numbers.
    Raises ConfigError without QEMU, LabError with what it said where it makes none.
    """
    argv = [require("qemu-system-aarch64"), "-no-user-config", "-nodefaults", "-display", "none"]
    argv += ["-M", f"{machine.machine},dumpdtb={escape(path)}", "-cpu", machine.cpu]
    argv += ["-smp", str(machine.smp), "-m", machine.memory, "-bios", str(firmware)]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"QEMU gave no device tree within {TIMEOUT:.0f} s") from None
    if done.returncode or not path.is_file():
        raise LabError(f"QEMU gave no device tree: {done.stderr.strip() or f'status {done.returncode}'}")
