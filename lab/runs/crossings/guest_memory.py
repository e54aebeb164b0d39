"""Memory that the guest allocates: a virtio-gpu blob, lifted from the VMM, written by the host's decoder."""

from __future__ import annotations

from typing import Any

from lab.boards.guest import Guest
from lab.media import Stream
from lab.runs.crossings.crossing import Crossing, Shared, facts_of, unsupported
from lab.sharing import across, offered, pages_written, transfers

WORD = bytes(range(0x30, 0x40))
"""What is written on one side and looked for on the other; no frame begins or ends like that."""

WIDTH = 32
"""Pixels of 32 bits in a row when a frame's bytes are shown as they lie: the least a display takes."""


def guest_blob(crossing: Crossing, stream: Stream, path: str, *, listen: bool = True) -> Shared:
    """The guest makes a blob, and the host's decoder writes the dma-buf that the VMM has of it.

    ``listen``: look at the VMM's trace; without it nobody knows whether it copied.
    """
    guest = crossing.guest(backing="hugetlb")
    guest.agent.call("load", module="virtio_gpu")
    facts = facts_of(offered(guest.agent.call("gpu_info")), guest)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    size = crossing.frame_size(stream)
    allocator = "guest-blob" if path == "untraced" else path
    begin = guest.trace_mark()
    blob, lifted = make_and_lift(crossing, guest, allocator, size)
    canaries = exchange(crossing, guest, lifted["handle"], blob["handle"], size)
    raw = crossing.share(stream, handle=lifted["handle"], allocator=allocator)
    frames = screen = None
    if raw["stage"] == "done":
        frames = [guest.agent.call("read", handle=blob["handle"], size=raw["frames"][0]["bytesused"])]
        screen = show(crossing, guest, blob["handle"], frames[0])
    written = pages_written(raw)
    evidence = across(
        raw,
        path,
        frames=frames,
        copies=transfers(guest.trace_since(begin) if listen else None, resource=blob["resource"]),
        dmabuf={key: lifted[key] for key in ("exporter", "inode", "size")},
        guest_pages=crossing.agent.call("vm_pages", phys=written) if written else None,
        canaries=canaries,
        screen=screen,
    )
    crossing.release(guest, blob["handle"], lifted["handle"])
    return crossing.shared(evidence, facts, stream)


def wrong_buffer(crossing: Crossing, stream: Stream) -> Shared:
    """As `guest_blob`, but the decoder is given the dma-buf of another resource than the guest reads."""
    path = "wrong-buffer"
    guest = crossing.guest(backing="hugetlb")
    guest.agent.call("load", module="virtio_gpu")
    facts = facts_of(offered(guest.agent.call("gpu_info")), guest)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    size = crossing.frame_size(stream)
    begin = guest.trace_mark()
    read, held = make_and_lift(crossing, guest, "guest-blob-contig", size)
    _, given = make_and_lift(crossing, guest, "guest-blob-contig", size)
    canaries = exchange(crossing, guest, held["handle"], read["handle"], size)
    raw = crossing.share(stream, handle=given["handle"], allocator="guest-blob-contig")
    frames = [
        guest.agent.call("read", handle=read["handle"], size=frame["bytesused"]) for frame in raw["frames"]
    ]
    evidence = across(
        raw,
        path,
        frames=frames,
        copies=transfers(guest.trace_since(begin), resource=read["resource"]),
        dmabuf={key: held[key] for key in ("exporter", "inode", "size")},
        canaries=canaries,
    )
    guest.agent.call("reset")
    crossing.agent.call("reset")
    return crossing.shared(evidence, facts, stream)


def make_and_lift(
    crossing: Crossing, guest: Guest, allocator: str, size: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A blob in the guest, and the dma-buf that the VMM made of it, taken over by the board's agent."""
    agent = crossing.agent
    before = {found["inode"] for found in agent.call("vm_dmabufs")}
    blob = guest.agent.call("allocate", allocator=allocator, size=size)
    new = [found["inode"] for found in agent.call("vm_dmabufs") if found["inode"] not in before]
    assert len(new) == 1, f"the VMM made {len(new)} dma-bufs of one blob"
    blob |= guest.agent.call("gpu_resource", handle=blob["handle"])
    return blob, agent.call("vm_lift", inode=new[0])


def exchange(crossing: Crossing, guest: Guest, on_board: int, in_guest: int, size: int) -> dict[str, bool]:
    """Write a word on each side, at the two ends of the buffer, and look for it on the other."""
    board, there = crossing.agent, guest.agent
    last = size - len(WORD)
    board.call("write", handle=on_board, data=WORD, offset=0)
    there.call("write", handle=in_guest, data=WORD[::-1], offset=last)
    return {
        "host_to_guest": there.call("read", handle=in_guest, size=len(WORD), offset=0) == WORD,
        "guest_to_host": board.call("read", handle=on_board, size=len(WORD), offset=last) == WORD[::-1],
    }


def show(crossing: Crossing, guest: Guest, handle: int, frame: bytes) -> bool | None:
    """Put the buffer on the guest's display, and look whether the VMM's picture has the frame's bytes.

    The bytes are taken as 32-bit pixels, as they lie; the display drops each fourth. None where the
    frame is too small for a display.
    """
    height = len(frame) // (4 * WIDTH)
    if height < WIDTH:
        return None
    shown = guest.agent.call("gpu_scanout", handle=handle, width=WIDTH, height=height)
    try:
        guest.agent.call("gpu_flush", display=shown["display"])
        picture = crossing.agent.call("vm_screendump")
    finally:
        guest.agent.call("free", handle=shown["display"])
    pixels = frame[: 4 * WIDTH * height]
    wanted = bytearray(3 * WIDTH * height)
    for place, channel in enumerate((2, 1, 0)):  # XR24 lies as blue, green, red, unused
        wanted[place::3] = pixels[channel::4]
    found: bool = picture["data"] == bytes(wanted)
    return found
