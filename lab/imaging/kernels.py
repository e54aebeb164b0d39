"""Debian's kernel packages taken apart: device trees, which driver is for which device, configuration.

Boards boot these kernels with these device trees, so this is what a target's facts are held against
where no board is at hand.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from lab.base import ui
from lab.base.errors import ConfigError
from lab.imaging import apt, recipe, toolchain
from lab.imaging.builder import image_cache
from lab.imaging.cache import Work
from lab.imaging.modules import modules_folder, plain_name
from lab.imaging.plan import Keys
from lab.imaging.recipe import BOARD
from lab.imaging.steps import Steps

ALIAS = re.compile(rb"\0alias=of:N\*T\*C([^\0*]+)\0")
"""What a module's section .modinfo says it drives (Linux, scripts/mod/file2alias.c do_of_entry)."""

OBJECTS = re.compile(r"^obj-m\s*[:+]?=\s*(.+)$", re.MULTILINE)
"""The line of a Kbuild that names modules."""

MOVZ, MOVK = 0x52800000, 0x72A00000
"""Of a 32-bit register; MOVK with its immediate shifted by 16."""

KEPT = ("drivers/media", "drivers/staging/media", "drivers/iommu", "drivers/gpu")
"""Folders of modules whose content is kept, to look into."""

DRIVERS, MODULES = "drivers.json", "modules.json"


@dataclass(frozen=True)
class KernelFiles:
    """One Debian kernel. ``name``: as the image's recipe has it."""

    name: str
    release: str
    """As ``uname -r`` gives it."""
    path: Path
    own: frozenset[str] = frozenset()
    """The modules that the recipe builds for it."""

    @cached_property
    def modules(self) -> frozenset[str]:
        """All modules that can be loaded or are built in, with the recipe's own."""
        return self.own | frozenset(json.loads((self.path / MODULES).read_text()))

    def dtb(self, name: str) -> Path:
        """The device tree ``name`` ("rockchip/rk3399-rockpro64.dtb"). Raises ConfigError without one."""
        path = self.path / "dtb" / name
        if not path.is_file():
            raise ConfigError(f"kernel {self.release} has no device tree '{name}'")
        return path

    @property
    def memory(self) -> int:
        """Bytes that the kernel takes where it is started (Linux, Documentation/arch/arm64/booting.rst)."""
        size: int = struct.unpack_from("<Q", self._content(None), 16)[0]
        return size

    def dtbs(self) -> list[str]:
        """The names of all device trees."""
        folder = self.path / "dtb"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.dtb"))

    @cached_property
    def drivers(self) -> dict[str, list[str]]:
        """Compatible -> the modules that are loaded for it, named as the kernel names modules."""
        found: dict[str, list[str]] = json.loads((self.path / DRIVERS).read_text())
        return found

    @cached_property
    def options(self) -> dict[str, str]:
        """Option of the configuration, without CONFIG_ -> its value; those not set are not there."""
        lines = (self.path / "config").read_text(encoding="utf-8").splitlines()
        pairs = (line.removeprefix("CONFIG_").partition("=") for line in lines if line.startswith("CONFIG_"))
        return {name: value for name, _, value in pairs}

    def says(self, text: str, module: str | None) -> bool:
        """Whether ``text`` stands in a module of the kept folders, or in the kernel itself (None)."""
        return text.encode() in self._content(module)

    def knows(self, code: str, module: str) -> bool:
        """Whether a module of the kept folders has the four characters as a word: in a table or in its code.

        arm64 code makes a word of two instructions, MOVZ of its lower and MOVK of its upper half, which
        stand side by side (Arm Architecture Reference Manual, C6.2).
        """
        content = self._content(module)
        low, high = struct.unpack("<HH", code.encode())
        made = (
            struct.pack("<II", MOVZ | low << 5 | register, MOVK | high << 5 | register)
            for register in range(32)
        )
        return code.encode() in content or any(pair in content for pair in made)

    def handles(self, compatible: str) -> bool:
        """Whether the kernel itself holds ``compatible`` as a whole string, as drivers' tables do."""
        return b"\0" + compatible.encode() + b"\0" in self._content(None)

    def _content(self, module: str | None) -> bytes:
        if module not in self._contents:
            path = self.path / "modules" / f"{plain_name(module or '')}.ko.xz"
            if module is None:
                self._contents[module] = (self.path / "vmlinuz").read_bytes()
            else:
                self._contents[module] = lzma.decompress(path.read_bytes()) if path.is_file() else b""
        return self._contents[module]

    @cached_property
    def _contents(self) -> dict[str | None, bytes]:
        """What was looked into so far: a dozen modules, and the kernel itself (None)."""
        return {}


