"""Archives of the "newc" cpio format, which the kernel unpacks into its first root file system.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst and init/initramfs.c. Several
archives may follow one another; each starts at a multiple of 4 bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping

TRAILER = "TRAILER!!!"


def entry(name: str, data: bytes = b"", mode: int = stat.S_IFREG | 0o644, inode: int = 0) -> bytes:
    """One member of an archive, owned by root, dated 1970. ``mode`` as in stat(2)."""
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    # inode mode uid gid links mtime size device(2) special-device(2) name-size check
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _pad(header + encoded) + _pad(data)


def archive(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A whole archive of ``path: (content, mode)``; folders are made as they are needed.

    ``mode`` with its file type is taken as it is; without one it means a regular file.
    """
    known: set[str] = set()
    out = bytearray()
    for path, (data, mode) in files.items():
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if folder not in known:
                known.add(folder)
                out += entry(folder, mode=stat.S_IFDIR | 0o755, inode=len(known))
        known.add("/".join(parts))
        kind = stat.S_IFMT(mode) or stat.S_IFREG
        out += entry("/".join(parts), data, kind | stat.S_IMODE(mode), inode=len(known))
    return bytes(out + entry(TRAILER, mode=0))


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
