"""The board's decoder given to the guest by VFIO: the guest allocates, decodes and shows."""

from __future__ import annotations

from lab.boards.agent import Agent
from lab.boards.guest import Guest
from lab.boards.vmms.qemu import SLOT
from lab.media import Coded
from lab.runs.crossings.crossing import Crossing, Shared, copies, facts_of, lacking, unsupported
from lab.runs.crossings.guest_memory import WIDTH, exchange, guest_facts, matches
from lab.runs.crossings.newest import KERNEL, importing, newest
from lab.sharing import across

PATH = "vfio-decoder"
ARRIVED = "until [ $(ls /sys/bus/pci/devices | wc -l) -gt {before} ]; do sleep 0.1; done"
"""Waits in the guest until its PCI bus has one device more."""


def vfio_decoder(crossing: Crossing, stream: Coded) -> Shared:
    """The guest decodes into its decoder's own buffer, which its virtio-gpu imports."""
    entry = crossing.decoder.entry
    group = crossing.agent.call("board_capabilities", device=entry.device, gles=False)["iommu-group"]
    before = {"iommu-group": group, **importing(crossing)}
    if found := unsupported(PATH, facts_of(before), crossing.decoder, stream):
        return found
    size = crossing.frame_size(stream)  # while the decoder is the board's
    guest = decoder_guest(crossing)
    there = guest.agent
    loaded = there.call("load", module=entry.module, params={"address_bits": [entry.address_bits]})
    [device] = loaded["devices"]  # the VMM chose its slot
    facts = guest_facts(guest, {"iommu-group": group})
    if found := lacking(PATH, facts, crossing.decoder, stream):
        return found
    width, height = stream.shapes[0]
    node = next(found["node"] for found in there.call("decoders") if found["device"] == device)
    begin = guest.trace_mark()
    shape = {"node": node, "coded": stream.coded, "width": width, "height": height}
    buffer = there.request("allocate", {"allocator": "decoder-mmap", "size": size, **shape}, timeout=30)
    handle = buffer["handle"]
    held = [found["inode"] for found in crossing.agent.call("vm_dmabufs")]
    shown = there.call("gpu_scanout", handle=handle, width=WIDTH, height=size // (4 * WIDTH))
    raw = there.request(
        "share",
        {
            "stream": stream.data,
            "sizes": stream.sizes,
            "coded": stream.coded,
            "allocator": "decoder-mmap",
            "device": device,
            "handles": [handle],
        },
        timeout=60,
    )
    frames = screen = None
    if raw["stage"] == "done":
        frames = [there.call("read", handle=handle, size=raw["frames"][0]["bytesused"])]
        there.call("gpu_flush", display=shown["display"])
        screen = matches(crossing.agent.call("vm_screendump"), frames[0])
    canaries = _exchange(crossing, there, handle, held, size)
    for made in (shown["display"], handle):
        there.call("free", handle=made)
    seen = copies(guest, begin, shown["resource"])
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


def _exchange(
    crossing: Crossing, there: Agent, handle: int, before: list[int], size: int
) -> dict[str, bool] | None:
    """Words between the guest's buffer and the dma-buf that the VMM has of it; None where it has none."""
    agent = crossing.agent
    new = agent.call("vm_new_dmabufs", known=before)
    if not new:
        return None
    return exchange(agent, there, agent.call("vm_lift", inode=new[-1]["inode"])["handle"], handle, size)
