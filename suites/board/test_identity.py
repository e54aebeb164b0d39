"""One buffer, one identity: what the decoder maps is what the consumer reads, and nothing is left behind."""

from __future__ import annotations

from lab.base.words import IommuMode, Verdict
from lab.sharing import ALLOCATORS

PAGE = 4096


def test_iommu_makes_one_range_of_scattered_pages(decoder, stream, iommu_mode):
    """A translating IOMMU makes one DMA range of the memfd's scattered pages; nothing else does."""
    share = decoder.decode_into(ALLOCATORS["udmabuf-4k"], stream)
    raw = share.raw
    assert raw["pages"], "pagemap gave no physical pages"
    runs = (
        sum(after - before != PAGE for before, after in zip(raw["pages"], raw["pages"][1:], strict=False)) + 1
    )
    assert runs > 1, "the allocator promised scattered pages"
    # Of the dma-bufs that the frame is in: one for each plane, of which the largest has several pages.
    mapped = [event for event in raw["maps"] if set(event["phys"]) <= set(raw["pages"])]
    assert mapped, "no dma_map_sg of the decoder for these pages in the trace"
    ranges = max(len(merge(event["dma"])) for event in mapped)
    if iommu_mode in (IommuMode.TRANSLATED, IommuMode.LAZY):
        assert ranges == 1, f"{runs} runs of pages became {ranges} DMA ranges"
    else:
        # Slots of bounced pages adjoin, which is why the queue's own check is no protection.
        assert ranges > 1 or share.raw["bounced"]
        assert share.verdict != Verdict.ZERO_COPY


def test_importer_is_attached_to_the_very_buffer(decoder, stream):
    """debugfs lists the decoder at the inode that the consumer holds; afterwards nothing is left."""
    before = decoder.board.agent.call("dmabufs")
    share = decoder.decode_into(ALLOCATORS["heap-cma"], stream)
    assert share.raw["attachments"] == [decoder.device], share.raw["attachments"]
    assert share.raw["buffer"]["exporter"] == ALLOCATORS["heap-cma"].exporter
    decoder.board.agent.call("reset")
    left = [buffer for buffer in decoder.board.agent.call("dmabufs") if buffer not in before]
    assert not left, f"dma-bufs left behind: {left}"


def test_import_is_paid_once_per_buffer(decoder, frames):
    """Frames that follow keep the mapping: import is paid once per buffer, not per frame."""
    share = decoder.decode_into(ALLOCATORS["heap-cma"], frames(3))
    assert share.as_expected, share.explain()
    assert share.verdict == Verdict.ZERO_COPY, "contiguous memory below the mask is shared in every mode"
    assert len(share.raw["maps"]) == len(share.raw["buffers"]), share.raw["maps"]


def merge(ranges: list[list[int]]) -> list[list[int]]:
    """``[address, length]`` pairs with neighbours joined."""
    merged: list[list[int]] = []
    for address, length in ranges:
        if merged and sum(merged[-1]) == address:
            merged[-1][1] += length
        else:
            merged.append([address, length])
    return merged
