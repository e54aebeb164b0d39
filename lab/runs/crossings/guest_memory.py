"""Memory that the guest allocates: a virtio-gpu blob, lifted from the VMM, written by the host's decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from lab.base.errors import BoardError, LabError
from lab.boards.agent import Agent
from lab.boards.guest import Guest
from lab.media import Coded
from lab.runs.crossings.crossing import (
    Crossing,
    Shared,
    copies,
    facts_of,
    identity,
    in_frame,
    read_frame,
    unsupported,
)
from lab.sharing import PATHS, VmmFacts, across, pages_written

WORD = bytes(range(0x30, 0x40))
"""What is written on one side and looked for on the other; no frame begins or ends like that."""

COMMANDS = "virtio_gpu_cmd_*"
"""The trace events of QEMU that `lab.sharing.transfers` reads."""

WIDTH = 32
"""Pixels of 32 bits in a row when a frame's bytes are shown as they lie: the least a display takes."""


@dataclass(frozen=True)
class Twin:
    """A buffer on both sides of the boundary; a path has one for each dma-buf that the decoder wants.

    ``guest``, ``board``: its handles there. ``size``: bytes that the decoder wants. ``resource``: its number
    in virtio-gpu's commands. ``dmabuf``: what the VMM holds of it (exporter, inode, size); None where that is
    not what the path is about.
    """

    guest: int
    board: int
    size: int
    resource: int
    dmabuf: dict[str, Any] | None = None


def guest_blob(crossing: Crossing, stream: Coded, path: str) -> Shared:
    """The guest makes blobs, and the host's decoder writes a dma-buf that the VMM has of one."""
    guest, facts = blob_guest(crossing)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    begin = guest.trace_mark()
    sizes = crossing.decoder.needs(stream).sizes
    twins = make_and_lift(crossing, guest, PATHS[path].allocator.name, sizes)
    return crossing.shared(decode_into(crossing, guest, path, stream, twins, begin), facts, stream)


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
    sizes = crossing.decoder.needs(stream).sizes
    begin = guest.trace_mark()
    read = make_and_lift(crossing, guest, "guest-blob-contig", sizes)
    given = make_and_lift(crossing, guest, "guest-blob-contig", sizes)
    evidence = decode_into(crossing, guest, "wrong-buffer", stream, read, begin, given=given)
    return crossing.shared(evidence, facts, stream)


def resource_uuid(crossing: Crossing, stream: Coded) -> Shared:
    """A resource that other virtio devices may find by its UUID: the 2019 proposal, where a VMM has it."""
    path = "resource-uuid"
    guest, facts = blob_guest(crossing)
    if lacking := unsupported(path, facts, crossing.decoder, stream):
        return lacking
    sizes = crossing.decoder.needs(stream).sizes
    begin = guest.trace_mark()
    twins = lift(crossing, sizes, lambda size: guest.agent.call("gpu_export_uuid", size=size))
    return crossing.shared(decode_into(crossing, guest, path, stream, twins, begin), facts, stream)


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
    twins: Sequence[Twin],
    begin: int,
    *,
    given: Sequence[Twin] = (),
    display: int | None = None,
) -> dict[str, Any]:
    """The evidence of ``path``: words are exchanged, the decoder writes, the guest reads and shows.

    ``given``: what the decoder gets instead of the guest's buffers ``twins``. ``begin``: of the VMM's trace,
    before the resources were made. ``display``: on which the guest has shown them all; without, it shows the
    one that it reads. What was held is given back, by the guest first: behind it the memory may go away.
    """
    agent, there = crossing.agent, guest.agent
    canaries = exchange(agent, there, twins)
    handles = [twin.board for twin in given or twins]
    raw = crossing.share(stream, handles=handles, allocator=PATHS[path].allocator.name)
    read = [twin.guest for twin in in_frame(raw, twins)]
    frames = screen = None
    if raw["stage"] == "done":
        planes = read_frame(there, raw, read)
        frames = [b"".join(planes)]
        screen = show(crossing, guest, read, planes, display)
    found: dict[str, Any] = {}
    if dmabuf := held_for(raw, twins):  # its memory is the guest's
        written = pages_written(raw)
        pages = agent.call("vm_pages", phys=written) if written else None
        found = {"dmabuf": dmabuf, "guest_pages": pages}
    held = [*twins, *given]
    for handle in ([] if display is None else [display]) + [one.guest for one in held]:
        there.call("free", handle=handle)
    for one in held:
        agent.call("free", handle=one.board)
    found["copies"] = copies(guest, begin, [one.resource for one in twins])
    return across(raw, path, frames=frames, canaries=canaries, screen=screen, **found)


