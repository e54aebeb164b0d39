"""Paths on the board alone: the decoder's buffer sampled by the GPU, or sent to a USB disk."""

from __future__ import annotations

from typing import Any

from lab.boards.errors import CallError
from lab.media import Coded
from lab.runs.crossings.crossing import Crossing, Shared, facts_of, in_frame, unsupported
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
    needs = crossing.needs(stream)
    layout = needs.layout
    if allocator.own:
        asked = {"node": decoder.node, "count": needs.count, "coded": stream.coded, **shape}
        buffers = agent.request("own_buffers", asked, timeout=30)
    else:
        buffers = [agent.call("allocate", allocator=allocator.provider, size=size) for size in needs.sizes]
    lies = {"stride": layout.strides[0], "rows": layout.rows, "fourcc": layout.fourcc}
    try:
        seen = [
            agent.call("gles_import", handle=buffer["handle"], **shape, **lies, timeout=60)
            for buffer in buffers
        ]
    except CallError as error:  # the GPU can import buffers, and refuses this one
        raw = ended(path, "import", error.errno, error.message, importer=decoder.device)
        return crossing.shared(raw, facts, stream)
    handles = [buffer["handle"] for buffer in buffers]
    raw = crossing.share(stream, handles=handles, allocator=allocator.provider)
    [(buffer, picture)] = in_frame(raw, list(zip(buffers, seen, strict=True)))
    frames = None
    if raw["stage"] == "done":
        frames = [agent.call("gles_read", picture=picture["picture"], timeout=60)["data"]]
    how = f"{' + '.join(plane['fourcc'].strip() for plane in picture['planes'])}, {picture['renderer']}"
    consumer = {"name": "GPU", "how": how, "inode": buffer["inode"]}
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
    handles, size = _udmabufs(crossing, stream)
    raw = crossing.share(stream, handles=handles, allocator="udmabuf-4k")
    frames, sent = None, None
    if raw["stage"] == "done":
        [handle] = in_frame(raw, handles)
        agent.call("usb_store", data=bytes(-(-size // SECTOR) * SECTOR))  # what was there is not the frame
        sent = agent.call("usb_write", handle=handle, size=size)
        frames = [agent.call("usb_load", size=size) if sent["stage"] == "done" else b""]
        raw |= joined_faults(raw, sent)
    evidence = across(
        raw,
        path,
        frames=frames,
        consumer=sent["consumer"] if sent else None,
        missing=sent["missing"] if sent else (),
    )
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
    handles, size = _udmabufs(crossing, stream)
    tried = agent.call("usb_write", handle=handles[0], size=size, through="mapping")
    if tried["stage"] == "done":  # a kernel that can
        raw = crossing.share(stream, handles=handles, allocator="udmabuf-4k")
        [handle] = in_frame(raw, handles)
        tried = agent.call("usb_write", handle=handle, size=size, through="mapping")
        frames = [agent.call("usb_load", size=size)]
        evidence = across(raw, path, frames=frames, consumer=tried["consumer"])
    else:
        words = f"{tried['consumer']['how']}: {tried['message']}"
        importer = tried["consumer"]["device"]
        evidence = ended(path, tried["stage"], tried["errno"], words, importer=importer)
    for handle in handles:
        agent.call("free", handle=handle)
    return crossing.shared(evidence, facts, stream)


def _udmabufs(crossing: Crossing, stream: Coded) -> tuple[list[int], int]:
    """The buffers that the decoder wants, and bytes of a frame."""
    needs = crossing.needs(stream)
    made = [crossing.agent.call("allocate", allocator="udmabuf-4k", size=size) for size in needs.sizes]
    return [buffer["handle"] for buffer in made], needs.layout.size


def _usb_facts(crossing: Crossing) -> VmmFacts:
    found = crossing.agent.call("board_capabilities", device=crossing.decoder.device, gles=False)
    return facts_of({"usb-disk": found["usb-disk"]})
