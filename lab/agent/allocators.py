"""Who provides the memory: one small class for each allocator of dma-bufs, in the table `ALLOCATORS`.

The decoder's own buffers (``decoder-mmap``) belong to a queue and are made in `share`.
"""

from __future__ import annotations

import ctypes
import errno
import os

from . import drm, files, ioctl, pagemap, virtgpu
from .dmabuf import DmaBuf
from .memfd import HUGE, MFD_HUGE_2MB, MFD_HUGETLB, PAGE, MemFd, Reserved, UnavailableError, reserve, whole
from .modules import load
from .scatter import OneCpu, Poison

SHMEM_HUGE = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
ATTEMPTS = 8  # at a scattered memfd; each failed one keeps its pages until the end, so the next gets others


class dma_heap_allocation_data(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("len", ctypes.c_uint64),
        ("fd", ctypes.c_uint32),
        ("fd_flags", ctypes.c_uint32),
        ("heap_flags", ctypes.c_uint64),
    )


DMA_HEAP_IOCTL_ALLOC = ioctl.both("DMA_HEAP_IOCTL_ALLOC", "H", 0, dma_heap_allocation_data)


class Allocator:
    """Makes dma-bufs. ``scattered``: of single pages, which it does what it can to keep apart."""

    name: str
    scattered = False

    def allocate(self, size: int) -> DmaBuf:
        """Return a buffer of ``size`` bytes at least; `UnavailableError` if the board cannot have any."""
        raise NotImplementedError


class Udmabuf4K(Allocator):
    """udmabuf over single pages, no two of which adjoin."""

    name = "udmabuf-4k"
    scattered = True

    def allocate(self, size: int) -> DmaBuf:
        """Fault two memfds alternately; check by pagemap after udmabuf has pinned (maybe moved) the pages."""
        size = whole(size, PAGE)
        spare: list[MemFd | DmaBuf] = []
        try:
            for _ in range(ATTEMPTS):
                buffer = self._attempt(size, spare)
                if buffer.pages is None or buffer.runs == size // PAGE:
                    return buffer
                spare.append(buffer)
            raise OSError(
                errno.EAGAIN, f"no scattered pages in {ATTEMPTS} attempts (is shmem_enabled=force?)"
            )
        finally:
            for thing in spare:
                thing.close()

    def _attempt(self, size: int, spare: list[MemFd | DmaBuf]) -> DmaBuf:
        memory = MemFd(size)
        other = MemFd(size)
        spare.append(other)
        try:
            with OneCpu():
                for offset in range(0, size, PAGE):
                    memory.touch(offset)
                    other.touch(offset)
            buffer = DmaBuf(memory.udmabuf(size), extra=[memory])
        except BaseException:
            memory.close()
            raise
        buffer.pages = memory.pages(size)
        buffer.runs = pagemap.runs(buffer.pages) if buffer.pages else None
        return buffer


