"""The archive of drivers: what a board's network card hangs on is in it, or in the kernel itself."""

from __future__ import annotations

import gzip
import re

import pytest

from lab.boards import treefacts
from lab.boards.devicetree import DeviceTree, Nodes
from lab.boards.target import load_target, names
from lab.imaging import build
from lab.imaging.kernels import KernelFiles, Kernels

BOARDS = [name for name in names() if load_target(name).boot.dtb and load_target(name).boot.root == "http"]

WITHOUT = {"rpi-4": "genet"}
"""Boards whose card the image has no driver for; their targets say so."""

NEEDED = ("clocks", "power-domains", "resets", "phys", "phy-supply", "pinctrl-0")
"""Properties of a card by which it names what it cannot be probed without."""


@pytest.fixture(scope="module")
def kernel() -> KernelFiles:
    return Kernels.of("board-trixie").found[0]


@pytest.fixture(scope="module")
def archive() -> bytes:
    return gzip.decompress(build().drivers.read_bytes())


@pytest.fixture(scope="module")
def there(archive: bytes) -> set[str]:
    return {name.decode() for name in re.findall(rb"lib/modules/[^/]+/([a-z0-9_]+)\.ko\0", archive)}


def device(nodes: Nodes, path: str) -> str:
    """The node that a driver binds to: ``path`` itself, or the nearest above it with a compatible."""
    while not treefacts.compatibles(nodes, path):
        path = treefacts.parent(path)
    return path


def cards(nodes: Nodes) -> list[str]:
    named = [treefacts.strings(value)[0] for key, value in nodes["/aliases"].items() if "ethernet" in key]
    return [device(nodes, path) for path in named if path in nodes and treefacts.enabled(nodes, path)]


def suppliers(nodes: Nodes, path: str) -> set[str]:
    handles = {treefacts.words(one["phandle"])[0]: node for node, one in nodes.items() if "phandle" in one}
    cells = [cell for name in NEEDED for cell in treefacts.words(nodes[path].get(name, b""))[:1]]
    return {device(nodes, handles[cell]) for cell in cells if cell in handles}


@pytest.mark.parametrize("name", BOARDS)
def test_the_card_and_what_it_needs_have_their_drivers(name, kernel, there):
    nodes = DeviceTree.read(kernel.dtb(load_target(name).boot.dtb)).nodes
    for card in cards(nodes):
        for path in {card, *suppliers(nodes, card)}:
            compatibles = treefacts.compatibles(nodes, path)
            modules = {module for one in compatibles for module in kernel.drivers.get(one, [])}
            fine = bool(modules & there) or any(kernel.handles(one) for one in compatibles)
            assert fine == (name not in WITHOUT or path != card), (path, compatibles, modules)


def test_modules_come_with_all_that_they_depend_on_in_the_order_of_modprobe(archive, there):
    start = archive.index(b"modules.dep\0")
    lines = dict(
        re.findall(r"(\w+)\.ko:([^\n]*)\n", archive[start : start + 200_000].decode(errors="replace"))
    )
    needed = lines["dwmac_rk"].split()
    assert needed.index("stmmac_platform.ko") < needed.index("stmmac.ko") < needed.index("pcs_xpcs.ko")
    assert {name.removesuffix(".ko") for names in lines.values() for name in names.split()} <= there
    assert {"r8169", "loop", "squashfs", "virtio_net", "realtek", "motorcomm"} <= there


def test_the_archive_follows_an_initramfs_as_the_kernel_wants_it(archive):
    """init/initramfs.c unpacks compressed archives one after another; this one is newc inside."""
    assert archive.startswith(b"070701")
    assert b"alias virtio:d00000001v* virtio_net\n" in archive
    assert b"alias of:N*T*Crockchip,rk3399-gmacC* dwmac_rk\n" in archive