@dataclass(frozen=True)
class Kernels:
    """The kernels of an image. ``missing``: name -> why the mirror does not give it."""

    found: list[KernelFiles]
    """The board's first."""
    missing: dict[str, str]

    @classmethod
    def of(cls, name_or_path: str | Path = "board-trixie", *, use_mirror: str | None = None) -> Self:
        """The kernels that the recipe of an image names, from the cache or from the mirror.

        The image itself is not built. Raises ConfigError (recipe, missing program, full disk) or LabError
        (mirror).
        """
        path = recipe.find(name_or_path)
        cache = image_cache()
        steps = Steps(path, recipe.load(path), cache, use_mirror=use_mirror)
        with cache.in_use(), ui.task("kernels") as steps.task:
            keys = Keys(steps.recipe, path.parent, steps.packages(toolchain.host_architecture()))
            found = [
                KernelFiles(name, release, _files(steps, keys, name), _built(keys, name))
                for name, release in keys.releases.items()
            ]
        wanted = {extra.name for extra in steps.recipe.extra_kernels}
        return cls(found, {name: why for name, why in keys.packages.missing.items() if name in wanted})


def _files(steps: Steps, keys: Keys, name: str) -> Path:
    def make(work: Work) -> None:
        debs = steps.download(keys.kernel_image(name), f"kernel {name}")
        take_apart(work, debs, keys.releases[name])

    shown = "kernel-files" if name == BOARD else f"kernel-files-{name}"
    return steps.step(shown, keys.kernel_files(name), make, kind="kernel-files")


def _built(keys: Keys, name: str) -> frozenset[str]:
    """The modules that the recipe's sources say they are built into (Linux, Documentation/kbuild)."""
    kbuilds = [keys.folder / module.source / "Kbuild" for module, kernel in keys.builds if kernel == name]
    lines = [line for path in kbuilds for line in OBJECTS.findall(path.read_text(encoding="utf-8"))]
    return frozenset(plain_name(word) for line in lines for word in line.split())


def take_apart(work: Work, debs: Sequence[Path], release: str) -> None:
    """Fill ``work.path`` with what `KernelFiles` reads, from the packages of the kernel ``release``."""
    root = work.path / "root"
    apt.unpack(work, debs, root, ["usr/share"])
    modules = modules_folder(root, release)
    # newer packages have them in the first place (and links to it), trixie's in the second
    places = {
        "vmlinuz": (modules / "vmlinuz", root / "boot" / f"vmlinuz-{release}"),
        "config": (modules / "config", root / "boot" / f"config-{release}"),
        "dtb": (modules / "dtb", root / "usr/lib" / f"linux-image-{release}"),
    }
    for name, candidates in places.items():
        next(path for path in candidates if path.exists()).rename(work.path / name)
    (work.path / "modules").mkdir()
    names = [plain_name(Path(line).name) for line in (modules / "modules.builtin").read_text().splitlines()]
    drivers: dict[str, list[str]] = {}
    for path, compatibles in _module_aliases(work, modules):
        names.append(plain_name(path.name))
        for compatible in compatibles:
            drivers.setdefault(compatible, []).append(plain_name(path.name))
        if str(path.relative_to(modules / "kernel")).startswith(KEPT):
            path.rename(work.path / "modules" / f"{plain_name(path.name)}.ko.xz")
    (work.path / DRIVERS).write_text(json.dumps(drivers, indent=0, sort_keys=True))
    (work.path / MODULES).write_text(json.dumps(sorted(names), indent=0))
    shutil.rmtree(root)


def _module_aliases(work: Work, modules: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each module's file with the compatibles that it is for.

    modules.alias is made where a kernel is installed; the packages have only the modules it is made from.
    """

    def look(path: Path) -> tuple[Path, list[str]]:
        work.check()
        found = ALIAS.findall(lzma.decompress(path.read_bytes()))
        return path, sorted({compatible.decode() for compatible in found})

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(look, sorted(modules.rglob("*.ko.xz")))
