"""What single Debian packages hold, unpacked without an image around it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.imaging import apt, mirror
from lab.imaging.cache import Cache, Work


def unpack_package(
    work: Work,
    cache: Cache,
    package: str,
    suite: str,
    *,
    architecture: str = "arm64",
    needs: bool = False,
    drop: Sequence[str] = (),
    use_mirror: str | None = None,
) -> Path:
    """The folder ``root`` in ``work`` with a package's files.

    ``needs``: also those of all that it depends on. ``drop``: patterns of what is left out. Raises
    ConfigError where there is no such package, LabError where the mirror does not answer.
    """
    address = mirror.choose(use_mirror)
    index = apt.Apt(work, address, [suite], [architecture])
    index.update()
    find = index.resolve if needs else index.single
    debs = apt.download(cache, find([package], architecture), lambda: address)
    root = work.path / "root"
    apt.unpack(work, debs, root, drop)
    shutil.rmtree(work.path / "apt")
    return root
