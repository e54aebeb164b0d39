"""Memory that the host allocates for its decoder, shown to the guest in a BAR: virtio-gpu's blob."""

from __future__ import annotations

from typing import Any

from lab.base.errors import BoardError
from lab.base.words import IommuMode
from lab.boards.errors import CallError
from lab.boards.guest import Guest
from lab.media import Coded
from lab.runs.crossings.crossing import Crossing, Shared, facts_of, unsupported
from lab.runs.crossings.guest_memory import Twin, decode_into, guest_facts, scanout
from lab.runs.crossings.newest import newest
from lab.sharing import VmmFacts, ended

PATH = "host-blob"


def host_blob(crossing: Crossing, stream: Coded, **changes: Any) -> Shared:
    """The host allocates where its decoder reaches; the guest makes a blob of it without a copy.

    ``changes``: another VMM or guest kernel than the newest, which then says why it cannot.
    """
    wanted, found = newest(crossing, changes)
    if lacking := unsupported(PATH, facts_of(found), crossing.decoder, stream):
        return lacking
    guest = crossing.guest(**wanted)
    status = crossing.agent.call("host_blob_status")
    if not status["connected"]:
        raise BoardError(f"the VMM left the device that shows memory to it {status['error']}".rstrip())
    if not status["shares"]:
        found["shared-memory-bar"] = (False, "the VMM did not take up vhost-user's shared memory (bit 22)")
    found |= guest.agent.call("bar_capability", timeout=60)
    facts = guest_facts(guest, found)
    if lacking := unsupported(PATH, facts, crossing.decoder, stream):
        return lacking
    return _share(crossing, guest, stream, facts)


def _share(crossing: Crossing, guest: Guest, stream: Coded, facts: VmmFacts) -> Shared:
    """Host first: it chooses, maps, and the guest takes what it is shown."""
    agent, there = crossing.agent, guest.agent
    sizes = crossing.decoder.needs(stream).sizes
    try:
        memory = [agent.call("host_blob_map", size=size, **_reach(crossing)) for size in sizes]
    except CallError as error:
        guest.check()  # a VMM that has gone says nothing about memory
        raw = ended(PATH, "allocate", error.errno or 0, error.message, importer=crossing.decoder.device)
        return crossing.shared(raw, facts, stream)
    begin = guest.trace_mark()
    twins, display = [], None
    for size, given in zip(sizes, memory, strict=True):
        seen = there.call("bar_export", offset=given["offset"], size=given["size"])
        blob = scanout(guest, seen["handle"], size, display)
        display = blob["display"]
        twins.append(Twin(seen["handle"], given["handle"], size, blob["resource"]))
    evidence = decode_into(crossing, guest, PATH, stream, twins, begin, display=display)
    return crossing.shared(evidence, facts, stream)


def _reach(crossing: Crossing) -> dict[str, Any]:
    """What the decoder demands of memory in this boot, for ``host_blob_map``."""
    decoder = crossing.decoder.facts()
    if decoder.behind_iommu and crossing.decoder.mode in (IommuMode.TRANSLATED, IommuMode.LAZY):
        return {"contiguous": False, "bits": 64}
    return {"contiguous": decoder.contiguous, "bits": decoder.dma_mask_bits}
