"""Paths on the board alone: the decoder's buffer sampled by the GPU, or sent to a USB disk."""

from __future__ import annotations

from typing import Any

from lab.boards.errors import CallError
from lab.media import Coded
from lab.runs.crossings.crossing import Crossing, Shared, facts_of, unsupported
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
    layout = crossing.layout(stream)
    options: dict[str, Any] = {"node": decoder.node, "coded": stream.coded, **shape} if allocator.own else {}
    buffer = agent.call("allocate", allocator=allocator.provider, size=layout.size, **options)
    lies = {"stride": layout.strides[0], "rows": layout.rows, "fourcc": layout.fourcc}
    try:
        seen = agent.call("gles_import", handle=buffer["handle"], **shape, **lies, timeout=60)
    except CallError as error:  # the GPU can import buffers, and refuses this one
        raw = ended(path, "import", error.errno, error.message, importer=decoder.device)
        return crossing.shared(raw, facts, stream)
    raw = crossing.share(stream, handle=buffer["handle"], allocator=allocator.provider)
    frames = None
    if raw["stage"] == "done":
        frames = [agent.call("gles_read", picture=seen["picture"], timeout=60)["data"]]
    how = f"{' + '.join(plane['fourcc'].strip() for plane in seen['planes'])}, {seen['renderer']}"
    consumer = {"name": "GPU", "how": how, "inode": buffer["inode"]}
    evidence = across(raw, path, frames=frames, converted=True, consumer=consumer)
    for handle in (seen["picture"], buffer["handle"]):
        agent.call("free", handle=handle)
    return crossing.shared(evidence, facts, stream, packed=layout.fourcc)


def usb_pages(crossing: Crossing, stream: Coded) -> Shared:
    """The decoder writes a udmabuf; the USB host controller takes the pages of the memfd behind it."""
    path = "usb-pages"
    agent = crossing.agent
    facts = _usb_facts(crossing)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    size = crossing.frame_size(stream)
    handle = agent.call("allocate", allocator="udmabuf-4k", size=size)["handle"]
    raw = crossing.share(stream, handle=handle, allocator="udmabuf-4k")
    frames, sent = None, None
    if raw["stage"] == "done":
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
    agent.call("free", handle=handle)
    return crossing.shared(evidence, facts, stream)


def usb_dmabuf(crossing: Crossing, stream: Coded) -> Shared:
    """The same with a mapping of the dma-buf itself, which has no struct pages to do I/O on."""
    path = "usb-dmabuf"
    agent = crossing.agent
    facts = _usb_facts(crossing)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    size = crossing.frame_size(stream)
    handle = agent.call("allocate", allocator="udmabuf-4k", size=size)["handle"]
    tried = agent.call("usb_write", handle=handle, size=size, through="mapping")
    if tried["stage"] == "done":  # a kernel that can
        raw = crossing.share(stream, handle=handle, allocator="udmabuf-4k")
        tried = agent.call("usb_write", handle=handle, size=size, through="mapping")
        frames = [agent.call("usb_load", size=size)]
        evidence = across(raw, path, frames=frames, consumer=tried["consumer"])
    else:
        words = f"{tried['consumer']['how']}: {tried['message']}"
        importer = tried["consumer"]["device"]
        evidence = ended(path, tried["stage"], tried["errno"], words, importer=importer)
    agent.call("free", handle=handle)
    return crossing.shared(evidence, facts, stream)


def _usb_facts(crossing: Crossing) -> VmmFacts:
    found = crossing.agent.call("board_capabilities", device=crossing.decoder.device, gles=False)
    return facts_of({"usb-disk": found["usb-disk"]})
