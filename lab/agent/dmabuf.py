"""dma-buf from user space: synchronised access by CPU, identity, who is attached.

UAPI: include/uapi/linux/dma-buf.h. fdinfo and bufinfo: drivers/dma-buf/dma-buf.c, dma_buf_show_fdinfo and
dma_buf_debug_show.
"""

from __future__ import annotations

import ctypes
import mmap
import os

from . import files, ioctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    Held = TypeVar("Held")

BUFINFO = "/sys/kernel/debug/dma_buf/bufinfo"
PAGE = 4096


class dma_buf_sync(ctypes.Structure):  # noqa: D101
    _fields_ = (("flags", ctypes.c_uint64),)


SYNC_READ, SYNC_WRITE, SYNC_START, SYNC_END = 1, 2, 0, 4
DMA_BUF_IOCTL_SYNC = ioctl.write("DMA_BUF_IOCTL_SYNC", "b", 0, dma_buf_sync)


def parse_fdinfo(text: str) -> dict[str, str]:
    """Parse /proc/PID/fdinfo/FD: ``size``, ``count``, ``exp_name``, ``ino`` and others, as text."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def parse_bufinfo(text: str) -> list[dict[str, Any]]:
    """Parse debugfs dma_buf/bufinfo: ``exporter``, ``inode``, ``size``, ``attachments`` of each buffer."""
    buffers: list[dict[str, Any]] = []
    attached = False
    for line in text.splitlines():
        words = line.split()
        if line.startswith("\tAttached Devices"):
            attached = True
        elif line.startswith("\t") and attached and buffers:
            buffers[-1]["attachments"].append(words[0])
        elif line.startswith("\t"):
            continue  # fences of the reservation object
        else:
            attached = False
            if len(words) >= 6 and len(words[0]) >= 8 and words[0].isdigit():
                # size flags mode count exp_name ino name: the size is %08zu, the inode %08lu, both decimal
                buffers.append(
                    {"exporter": words[4], "inode": int(words[5]), "size": int(words[0]), "attachments": []}
                )
    return buffers


def dmabufs() -> list[dict[str, Any]]:
    """Return every dma-buf of the board (`parse_bufinfo`). ``OSError`` where debugfs does not say."""
    return parse_bufinfo(files.read(BUFINFO))


def attachments(inode: int, *more: int) -> list[str] | None:
    """Return the devices that are attached to a dma-buf now; ``None`` where debugfs does not say.

    ``more``: further inodes; then those devices that are attached to each of the dma-bufs.
    """
    text = files.read_or_none(BUFINFO)
    if text is None:
        return None
    known = {buffer["inode"]: buffer["attachments"] for buffer in parse_bufinfo(text)}
    if not known.keys() >= {inode, *more}:
        return None
    return [device for device in known[inode] if all(device in known[other] for other in more)]


class DmaBuf:
    """A dma-buf held by file descriptor, with a CPU mapping made at first use.

    ``pages`` are the physical addresses of its 4 KiB pages where the allocator knows them. ``close`` closes
    the mapping, the descriptor and what the allocator needs closed with it (``extra``), in that order.
    """

    def __init__(self, fd: int, pages: list[int] | None = None, extra: Any = ()) -> None:
        self.fd = fd
        self.pages = pages
        self.runs: int | None = None
        self._extra = list(extra)
        self._map: mmap.mmap | None = None
        info = parse_fdinfo(files.read(f"/proc/self/fdinfo/{fd}"))
        self.exporter = info.get("exp_name", "")
        self.size = os.lseek(fd, 0, os.SEEK_END)
        self.inode = os.fstat(fd).st_ino

    @property
    def mapping(self) -> mmap.mmap:
        """The CPU mapping. ``OSError`` if the exporter offers none."""
        if self._map is None:
            self._map = mmap.mmap(self.fd, self.size)
        return self._map

    def read(self, size: int | None = None, offset: int = 0) -> bytes:
        """Read by CPU between SYNC START and END for reading."""
        end = self.size if size is None else offset + size
        mapping = self.mapping
        self._sync(SYNC_START | SYNC_READ)
        try:
            return mapping[offset:end]
        finally:
            self._sync(SYNC_END | SYNC_READ)

    def write(self, data: bytes, offset: int = 0) -> None:
        """Write by CPU between SYNC START and END for writing; ``ValueError`` if it does not fit."""
        if offset + len(data) > self.size:
            raise ValueError(f"{len(data)} bytes at {offset} do not fit into a buffer of {self.size}")
        mapping = self.mapping
        self._sync(SYNC_START | SYNC_READ | SYNC_WRITE)
        try:
            mapping[offset : offset + len(data)] = data
        finally:
            self._sync(SYNC_END | SYNC_READ | SYNC_WRITE)

    def fill(self, byte: int) -> None:
        """Fill the whole buffer with one byte value."""
        self.write(bytes([byte]) * self.size)

    def holds(self, byte: int) -> bool:
        """Whether each of its pages begins with one byte value, and the last one ends with it."""
        mapping = self.mapping
        self._sync(SYNC_START | SYNC_READ)
        try:
            seen = mapping[::PAGE] + mapping[-1:]
        finally:
            self._sync(SYNC_END | SYNC_READ)
        return not seen.strip(bytes([byte]))

    def _sync(self, flags: int) -> None:
        DMA_BUF_IOCTL_SYNC(self.fd, dma_buf_sync(flags))

    def held(self, kind: type[Held]) -> Held | None:
        """Return what of this kind the allocator keeps open behind the buffer, ``None`` if nothing."""
        return next((thing for thing in self._extra if isinstance(thing, kind)), None)

    def describe(self) -> dict[str, Any]:
        """Return ``exporter``, ``inode``, ``size``, ``runs`` (of adjoining pages, ``None``: unknown)."""
        return {"exporter": self.exporter, "inode": self.inode, "size": self.size, "runs": self.runs}

    def close(self) -> None:
        """Release everything; closing twice does nothing."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        while self._extra:
            self._extra.pop().close()
