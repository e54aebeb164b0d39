"""Memory that the guest allocates: a virtio-gpu blob, lifted from the VMM, written by the host's decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from lab.base.errors import BoardError, LabError
from lab.boards.agent import Agent
from lab.boards.guest import Guest
from lab.media import Coded
from lab.runs.crossings.crossing import Crossing, Shared, copies, facts_of, unsupported
from lab.sharing import PATHS, VmmFacts, across, pages_written

WORD = bytes(range(0x30, 0x40))
"""What is written on one side and looked for on the other; no frame begins or ends like that."""

COMMANDS = "virtio_gpu_cmd_*"
"""The trace events of QEMU that `lab.sharing.transfers` reads."""

WIDTH = 32
"""Pixels of 32 bits in a row when a frame's bytes are shown as they lie: the least a display takes."""


def guest_blob(crossing: Crossing, stream: Coded, path: str) -> Shared:
    """The guest makes a blob, and the host's decoder writes the dma-buf that the VMM has of it."""
    guest, facts = blob_guest(crossing)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    begin = guest.trace_mark()
    allocator = PATHS[path].allocator.name
    blob, lifted = make_and_lift(crossing, guest, allocator, crossing.frame_size(stream))
    return crossing.shared(decode_into(crossing, guest, path, stream, blob, lifted, begin), facts, stream)


def untraced(crossing: Crossing, stream: Coded) -> Shared:
    """As `guest_blob`, but the VMM is told to trace nothing meanwhile: nobody knows whether it copied."""
    blob_guest(crossing)  # the one that runs next
    with _tracing_nothing(crossing):
        return guest_blob(crossing, stream, "untraced")


@contextmanager
def _tracing_nothing(crossing: Crossing) -> Iterator[None]:
    """Switch the trace of the running QEMU off; afterwards it is on again (qapi/trace.json)."""

    def switch(on: bool) -> None:
        arguments = {"name": COMMANDS, "enable": on}
        crossing.agent.call("vm_qmp", command="trace-event-set-state", arguments=arguments)

    switch(False)
    try:
        yield
    finally:
        with suppress(LabError, BoardError):  # the VMM may be gone, and then its trace is
            switch(True)


def wrong_buffer(crossing: Crossing, stream: Coded) -> Shared:
    """As `guest_blob`, but the decoder is given the dma-buf of another resource than the guest reads."""
    guest, facts = blob_guest(crossing)
    if lacking := unsupported("wrong-buffer", facts, crossing.decoder, stream):
        return lacking
    size = crossing.frame_size(stream)
    begin = guest.trace_mark()
    read, held = make_and_lift(crossing, guest, "guest-blob-contig", size)
    _, given = make_and_lift(crossing, guest, "guest-blob-contig", size)
    evidence = decode_into(crossing, guest, "wrong-buffer", stream, read, held, begin, given=given)
    return crossing.shared(evidence, facts, stream)


def resource_uuid(crossing: Crossing, stream: Coded) -> Shared:
    """A resource that other virtio devices may find by its UUID: the 2019 proposal, where a VMM has it."""
    path = "resource-uuid"
    guest, facts = blob_guest(crossing)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    size = crossing.frame_size(stream)
    begin = guest.trace_mark()
    blob, lifted = lift(crossing, lambda: guest.agent.call("gpu_export_uuid", size=size))
    return crossing.shared(decode_into(crossing, guest, path, stream, blob, lifted, begin), facts, stream)


def blob_guest(crossing: Crossing) -> tuple[Guest, VmmFacts]:
    """The guest with a 2D virtio-gpu that has blobs, its RAM on huge pages; and what was found there."""
    guest = crossing.guest(backing="hugetlb")
    return guest, guest_facts(guest)


def guest_facts(guest: Guest, more: Mapping[str, tuple[bool, str]] | None = None) -> VmmFacts:
    """What a guest's virtio-gpu has; ``more``: what else was found of `lab.sharing.paths.REQUIREMENTS`."""
    guest.agent.call("load", module="virtio_gpu")
    return facts_of({**guest.agent.call("gpu_capabilities"), **(more or {})}, guest)


