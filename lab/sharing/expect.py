"""What a share ought to turn out to be: the constraint model.

A share is decided in this order, each step a rule below:

1. Can the decoder run at all? Untranslated, its address mask has to serve this board's memory.
2. A translating IOMMU maps any pages into one range of addresses that the decoder reaches.
3. Untranslated pages beyond the mask are bounced through swiotlb page by page. The slots adjoin, so the
   queue's check for contiguity passes; nothing copies the data back unless the exporter syncs.
4. Untranslated pages within the mask have to be one run, where the queue wants one.

The same rules answer for the layout that an allocator guarantees and for one that was measured, and for
memory behind a VM boundary: guest RAM is contiguous for the decoder as far as it is so on both levels, a
decoder in the guest is an untranslated decoder on a machine whose RAM is the guest's.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace

from lab.base.words import IommuMode, Verdict
from lab.sharing.allocators import Allocator, Backing
from lab.sharing.constraints import PAGE, BoardFacts, DecoderFacts, Layout, Reach, address, top
from lab.sharing.paths import IOMMU_GROUP, Place, SharingPath, VmmFacts

QCIF_NV12 = 176 * 144 * 3 // 2
"""Bytes of the frame that the virtual boards decode."""


@dataclass(frozen=True)
class Expectation:
    """The expected verdict. ``errno``: of the call that fails, where one does. ``reason``: one sentence."""

    verdict: Verdict
    reason: str
    errno: int | None = None


def expected(
    allocator: Allocator,
    decoder: DecoderFacts,
    board: BoardFacts,
    mode: IommuMode,
    *,
    size: int = QCIF_NV12,
    layout: Layout | None = None,
) -> Expectation:
    """What importing a buffer of ``size`` bytes into the decoder's CAPTURE queue ought to turn out to be.

    ``layout``: how the buffer really lies; by default as the allocator guarantees (``assumed``).
    """
    if missing := allocator.missing(board):
        return Expectation(Verdict.UNSUPPORTED, missing, errno.ENODEV)
    translated = decoder.behind_iommu and mode in (IommuMode.TRANSLATED, IommuMode.LAZY)
    if not translated and not board.takes_mask(decoder.dma_mask_bits):
        return Expectation(
            Verdict.UNSUPPORTED,
            f"EIO at probe: {decoder.dma_mask_bits} address bits do not serve RAM at "
            f"{address(board.start)} to {address(board.end)}",
            errno.EIO,
        )
    if translated:
        found = _translated(allocator, decoder)
    elif allocator.own or allocator.copy:
        found = Expectation(Verdict.ZERO_COPY, "allocated by the decoder's driver, for its mask")
    else:
        found = _imported(allocator, layout or assumed(allocator, decoder, board, size), decoder, board, size)
    if found.verdict is Verdict.ZERO_COPY and decoder.overrated:
        found = _overrated(decoder, board, translated) or found
    if found.verdict is Verdict.ZERO_COPY and allocator.copy:
        return Expectation(Verdict.COPIED, "the CPU copies out of the decoder's own buffer")
    return found


def expected_path(
    path: SharingPath,
    decoder: DecoderFacts,
    board: BoardFacts,
    vmm: VmmFacts,
    mode: IommuMode,
    *,
    size: int = QCIF_NV12,
    layout: Layout | None = None,
) -> Expectation:
    """What ``path`` ought to turn out to be for a buffer of ``size`` bytes.

    ``layout``: how the buffer really lies for the decoder (for a decoder in the guest: in the guest's
    addresses); by default as allocator, guest and VMM guarantee. Raises LabError where a fact that the
    path needs was never looked for.
    """
    if lacking := _lacking(path, decoder, vmm, mode):
        return Expectation(Verdict.UNSUPPORTED, lacking, errno.ENODEV)
    if path.place is Place.MAPPING:
        reason = "EFAULT: O_DIRECT wants struct pages, which a dma-buf's mapping has not (PFNMAP)"
        return Expectation(Verdict.REFUSED, reason, errno.EFAULT)
    if path.place is Place.IN_GUEST:
        found = _in_guest(path.allocator, decoder, vmm.guest_memory, size, layout)
    elif path.place is Place.GUEST_RAM:
        found = _guest_ram(path.allocator, decoder, board, vmm, mode, size, layout)
    else:
        by_gpu = path.place is Place.GPU
        allocator = replace(path.allocator, backing=vmm.texture) if by_gpu else path.allocator
        found = expected(allocator, decoder, board, mode, size=size, layout=layout)
    if found.verdict is Verdict.ZERO_COPY and path.control is not None:
        return Expectation(path.control, path.why)
    return found


def has_group(decoder: DecoderFacts, mode: IommuMode) -> bool:
    """Whether the decoder is in an IOMMU group: in every mode but off, as verified on the board."""
    return decoder.behind_iommu and mode is not IommuMode.OFF


def _lacking(path: SharingPath, decoder: DecoderFacts, vmm: VmmFacts, mode: IommuMode) -> str:
    """Why ``path`` cannot be had here; empty where it can."""
    for name in path.requires:
        if name != IOMMU_GROUP:
            if lacking := vmm.lacks(name):
                return lacking
        elif not has_group(decoder, mode):
            said = vmm.lacks(name) if name in vmm.capabilities else ""
            return said or "the decoder is in no IOMMU group"
    return ""


def _guest_ram(
    allocator: Allocator,
    decoder: DecoderFacts,
    board: BoardFacts,
    vmm: VmmFacts,
    mode: IommuMode,
    size: int,
    layout: Layout | None,
) -> Expectation:
    """Guest pages on the VMM's pages: one run only where guest and host both keep it together."""
    granule = allocator.granule(vmm.guest_memory)
    in_guest, on_host = granule is None or size <= granule, size <= vmm.page
    # The VMM's pages come from anywhere, whatever zone the guest believes its own to be in.
    above = board.end - PAGE > top(decoder.dma_mask_bits)
    guaranteed = Layout(in_guest and on_host, Reach.ABOVE if above else Reach.BELOW)
    found = expected(allocator, decoder, board, mode, size=size, layout=layout or guaranteed)
    if layout is None and found.verdict is Verdict.REFUSED and not guaranteed.contiguous:
        where = [name for name, whole in (("in the guest", in_guest), ("on the host", on_host)) if not whole]
        return replace(found, reason=f"{found.reason} {' or '.join(where)}")
    if found.verdict in (Verdict.CORRUPT, Verdict.COPIED):
        return replace(found, reason=f"guest RAM: {found.reason}")
    return found