class Udmabuf2M(Allocator):
    """udmabuf over 2 MiB huge pages, reserved as needed."""

    name = "udmabuf-2m"

    def allocate(self, size: int) -> DmaBuf:
        """Make one of whole 4 KiB pages that lies in as few huge pages as it fits."""
        size = whole(size, PAGE)
        huge = whole(size, HUGE)
        reserved = Reserved(reserve(huge // HUGE))
        memory = None
        try:
            memory = MemFd(huge, MFD_HUGETLB | MFD_HUGE_2MB)
            for offset in range(0, huge, HUGE):
                memory.touch(offset)
            buffer = DmaBuf(memory.udmabuf(size), extra=[reserved, memory])
        except BaseException:
            if memory is not None:
                memory.close()
            reserved.close()
            raise
        buffer.pages = memory.pages(size)
        buffer.runs = pagemap.runs(buffer.pages) if buffer.pages else None
        return buffer


class DumbBuffer(Allocator):
    """A DRM dumb buffer exported by PRIME; single shmem pages for the drivers in the table."""

    scattered = True

    def __init__(self, name: str, module: str) -> None:
        self.name = name
        self.module = module

    def allocate(self, size: int, width: int = drm.WIDTH) -> DmaBuf:
        """Make the buffer and map it, which takes its pages, with a poisoned free list.

        ``width``: pixels of 32 bits in a row, which a display wants to know of a buffer that is no blob.
        """
        path = drm.node(self.module)
        if path is None:
            _load(self.module)
            path = drm.node(self.module)
        if path is None:
            raise UnavailableError(f"no DRM device of {self.module} on this board")
        size = whole(size, PAGE)
        with OneCpu():
            poison = Poison(2 * size // PAGE)
            dumb = None
            try:
                dumb = drm.Dumb(path, size, width)
                buffer = DmaBuf(dumb.export(), extra=[dumb])
                _ = buffer.mapping  # vgem takes its pages only now
            except BaseException:
                if dumb is not None:
                    dumb.close()
                raise
            finally:
                poison.close()
        return buffer


class GuestBlob(Allocator):
    """A virtio-gpu blob of the guest's own memory, exported by PRIME: no command ever copies it."""

    name = "guest-blob"
    scattered = True

    def allocate(self, size: int) -> DmaBuf:
        """Create it with a poisoned free list: the pages are taken then, for the device is told of them."""
        size = whole(size, PAGE)
        with OneCpu():
            poison = Poison(2 * size // PAGE)
            try:
                return self._create(size)
            finally:
                poison.close()

    def _create(self, size: int) -> DmaBuf:
        try:
            blob = virtgpu.Blob(size)
        except FileNotFoundError:
            raise UnavailableError("this machine has no virtio-gpu") from None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise UnavailableError("this virtio-gpu offers no blob resources") from None
        try:
            return DmaBuf(blob.export(), extra=[blob])
        except BaseException:
            blob.close()
            raise


class GuestBlobContiguous(GuestBlob):
    """The same in one huge page of the guest, by a switch that holds for all shmem meanwhile."""

    name = "guest-blob-contig"
    scattered = False

    def allocate(self, size: int) -> DmaBuf:
        """Create it while shmem takes huge pages whatever the file's size is."""
        before = files.read_or_none(SHMEM_HUGE)
        if before is None:
            raise UnavailableError("this kernel has no huge pages for shmem")
        files.write(SHMEM_HUGE, "force")
        try:
            return self._create(whole(size, PAGE))
        finally:
            files.write(SHMEM_HUGE, before.partition("[")[2].partition("]")[0])


class Heap(Allocator):
    """A dma-heap; the first of ``heaps`` that the board has."""

    def __init__(self, name: str, heaps: tuple[str, ...], scattered: bool) -> None:
        self.name = name
        self.heaps = heaps
        self.scattered = scattered

    def allocate(self, size: int) -> DmaBuf:
        """Allocate by DMA_HEAP_IOCTL_ALLOC."""
        path = self._path()
        if path is None:
            _load("dma_heaps")
            path = self._path()
        if path is None:
            raise UnavailableError(f"no /dev/dma_heap/{' or '.join(self.heaps)} on this board")
        size = whole(size, PAGE)
        heap = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            with OneCpu():
                poison = Poison(2 * size // PAGE)
                try:
                    request = dma_heap_allocation_data(len=size, fd_flags=os.O_RDWR | os.O_CLOEXEC)
                    DMA_HEAP_IOCTL_ALLOC(heap, request)
                finally:
                    poison.close()
        finally:
            os.close(heap)
        return DmaBuf(int(request.fd))

    def _path(self) -> str | None:
        paths = (f"/dev/dma_heap/{heap}" for heap in self.heaps)
        return next((path for path in paths if os.path.exists(path)), None)


def _load(module: str) -> None:
    try:
        load(module)
    except OSError as error:
        raise UnavailableError(str(error.strerror)) from None


ALLOCATORS: dict[str, Allocator] = {
    allocator.name: allocator
    for allocator in (
        Udmabuf4K(),
        Udmabuf2M(),
        DumbBuffer("virtio-gpu-dumb", "virtio_gpu"),
        DumbBuffer("vgem", "vgem"),
        GuestBlob(),
        GuestBlobContiguous(),
        Heap("heap-system", ("system",), scattered=True),
        Heap("heap-cma", ("cma", "linux,cma", "reserved", "default_cma_region"), scattered=False),
    )
}


def find(name: str) -> Allocator:
    """Return an allocator by name; ``LookupError`` names those there are."""
    try:
        return ALLOCATORS[name]
    except KeyError:
        raise LookupError(f"no allocator {name!r}; there are decoder-mmap, {', '.join(ALLOCATORS)}") from None