def decode_into(
    crossing: Crossing,
    guest: Guest,
    path: str,
    stream: Coded,
    blob: dict[str, Any],
    lifted: dict[str, Any],
    begin: int,
    *,
    given: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The evidence of ``path``: words are exchanged, the decoder writes, the guest reads and shows.

    ``blob``: the guest's buffer; ``lifted``: the dma-buf that the VMM has of it; ``given``: what the
    decoder gets instead. ``begin``: of the VMM's trace, before the resource was made.
    """
    size = crossing.frame_size(stream)
    canaries = exchange(crossing.agent, guest.agent, lifted["handle"], blob["handle"], size)
    raw = crossing.share(stream, handle=(given or lifted)["handle"], allocator=PATHS[path].allocator.name)
    frames = screen = None
    if raw["stage"] == "done":
        frames = [guest.agent.call("read", handle=blob["handle"], size=raw["frames"][0]["bytesused"])]
        screen = show(crossing, guest, blob["handle"], frames[0])
    written = pages_written(raw)
    guest_pages = crossing.agent.call("vm_pages", phys=written) if written else None
    for buffer in filter(None, (lifted, given)):
        crossing.agent.call("free", handle=buffer["handle"])
    guest.agent.call("free", handle=blob["handle"])
    return across(
        raw,
        path,
        frames=frames,
        copies=copies(guest, begin, blob["resource"]),
        dmabuf={key: lifted[key] for key in ("exporter", "inode", "size")},
        guest_pages=guest_pages,
        canaries=canaries,
        screen=screen,
    )


def make_and_lift(
    crossing: Crossing, guest: Guest, allocator: str, size: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A blob in the guest, and the dma-buf that the VMM made of it, taken over by the board's agent."""
    blob, lifted = lift(crossing, lambda: guest.agent.call("allocate", allocator=allocator, size=size))
    return blob | guest.agent.call("gpu_resource", handle=blob["handle"]), lifted


def lift(crossing: Crossing, make: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``make`` gave, and the one dma-buf that the VMM has more since.

    Raises BoardError where it has not exactly one more: then nobody knows which is the guest's.
    """
    agent = crossing.agent
    known = [found["inode"] for found in agent.call("vm_dmabufs")]
    made = make()
    new = agent.call("vm_new_dmabufs", known=known)
    if len(new) != 1:
        raise BoardError(f"the VMM has {len(new)} new dma-bufs for one resource of the guest")
    return made, agent.call("vm_lift", inode=new[0]["inode"])


def exchange(board: Agent, there: Agent, on_board: int, in_guest: int, size: int) -> dict[str, bool]:
    """Write a word on each side, at the two ends of the buffer, and look for it on the other."""
    last = size - len(WORD)
    board.call("write", handle=on_board, data=WORD, offset=0)
    there.call("write", handle=in_guest, data=WORD[::-1], offset=last)
    return {
        "host_to_guest": there.call("read", handle=in_guest, size=len(WORD), offset=0) == WORD,
        "guest_to_host": board.call("read", handle=on_board, size=len(WORD), offset=last) == WORD[::-1],
    }


def show(crossing: Crossing, guest: Guest, handle: int, frame: bytes) -> bool:
    """Put the buffer on the guest's display, and look whether the VMM's picture has the frame's bytes."""
    height = len(frame) // (4 * WIDTH)
    shown = guest.agent.call("gpu_scanout", handle=handle, width=WIDTH, height=height)
    try:
        guest.agent.call("gpu_flush", display=shown["display"])
        return matches(crossing.agent.call("vm_screendump"), frame)
    finally:
        guest.agent.call("free", handle=shown["display"])


def matches(picture: dict[str, Any], frame: bytes) -> bool:
    """Whether a screendump has the frame's bytes, taken as rows of WIDTH XR24 pixels as they lie.

    The display drops each fourth byte.
    """
    height = len(frame) // (4 * WIDTH)
    wanted = bytearray(3 * WIDTH * height)
    for place, channel in enumerate((2, 1, 0)):  # XR24 lies as blue, green, red, unused
        wanted[place::3] = frame[channel : 4 * WIDTH * height : 4]
    return bool(picture["data"] == bytes(wanted))
