"""Paths on the board alone: the decoder's buffer sampled by the GPU."""

from __future__ import annotations

from typing import Any

from lab.base.errors import BoardError
from lab.media import Stream
from lab.runs.crossings.crossing import Crossing, Shared, facts_of, unsupported
from lab.sharing import ALLOCATORS, Allocator, across

OWN = ALLOCATORS["decoder-mmap"]


def gpu_import(crossing: Crossing, stream: Stream, allocator: Allocator = OWN) -> Shared:
    """A buffer is imported by GPU and decoder; the decoder writes it, the GPU samples it, plane by plane."""
    path = "gpu-import"
    agent, decoder = crossing.agent, crossing.decoder
    first = stream.frames[0]
    shape: dict[str, Any] = {"width": first.width, "height": first.height}
    size = crossing.frame_size(stream)
    options: dict[str, Any] = {"node": decoder.node, **shape} if allocator.own else {}
    buffer = agent.call("allocate", allocator=allocator.provider, size=size, **options)
    try:
        seen = agent.call("gles_import", handle=buffer["handle"], **shape, timeout=60)
    except BoardError as error:
        facts = facts_of({"gles": (False, error.message)})
        lacking = unsupported(path, facts, decoder, stream)
        assert lacking is not None
        return lacking
    facts = facts_of({"gles": (True, "")})
    raw = crossing.share(stream, handle=buffer["handle"], allocator=allocator.provider)
    frames = None
    if raw["stage"] == "done":
        frames = [agent.call("gles_read", picture=seen["picture"], timeout=60)["data"]]
    how = f"{' + '.join(plane['fourcc'].strip() for plane in seen['planes'])}, {seen['renderer']}"
    consumer = {"name": "GPU", "how": how, "inode": buffer["inode"]}
    evidence = across(raw, path, frames=frames, converted=True, consumer=consumer)
    for handle in (seen["picture"], buffer["handle"]):
        agent.call("free", handle=handle)
    return crossing.shared(evidence, facts, stream, packed=True)
