"""Counters that move when memory is bounced or taken from CMA."""

from __future__ import annotations

from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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


def cma() -> dict[str, Any]:
    """Return ``{"total", "free"}`` in bytes and the successes and failures of CMA allocations since boot."""
    memory = files.meminfo(files.read("/proc/meminfo"))
    events = dict(line.split() for line in files.read("/proc/vmstat").splitlines())
    return {
        "total": memory.get("CmaTotal"),
        "free": memory.get("CmaFree"),
        "success": int(events["cma_alloc_success"]) if "cma_alloc_success" in events else None,
        "fail": int(events["cma_alloc_fail"]) if "cma_alloc_fail" in events else None,
    }
