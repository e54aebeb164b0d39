"""The board's decoder given to the guest by VFIO: the guest allocates, decodes and shows."""

from __future__ import annotations

from collections.abc import Sequence

from lab.boards.guest import Guest
from lab.boards.vmms.qemu import SLOT
from lab.media import Coded
from lab.runs.crossings.crossing import (
    Crossing,
    Shared,
    copies,
    facts_of,
    in_frame,
    lacking,
    read_frame,
    unsupported,
)
from lab.runs.crossings.guest_memory import Twin, exchange, guest_facts, scanout, show
from lab.runs.crossings.newest import KERNEL, importing, newest
from lab.runs.devices import Needs
from lab.sharing import across

PATH = "vfio-decoder"
ARRIVED = "until [ $(ls /sys/bus/pci/devices | wc -l) -gt {before} ]; do sleep 0.1; done"
"""Waits in the guest until its PCI bus has one device more."""


def vfio_decoder(crossing: Crossing, stream: Coded) -> Shared:
    """The guest decodes into its decoder's own buffers, which its virtio-gpu imports."""
    entry = crossing.decoder.entry
    group = crossing.agent.call("board_capabilities", device=entry.device, gles=False)["iommu-group"]
    before = {"iommu-group": group, **importing(crossing)}
    if found := unsupported(PATH, facts_of(before), crossing.decoder, stream):
        return found
    guest = decoder_guest(crossing)
    there = guest.agent
    loaded = there.call("load", module=entry.module, params=crossing.board.target.parameters(entry))
    [device] = loaded["devices"]  # the VMM chose its slot
    facts = guest_facts(guest, {"iommu-group": group})
    if found := lacking(PATH, facts, crossing.decoder, stream):
        return found
    width, height = stream.shapes[0]
    node = next(found["node"] for found in there.call("decoders") if found["device"] == device)
    needs = Needs.ask(there, node, stream)
    begin = guest.trace_mark()
    asked = {"node": node, "count": needs.count, "coded": stream.coded, "width": width, "height": height}
    buffers = there.request("own_buffers", asked, timeout=30)
    handles = [buffer["handle"] for buffer in buffers]
    display, resources, twins = _shown(crossing, guest, handles, needs.sizes)
    raw = there.request(
        "share",
        {
            "stream": stream.data,
            "sizes": stream.sizes,
            "coded": stream.coded,
            "allocator": "decoder-mmap",
            "device": device,
            "handles": handles,
        },
        timeout=60,
    )
    frames = screen = None
    if raw["stage"] == "done":
        read = in_frame(raw, handles)
        planes = read_frame(there, raw, read)
        frames = [b"".join(planes)]
        screen = show(crossing, guest, read, planes, display)
    canaries = exchange(crossing.agent, there, twins) if len(twins) == len(handles) else None
    for made in (display, *handles):
        there.call("free", handle=made)
    for twin in twins:
        crossing.agent.call("free", handle=twin.board)
    seen = copies(guest, begin, resources)
    evidence = across(raw, PATH, frames=frames, copies=seen, canaries=canaries, screen=screen)
    return crossing.shared(evidence, facts, stream)


def decoder_guest(crossing: Crossing) -> Guest:
    """A guest that has the board's decoder: put into the running newest one, which saves a boot.

    Where the image has no such VMM, the target's own, started with the decoder.
    """
    wanted, found = newest(crossing)
    if not found["shared-memory-bar"][0]:
        return crossing.guest(kernel=KERNEL, video="vfio")
    guest = crossing.guest(**wanted)
    device = crossing.decoder.device
    crossing.agent.call("vfio_take", device=device)
    crossing.spend()
    before = len(guest.agent.run(["ls", "/sys/bus/pci/devices"])["stdout"].split())
    arguments = {"driver": "vfio-pci", "host": device, "bus": SLOT, "id": "decoder"}
    crossing.agent.call("vm_qmp", command="device_add", arguments=arguments, timeout=30)
    guest.agent.run(["dash", "-c", ARRIVED.format(before=before)])
    return guest


def _shown(
    crossing: Crossing, guest: Guest, handles: Sequence[int], sizes: Sequence[int]
) -> tuple[int, list[int], list[Twin]]:
    """Show the guest's buffers one after another: the display, and the resource of each.

    With them the buffers of which the VMM has a dma-buf, too; once it has none, nobody asks for the next.
    """
    agent = crossing.agent
    display: int | None = None
    resources: list[int] = []
    twins: list[Twin] = []
    for handle, size in zip(handles, sizes, strict=True):
        known = [found["inode"] for found in agent.call("vm_dmabufs")]
        shown = scanout(guest, handle, size, display)
        display = shown["display"]
        resources.append(shown["resource"])
        if len(twins) + 1 == len(resources) and (new := agent.call("vm_new_dmabufs", known=known)):
            lifted = agent.call("vm_lift", inode=new[-1]["inode"])
            twins.append(Twin(handle, lifted["handle"], size, shown["resource"]))
    assert display is not None
    return display, resources, twins
