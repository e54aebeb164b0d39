"""Memory that the host's GPU stack allocates for a guest that draws, and the copies without blobs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from lab.base.errors import BoardError, LabError
from lab.boards.guest import Guest
from lab.media import Coded
from lab.runs.crossings.crossing import Crossing, Shared, copies, in_frame, unsupported
from lab.runs.crossings.guest_memory import WIDTH, Twin, decode_into, guest_facts, held_for, lift, scanout
from lab.sharing import VmmFacts, across, transfers

COLOUR = (0x11, 0x5A, 0xC3, 0x7E)
"""What the guest clears its texture to, so that the host finds it among the VMM's dma-bufs."""
OTHER = (0x77, 0x08, 0x91, 0x3D)


def virgl_texture(crossing: Crossing, stream: Coded) -> Shared:
    """A texture of the guest is the decoder's output: the question of the 2019 discussion.

    The host's GPU stack allocates it when the guest makes a gbm buffer; the VMM's display exports it.
    """
    path = "virgl-texture"
    guest, facts = virgl_guest(crossing)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    needs = crossing.decoder.needs(stream)
    begin = guest.trace_mark()
    crossing.agent.call("vm_display")  # without somebody to show it to the VMM exports no texture
    twins, renderer = [], ""
    for number, size in enumerate(needs.sizes):
        texture, twin = _texture(crossing, guest, stream, size, number)
        twins.append(twin)
        renderer = texture["renderer"]
    seen = [_exchange(crossing, guest, twin) for twin in twins]
    canaries = {name: all(one[name] for one in seen) for name in seen[0]}
    raw = crossing.share(stream, handles=[twin.board for twin in twins], allocator=path)
    frames = None
    if raw["stage"] == "done":
        sampled = [_sample(guest, twin.guest) for twin in in_frame(raw, twins)]
        sizes = raw["frames"][0]["sizes"]
        frames = [b"".join(plane[:size] for plane, size in zip(sampled, sizes, strict=True))]
    evidence = across(
        raw,
        path,
        frames=frames,
        copies=_transfers(guest, begin, twins),
        dmabuf=held_for(raw, twins),
        canaries=canaries,
        consumer={"name": "GPU of the guest", "how": f"sampled through {renderer}"},
    )
    for twin in twins:
        crossing.agent.call("free", handle=twin.board)
        guest.agent.call("free", handle=twin.guest)
    return crossing.shared(evidence, facts, stream)


def _texture(
    crossing: Crossing, guest: Guest, stream: Coded, size: int, number: int
) -> tuple[dict[str, Any], Twin]:
    """The guest's texture ``number`` of ``size`` bytes at least, and the dma-buf that the VMM shows of it.

    The VMM has that only while it is shown; the next one takes its place on the display.
    """
    agent = crossing.agent
    width, height = stream.shapes[0]
    height = max(height, -(-size // (4 * width)))  # padding has to fit in, too
    colour = (*COLOUR[:3], COLOUR[3] ^ number)
    shape = {"width": width, "height": height, "colour": colour}
    texture = guest.agent.request("virgl_texture", shape, timeout=90)
    lifted = agent.call("vm_scanout", begins=bytes(colour))
    if lifted is None:
        raise BoardError("the VMM shows no dma-buf that begins with what the guest drew")
    held = {found["inode"]: found for found in agent.call("vm_dmabufs")}.get(lifted["inode"])
    twin = Twin(texture["texture"], lifted["handle"], 4 * width * height, texture["resource"], held)
    return texture, twin


def _transfers(guest: Guest, begin: int, twins: Sequence[Twin]) -> list[str] | None:
    """What the VMM transferred of textures that are still there; None where nobody listened.

    To read pixels back takes the VMM's answer: what was asked before has been done by then.
    """
    lines = guest.trace_since(begin)
    found = [transfers(lines, resource=twin.resource) for twin in twins]
    return None if None in found else [line for one in found for line in one or ()]


def guest_copied(crossing: Crossing, stream: Coded) -> Shared:
    """A buffer that is no blob: what the decoder wrote reaches the VMM's display by a transfer."""
    path = "guest-copied"
    guest, facts = virgl_guest(crossing)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    there = guest.agent
    size = crossing.decoder.needs(stream).layout.size
    begin = guest.trace_mark()
    options = {"allocator": "virtio-gpu-dumb", "size": size, "width": WIDTH}
    buffer = there.request("allocate", options, timeout=30)
    raw = crossing.decoder.share(stream, allocator="decoder-mmap")
    if raw["stage"] != "done":
        return crossing.shared(across(raw, path), facts, stream)
    there.call("write", handle=buffer["handle"], data=raw["frames"][0]["data"])
    shown = scanout(guest, buffer["handle"], size)
    there.call("gpu_flush", display=shown["display"])
    frames = [there.call("read", handle=buffer["handle"], size=len(raw["frames"][0]["data"]))]
    for handle in (shown["display"], buffer["handle"]):
        there.call("free", handle=handle)
    evidence = across(raw, path, frames=frames, copies=copies(guest, begin, [shown["resource"]]))
    return crossing.shared(evidence, facts, stream)


def host3d_blob(crossing: Crossing, stream: Coded) -> Shared:
    """A blob that the host's GPU stack allocates at the guest's wish (HOST3D), where the VMM has such."""
    path = "host3d-blob"
    guest, facts = virgl_guest(crossing)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    sizes = crossing.decoder.needs(stream).sizes
    begin = guest.trace_mark()
    twins = lift(crossing, sizes, lambda size: guest.agent.call("gpu_host_blob", size=size))
    return crossing.shared(decode_into(crossing, guest, path, stream, twins, begin), facts, stream)


def virgl_guest(crossing: Crossing) -> tuple[Guest, VmmFacts]:
    """The guest whose virtio-gpu draws; and what was found there.

    Raises LabError where its driver has 3D and no capset at all: it gives up asking the VMM for them after
    5 s (Linux, drivers/gpu/drm/virtio/virtgpu_kms.c, virtio_gpu_get_capsets), and that says nothing of it.
    """
    guest = crossing.guest(gpu="virgl-blob", backing="hugetlb")
    guest.agent.call("load", module="virtio_gpu")
    found = guest.agent.call("gpu_info")
    if found["driver"] and found["params"].get("3d") and not found["capsets"]:
        raise LabError("the VMM did not tell the guest's virtio-gpu its capsets in time")
    return guest, guest_facts(guest)


def _sample(guest: Guest, texture: int) -> bytes:
    data: bytes = guest.agent.request("virgl_sample", {"texture": texture}, timeout=60)["data"]
    return data


def _exchange(crossing: Crossing, guest: Guest, twin: Twin) -> dict[str, bool]:
    """The host writes what the guest samples, the guest draws what the host reads."""
    agent, size = crossing.agent, twin.size
    noise = random.Random(size).randbytes(size)
    agent.call("write", handle=twin.board, data=noise)
    down = _sample(guest, twin.guest) == noise
    guest.agent.call("virgl_clear", texture=twin.guest, colour=OTHER)
    up = agent.call("read", handle=twin.board, size=size) == bytes(OTHER) * (size // 4)
    return {"host_to_guest": down, "guest_to_host": up}
