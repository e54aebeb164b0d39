"""Counters that move when memory is bounced or taken from CMA."""

from __future__ import annotations

from . import files

SWIOTLB = "/sys/kernel/debug/swiotlb"
SLOT = 2048  # bytes of a swiotlb slot, IO_TLB_SIZE (include/linux/swiotlb.h)


def swiotlb_bytes() -> int | None:
    """Return the size of the bounce area; 0: there is none, ``None``: debugfs does not say."""
    slots = files.read_or_none(f"{SWIOTLB}/io_tlb_nslabs")
    return int(slots) * SLOT if slots is not None else None


def swiotlb_hiwater() -> int | None:
    """Return the most slots in use at once since `reset_hiwater`, ``None`` where that is not counted."""
    text = files.read_or_none(f"{SWIOTLB}/io_tlb_used_hiwater")
    return int(text) if text is not None else None


def reset_hiwater() -> None:
    """Set the high-water mark to 0 (it takes nothing else), so that the next bounce shows, however small."""
    files.write(f"{SWIOTLB}/io_tlb_used_hiwater", "0")


def cma_free() -> int | None:
    """Return the free bytes of the contiguous memory areas, ``None`` without CMA."""
    return files.meminfo(files.read("/proc/meminfo")).get("CmaFree")
