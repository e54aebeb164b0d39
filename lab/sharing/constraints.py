"""What a decoder demands of memory, what a board's memory is like, how a buffer lies in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

PAGE = 4096
_GIB = 1 << 30


def top(bits: int) -> int:
    """The highest address of ``bits`` bits."""
    return (1 << bits) - 1


class Reach(StrEnum):
    """Where a buffer's pages lie as seen from a device's address mask."""

    BELOW = "below"  # all of them within the mask
    ACROSS = "across"  # some within, some beyond
    ABOVE = "above"  # all of them beyond


@dataclass(frozen=True)
class Layout:
    """How a buffer lies in physical memory, as far as an untranslated device can tell."""

    contiguous: bool
    reach: Reach


@dataclass(frozen=True)
class DecoderFacts:
    """What a decoder and its driver demand.

    ``dma_mask_bits``: the mask that the driver sets. ``contiguous``: its queue wants one range of DMA
    addresses (videobuf2-dma-contig). ``behind_iommu``: there is an IOMMU that can translate for it.
    ``device_bits``: address lines that the hardware has, where the driver is wrong about them.
    """

    name: str
    dma_mask_bits: int
    contiguous: bool = True
    behind_iommu: bool = True
    device_bits: int | None = None

    def __post_init__(self) -> None:
        for bits in (self.dma_mask_bits, self.device_bits):
            if bits is not None and not 1 <= bits <= 64:
                raise ValueError(f"decoder {self.name}: {bits} address bits are not within 1 to 64")

    @property
    def overrated(self) -> bool:
        """The driver hands out addresses that the hardware cannot put on its bus."""
        return self.device_bits is not None and self.device_bits < self.dma_mask_bits


@dataclass(frozen=True)
class BoardFacts:
    """A board's memory in one boot.

    ``ram``: physical ranges [start, end). ``swiotlb``: there are bounce buffers. ``shmem_huge``: shmem
    comes in 2 MiB folios (transparent_hugepage/shmem_enabled is ``force``). ``heaps``: names under
    /dev/dma_heap, None where nobody looked. ``zone_dma_bits``: address bits of the zone for devices
    with small masks; 32 unless firmware says less (arch/arm64/mm/init.c, zone_sizes_init).
    """

    ram: tuple[tuple[int, int], ...]
    swiotlb: bool = True
    shmem_huge: bool = False
    heaps: tuple[str, ...] | None = None
    zone_dma_bits: int = 32

    def __post_init__(self) -> None:
        if not self.ram or any(not 0 <= start < end for start, end in self.ram):
            raise ValueError(f"no RAM in {self.ram}")

    @classmethod
    def from_raw(cls, facts: Mapping[str, Any]) -> Self:
        """From what the agent's ``facts()`` returns."""
        ranges: Sequence[Sequence[int]] = facts["ram"]
        bounce = facts.get("swiotlb_bytes")
        heaps = facts.get("heaps")
        return cls(
            ram=tuple((start, end) for start, end in ranges),
            # Without debugfs the size is unknown; the area is there unless the command line forbids it.
            swiotlb=bool(bounce)
            if bounce is not None
            else "swiotlb=noforce" not in str(facts.get("cmdline", "")).split(),
            shmem_huge=facts.get("shmem_thp") == "force",
            heaps=tuple(heaps) if heaps is not None else None,
        )

    @property
    def start(self) -> int:
        """The lowest RAM address."""
        return min(start for start, _ in self.ram)

    @property
    def end(self) -> int:
        """The first address beyond all RAM."""
        return max(end for _, end in self.ram)

    def takes_mask(self, bits: int) -> bool:
        """Whether an untranslated driver may set this mask (kernel/dma/direct.c, dma_direct_supported).

        32 bits always pass; fewer have to reach all RAM, or else the zone that small masks are served
        from. Where they do not, setting the mask fails with EIO.
        """
        need = min(self.end - PAGE, top(self.zone_dma_bits))
        return bits >= 32 or top(bits) >= need

    def reach(self, lowest: int, highest: int, bits: int) -> Reach:
        """Where pages from ``lowest`` to ``highest`` (addresses of pages) lie for a mask of ``bits``."""
        if highest <= top(bits):
            return Reach.BELOW
        return Reach.ABOVE if lowest > top(bits) else Reach.ACROSS


def address(value: int) -> str:
    """An address for people: ``1 GiB`` where it is round, hexadecimal else."""
    return f"{value // _GIB} GiB" if value % _GIB == 0 else f"{value:#x}"
