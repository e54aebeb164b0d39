"""Who can provide a buffer, and what each one guarantees about its pages: a table.

Sources, Linux 6.12: drivers/dma-buf/udmabuf.c, drivers/gpu/drm/drm_gem_shmem_helper.c and drm_prime.c,
drivers/dma-buf/heaps/*.c, drivers/media/common/videobuf2/videobuf2-dma-contig.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lab.sharing.constraints import PAGE, BoardFacts

_HUGE = 2 << 20


class Backing(StrEnum):
    """Where the pages come from; decides how far they are contiguous and where they lie."""

    DECODER = "decoder"  # allocated by the decoder's driver, for the decoder's own mask
    CMA = "cma"  # one run from the contiguous area, which lies in the zone for small DMA masks
    SHMEM = "shmem"  # single pages from anywhere; the highest zone comes first
    HUGETLB = "hugetlb"  # 2 MiB pages from anywhere
    PAGES = "pages"  # as large as the kernel has them at hand: nothing is guaranteed


@dataclass(frozen=True)
class Allocator:
    """One row of the matrix.

    ``exporter``: how the dma-buf names it (fdinfo, exp_name). ``synced``: the exporter syncs its
    importers' mappings on DMA_BUF_IOCTL_SYNC, which copies bounced pages back. ``provider``: the
    agent's name for it. ``copy``: the decoder writes elsewhere and the CPU copies into this buffer, on
    purpose: a control that must never come out as zero-copy. ``heap``: the name under /dev/dma_heap.
    ``fitted``: the provider looks where its pages lie and offers only those that the decoder reaches.
    """

    name: str
    title: str
    exporter: str
    backing: Backing
    synced: bool = False
    copy: bool = False
    provider: str = ""
    heap: str = ""
    fitted: bool = False

    def __post_init__(self) -> None:
        if not self.provider:
            object.__setattr__(self, "provider", self.name)

    def __str__(self) -> str:
        return self.name

    @property
    def own(self) -> bool:
        """The decoder itself provides the memory, so nothing is imported."""
        return self.backing is Backing.DECODER

    def granule(self, board: BoardFacts) -> int | None:
        """Bytes that are physically contiguous for sure, from the buffer's start; None: all of it."""
        if self.backing in (Backing.DECODER, Backing.CMA):
            return None
        if self.backing is Backing.HUGETLB or (self.backing is Backing.SHMEM and board.shmem_huge):
            return _HUGE
        return PAGE

    def missing(self, board: BoardFacts) -> str:
        """Why this board has no such allocator; empty where it may have it."""
        if self.heap and board.heaps is not None and self.heap not in board.heaps:
            return f"no /dev/dma_heap/{self.heap} on this kernel"
        return ""


_TABLE = (
    Allocator("decoder-mmap", "decoder's own (MMAP, EXPBUF)", "videobuf2_dma_contig", Backing.DECODER),
    Allocator("udmabuf-4k", "udmabuf, 4K pages, scattered", "udmabuf", Backing.SHMEM),
    Allocator("udmabuf-2m", "udmabuf, 2M huge pages", "udmabuf", Backing.HUGETLB),
    Allocator("virtio-gpu-dumb", "virtio-gpu dumb buffer", "virtio_gpu", Backing.SHMEM),
    Allocator("vgem", "vgem buffer", "drm", Backing.SHMEM),
    Allocator("heap-system", "dma-heap, system", "system", Backing.PAGES, synced=True, heap="system"),
    Allocator("heap-cma", "dma-heap, contiguous", "cma", Backing.CMA, synced=True, heap="cma"),
    Allocator(
        "copied", "control: copied on purpose", "udmabuf", Backing.SHMEM, copy=True, provider="udmabuf-4k"
    ),
)

ALLOCATORS = {allocator.name: allocator for allocator in _TABLE}
"""Name -> allocator, in the order of the matrix's rows."""
