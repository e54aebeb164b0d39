"""A built image: its files in the cache, and the manifest that says what they are made of."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.imaging.cache import Result, digest_file
from lab.imaging.plan import Keys

FILES = ("kernel", "packed", "initrd", "drivers", "squashfs", "uboot")
MANIFEST = "manifest.json"
DTB, MODULES = "dtb", "modules.json"
"""Files of an image with parts of one's own (lab/imaging/own): a device tree, what its kernel can load."""


@dataclass(frozen=True)
class Image:
    """A built image; the files are read-only and may be shared by any number of boards."""

    name: str
    digest: str
    """Hex SHA-256 of everything that went in."""
    path: Path
    manifest: dict[str, Any]
    """Kernel, package versions, hashes and sizes of the files, seconds of each step."""
    cached: bool
    """It was there already."""

    @property
    def kernel(self) -> Path:
        """The kernel, an uncompressed arm64 ``Image``."""
        return self.path / "kernel"

    @property
    def packed(self) -> Path:
        """The same kernel compressed by gzip, for boot loaders that unpack faster than they load."""
        return self.path / "packed"

    @property
    def initrd(self) -> Path:
        """The initramfs; its size is a multiple of 4, so an archive of per-boot files can follow."""
        return self.path / "initrd"

    @property
    def drivers(self) -> Path:
        """Drivers that follow the initramfs where the root file system comes over the network, compressed."""
        return self.path / "drivers"

    @property
    def squashfs(self) -> Path:
        """The root file system."""
        return self.path / "squashfs"

    @property
    def own(self) -> dict[str, Any]:
        """What in it is one's own, name and digest of each: see `lab.imaging.own`. Empty: nothing."""
        found: dict[str, Any] = self.manifest.get("own", {})
        return found

    @property
    def own_words(self) -> str:
        """The same in a line for people: ``kernel Image 3f2a91c, cmdline ...``; empty: nothing."""
        return ", ".join(f"{name} {_words(value)}" for name, value in self.own.items())

    @property
    def dtb(self) -> Path | None:
        """The device tree that goes with it, to every board; None: the target says which."""
        path = self.path / DTB
        return path if path.is_file() else None

    def lacking(self, modules: Iterable[str], *, virtual: bool = False) -> list[str]:
        """Those of the kernel ``modules`` that are not there, where the kernel is one's own.

        ``virtual``: and of those that a virtual board's disk and network need.
        """
        try:
            known = json.loads((self.path / MODULES).read_text())
        except FileNotFoundError:
            return []
        names = {name.replace("-", "_"): name for name in [*modules, *(known["virtual"] if virtual else ())]}
        there = known["names"]
        return sorted(
            given
            for name, given in names.items()
            if name in known["ours"] or (there is not None and name not in there)
        )

    @property
    def uboot(self) -> Path:
        """U-Boot for QEMU's ``virt`` machine, for ``-bios``."""
        return self.path / "uboot"


def _words(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_words(one) for one in value)
    return f"{value['name']} {value['digest'][:7]}" if isinstance(value, dict) else str(value)


def manifest(name: str, keys: Keys, steps: Mapping[str, Result], folder: Path) -> dict[str, Any]:
    """What the image in ``folder`` is made of, and how long each step took."""
    packages = keys.packages
    files = {
        file: {"sha256": digest_file(folder / file), "size": (folder / file).stat().st_size} for file in FILES
    }
    done = {
        step: {"seconds": result.seconds, "made": result.fresh, "key": result.path.name}
        for step, result in sorted(steps.items())
    }
    return {
        "name": name,
        "digest": keys.image,
        "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": packages.release,
        "kernels": keys.releases,
        "missing": packages.missing,
        "suite": keys.recipe.suite,
        "files": files,
        "steps": done,
        "packages": {package.name: package.version for package in packages.root},
        "roots": {
            prefix: {package.name: package.version for package in found}
            for prefix, found in packages.roots.items()
        },
        "tools": {
            package.name: package.version
            for package in packages.tools + keys.headers + packages.source + packages.uboot
        },
    }


def pack(kernel: Path, target: Path) -> None:
    """Write `Image.packed` of ``kernel`` to ``target``; the same bytes each time."""
    target.write_bytes(gzip.compress(kernel.read_bytes(), 1, mtime=0))  # 6: 4 times as long for a twelfth


def read_image(folder: Path, *, cached: bool) -> Image | None:
    """The image in a folder of the cache; None where there is none, or not a whole one."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        whole = all((folder / name).stat().st_size == manifest["files"][name]["size"] for name in FILES)
    except (OSError, ValueError, KeyError):
        return None
    return Image(manifest["name"], manifest["digest"], folder, manifest, cached) if whole else None
