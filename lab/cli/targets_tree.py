"""What ``lab targets tree`` does: a board's device tree without an IOMMU, as a file and for U-Boot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from lab.base import ui
from lab.base.errors import ConfigError
from lab.base.words import IommuMode
from lab.boards import variants
from lab.boards.devicetree import DeviceTree
from lab.boards.target import Target
from lab.imaging.kernels import Kernels


def off_tree(
    target: Target, kernels: Kernels, kernel: str, decoders: Sequence[str], output: Path | None
) -> None:
    """Write the tree of mode off, for ``decoders`` of the target or all, and say what is in it.

    Raises ConfigError: no such kernel or decoder, a target without such a tree, a file that cannot be
    written.
    """
    setup = target.iommu.modes.get(IommuMode.OFF)
    if target.boot.dtb is None or setup is None or setup.tree is None:
        raise ConfigError(
            f"{target.name} has no device tree to take an IOMMU out of",
            hint="its decoders have none" if target.boot.dtb else "its tree is its firmware's own",
        )
    files = {one.name: one for one in kernels.found}
    if kernel not in files:
        raise ConfigError(f"no kernel '{kernel}'", hint=f"there are {', '.join(files)}")
    chosen = [target.decoder(name) for name in decoders] or list(target.decoders)
    if decoders and setup.tree.disable:
        raise ConfigError(
            f"{target.name}'s IOMMU is disabled as a whole", hint="without --decoder: all of them lose it"
        )
    release = files[kernel].release
    chosen = [one.at(release) for one in chosen if one.there(release)]
    chosen = [one for one in chosen if one.behind_iommu]
    tree = DeviceTree.read(files[kernel].dtb(target.boot.dtb))
    for line in variants.apply(tree, setup.tree, chosen):
        ui.out.print(line, soft_wrap=True)
    path = output or Path(f"{target.name}.dtb")
    try:
        path.write_bytes(tree.blob())
    except OSError as error:
        raise ConfigError(f"cannot be written ({error.strerror})", file=path) from None
    ui.out.print(
        f"[bold]{escape(str(path))}[/]  from {target.boot.dtb} of {release}", markup=True, soft_wrap=True
    )
    if setup.kernel:
        ui.out.print(f"with the kernel's arguments {' '.join(setup.kernel)}", soft_wrap=True)
    ui.out.print("U-Boot, on a tree of its own, after fdt addr:", soft_wrap=True)
    for command in variants.commands(setup.tree, chosen):
        ui.out.print(f"  {command}", soft_wrap=True)
