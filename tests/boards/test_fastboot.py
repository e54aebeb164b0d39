"""Boards that boot by fastboot: their boot images are read back. No such board was at hand to take one."""

from __future__ import annotations

import shutil
import zlib

import pytest
from labgrid import Environment

from lab.base.errors import ConfigError
from lab.base.words import IommuMode
from lab.boards import load_target, preload, uboot, variants
from lab.boards.bringup import Bench
from lab.boards.devicetree import DeviceTree
from lab.boards.fastboot import write_image
from lab.imaging.androidboot import unpack

NAMES = ("sdm845-db845c", "sm8250-rb5")
RESOURCES = {
    "NetworkPowerPort": {"model": "rest", "host": "http://127.0.0.1:9/{index}", "index": 0},
    "NetworkSerialPort": {"host": "127.0.0.1", "port": 9, "protocol": "raw"},
    "NetworkService": {"address": "127.0.0.1", "username": "root"},
    "AndroidNetFastboot": {"address": "127.0.0.1"},
    "HTTPProvider": {"internal": "/srv/tftp/", "external": "http://192.168.0.1/"},
}


@pytest.mark.parametrize("mode", [IommuMode.TRANSLATED, IommuMode.OFF], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_boot_image_has_what_u_boot_is_told(name, mode, kernels, real_image, tmp_path):
    """Kernel, tree of the mode, initramfs and the mode's command line with the root's address."""
    target = load_target(name)
    source = kernels[0].dtb(target.boot.dtb)
    tree = DeviceTree.read(source)
    if edit := target.iommu.modes[mode].tree:
        variants.apply(tree, edit, target.decoders)
    (tmp_path / "tree").write_bytes(tree.blob())
    assert (tree.blob() == source.read_bytes()) == (mode is IommuMode.TRANSLATED)
    image, root = tmp_path / "boot.img", uboot.NetworkRoot("http://192.168.0.1/squashfs", 5 << 20)
    files = {"kernel": real_image.kernel, "initrd": real_image.initrd, "tree": tmp_path / "tree"}
    write_image(target, mode, image, **files, root=root)
    found = unpack(image, tmp_path / "out")
    packed = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert packed.decompress(found["kernel"]) == real_image.kernel.read_bytes()
    assert packed.unused_data == tree.blob()
    assert found["ramdisk"] == real_image.initrd.read_bytes()
    words = uboot.bootargs(target.boot, target.iommu.modes[mode], root)
    head = image.read_bytes()[:4096]
    assert head[64 : 64 + 512].rstrip(b"\0").decode() == words
    assert words.endswith(" ".join(target.iommu.modes[mode].kernel))


@pytest.mark.parametrize("name", NAMES)
def test_labgrid_gives_the_strategy_its_drivers(name, tmp_path):
    """Without a U-Boot and without TFTP; nothing is connected to."""
    preload()
    target = load_target(name).check_bootable()
    path = target.write_environment(tmp_path, resources=RESOURCES, drivers=target.hookup.drivers)
    environment = Environment(str(path))
    try:
        strategy = environment.get_target("main").get_strategy()
        assert type(strategy.fastboot).__name__ == "AndroidFastbootDriver"
        assert (strategy.uboot, strategy.tftp) == (None, None)
        assert strategy.http is not None
    finally:
        environment.cleanup()


def test_the_loader_is_given_the_image_of_the_asked_mode(kernels, real_image, tmp_path):
    """As far as it goes without a board: the program that would talk to it notes what it is told."""
    preload()
    target = load_target(NAMES[0]).check_bootable()
    tool = tmp_path / "fastboot"
    tool.write_text(f'#!/bin/sh\necho "$1 $2 $3" >{tmp_path}/told\ncp "$4" {tmp_path}/boot.img\n')
    tool.chmod(0o755)
    (served := tmp_path / "http").mkdir()
    (tmp_path / "dtb").mkdir()
    tree = shutil.copy(kernels[0].dtb(target.boot.dtb), tmp_path / "dtb")
    resources = {**RESOURCES, "HTTPProvider": {"internal": f"{served}/", "external": "http://192.168.0.1/"}}
    path = target.write_environment(
        tmp_path, resources=resources, image=real_image, drivers=target.hookup.drivers, dtb=tree
    )
    environment = Environment(str(path))
    try:
        strategy = environment.get_target("main").get_strategy()
        strategy.fastboot.tool = str(tool)
        strategy.target.activate(strategy.fastboot)
        strategy._start_by_fastboot(IommuMode.OFF)
    finally:
        environment.cleanup()
    assert (tmp_path / "told").read_text() == "-s udp:127.0.0.1:5554 boot\n"
    head = (tmp_path / "boot.img").read_bytes()[:4096]
    root = uboot.NetworkRoot("http://192.168.0.1/squashfs", real_image.squashfs.stat().st_size)
    words = uboot.bootargs(target.boot, target.iommu.modes[IommuMode.OFF], root)
    assert head[64 : 64 + 512].rstrip(b"\0").decode() == words


def test_what_the_lab_does_not_boot_says_so_in_one_line(tmp_path):
    for name in ("sc7180-lazor", "mt8183-juniper", "mt8192-spherion"):
        with pytest.raises(ConfigError, match=r"boots by depthcharge, which the lab cannot drive"):
            load_target(name).check_bootable()
    text = load_target(NAMES[0]).path.read_text()
    path = tmp_path / "mine.yaml"
    path.write_text("".join(line for line in text.splitlines(keepends=True) if "android" not in line))
    with pytest.raises(ConfigError, match=r"mine\.yaml:\d+: mine boots by fastboot, and boot\.android"):
        load_target(path).check_bootable()
    with pytest.raises(ConfigError, match="lab bringup walks through U-Boot"):
        Bench(path, load_target(NAMES[0]))
