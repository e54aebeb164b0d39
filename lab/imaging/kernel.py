"""Kernel versions, single files out of the kernel's source package, and the modules built from them."""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

from lab.base import proc
from lab.base.errors import ConfigError, LabError
from lab.imaging import toolchain
from lab.imaging.apt import Package
from lab.imaging.cache import Work
from lab.imaging.recipe import ModuleSource


def version(packages: Iterable[Package]) -> str:
    """The kernel's release (``uname -r``) from the names of the packages. Raises ConfigError without one."""
    for package in packages:
        found = re.fullmatch(r"linux-image-(\d.*)", package.name)
        if found:
            return found[1].removesuffix("-unsigned")
    raise ConfigError(
        "the recipe's kernel package brings no kernel", hint="kernel.package: linux-image-arm64"
    )


def abi(release: str) -> str:
    """The part of a release that kbuild's and the common headers' packages are named by.

    ``6.12.107+deb13-arm64`` -> ``6.12.107+deb13``.
    """
    return release.rsplit("-", 1)[0]


def header_packages(release: str) -> tuple[str, str, str]:
    """The packages of headers and kbuild for a release."""
    common = abi(release)
    return f"linux-headers-{release}", f"linux-headers-{common}-common", f"linux-kbuild-{common}"


def extract_sources(work: Work, deb: Path, wanted: Iterable[str], target: Path) -> None:
    """Copy files of the kernel's source out of its package into ``target``, with their folders.

    The package holds one compressed tar; reading stops when the last file came.
    Raises ConfigError where a file is not in it.
    """
    missing = set(wanted)
    argv = [proc.require("dpkg-deb"), "--fsys-tarfile", str(deb)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacked:
        pipe = cast(IO[bytes], unpacked.stdout)
        try:
            with tarfile.open(fileobj=pipe, mode="r|") as outer:
                _extract_inner(work, outer, missing, target)
        finally:
            unpacked.kill()
    if missing:
        raise ConfigError(f"the kernel's source has no {', '.join(sorted(missing))}")


def _extract_inner(work: Work, outer: tarfile.TarFile, missing: set[str], target: Path) -> None:
    for member in outer:
        if not re.search(r"/linux-source-[^/]*\.tar\.xz$", member.name):
            continue
        stream = cast(IO[bytes], outer.extractfile(member))
        with lzma.open(stream) as plain, tarfile.open(fileobj=plain, mode="r|") as inner:
            for file in inner:
                work.check()
                name = file.name.partition("/")[2]
                if name in missing and file.isfile():
                    path = target / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(cast(IO[bytes], inner.extractfile(file)).read())
                    missing.discard(name)
                    if not missing:
                        return
        return


def build_module(
    work: Work, module: ModuleSource, *, recipe: Path, sources: Path | None, tree: Path, release: str
) -> None:
    """Build one module folder of a recipe; the ``.ko`` files end in ``work.path``, without debug data."""
    folder = work.path / "build" / Path(module.source).name
    shutil.copytree(recipe.parent / module.source, folder)
    for name in module.kernel_sources:
        copy = folder / Path(name).name
        if sources is not None and not copy.exists():  # the module's own version of a file wins
            shutil.copyfile(sources / name, copy)
    toolchain.make(work, tree, header_packages(release)[0], folder)
    built = sorted(folder.rglob("*.ko"))
    if not built:
        raise LabError(f"{module.source}: the build made no module", hint="its Kbuild needs an obj-m line")
    strip = tree / "usr/bin" / f"{toolchain.PREFIX}strip"
    for file in built:
        work.run([strip, "--strip-debug", file], env=toolchain.environment(tree), what="strip")
        file.rename(work.path / file.name)
    shutil.rmtree(work.path / "build", ignore_errors=True)
