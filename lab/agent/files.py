"""Reading and writing the small text files of /proc, /sys and tracefs without pathlib (slow to import)."""

from __future__ import annotations

import os


def read_bytes(path: str) -> bytes:
    """Read all of ``path``; ``OSError`` as open(2) and read(2) give it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(fd, 1 << 16):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)


def read(path: str) -> str:
    """Read all of ``path`` as text without the trailing white space."""
    return read_bytes(path).decode(errors="replace").rstrip()


def read_or_none(path: str) -> str | None:
    """Like `read`, but ``None`` where the file is missing or cannot be read."""
    try:
        return read(path)
    except OSError:
        return None


def write(path: str, text: str) -> None:
    """Write ``text`` by one write(2), as sysfs and tracefs want it. The error names the path."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(error.errno, f"writing {text.strip()!r} to {path}: {error.strerror}") from None


def link_name(path: str) -> str | None:
    """Return the last part of what the symbolic link points to, ``None`` if there is no such link."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def listing(path: str) -> list[str]:
    """Return the sorted names in a folder; an absent folder is an empty one."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def meminfo(text: str) -> dict[str, int]:
    """Parse /proc/meminfo (fs/proc/meminfo.c): name -> bytes (``HugePages_Total`` and such: a count)."""
    values = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words:
            values[name] = int(words[0]) * (1024 if len(words) > 1 else 1)
    return values
