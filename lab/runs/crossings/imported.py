"""Memory that the guest allocates beside its virtio-gpu, and imports: the host's decoder writes it, too."""

from __future__ import annotations

from typing import Any

from lab.boards.guest import Guest
from lab.media import Coded
from lab.runs.crossings.crossing import Crossing, Shared, facts_of, unsupported
from lab.runs.crossings.guest_memory import decode_into, guest_facts, lift, scanout
from lab.runs.crossings.newest import importing, newest
from lab.sharing import VmmFacts

PATH = "guest-import"
ALLOCATOR = "udmabuf-2m"
"""In the guest: one run of its pages, whatever shmem does."""


def guest_import(crossing: Crossing, stream: Coded) -> Shared:
    """Udmabufs of the guest become resources by import; the VMM's dma-bufs of them go to the decoder."""
    if lacking := unsupported(PATH, facts_of(importing(crossing)), crossing.decoder, stream):
        return lacking
    wanted, _ = newest(crossing)
    guest = crossing.guest(**wanted | {"backing": "hugetlb"})
    facts = guest_facts(guest)
    if lacking := unsupported(PATH, facts, crossing.decoder, stream):
        return lacking
    return _share(crossing, guest, stream, facts)


def _share(crossing: Crossing, guest: Guest, stream: Coded, facts: VmmFacts) -> Shared:
    there = guest.agent
    sizes = crossing.decoder.needs(stream).sizes
    begin = guest.trace_mark()
    display: int | None = None

    def make(size: int) -> dict[str, Any]:
        nonlocal display
        handle = there.call("allocate", allocator=ALLOCATOR, size=size)["handle"]
        # An import reaches the VMM with the first command that needs it: here the mode.
        shown = scanout(guest, handle, size, display)
        display = shown["display"]
        return {"handle": handle, "resource": shown["resource"]}

    twins = lift(crossing, sizes, make)
    evidence = decode_into(crossing, guest, PATH, stream, twins, begin, display=display)
    return crossing.shared(evidence, facts, stream)
