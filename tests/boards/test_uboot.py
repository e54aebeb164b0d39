"""The U-Boot lines of a boot: text in, text out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base.errors import ConfigError
from lab.boards import load_target, variants
from lab.boards.facts import ModeSetup
from lab.boards.target import Boot, Timeouts
from lab.boards.uboot import FAILED, NetworkRoot, boot_lines, bootargs, pack

BOOT = Boot(console="ttyAMA0", cmdline="quiet")
PLAIN = ModeSetup()


def commands(lines):
    return [
        command for line in lines for command in line.removeprefix("if ").split("; then")[0].split(" && ")
    ]


def test_loads_kernel_before_initrd_so_that_filesize_is_the_initrds():
    order = commands(boot_lines(BOOT, PLAIN, kernel="k", initrd="i"))
    assert order == [
        "setenv autoload no",
        "dhcp",
        "tftpboot ${kernel_addr_r} k",
        "tftpboot ${ramdisk_addr_r} i",
        "setenv bootargs 'console=ttyAMA0 quiet'",
        "booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdtcontroladdr}",
    ]


def test_a_root_file_system_from_the_network_is_told_to_the_initramfs_with_its_length_and_a_limit():
    root = NetworkRoot("http://10.0.0.1/root", 475_000_000)
    slow = BOOT.model_copy(update={"timeouts": Timeouts(root=90)})
    [arguments] = [
        line
        for line in commands(boot_lines(slow, PLAIN, kernel="k", initrd="i", root=root))
        if "boota" in line
    ]
    assert arguments.endswith(" lab.root=http://10.0.0.1/root lab.size=475000000 lab.patience=90'")


def test_device_tree_is_edited_after_loading_and_before_the_start():
    order = commands(boot_lines(BOOT, PLAIN, kernel="k", initrd="i", edits=["fdt rm /pcie iommu-map"]))
    at = order.index("fdt addr ${fdtcontroladdr}")
    assert order[at + 1] == "fdt rm /pcie iommu-map"
    assert order[at - 1].startswith("tftpboot")
    assert order[-1].startswith("booti")


def test_a_tree_that_is_sent_is_loaded_and_handed_over():
    order = commands(boot_lines(BOOT, PLAIN, kernel="k", initrd="i", tree="t"))
    assert order.index("tftpboot ${fdt_addr_r} t") < order.index("tftpboot ${ramdisk_addr_r} i")
    assert order[-1] == "booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdt_addr_r}"


def test_a_kernel_that_comes_compressed_is_unpacked_to_where_the_others_are_loaded():
    boot = BOOT.model_copy(update={"packed": "${kernel_comp_addr_r}"})
    plain = commands(boot_lines(boot, PLAIN, kernel="k", initrd="i"))
    assert "tftpboot ${kernel_addr_r} k" in plain
    order = commands(boot_lines(boot, PLAIN, kernel="k.gz", initrd="i", packed=True))
    at = order.index("tftpboot ${kernel_comp_addr_r} k.gz")
    assert order[at + 1 : at + 3] == [
        "unzip ${kernel_comp_addr_r} ${kernel_addr_r}",
        "tftpboot ${ramdisk_addr_r} i",  # sets filesize anew, as unzip does
    ]
    assert order[-1] == plain[-1]


def test_failure_word_shows_only_when_it_is_executed():
    for line in boot_lines(BOOT, PLAIN, kernel="k", initrd="i"):
        assert FAILED not in line
        assert line.endswith(f"; then true; else echo {FAILED[:7]}''{FAILED[7:]}; fi")


def test_words_of_the_mode_come_last_and_win():
    boot = Boot(console="ttyS2,1500000n8", cmdline="quiet iommu.passthrough=0")
    setup = ModeSetup(kernel=("iommu.passthrough=1",))
    assert bootargs(boot, setup).split()[-2:] == ["iommu.passthrough=0", "iommu.passthrough=1"]
    assert bootargs(boot, setup).startswith("console=ttyS2,1500000n8 ")


@pytest.mark.parametrize("name", ["virt-smmu", "virt-cma", "virt-dma32"])
def test_each_mode_of_each_virtual_target_fits(name):
    target = load_target(name)
    for mode in target.modes:
        setup = target.iommu.modes[mode]
        edits = variants.commands(setup.tree, target.decoders) if setup.tree else ()
        lines = boot_lines(target.boot, setup, kernel="vmlinuz", initrd=f"{name}.initrd", edits=edits)
        assert [len(line) < target.boot.line for line in lines] == [True], "each line costs a round trip"


def test_boot_is_spread_over_lines_that_uboot_takes():
    boot = Boot(console="ttyAMA0", cmdline="x" * 300)
    lines = boot_lines(boot, PLAIN, kernel="k", initrd="i")
    assert len(lines) > 1
    assert all(len(line) < boot.line for line in lines)
    assert commands(lines) == commands(
        boot_lines(boot.model_copy(update={"line": 2000}), PLAIN, kernel="k", initrd="i")
    )


@given(st.lists(st.text(st.sampled_from("abc ${}=/"), min_size=1, max_size=60), max_size=12))
def test_packing_keeps_every_command_in_order_within_the_limit(given_commands):
    lines = pack(given_commands, 80)
    assert [command for line in lines for command in line.split(" && ")] == given_commands
    assert all(len(line) <= 80 for line in lines)
    for line, following in pairwise(lines):
        assert len(line) + len(" && ") + len(following.split(" && ")[0]) > 80, "a line is left half empty"


def test_command_that_fits_in_no_line_is_named():
    with pytest.raises(ConfigError, match=r"421 characters, at most .* x{420}"):
        pack(["y", "x" * 421], 420)
