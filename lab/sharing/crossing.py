"""What the evidence of a sharing path says beyond the decoder's own: signs of a copy, gaps, proof.

Each rule looks at one source. A source that was there and shows two memories where there should be one is a
sign of a copy; one that was not there, or could not tell, is a gap: enough to forbid "zero-copy", never
enough to say "copied".
"""

from __future__ import annotations

from collections.abc import Callable

from lab.sharing.constraints import PAGE
from lab.sharing.evidence import Consumer, Evidence


def signs(evidence: Evidence) -> list[str]:
    """What shows that reader and decoder do not have one memory."""
    if evidence.sharing_path is None:
        return []
    found = []
    held, wrote = evidence.dmabuf, evidence.buffer
    if held and wrote and held.inode != wrote.inode:
        found.append(
            f"the VMM holds inode {held.inode} for the resource, the decoder wrote inode {wrote.inode}"
        )
    if evidence.canaries is not None:
        if evidence.canaries.host_to_guest is False:
            found.append("what the host wrote into the buffer does not show in the guest")
        if evidence.canaries.guest_to_host is False:
            found.append("what the guest wrote into the buffer does not show on the host")
    if evidence.consumer is not None:
        found += _consumer_signs(evidence, evidence.consumer)
    return found


def gaps(evidence: Evidence, needed: int) -> list[str]:
    """What the path wants to have known and is not. ``needed``: bytes of a frame that the decoder writes."""
    path = evidence.sharing_path
    return [gap for name in path.sources for gap in _RULES[name](evidence, needed)] if path else []


def proof(evidence: Evidence) -> list[str]:
    """What was seen, for the record."""
    path = evidence.sharing_path
    if path is None:
        return []
    found = []
    if "copies" in path.sources:
        found.append("the VMM was listened to and obeyed no transfer")
    if evidence.guest_pages is not None:
        found.append(f"{len(evidence.guest_pages)} pages of guest RAM, each found and none twice")
    if "canaries" in path.sources:
        found.append("words written on either side were read on the other")
    if evidence.screen:
        found.append("the VMM's screendump shows the frame")
    if evidence.consumer is not None:
        how = f" ({evidence.consumer.how})" if evidence.consumer.how else ""
        found.append(f"read by {evidence.consumer.name}{how}")
    return found


def _consumer_signs(evidence: Evidence, consumer: Consumer) -> list[str]:
    found = []
    if consumer.bounced:
        found.append(f"{consumer.bounced} pages of {consumer.name} bounced (swiotlb)")
    if consumer.inode is not None and evidence.buffer and consumer.inode != evidence.buffer.inode:
        wrote = evidence.buffer.inode
        found.append(f"{consumer.name} imported inode {consumer.inode}, the decoder wrote inode {wrote}")
    if consumer.maps and evidence.pages is not None and not any(map(evidence.over, consumer.maps)):
        found.append(f"{consumer.name} mapped other pages than the buffer's")
    return found


def _copies(evidence: Evidence, needed: int) -> list[str]:
    return ["not known: whether the VMM copied, for nobody listened"] if evidence.copies is None else []


def _dmabuf(evidence: Evidence, needed: int) -> list[str]:
    return ["not known: which dma-buf the VMM holds for the resource"] if evidence.dmabuf is None else []


def _guest_pages(evidence: Evidence, needed: int) -> list[str]:
    pages = evidence.guest_pages
    if pages is None:
        return ["not known: which pages of guest RAM the decoder wrote"]
    if unknown := pages.count(None):
        return [f"{unknown} of {len(pages)} pages that the decoder wrote were not found in guest RAM"]
    if len({page // PAGE for page in pages if page is not None}) < len(pages):
        return ["a page of guest RAM was found twice"]
    size = sum(buffer.size for buffer in evidence.buffers) or needed
    if len(pages) * PAGE < size:
        return [f"{len(pages)} pages of guest RAM were found, the decoder had {size} bytes to write to"]
    return []


def _canaries(evidence: Evidence, needed: int) -> list[str]:
    seen = evidence.canaries
    found = []
    if seen is None or seen.host_to_guest is None:
        found.append("not known: whether the guest sees what the host writes")
    if seen is None or seen.guest_to_host is None:
        found.append("not known: whether the host sees what the guest writes")
    return found


def _pages(evidence: Evidence, needed: int) -> list[str]:
    return ["not known: where the buffer's pages are"] if not evidence.pages else []


def _consumer(evidence: Evidence, needed: int) -> list[str]:
    """The consumer is tied to the buffer by the dma-buf that it imported, or by the pages that it mapped."""
    consumer = evidence.consumer
    if consumer is None:
        return ["not known: who read the frames"]
    found = []
    imported = consumer.inode is not None and evidence.buffer is not None
    needed = max(needed, *(frame.bytesused for frame in evidence.frames), 0)  # all planes of a frame
    if not imported and not (evidence.pages and _mapped(evidence, consumer) >= needed):
        found.append(f"not known: which memory {consumer.name} read")
    if consumer.device is not None and consumer.bounced is None:
        found.append(f"not known: whether pages of {consumer.name} bounced")
    return found


def _mapped(evidence: Evidence, consumer: Consumer) -> int:
    """Bytes of the buffer's pages that the consumer mapped: a device may take a frame in several requests."""
    return evidence.mapped(event for event in consumer.maps or () if event.device == consumer.device)


_RULES: dict[str, Callable[[Evidence, int], list[str]]] = {
    "copies": _copies,
    "dmabuf": _dmabuf,
    "guest_pages": _guest_pages,
    "canaries": _canaries,
    "pages": _pages,
    "consumer": _consumer,
}
"""Source of evidence -> what is amiss with it."""
