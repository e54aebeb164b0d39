"""What the image cache holds, and taking away what nothing uses any more."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lab.base import dirs
from lab.imaging import recipe, resolve, toolchain
from lab.imaging.apt import stored
from lab.imaging.cache import Cache, remove
from lab.imaging.image import FILES, Image, read_image
from lab.imaging.plan import Keys

DAY = 86400.0


@dataclass(frozen=True)
class Listed:
    """An image in the cache."""

    image: Image
    size: int
    """Bytes of its files."""
    built: datetime
    current: bool
    """It is what its recipe means now."""


def images(cache: Cache) -> list[Listed]:
    """All whole images, newest first."""
    current = {path for folder in _recipes() for path in used(cache, folder)}
    found = []
    for folder in (cache.root / "images").iterdir():
        image = read_image(folder, cached=True)
        if image is not None:
            size = sum(image.manifest["files"][name]["size"] for name in FILES)
            built = datetime.fromisoformat(image.manifest["built"])
            found.append(Listed(image, size, built, folder in current))
    return sorted(found, key=lambda listed: listed.built, reverse=True)


def used(cache: Cache, path: Path) -> Iterator[Path]:
    """Everything in the cache that a build of the recipe ``path`` would use as it is."""
    wanted = recipe.load(path)
    host = toolchain.host_architecture()
    packages = resolve.find_packages(cache, wanted, host)
    if packages is None:
        return
    keys = Keys(wanted, path.parent, packages)
    yield cache.place("packages", resolve.resolve_key(wanted, host))
    for step, key in keys.steps():
        yield cache.place(step, key)
    yield cache.root / "images" / f"{path.stem}-{keys.image[:16]}"
    for package in packages.downloads():
        yield stored(cache, package)


@dataclass(frozen=True)
class Swept:
    """What ``sweep`` took away, or would."""

    paths: list[Path]
    size: int
    """Bytes that this frees: files that something kept shares with it do not count."""


def sweep(cache: Cache, *, keep_days: float, dry_run: bool = False) -> Swept:
    """Remove what no recipe of this checkout uses now and nobody has used for ``keep_days`` days.

    Raises LabError while a build is using the cache.
    """
    with cache.alone():
        kept = {path for folder in _recipes() for path in used(cache, folder)}
        oldest = time.time() - keep_days * DAY
        old = [path for path in _entries(cache) if path not in kept and path.stat().st_mtime < oldest]
        left = list((cache.root / "tmp").iterdir())
        swept = Swept(sorted(old), freed([*old, *left]))
        if not dry_run:
            for path in [*old, *left]:
                remove(path) if path.is_dir() else path.unlink(missing_ok=True)
            for lock in (cache.root / "locks").iterdir():
                if lock.name != "use":
                    lock.unlink()
        return swept


def _recipes() -> list[Path]:
    return sorted((dirs.root() / "images").glob("*.yaml"))


def _entries(cache: Cache) -> Iterator[Path]:
    for step in (cache.root / "steps").iterdir():
        yield from step.iterdir()
    yield from (cache.root / "images").iterdir()
    yield from (cache.root / "debs").iterdir()


def freed(paths: Iterable[Path]) -> int:
    """The bytes on disk that removing all of ``paths`` frees, hard links considered."""
    seen: dict[tuple[int, int], int] = {}
    total = 0
    for top in paths:
        for path in [top, *(top.rglob("*") if top.is_dir() and not top.is_symlink() else ())]:
            about = path.lstat()
            inode = (about.st_dev, about.st_ino)
            seen[inode] = seen.get(inode, 0) + 1
            if path.is_dir() or seen[inode] == about.st_nlink:
                total += about.st_blocks * 512
    return total
