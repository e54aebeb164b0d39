"""Linux by a boot loader that speaks fastboot: what a U-Boot is told line by line is one boot image here."""

from __future__ import annotations

from pathlib import Path

from lab.base.words import IommuMode
from lab.boards import uboot
from lab.boards.target import Target
from lab.imaging.androidboot import Layout, boot_image


def write_image(
    target: Target,
    mode: IommuMode,
    path: Path,
    *,
    kernel: Path,
    initrd: Path,
    tree: Path,
    root: uboot.NetworkRoot | None,
) -> None:
    """Write the boot image of ``target`` in ``mode`` to ``path``; ``tree`` is the mode's already.

    Raises ConfigError for a target that does not say what its loader wants, LabError where mkbootimg fails.
    """
    android = target.check_bootable().boot.android
    assert android is not None, "what check_bootable() sees to"
    boot_image(
        path,
        Layout(android.header, android.base, android.page),
        kernel=kernel,
        initrd=initrd,
        tree=tree,
        cmdline=uboot.bootargs(target.boot, target.iommu.modes[mode], root),
    )
