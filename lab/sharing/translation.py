"""Whether an IOMMU translated the importer's addresses, as the trace shows it: a second witness beside sysfs.

A group's type says what its domain ought to do. What was done to a buffer's addresses is in the events: for a
translated mapping ``iommu:map`` has the DMA address that ``dma_map_sg`` got, and there the first page of it
(Linux, drivers/iommu/dma-iommu.c, iommu_dma_map_sg). An untranslated address is in no such event, whatever
offset its bus adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def translated(raw: Mapping[str, Any]) -> bool | None:
    """Whether all mappings of ``share()``'s importer went through an IOMMU.

    None where the trace does not tell: it was not there or lost events, there was no mapping or one that
    bounced (then other pages are behind the address), or some were translated and others not. Where there is
    no mapping, an allocation whose address no IOMMU has mapped was not translated; of one whose address is
    there the trace does not tell the pages, so it may be another device's.
    """
    silent = raw["bounced"] != 0 or any(
        name == "trace:iommu:map" or "lost" in name for name in raw["missing"]
    )
    if silent:
        return None
    maps, allocs = (
        [event for event in raw.get(name) or () if event["device"] == raw["importer"]]
        for name in ("maps", "allocs")
    )
    whole = [event for event in maps if event["phys"] and event["dma"]]
    found = {event["phys"][0] in _behind(raw, event["dma"][0][0]) for event in whole}
    if not maps and any(not _behind(raw, event["dma"]) for event in allocs):
        return False
    return found.pop() if len(found) == 1 else None


def _behind(raw: Mapping[str, Any], address: int) -> list[int]:
    """The physical addresses that were mapped at an I/O address."""
    known = raw["iommu_maps"]  # [I/O address, physical address, bytes]
    return [phys + address - start for start, phys, size in known if start <= address < start + size]