def _in_guest(
    allocator: Allocator, decoder: DecoderFacts, guest: BoardFacts, size: int, layout: Layout | None
) -> Expectation:
    """VFIO gives the device the guest's own addresses, so nothing translates between guest pages."""
    bits = decoder.device_bits
    trusted = replace(decoder, device_bits=None)
    found = expected(allocator, trusted, guest, IommuMode.OFF, size=size, layout=layout)
    if found.verdict is not Verdict.ZERO_COPY:
        return replace(found, reason=f"guest: {found.reason}")
    if decoder.overrated and bits is not None and guest.end - PAGE > top(bits):
        return Expectation(
            Verdict.FAULTED, f"the device cuts guest addresses to {bits} bits, which VFIO has not mapped"
        )
    return Expectation(
        Verdict.ZERO_COPY, "the IOMMU maps all guest RAM for the decoder, and the guest allocates"
    )


def assumed(allocator: Allocator, decoder: DecoderFacts, board: BoardFacts, size: int) -> Layout:
    """The layout that ``allocator`` guarantees, or else the usual one.

    Single and huge pages come from the highest zone first, so on a board with RAM beyond the mask they
    are taken to lie there. Both this and scatter can be otherwise by chance: ``settle`` deals with it.
    """
    granule = allocator.granule(board)
    contiguous = granule is None or size <= granule
    anywhere = allocator.backing not in (Backing.DECODER, Backing.CMA)
    above = anywhere and not allocator.fitted and board.end - PAGE > top(decoder.dma_mask_bits)
    return Layout(contiguous, Reach.ABOVE if above else Reach.BELOW)


def _translated(allocator: Allocator, decoder: DecoderFacts) -> Expectation:
    if allocator.own or allocator.copy:
        return Expectation(Verdict.ZERO_COPY, "allocated by the decoder's driver behind the IOMMU")
    what = "one range" if decoder.contiguous else "addresses"
    return Expectation(Verdict.ZERO_COPY, f"the IOMMU maps the pages to {what} that the decoder reaches")


def _imported(
    allocator: Allocator, layout: Layout, decoder: DecoderFacts, board: BoardFacts, size: int
) -> Expectation:
    """Untranslated import."""
    bits = decoder.dma_mask_bits
    if layout.reach is not Reach.BELOW:
        if not board.swiotlb:
            return Expectation(
                Verdict.REFUSED, f"EINVAL: pages beyond {bits} bits, no bounce buffers", errno.EINVAL
            )
        if layout.reach is Reach.ACROSS and decoder.contiguous:
            return Expectation(
                Verdict.REFUSED, f"EFAULT: only the pages beyond {bits} bits are bounced", errno.EFAULT
            )
        if allocator.synced:
            return Expectation(
                Verdict.COPIED, f"pages beyond {bits} bits are bounced, and the exporter copies them back"
            )
        return Expectation(
            Verdict.CORRUPT, f"pages beyond {bits} bits are bounced (swiotlb) and never copied back"
        )
    if layout.contiguous:
        return Expectation(Verdict.ZERO_COPY, f"one physical run within {bits} bits")
    if decoder.contiguous:
        pages = -(-size // PAGE)
        return Expectation(Verdict.REFUSED, f"EFAULT: {pages} pages, not contiguous", errno.EFAULT)
    return Expectation(Verdict.ZERO_COPY, "the decoder takes scattered pages")


def _overrated(decoder: DecoderFacts, board: BoardFacts, translated: bool) -> Expectation | None:
    """A driver that promises more address bits than there are; None where nothing lies beyond them.

    iommu_dma_alloc_iova hands out addresses from the top down, so they lie beyond the device's lines.
    """
    bits = decoder.device_bits
    if bits is None:
        return None
    if translated:
        return Expectation(
            Verdict.FAULTED, f"the device cuts I/O addresses to {bits} bits, which are not mapped"
        )
    if board.end - PAGE <= top(bits):
        return None
    return Expectation(Verdict.CORRUPT, f"the device cuts addresses to {bits} bits and writes elsewhere")
