"""Boot images as fastboot takes them, by Debian's mkbootimg: kernel, initramfs and device tree in one file.

The format: AOSP, system/tools/mkbootimg/include/bootimg/bootimg.h. mkbootimg runs out of its package.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.base.errors import LabError
from lab.imaging.builder import image_cache
from lab.imaging.cache import Work, digest
from lab.imaging.image import pack
from lab.imaging.resolve import code
from lab.imaging.single import unpack_package

PACKAGE, SUITE = "mkbootimg", "trixie"
MAKE, UNPACK = "mkbootimg", "unpack_bootimg"


@dataclass(frozen=True)
class Layout:
    """What a board's boot loader wants. ``header``: version of the image's; 0: the device tree lies behind
    the compressed kernel, 2: it has a place of its own. ``base``: physical address that RAM begins at,
    ``page``: bytes that parts are aligned to."""

    header: int
    base: int
    page: int


def boot_image(target: Path, layout: Layout, *, kernel: Path, initrd: Path, tree: Path, cmdline: str) -> None:
    """Write a boot image to ``target``. Raises LabError where mkbootimg cannot be had or does not make it."""
    packed = target.with_suffix(".kernel")
    try:
        pack(kernel, packed)
        if layout.header == 0:
            with packed.open("ab") as file:
                file.write(tree.read_bytes())
        _run(
            MAKE,
            *("--kernel", packed, "--ramdisk", initrd, "--cmdline", cmdline),
            *("--header_version", layout.header, "--base", layout.base, "--pagesize", layout.page),
            *(("--dtb", tree) if layout.header >= 2 else ()),
            *("--output", target),
        )
    finally:
        packed.unlink(missing_ok=True)


def unpack(image: Path, folder: Path) -> dict[str, bytes]:
    """The parts of a boot image: kernel, ramdisk and, where it has one, dtb. Raises LabError."""
    _run(UNPACK, "--boot_img", image, "--out", folder)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _run(program: str, *words: object) -> str:
    argv = [sys.executable, str(_tools() / program), *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"{program} failed: {said[-1] if said else done.returncode}")
    return done.stdout


def _tools() -> Path:
    """The folder with the package's programs, from the cache or from the mirror."""
    cache = image_cache()

    def make(work: Work) -> None:
        unpack_package(work, cache, PACKAGE, SUITE)

    with cache.in_use():
        key = digest([PACKAGE, SUITE, code("apt", "single")])
        return cache.step("mkbootimg", key, make).path / "root/usr/bin"