def make_and_lift(crossing: Crossing, guest: Guest, allocator: str, sizes: Sequence[int]) -> list[Twin]:
    """Blobs in the guest, and the dma-bufs that the VMM made of them, taken over by the board's agent."""

    def make(size: int) -> dict[str, Any]:
        made = guest.agent.call("allocate", allocator=allocator, size=size)
        return {**made, **guest.agent.call("gpu_resource", handle=made["handle"])}

    return lift(crossing, sizes, make)


def lift(crossing: Crossing, sizes: Sequence[int], make: Callable[[int], dict[str, Any]]) -> list[Twin]:
    """What ``make`` makes of each number of bytes in the guest: ``handle`` there and ``resource``.

    With each the one dma-buf that the VMM has more since. Raises BoardError where it has not exactly one
    more: then nobody knows which is the guest's.
    """
    agent = crossing.agent
    twins = []
    for size in sizes:
        known = [found["inode"] for found in agent.call("vm_dmabufs")]
        made = make(size)
        new = agent.call("vm_new_dmabufs", known=known)
        if len(new) != 1:
            raise BoardError(f"the VMM has {len(new)} new dma-bufs for one resource of the guest")
        lifted = agent.call("vm_lift", inode=new[0]["inode"])
        dmabuf = {key: lifted[key] for key in ("exporter", "inode", "size")}
        twins.append(Twin(made["handle"], lifted["handle"], size, made["resource"], dmabuf))
    return twins


def held_for(raw: dict[str, Any], twins: Sequence[Twin]) -> dict[str, Any] | None:
    """What the VMM holds of the resource that the frame is in (`crossing.identity`)."""
    return identity(raw, [twin.dmabuf for twin in twins])


def exchange(board: Agent, there: Agent, twins: Sequence[Twin]) -> dict[str, bool]:
    """Write a word on each side, at the two ends of each buffer, and look for it on the other.

    Whether all were found.
    """
    seen = [_exchanged(board, there, twin) for twin in twins]
    return {name: all(one[name] for one in seen) for name in seen[0]}


def _exchanged(board: Agent, there: Agent, twin: Twin) -> dict[str, bool]:
    last = twin.size - len(WORD)
    board.call("write", handle=twin.board, data=WORD, offset=0)
    there.call("write", handle=twin.guest, data=WORD[::-1], offset=last)
    return {
        "host_to_guest": there.call("read", handle=twin.guest, size=len(WORD), offset=0) == WORD,
        "guest_to_host": board.call("read", handle=twin.board, size=len(WORD), offset=last) == WORD[::-1],
    }


def show(
    crossing: Crossing,
    guest: Guest,
    handles: Sequence[int],
    planes: Sequence[bytes],
    display: int | None = None,
) -> bool:
    """Put buffers on the guest's display, and look whether the VMM's picture has the bytes of each.

    ``display``: one that has shown them before.
    """
    pairs = zip(handles, planes, strict=True)
    return all(_shows(crossing, guest, handle, plane, display) for handle, plane in pairs)


def _shows(crossing: Crossing, guest: Guest, handle: int, plane: bytes, display: int | None) -> bool:
    shown = display if display is not None else scanout(guest, handle, len(plane))["display"]
    try:
        guest.agent.call("gpu_flush", display=shown, handle=handle)
        return matches(crossing.agent.call("vm_screendump"), plane)
    finally:
        if display is None:
            guest.agent.call("free", handle=shown)


def scanout(guest: Guest, handle: int, size: int, display: int | None = None) -> dict[str, Any]:
    """Show ``size`` bytes of a buffer as they lie: ``display``, by default a new one, and ``resource``.

    At least a page, which every buffer has and a display wants.
    """
    height = max(-(-size // (4 * WIDTH)), WIDTH)
    found: dict[str, Any] = guest.agent.call(
        "gpu_scanout", handle=handle, width=WIDTH, height=height, display=display
    )
    return found


def matches(picture: dict[str, Any], frame: bytes) -> bool:
    """Whether a screendump begins with the frame's bytes, taken as XR24 pixels as they lie.

    The display drops each fourth byte, and shows whole pixels.
    """
    pixels = len(frame) // 4
    wanted = bytearray(3 * pixels)
    for place, channel in enumerate((2, 1, 0)):  # XR24 lies as blue, green, red, unused
        wanted[place::3] = frame[channel : 4 * pixels : 4]
    return bool(picture["data"][: len(wanted)] == bytes(wanted))
