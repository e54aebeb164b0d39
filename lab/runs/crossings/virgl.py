"""Memory that the host's GPU stack allocates for a guest that draws, and the copies without blobs."""

from __future__ import annotations

import random

from lab.base.errors import BoardError, LabError
from lab.boards.guest import Guest
from lab.media import Coded
from lab.runs.crossings.crossing import Crossing, Shared, copies, unsupported
from lab.runs.crossings.guest_memory import WIDTH, decode_into, guest_facts, lift
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
    width, height = stream.shapes[0]
    height = max(height, -(-crossing.frame_size(stream) // (4 * width)))  # padding has to fit in, too
    begin = guest.trace_mark()
    crossing.agent.call("vm_display")  # without somebody to show it to the VMM exports no texture
    shape = {"width": width, "height": height, "colour": COLOUR}
    texture = guest.agent.request("virgl_texture", shape, timeout=90)
    lifted = crossing.agent.call("vm_scanout", begins=bytes(COLOUR))
    if lifted is None:
        raise BoardError("the VMM shows no dma-buf that begins with what the guest drew")
    held = {found["inode"]: found for found in crossing.agent.call("vm_dmabufs")}.get(lifted["inode"])
    canaries = _exchange(crossing, guest, texture["texture"], lifted["handle"], 4 * width * height)
    raw = crossing.share(stream, handle=lifted["handle"], allocator=path)
    frames = None
    if raw["stage"] == "done":
        frames = [_sample(guest, texture["texture"])[: raw["frames"][0]["bytesused"]]]
    evidence = across(
        raw,
        path,
        frames=frames,
        # To read pixels back takes the VMM's answer: what was asked before has been done by then.
        copies=transfers(guest.trace_since(begin), resource=texture["resource"]),
        dmabuf=held,
        canaries=canaries,
        consumer={"name": "GPU of the guest", "how": f"sampled through {texture['renderer']}"},
    )
    crossing.agent.call("free", handle=lifted["handle"])
    guest.agent.call("free", handle=texture["texture"])
    return crossing.shared(evidence, facts, stream)


def guest_copied(crossing: Crossing, stream: Coded) -> Shared:
    """A buffer that is no blob: what the decoder wrote reaches the VMM's display by a transfer."""
    path = "guest-copied"
    guest, facts = virgl_guest(crossing)
    there = guest.agent
    size = crossing.frame_size(stream)
    begin = guest.trace_mark()
    options = {"allocator": "virtio-gpu-dumb", "size": size, "width": WIDTH}
    buffer = there.request("allocate", options, timeout=30)
    raw = crossing.decoder.share(stream, allocator="decoder-mmap")
    there.call("write", handle=buffer["handle"], data=raw["frames"][0]["data"])
    height = size // (4 * WIDTH)
    shown = there.call("gpu_scanout", handle=buffer["handle"], width=WIDTH, height=height)
    there.call("gpu_flush", display=shown["display"])
    frames = [there.call("read", handle=buffer["handle"], size=raw["frames"][0]["bytesused"])]
    for handle in (shown["display"], buffer["handle"]):
        there.call("free", handle=handle)
    evidence = across(raw, path, frames=frames, copies=copies(guest, begin, shown["resource"]))
    return crossing.shared(evidence, facts, stream)


def host3d_blob(crossing: Crossing, stream: Coded) -> Shared:
    """A blob that the host's GPU stack allocates at the guest's wish (HOST3D), where the VMM has such."""
    path = "host3d-blob"
    guest, facts = virgl_guest(crossing)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    size = crossing.frame_size(stream)
    begin = guest.trace_mark()
    blob, lifted = lift(crossing, lambda: guest.agent.call("gpu_host_blob", size=size))
    return crossing.shared(decode_into(crossing, guest, path, stream, blob, lifted, begin), facts, stream)


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


def _exchange(crossing: Crossing, guest: Guest, texture: int, on_board: int, size: int) -> dict[str, bool]:
    """The host writes what the guest samples, the guest draws what the host reads."""
    agent = crossing.agent
    noise = random.Random(size).randbytes(size)
    agent.call("write", handle=on_board, data=noise)
    down = _sample(guest, texture) == noise
    guest.agent.call("virgl_clear", texture=texture, colour=OTHER)
    up = agent.call("read", handle=on_board, size=size) == bytes(OTHER) * (size // 4)
    return {"host_to_guest": down, "guest_to_host": up}
