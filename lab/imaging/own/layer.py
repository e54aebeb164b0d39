"""What is laid over an image's root file system: modules, files of an overlay, as one squashfs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from lab.base import proc
from lab.imaging import toolchain
from lab.imaging.cache import Work
from lab.imaging.own.kernels import Kernel

LINKED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
"""Links in the image's root: a folder of an overlay that has such a name would hide what they point to."""


def lay(work: Work, overlay: Path, stage: Path) -> None:
    """Copy the files of ``overlay`` to ``stage``."""
    for source in sorted(overlay.iterdir()):
        name = (
            LINKED.get(source.name, source.name)
            if source.is_dir() and not source.is_symlink()
            else source.name
        )
        target = stage / name
        target.parent.mkdir(parents=True, exist_ok=True)
        words: Iterable[str | Path] = [f"{source}/.", target] if source.is_dir() else [source, target]
        if source.is_dir():
            target.mkdir(exist_ok=True)
        work.run(["cp", "-a", "--no-preserve=ownership", *words], what="copying the overlay")


def install(work: Work, kernel: Kernel, stage: Path, tools: Callable[[], Path]) -> None:
    """Put a kernel's modules and their index into the root file system ``stage``; not those of the image."""
    if kernel.in_image or (kernel.modules is None and not kernel.built):
        return
    place = stage / "usr/lib/modules" / kernel.release
    place.parent.mkdir(parents=True, exist_ok=True)
    if kernel.modules is not None:
        work.run(["cp", "-al", kernel.modules, place], what="copying modules")
    updates = place / "updates"
    updates.mkdir(parents=True, exist_ok=True)
    for module in (file for folder in kernel.built for file in sorted(folder.glob("*.ko"))):
        (updates / module.name).unlink(missing_ok=True)
        shutil.copyfile(module, updates / module.name)
    for index in place.glob("modules.*"):
        # depmod writes into the files that it finds, and those are the cache's
        if not index.name.startswith(("modules.builtin", "modules.order")) or index.suffix == ".bin":
            index.unlink()
    (stage / "lib").symlink_to("usr/lib")
    tree = tools()
    depmod: list[str | Path] = [tree / "usr/sbin/depmod", "-b", stage, kernel.release]
    work.run(depmod, env=toolchain.environment(tree), what="depmod")
    (stage / "lib").unlink()


def squash(work: Work, stage: Path, layer: Path, kind: str) -> None:
    """Make the squashfs ``layer`` of ``stage``; ``kind`` of compression: the image's own."""
    how = ["-noI", "-noD", "-noF", "-noX"] if kind == "none" else ["-comp", kind]
    argv: list[str | Path] = [proc.require("mksquashfs"), stage, layer, "-all-root", "-noappend"]
    work.run([*argv, "-no-progress", "-no-xattrs", *how], what="mksquashfs")
