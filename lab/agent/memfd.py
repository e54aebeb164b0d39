"""Memory files: what udmabufs and guests' RAM are made of, on small pages or huge ones."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os

from . import files, ioctl, pagemap

PAGE = 4096
HUGE = 2 << 20
MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_HUGETLB, MFD_HUGE_2MB = 1, 2, 4, 21 << 26
F_ADD_SEALS, F_SEAL_SHRINK = 1033, 2
HUGE_PAGES = "/proc/sys/vm/nr_hugepages"
SPARED = 256 << 20


class UnavailableError(Exception):
    """This board has no such allocator (no module, no device, no heap): the cell is unsupported."""


class udmabuf_create(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("memfd", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
    )


UDMABUF_CREATE = ioctl.write("UDMABUF_CREATE", "u", 0x42, udmabuf_create)
UDMABUF_FLAGS_CLOEXEC = 1


def whole(size: int, unit: int) -> int:
    """Round ``size`` up to a multiple of ``unit``."""
    return -(-size // unit) * unit


class MemFd:
    """A sealed memfd that is mapped, so that its pages' addresses can be read."""

    def __init__(self, size: int, flags: int = 0) -> None:
        self.fd = os.memfd_create("sharelab", flags | MFD_CLOEXEC | MFD_ALLOW_SEALING)
        self.size = size
        self.map: mmap.mmap | None = None
        try:
            os.ftruncate(self.fd, size)
            fcntl.fcntl(self.fd, F_ADD_SEALS, F_SEAL_SHRINK)  # udmabuf demands it
            self.map = mmap.mmap(self.fd, size)
        except BaseException:
            self.close()
            raise

    def touch(self, offset: int) -> None:
        """Fault one page in."""
        assert self.map is not None
        self.map[offset] = 0

    def pages(self, size: int) -> list[int] | None:
        """Return the physical addresses of the first ``size`` bytes, where they are now."""
        assert self.map is not None
        for offset in range(0, size, PAGE):
            _ = self.map[offset]  # a page that moved while it was pinned has to be faulted in again
        view = ctypes.c_char.from_buffer(self.map)
        try:
            return pagemap.physical(ctypes.addressof(view), size)
        finally:
            del view

    def udmabuf(self, size: int) -> int:
        """Return a new udmabuf file descriptor over the first ``size`` bytes."""
        try:
            device = os.open("/dev/udmabuf", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise UnavailableError("no /dev/udmabuf: the kernel was built without CONFIG_UDMABUF") from None
        try:
            request = udmabuf_create(memfd=self.fd, flags=UDMABUF_FLAGS_CLOEXEC, size=size)
            return UDMABUF_CREATE(device, request)  # the descriptor is what the ioctl returns
        finally:
            os.close(device)

    def close(self) -> None:
        """Unmap and close."""
        if self.map is not None:
            self.map.close()
            self.map = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def reserve(count: int) -> int:
    """See that ``count`` huge pages of 2 MiB are free and return how many came into the pool for it.

    ``OSError`` ENOMEM, and the pool as it was, if memory is too fragmented.
    """
    added = 0
    while (lacking := count - _free()) > 0:
        # More than once where pages are in use that had left the pool: they are taken for its new ones.
        more = _enlarge(lacking)
        added += more
        if more < lacking:
            give_back(added)
            raise OSError(errno.ENOMEM, f"could not reserve {count} huge pages of 2 MiB")
    return added


def _free() -> int:
    """Return how many huge pages are free and nobody's."""
    memory = files.meminfo(files.read("/proc/meminfo"))
    if memory.get("Hugepagesize") != HUGE:
        raise UnavailableError("huge pages of this kernel are not 2 MiB")
    return memory["HugePages_Free"] - memory["HugePages_Rsvd"]


def grow(count: int) -> int:
    """Add ``count`` huge pages to the pool, however many are free there, and return how many came.

    0 where that would leave the board less than `SPARED` bytes: it would stand still for lack of memory.
    """
    if files.meminfo(files.read("/proc/meminfo"))["MemAvailable"] < count * HUGE + SPARED:
        return 0
    return _enlarge(count)


def give_back(count: int) -> None:
    """Make the pool smaller by ``count`` huge pages; those that are in use leave it when they are freed."""
    if count:
        files.write(HUGE_PAGES, str(max(int(files.read(HUGE_PAGES)) - count, 0)))


def _enlarge(count: int) -> int:
    before = int(files.read(HUGE_PAGES))
    files.write(HUGE_PAGES, str(before + count))
    return int(files.read(HUGE_PAGES)) - before


class Reserved:
    """Huge pages that were added to the pool, until this is closed."""

    def __init__(self, count: int) -> None:
        self.count = count

    def close(self) -> None:
        """Give them back; closing twice does nothing."""
        count, self.count = self.count, 0
        give_back(count)
