"""Memory that the guest allocates beside its virtio-gpu, and imports: the host's decoder writes it, too."""

from __future__ import annotations

from typing import Any

from lab.boards.guest import Guest
from lab.media import Coded
from lab.runs.crossings.crossing import Crossing, Shared, copies, facts_of, unsupported
from lab.runs.crossings.guest_memory import WIDTH, exchange, guest_facts, lift, matches
from lab.runs.crossings.newest import importing, newest
from lab.sharing import VmmFacts, across, pages_written

PATH = "guest-import"
ALLOCATOR = "udmabuf-2m"
"""In the guest: one run of its pages, whatever shmem does."""


def guest_import(crossing: Crossing, stream: Coded) -> Shared:
    """A udmabuf of the guest becomes a resource by import; the VMM's dma-buf of it goes to the decoder."""
    if lacking := unsupported(PATH, facts_of(importing(crossing)), crossing.decoder, stream):
        return lacking
    wanted, _ = newest(crossing)
    guest = crossing.guest(**wanted | {"backing": "hugetlb"})
    facts = guest_facts(guest)
    if lacking := unsupported(PATH, facts, crossing.decoder, stream):
        return lacking
    return _share(crossing, guest, stream, facts)


def _share(crossing: Crossing, guest: Guest, stream: Coded, facts: VmmFacts) -> Shared:
    agent, there = crossing.agent, guest.agent
    size = crossing.frame_size(stream)
    begin = guest.trace_mark()
    handle = there.call("allocate", allocator=ALLOCATOR, size=size)["handle"]

    def show() -> dict[str, Any]:
        # An import reaches the VMM with the first command that needs it: here the mode.
        shown: dict[str, Any] = there.call(
            "gpu_scanout", handle=handle, width=WIDTH, height=size // (4 * WIDTH)
        )
        return shown

    shown, lifted = lift(crossing, show)
    canaries = exchange(agent, there, lifted["handle"], handle, size)
    raw = crossing.share(stream, handle=lifted["handle"], allocator=PATH)
    frames = screen = None
    if raw["stage"] == "done":
        frames = [there.call("read", handle=handle, size=raw["frames"][0]["bytesused"])]
        there.call("gpu_flush", display=shown["display"])
        screen = matches(agent.call("vm_screendump"), frames[0])
    written = pages_written(raw)
    guest_pages = agent.call("vm_pages", phys=written) if written else None
    agent.call("free", handle=lifted["handle"])
    for made in (shown["display"], handle):
        there.call("free", handle=made)
    evidence = across(
        raw,
        PATH,
        frames=frames,
        copies=copies(guest, begin, shown["resource"]),
        dmabuf={key: lifted[key] for key in ("exporter", "inode", "size")},
        guest_pages=guest_pages,
        canaries=canaries,
        screen=screen,
    )
    return crossing.shared(evidence, facts, stream)
