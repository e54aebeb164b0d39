"""A disk behind a USB host controller: an importer that is no virtio device and attaches to no dma-buf.

The controller reads and writes whatever pages an O_DIRECT request names. Those behind a udmabuf can be named,
by the memfd that they belong to. A dma-buf's own mapping has no struct pages (VM_PFNMAP), so that
get_user_pages() refuses it, mm/gup.c.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import time

from . import files
from .buffers import get
from .memfd import MemFd, whole
from .modules import load
from .watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .dmabuf import DmaBuf

# delay_use: seconds that usb-storage waits for a disk to settle; an emulated one has settled.
MODULES: dict[str, dict[str, Any]] = {
    "xhci_pci": {},
    "uas": {},
    "usb_storage": {"delay_use": 0},
    "sd_mod": {},
}
CONTROLLER_CLASS = "0x0c03"  # include/linux/pci_ids.h, PCI_CLASS_SERIAL_USB
FOUND = 5.0
"""Seconds that a disk gets to appear; an emulated one takes one."""

NETLINK_KOBJECT_UEVENT = 15  # include/uapi/linux/netlink.h

PAGES, MAPPING = "pages", "mapping"
"""What an O_DIRECT request is about: the pages behind a buffer, or the mapping of the dma-buf itself."""


def place(path: str) -> dict[str, str | None] | None:
    """Take the sysfs ``path`` of a disk apart; ``None`` if no USB host controller is in it.

    Returns ``controller`` (its name on its bus: who does the DMA) and ``interface`` (folder of the USB
    interface, whose driver drives the disk). The root hub's folder is ``usbN``, drivers/usb/core/usb.c.
    """
    parts = path.split("/")
    for at, part in enumerate(parts):
        if part.startswith("usb") and part[3:].isdigit():
            below = [index for index in range(at, len(parts)) if ":" in parts[index] and "-" in parts[index]]
            interface = "/".join(parts[: below[0] + 1]) if below else None
            return {"controller": parts[at - 1], "interface": interface}
    return None


def usb_disk() -> dict[str, Any]:
    """Find the first disk behind a USB host controller, loading the drivers for it.

    Returns ``node``, ``size`` (bytes), ``block`` (bytes that a request is a multiple of), ``controller`` (a
    device as in `iommu.iommu`) and ``driver`` (uas, usb-storage). ``OSError`` ENODEV where there is none.
    """
    found = _find()
    if found is None:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT) as events:
            events.bind((0, 1))  # any port, the kernel's own group
            for module, params in MODULES.items():
                load(module, params)
            found = _announced(events, FOUND if _controllers() else 0.0)
    if found is None:
        what = "no disk behind a USB host controller" if _controllers() else "no USB host controller"
        raise OSError(errno.ENODEV, f"{what} on this board")
    return found


def usb_write(handle: int, size: int, offset: int = 0, through: str = PAGES) -> dict[str, Any]:
    """Write the first ``size`` bytes of a buffer to the disk at ``offset``: the controller reads its pages.

    ``through``: ``pages`` of the memfd behind a udmabuf, or the ``mapping`` of the dma-buf itself. Rounded up
    to whole blocks. A refusal by the kernel is an answer: ``stage`` is ``import`` then, otherwise ``done``;
    ``errno`` and ``message`` are those of the request. ``consumer`` is {name, how, device, inode, maps,
    bounced}, with the controller's DMA during the request; ``faults``, ``fault_lines``, ``kmsg``,
    ``missing``: as `Watch.evidence`; ``node``: the disk. ``ValueError`` for a buffer without a memfd.
    """
    return _transfer(get(handle), size, offset, through, into=False)


def usb_read(handle: int, size: int, offset: int = 0, through: str = PAGES) -> dict[str, Any]:
    """Read ``size`` bytes of the disk at ``offset`` into a buffer: the controller writes its pages.

    Otherwise as `usb_write`.
    """
    return _transfer(get(handle), size, offset, through, into=True)


def usb_load(size: int, offset: int = 0) -> bytes:
    """Return what the disk holds: read by O_DIRECT into other memory, so from no cache."""
    disk = usb_disk()
    room = whole(size, disk["block"])
    with mmap.mmap(-1, whole(room, mmap.PAGESIZE)) as memory:
        with memoryview(memory) as view, view[:room] as part:
            _request(disk["node"], part, offset, into=True)
        return memory[:size]


def usb_store(data: bytes, offset: int = 0) -> None:
    """Write ``data``, filled up with zeroes to whole blocks, to the disk by O_DIRECT from other memory."""
    disk = usb_disk()
    room = whole(len(data), disk["block"])
    with mmap.mmap(-1, whole(room, mmap.PAGESIZE)) as memory:
        memory[: len(data)] = data
        with memoryview(memory) as view, view[:room] as part:
            _request(disk["node"], part, offset, into=False)


def _transfer(buffer: DmaBuf, size: int, offset: int, through: str, into: bool) -> dict[str, Any]:
    memory = _memory(buffer, through)
    disk = usb_disk()
    room = whole(size, disk["block"])
    if not 0 < room <= len(memory):
        raise ValueError(f"{size} bytes in blocks of {disk['block']} do not fit into {len(memory)}")
    answer: dict[str, Any] = {"stage": "import", "errno": None, "message": "", "node": disk["node"]}
    watch = Watch(disk["controller"])
    try:
        try:
            with memoryview(memory) as view, view[:room] as part:
                _request(disk["node"], part, offset, into)
            answer["stage"] = "done"
        except OSError as error:
            answer |= {"errno": error.errno, "message": error.strerror or str(error)}
        evidence = watch.evidence()
    finally:
        watch.close()
    what = "the memfd behind it" if through == PAGES else "the dma-buf's mapping"
    return answer | {
        "consumer": {
            "name": "USB host controller",
            "how": f"O_DIRECT {'into' if into else 'from'} {what}, by {disk['driver']}",
            "device": disk["controller"],
            "inode": None,  # it imports nothing: its pages say what it shares
            "maps": evidence["maps"],
            "bounced": evidence["bounced"],
        },
        **{name: evidence[name] for name in ("faults", "fault_lines", "kmsg", "missing")},
    }


def _memory(buffer: DmaBuf, through: str) -> mmap.mmap:
    if through == MAPPING:
        return buffer.mapping
    if through != PAGES:
        raise ValueError(f"through is {PAGES} or {MAPPING}, not {through!r}")
    memory = buffer.held(MemFd)
    if memory is None or memory.map is None:
        raise ValueError(f"a buffer of {buffer.exporter} has no memfd behind it here: use a udmabuf")
    return memory.map


def _request(node: str, memory: memoryview, offset: int, into: bool) -> None:
    """Read or write all of ``memory`` by O_DIRECT; ``OSError`` in the words of the call."""
    fd = os.open(node, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
    try:
        done = os.preadv(fd, [memory], offset) if into else os.pwritev(fd, [memory], offset)
    except OSError as error:
        call = "preadv" if into else "pwritev"
        raise OSError(error.errno, f"{call} by O_DIRECT: {error.strerror}") from None
    finally:
        os.close(fd)
    if done != len(memory):
        raise OSError(errno.EIO, f"{node}: {done} of {len(memory)} bytes by O_DIRECT")


def _announced(events: socket.socket, timeout: float) -> dict[str, Any] | None:
    """The disk, once the kernel has announced it on ``events``; ``None`` after ``timeout`` seconds.

    It looks for partitions first, and that DMA must not be taken for somebody else's, block/genhd.c,
    add_disk_fwnode().
    """
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        events.settimeout(left)
        try:
            event = events.recv(65536).split(b"\0")[0]
        except TimeoutError:
            return None
        if event.startswith(b"add@") and b"/block/" in event and (found := _find()) is not None:
            return found
    return None


def _find() -> dict[str, Any] | None:
    for name in files.listing("/sys/block"):
        found = place(os.path.realpath(f"/sys/block/{name}/device"))
        sectors = int(files.read_or_none(f"/sys/block/{name}/size") or 0)
        if found is None or not sectors or not os.path.exists(f"/dev/{name}"):
            continue
        return {
            "node": f"/dev/{name}",
            "size": sectors * 512,  # always of 512 bytes, include/linux/blk_types.h, SECTOR_SHIFT
            "block": int(files.read(f"/sys/block/{name}/queue/logical_block_size")),
            "controller": found["controller"],
            "driver": files.link_name(f"{found['interface']}/driver"),
        }
    return None


def _controllers() -> bool:
    if any(name.startswith("usb") for name in files.listing("/sys/bus/usb/devices")):
        return True
    folder = "/sys/bus/pci/devices"
    classes = (files.read_or_none(f"{folder}/{name}/class") or "" for name in files.listing(folder))
    return any(kind.startswith(CONTROLLER_CLASS) for kind in classes)
