"""Files for a board, where the TFTP and HTTP servers of this machine can read them.

labgrid's driver links from the server's folder to the file where it lies: an image in the user's cache, an
initramfs in a temporary folder. Servers have users of their own, who may look into neither.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

BESIDE = "files"
"""Folder below the server's, with what the server could not read where it lies."""


def offer(driver: Any, path: Path) -> str:
    """Stage ``path`` with labgrid's ``driver`` for a TFTPProvider or HTTPProvider; the name to ask for it.

    A file that others may not read is put beside the link to it, unless the server's folder is as private: a
    server that reads that one runs as this user. Raises what labgrid raises, OSError.
    """
    from labgrid.resource.common import NetworkResource  # one on another machine gets copies over ssh

    if not isinstance(driver.provider, NetworkResource):
        folder = Path(driver.provider.internal)
        folder.mkdir(parents=True, exist_ok=True)  # as labgrid does
        if for_others(folder) and not for_others(path):
            path = _beside(folder, path)
    name: str = driver.stage(str(path))
    return name


def for_others(path: Path) -> bool:
    """Whether every user of this machine may read a file, or enter a folder."""
    path = path.resolve()
    wanted = stat.S_IXOTH if path.is_dir() else stat.S_IROTH
    return bool(path.stat().st_mode & wanted) and all(
        parent.stat().st_mode & stat.S_IXOTH for parent in path.parents
    )


def _beside(folder: Path, path: Path) -> Path:
    """The file of that name below ``folder``: the same file where that can be, else a copy."""
    beside = folder / BESIDE / path.name
    beside.parent.mkdir(exist_ok=True)
    beside.parent.chmod(0o755)
    new = beside.with_name(f"{path.name}.{os.getpid()}")
    if not _same(beside, path):
        if not _linked(path, new):
            shutil.copy2(path, new)  # with its time, by which it is known again
            new.chmod(0o644)
        new.replace(beside)
    return beside


def _same(one: Path, other: Path) -> bool:
    """Whether ``one`` is there and has the content of ``other``, as far as size and time tell."""
    if not one.exists():
        return False
    found, wanted = one.stat(), other.stat()
    readable = bool(found.st_mode & stat.S_IROTH)
    return readable and (found.st_size, found.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)


def _linked(path: Path, new: Path) -> bool:
    """Make ``new`` a hard link to ``path``; False where others could not read that, or on another disk."""
    if not path.stat().st_mode & stat.S_IROTH:
        return False
    try:
        new.hardlink_to(path.resolve())
    except OSError:
        return False
    return True
