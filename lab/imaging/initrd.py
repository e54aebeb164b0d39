"""The initramfs: busybox, the few modules that the root file system needs, and a script."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.base.errors import ConfigError
from lab.imaging import cpio
from lab.imaging.modules import find_module
from lab.imaging.recipe import Recipe

Modules = Mapping[str, Sequence[tuple[str, bytes]]]
"""``root`` and ``network`` -> name and plain content of the modules for each, in the order of loading."""


def debian_modules(recipe: Recipe, modules: Path, release: str) -> Modules:
    """Those that the recipe names, from the root file system ``modules``. Raises ConfigError without one."""
    wanted = recipe.kernel.initrd_modules
    return {
        kind: [(name, find_module(modules, release, name).read_bytes()) for name in names]
        for kind, names in (("root", wanted.root), ("network", wanted.network))
    }


def build(*, root: Path, scripts: Path, modules: Modules) -> bytes:
    """The archive, uncompressed: it is small, and the machine that unpacks it is emulated.

    busybox is from ``root``; the modules lie in ``/modules/root`` and ``/modules/network``, numbered. Its
    length is a multiple of 4, so that whoever stages it can append an archive of per-boot files.
    """
    busybox = root / "usr/bin/busybox"
    if not busybox.is_file():
        raise ConfigError("the image has no busybox", hint="add busybox-static to the recipe's packages")
    folder = stat.S_IFDIR | 0o755
    files: dict[str, tuple[bytes, int]] = {
        "bin/busybox": (busybox.read_bytes(), 0o755),
        **dict.fromkeys(("dev", "proc", "root", "run", "sys", "lab"), (b"", folder)),
    }
    for kind, loaded in modules.items():
        for index, (name, data) in enumerate(loaded):
            files[f"modules/{kind}/{index:02}-{name}.ko"] = (data, 0o644)
    for path in sorted(scripts.rglob("*")):
        if path.is_file():
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            files[str(path.relative_to(scripts))] = (path.read_bytes(), mode)
    return cpio.archive(files)
