"""Paths on the board alone: the decoder's buffer sampled by the GPU, or sent to a USB disk."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from lab.boards.agent import Agent
from lab.boards.errors import CallError
from lab.media import Coded
from lab.runs.crossings.crossing import Crossing, Shared, facts_of, identity, in_frame, unsupported
from lab.sharing import ALLOCATORS, Allocator, VmmFacts, across, ended, joined_faults

OWN = ALLOCATORS["decoder-mmap"]
SECTOR = 512
"""Bytes of which a disk takes whole ones."""


def gpu_import(crossing: Crossing, stream: Coded, allocator: Allocator = OWN) -> Shared:
    """A buffer is imported by GPU and decoder; the decoder writes it, the GPU samples it, plane by plane."""
    path = "gpu-import"
    agent, decoder = crossing.agent, crossing.decoder
    width, height = stream.shapes[0]
    shape: dict[str, Any] = {"width": width, "height": height}
    found = agent.call("board_capabilities", device=decoder.device, timeout=120)
    facts = facts_of({"gles": found["gles"]})
    if lacking := unsupported(path, facts, decoder, stream):
        return lacking
    needs = crossing.decoder.needs(stream)
    layout = needs.layout
    if allocator.own:
        asked = {"node": decoder.node, "count": needs.count, "coded": stream.coded, **shape}
        buffers = agent.request("own_buffers", asked, timeout=30)
    else:
        buffers = [agent.call("allocate", allocator=allocator.provider, size=size) for size in needs.sizes]
    handles = [buffer["handle"] for buffer in buffers]
    lies = {"stride": layout.strides[0], "rows": layout.rows, "fourcc": layout.fourcc}
    if len(layout.sizes) > 1:
        lies["strides"] = list(layout.strides)
    seen = []
    try:
        for at in range(0, len(handles), len(layout.sizes)):
            first, *more = handles[at : at + len(layout.sizes)]
            found = agent.call("gles_import", handle=first, more=more, **shape, **lies, timeout=60)
            seen.append(found)
    except CallError as error:  # the GPU can import buffers, and refuses this one
        raw = ended(path, "import", error.errno, error.message, importer=decoder.device)
        return crossing.shared(raw, facts, stream)
    raw = crossing.share(stream, handles=handles, allocator=allocator.provider)
    picture = seen[raw["frames"][0]["buffer"] if raw["frames"] else 0]
    frames = None
    if raw["stage"] == "done":
        frames = [agent.call("gles_read", picture=picture["picture"], timeout=60)["data"]]
    how = f"{' + '.join(plane['fourcc'].strip() for plane in picture['planes'])}, {picture['renderer']}"
    consumer = {"name": "GPU", "how": how, "inode": (identity(raw, buffers) or buffers[0])["inode"]}
    evidence = across(raw, path, frames=frames, converted=True, consumer=consumer)
    for handle in [*(one["picture"] for one in seen), *handles]:
        agent.call("free", handle=handle)
    return crossing.shared(evidence, facts, stream, packed=layout.fourcc)


def usb_pages(crossing: Crossing, stream: Coded) -> Shared:
    """The decoder writes a udmabuf; the USB host controller takes the pages of the memfd behind it."""
    path = "usb-pages"
    agent = crossing.agent
    facts = _usb_facts(crossing)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    handles, sizes = _udmabufs(crossing, stream)
    raw = crossing.share(stream, handles=handles, allocator="udmabuf-4k")
    if raw["stage"] == "done":
        sent, frame = _written(agent, raw, in_frame(raw, handles), sizes)
        raw |= joined_faults(raw, sent)
        evidence = _seen(raw, path, sent, frame)
    else:
        evidence = across(raw, path)
    for handle in handles:
        agent.call("free", handle=handle)
    return crossing.shared(evidence, facts, stream)


def usb_dmabuf(crossing: Crossing, stream: Coded) -> Shared:
    """The same with a mapping of the dma-buf itself, which has no struct pages to do I/O on."""
    path = "usb-dmabuf"
    agent = crossing.agent
    facts = _usb_facts(crossing)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    handles, sizes = _udmabufs(crossing, stream)
    tried = agent.call("usb_write", handle=handles[0], size=sizes[0], through="mapping")
    if tried["stage"] == "done":  # a kernel that can
        raw = crossing.share(stream, handles=handles, allocator="udmabuf-4k")
        if raw["stage"] == "done":
            evidence = _seen(
                raw, path, *_written(agent, raw, in_frame(raw, handles), sizes, through="mapping")
            )
        else:
            evidence = across(raw, path)
    else:
        evidence = _refused(path, tried)
    for handle in handles:
        agent.call("free", handle=handle)
    return crossing.shared(evidence, facts, stream)


def _seen(raw: dict[str, Any], path: str, sent: dict[str, Any], frame: bytes | None) -> dict[str, Any]:
    """What the disk has of the decoder's frame; None: its controller refused it, and read nothing."""
    if frame is None:
        return _refused(path, sent)
    return across(raw, path, frames=[frame], consumer=sent["consumer"], missing=sent["missing"])


def _refused(path: str, sent: dict[str, Any]) -> dict[str, Any]:
    words = f"{sent['consumer']['how']}: {sent['message']}"
    return ended(path, sent["stage"], sent["errno"], words, importer=sent["consumer"]["device"])


def _udmabufs(crossing: Crossing, stream: Coded) -> tuple[list[int], list[int]]:
    """The buffers that the decoder wants, and bytes of each plane of a frame."""
    needs = crossing.decoder.needs(stream)
    made = [crossing.agent.call("allocate", allocator="udmabuf-4k", size=size) for size in needs.sizes]
    return [buffer["handle"] for buffer in made], list(needs.layout.sizes)


def _written(
    agent: Agent, raw: dict[str, Any], handles: Sequence[int], sizes: Sequence[int], through: str = "pages"
) -> tuple[dict[str, Any], bytes | None]:
    """Write the planes of a frame to the disk, one behind the other: the answer for all, and the frame there.

    None where a plane was refused.
    """
    places = list(accumulate((-(-size // SECTOR) * SECTOR for size in sizes), initial=0))
    agent.call("usb_store", data=bytes(places[-1]))  # what was there is not the frame
    answer: dict[str, Any] = {}
    planes = []
    for handle, size, place in zip(handles, sizes, places, strict=False):
        sent = agent.call("usb_write", handle=handle, size=size, offset=place, through=through)
        answer = _joined(answer, sent) if answer else sent
        if sent["stage"] != "done":
            return answer, None
        planes.append(agent.call("usb_load", size=size, offset=place))
    used = zip(planes, raw["frames"][0]["sizes"], strict=True)
    return answer, b"".join(plane[:size] for plane, size in used)


def _joined(before: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """Two answers of ``usb_write`` as one: the later one with the DMA of both."""
    first, second = before["consumer"], sent["consumer"]
    known = None not in (first["maps"], second["maps"]), None not in (first["bounced"], second["bounced"])
    consumer = {
        **second,
        "maps": first["maps"] + second["maps"] if known[0] else None,
        "bounced": first["bounced"] + second["bounced"] if known[1] else None,
    }
    missing = [*before["missing"], *sent["missing"]]
    return {**sent, **joined_faults(before, sent), "consumer": consumer, "missing": missing}


def _usb_facts(crossing: Crossing) -> VmmFacts:
    found = crossing.agent.call("board_capabilities", device=crossing.decoder.device, gles=False)
    return facts_of({"usb-disk": found["usb-disk"]})
