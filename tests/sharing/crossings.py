"""Evidence of sharing paths, as the host joins it."""

from __future__ import annotations

import errno
from typing import Any

from lab.sharing import across, ended
from tests.sharing import scenes
from tests.sharing.scenes import REFERENCES

USB = "0000:00:05.0"
RESOURCE = 7
TRACE = [
    "virtio_gpu_cmd_res_create_blob res 0x7, size 40960",
    "virtio_gpu_cmd_set_scanout_blob id 0, res 0x7, w 176, h 54, x 0, y 0",
    "virtio_gpu_cmd_res_flush res 0x7, w 176, h 54, x 0, y 0",
]
TRANSFER = "virtio_gpu_cmd_res_xfer_toh_2d res 0x7"
BOTH = {"host_to_guest": True, "guest_to_host": True}
LIFTED = {"exporter": "udmabuf", "inode": 12, "size": 40960}


def guest_pages(pages: list[int] | None = None) -> list[int]:
    """Where ten scattered pages of the board lie in the guest's RAM."""
    return [0x100000 + 4096 * (3 * at % 10) for at, _ in enumerate(pages or scenes.scattered())]


def guest_blob(
    path: str = "guest-blob", *, raw: dict[str, Any] | None = None, **found: Any
) -> dict[str, Any]:
    """A guest's blob, lifted from the VMM, written by the decoder behind a translating IOMMU, all right.

    The agent does not know the pages of a buffer that is not of its own making.
    """
    raw = raw or scenes.shared(pages=None)
    known = {
        "copies": [],
        "dmabuf": LIFTED,
        "guest_pages": guest_pages(),
        "canaries": BOTH,
        "screen": True,
        **found,
    }
    return across(raw, path, frames=[frame["data"] for frame in raw["frames"]], **known)


def gpu(**found: Any) -> dict[str, Any]:
    """The decoder's own buffer, given back to it after the GPU has imported it, too."""
    consumer = {"name": "GPU", "how": "R8 + GR88, llvmpipe", "inode": 13}
    maps = [scenes.mapped(scenes.run_of_pages(), iova=0xFFFF0000)]
    raw = scenes.own(exported=False, attachments=[scenes.DEVICE], maps=maps)
    return across(raw, "gpu-import", frames=REFERENCES, **({"consumer": consumer} | found))


def usb(**changes: Any) -> dict[str, Any]:
    """A udmabuf whose memfd was written to a USB disk; ``changes`` are of the consumer."""
    maps = [scenes.mapped(scenes.scattered(), iova=0xFFF00000) | {"device": USB}]
    consumer = {"name": "USB controller", "how": "O_DIRECT", "device": USB, "maps": maps, "bounced": 0}
    return across(scenes.shared(), "usb-pages", frames=REFERENCES, consumer=consumer | changes)


def copied() -> dict[str, Any]:
    """Blob resources are off, so that the VMM transfers the frame."""
    return guest_blob("guest-copied", raw=scenes.own(), copies=[TRANSFER], dmabuf=None, guest_pages=None)


def wrong_buffer() -> dict[str, Any]:
    """The decoder wrote into a buffer of its own; the guest's still holds the canary."""
    raw = scenes.own()
    blank = [bytes([scenes.CANARY]) * 38016 for _ in REFERENCES]
    return across(
        raw, "wrong-buffer", frames=blank, copies=[], dmabuf=LIFTED, canaries=BOTH, guest_pages=None
    )


def untraced() -> dict[str, Any]:
    """All is right, and nobody listened to the VMM."""
    return guest_blob("untraced", copies=None)


def refused() -> dict[str, Any]:
    """Scattered guest pages without translation."""
    return across(
        scenes.refused(pages=None, maps=[scenes.mapped(scenes.scattered())]), "guest-blob", copies=[]
    )


def no_uuid() -> dict[str, Any]:
    """The VMM does not offer what the path needs."""
    return ended("resource-uuid", "probe", errno.ENODEV, "virtio-gpu offers no RESOURCE_UUID")
