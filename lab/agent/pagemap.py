"""Physical addresses of pages mapped by this process (Documentation/admin-guide/mm/pagemap.rst)."""

from __future__ import annotations

import os
from itertools import pairwise

PAGE = 4096
_PRESENT = 1 << 63
_PFN = (1 << 55) - 1


def parse(entries: bytes) -> list[int] | None:
    """Turn 64-bit pagemap entries into physical addresses; ``None`` if a page is absent or its frame hidden.

    Mappings without struct pages (VM_PFNMAP: udmabuf, vgem, virtio-gpu) read as zero although pages are
    there.
    """
    words = memoryview(entries).cast("Q")
    if any(not word & _PRESENT or not word & _PFN for word in words):
        return None
    return [(word & _PFN) * PAGE for word in words]


def physical(address: int, size: int) -> list[int] | None:
    """Return the physical address of each 4 KiB page at a virtual ``address``, or ``None``."""
    fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return parse(os.pread(fd, size // PAGE * 8, address // PAGE * 8))
    finally:
        os.close(fd)


def runs(pages: list[int]) -> int:
    """Count the physically contiguous runs of a list of page addresses."""
    return 1 + sum(page != before + PAGE for before, page in pairwise(pages))
