"""What the board is: kernel, memory, what it offers."""

from __future__ import annotations

import os
import sys

from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def hello() -> dict[str, Any]:
    """Return ``python``, ``kernel`` (release), ``machine``, ``boot_id`` and ``uptime`` in seconds."""
    system = os.uname()
    return {
        "python": sys.version.split()[0],
        "kernel": system.release,
        "machine": system.machine,
        "boot_id": files.read("/proc/sys/kernel/random/boot_id"),
        "uptime": float(files.read("/proc/uptime").split()[0]),
    }


def system_ram(iomem: str) -> list[list[int]]:
    """Return ``[start, end]`` (end exclusive) of each ``System RAM`` line of /proc/iomem as root sees it."""
    ranges = []
    for line in iomem.splitlines():
        span, _, what = line.partition(" : ")
        if what == "System RAM" and not line.startswith(" "):
            start, end = span.split("-")
            ranges.append([int(start, 16), int(end, 16) + 1])
    return ranges


def facts() -> dict[str, Any]:
    """Return what decides about buffers on this boot.

    ``kernel``: release; ``ram``: ``[[start, end)]`` physical; ``cma_total``, ``swiotlb_bytes``: bytes or
    ``None``; ``heaps``: names in /dev/dma_heap; ``modules``: loaded kernel modules; ``cmdline``;
    ``hugepages_2m``: 2 MiB pages reserved; ``shmem_thp``: the choice in
    transparent_hugepage/shmem_enabled (``force`` makes shmem contiguous); ``iommus``: IOMMU instances
    that have registered, by name.
    """
    from . import counters

    memory = files.meminfo(files.read("/proc/meminfo"))
    huge = files.read_or_none("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    shmem = files.read_or_none("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
    return {
        "kernel": os.uname().release,
        "ram": system_ram(files.read("/proc/iomem")),
        "mem_total": memory["MemTotal"],
        "cma_total": memory.get("CmaTotal"),
        "swiotlb_bytes": counters.swiotlb_bytes(),
        "heaps": files.listing("/dev/dma_heap"),
        "modules": sorted(line.split()[0] for line in files.read("/proc/modules").splitlines()),
        "cmdline": files.read("/proc/cmdline"),
        "hugepages_2m": int(huge) if huge is not None else None,
        "shmem_thp": shmem.partition("[")[2].partition("]")[0] if shmem is not None else None,
        "iommus": files.listing("/sys/class/iommu"),
    }
