"""A writer for the "newc" cpio archives that the kernel unpacks as initramfs.

Format: Linux, Documentation/driver-api/early-userspace/buffer-format.rst and init/initramfs.c.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

BLOCK = 512


@dataclass(frozen=True)
class Entry:
    """A file or directory of the archive, owned by root. ``mode`` holds type and permissions (stat(2))."""

    path: str
    mode: int
    data: bytes = b""


def directory(path: str, permissions: int = 0o755) -> Entry:
    """A directory entry; the kernel needs it before the files in it."""
    return Entry(path, stat.S_IFDIR | permissions)


def file(path: str, data: bytes, permissions: int = 0o644) -> Entry:
    """A regular file entry."""
    return Entry(path, stat.S_IFREG | permissions, data)


def archive(entries: Iterable[Entry]) -> bytes:
    """The entries as one uncompressed newc archive, padded with zeros to a multiple of 512 bytes.

    It may follow another archive, compressed or not, that is padded to a multiple of 4 bytes.
    The same entries give the same bytes: times are 0, inode numbers count from 1.
    """
    out = bytearray()
    for inode, entry in enumerate(entries, start=1):
        out += _member(inode, entry)
    out += _member(0, Entry("TRAILER!!!", 0))
    return bytes(out) + bytes(-len(out) % BLOCK)


def _member(inode: int, entry: Entry) -> bytes:
    name = entry.path.lstrip("/").encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    # ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return head + bytes(-len(head) % 4) + entry.data + bytes(-len(entry.data) % 4)
