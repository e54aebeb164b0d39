"""The module files of kernels: finding them, and keeping of a whole kernel only what a guest needs."""

from __future__ import annotations

import lzma
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab.base.errors import ConfigError
from lab.imaging import apt
from lab.imaging.cache import Work
from lab.imaging.recipe import BOARD


@dataclass(frozen=True)
class Installed:
    """A kernel as it comes into the image."""

    name: str
    release: str
    initrd: Path
    built: Sequence[Path]
    """Folders of modules that were built for it."""

    @property
    def suffix(self) -> str:
        """Behind the names of its files in ``/boot``."""
        return "" if self.name == BOARD else f"-{self.name}"


def modules_folder(root: Path, release: str) -> Path:
    """Where the kernel's modules lie."""
    return root / "usr/lib/modules" / release


def plain_name(name: str) -> str:
    """A module's name as the kernel gives it, of its name or its file's name."""
    return name.partition(".")[0].replace("-", "_")


def find_module(root: Path, release: str, name: str) -> Path:
    """The file of a kernel module. Raises ConfigError where the kernel has none of that name."""
    for path in sorted(modules_folder(root, release).rglob("*.ko")):
        if plain_name(path.name) == plain_name(name):
            return path
    raise ConfigError(f"kernel {release} has no module '{name}'", hint="see initrd_modules in the recipe")


def decompress(work: Work, paths: Iterable[Path]) -> None:
    """Put plain ``.ko`` files in the place of ``.ko.xz`` ones."""

    def one(path: Path) -> None:
        work.check()
        path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
        path.unlink()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(one, paths):
            pass


def needs(module: bytes) -> list[str]:
    """The modules that a module file (plain, not compressed) depends on.

    Source: ``depends=`` in its section .modinfo, written by Linux's scripts/mod/modpost.c.
    """
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name for name in found[1].decode().split(",") if name] if found else []


def unpack_extra(work: Work, debs: Sequence[Path], release: str, wanted: Iterable[str]) -> None:
    """Fill ``work.path/root`` with a kernel, the modules ``wanted``, and what those depend on.

    Raises ConfigError where the kernel has no module of a name, built in or not.
    """
    everything = work.path / "everything"
    apt.unpack(work, debs, everything, ["usr/share", f"usr/lib/modules/{release}/dtb"])
    modules, root = modules_folder(everything, release), work.path / "root"
    boot, kept = root / "boot", modules_folder(root, release)
    boot.mkdir(parents=True)
    kept.mkdir(parents=True)
    image = next(
        path for path in (modules / "vmlinuz", everything / "boot" / f"vmlinuz-{release}") if path.is_file()
    )
    image.rename(boot / f"vmlinuz-{release}")
    for path, data in _with_needed(modules, release, wanted):
        target = kept / path.relative_to(modules).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        (modules / name).rename(kept / name)
    shutil.rmtree(everything)


def _with_needed(modules: Path, release: str, wanted: Iterable[str]) -> Iterator[tuple[Path, bytes]]:
    """The files of modules and of all that they depend on, with their plain content."""
    files = {plain_name(path.name): path for path in modules.rglob("*.ko.xz")}
    builtin = (modules / "modules.builtin").read_text().splitlines()
    done = {plain_name(Path(line).name) for line in builtin}
    todo = list(wanted)
    while todo:
        name = plain_name(todo.pop())
        if name in done:
            continue
        if name not in files:
            raise ConfigError(f"kernel {release} has no module '{name}'", hint="see the recipe")
        done.add(name)
        data = lzma.decompress(files[name].read_bytes())
        yield files[name], data
        todo += needs(data)
