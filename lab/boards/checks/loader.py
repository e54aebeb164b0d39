"""The facts about the boot, against Debian's U-Boot for the board."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from lab.boards import environment
from lab.boards.checks.finding import Finding, ok, settle, wrong
from lab.boards.target import Target
from lab.imaging.firmware import UbootFile
from lab.imaging.kernels import KernelFiles

COMMANDS = ("tftpboot", "booti", "fdt", "setenv")
"""What boot lines are made of besides the target's own (lab/boards/uboot.py)."""

TREE_SIZE = 1 << 20
INITRD_SIZE = 64 << 20
PACKED_SIZE = 32 << 20
"""Bytes that are kept free for them: what they are is not known here, but less."""


def findings(target: Target, firmware: UbootFile, kernels: list[KernelFiles]) -> Iterator[Finding]:
    """What the boot lines need of U-Boot: its commands, its prompt, and room for what they load."""
    words = {*COMMANDS, *(command.split()[0] for command in target.boot.network)}
    missing = sorted(word for word in words if not firmware.says(word, end=True))
    yield settle("boot.network", not missing, f"has {', '.join(sorted(words))}", f"has no {missing}")
    if target.boot.packed is not None:
        yield settle("boot.packed", firmware.says("unzip", end=True), "has unzip", "has no unzip")
    yield from _prompt(target, firmware)
    speed, has = target.serial_speed, firmware.environment.get("baudrate", "")
    if speed is not None:
        fact = "hookup.resources.USBSerialPort.speed"
        yield settle(fact, str(speed) == has, f"{has} baud", f"it runs at {has} baud")
    yield from _addresses(target, firmware, kernels)


def _prompt(target: Target, firmware: UbootFile) -> Iterator[Finding]:
    arguments = environment.driver_arguments(target, "UBootDriver")
    if arguments is None:
        return
    for key, default in (("prompt", ""), ("autoboot", "stop autoboot")):
        value = str(arguments.get(key, default))
        said = f"'{value}' stands in it"
        fact = f"targets.main.drivers.UBootDriver.{key}"
        yield settle(fact, firmware.says(value, end=key == "prompt"), said, f"'{value}' stands nowhere in it")


def _addresses(target: Target, firmware: UbootFile, kernels: list[KernelFiles]) -> Iterator[Finding]:
    """Kernel, tree and initrd do not lie on each other, whichever kernel is booted."""
    names = {"kernel": target.boot.kernel, "initrd": target.boot.initrd}
    if target.boot.dtb is not None or target.edits_tree:
        names["tree"] = target.boot.tree
    if target.boot.packed is not None:
        names["packed"] = target.boot.packed
    found: dict[str, int] = {}
    for key, expression in names.items():
        address = firmware.address(expression)
        if address is None:
            yield wrong(f"boot.{key}", f"{expression} is not in its environment")
        else:
            found[key] = address
            yield ok(f"boot.{key}", f"{expression} is {address:#x}")
    if len(found) < len(names):
        return
    for kernel in kernels:
        sizes = {"kernel": kernel.memory, "initrd": INITRD_SIZE, "tree": TREE_SIZE, "packed": PACKED_SIZE}
        ends = {key: address + sizes[key] for key, address in found.items()}
        order = sorted(found, key=lambda key: found[key])
        for first, second in pairwise(order):
            if ends[first] > found[second]:
                said = f"{first} of {kernel.release} ends at {ends[first]:#x}, {second} begins at"
                yield wrong(f"boot.{second}", f"{said} {found[second]:#x}")
