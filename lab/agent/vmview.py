"""What a running VMM shares: its dma-bufs, its guest's RAM, its picture."""

from __future__ import annotations

import os
import time

from . import buffers, files, process, vmm
from .dmabuf import DmaBuf, parse_fdinfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PAGE = 4096
PFN, PRESENT = (1 << 55) - 1, 1 << 63  # Documentation/admin-guide/mm/pagemap.rst


def vm_dmabufs() -> list[dict[str, Any]]:
    """Return the dma-bufs among the VMM's descriptors: ``fd``, ``inode``, ``size``, ``exporter``."""
    pid = vmm.alive()
    found = []
    for name in files.listing(f"/proc/{pid}/fd"):
        try:
            if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("/dmabuf:"):
                continue
            info = parse_fdinfo(files.read(f"/proc/{pid}/fdinfo/{name}"))
        except FileNotFoundError:  # closed meanwhile
            continue
        found.append(
            {
                "fd": int(name),
                "inode": int(info.get("ino", 0)),
                "size": int(info.get("size", 0)),
                "exporter": info.get("exp_name", ""),
            }
        )
    return sorted(found, key=lambda buffer: buffer["fd"])


def vm_new_dmabufs(known: list[int], timeout: float = 5.0) -> list[dict[str, Any]]:
    """Return those of `vm_dmabufs` whose inode is not in ``known``, as soon as there are any.

    A guest's driver does not wait for the VMM to carry out what it sends, so they may come after its calls
    have returned. Nothing after ``timeout`` seconds without one.
    """
    end = time.monotonic() + timeout
    while True:
        new = [buffer for buffer in vm_dmabufs() if buffer["inode"] not in known]
        if new or time.monotonic() > end:
            return new
        time.sleep(0.02)  # nothing tells of another process's descriptors


def vm_lift(inode: int) -> dict[str, Any]:
    """Take a dma-buf of the VMM by pidfd_getfd(2) and return it as `buffers.allocate` does.

    ``LookupError`` if the VMM holds no dma-buf of that inode.
    """
    pid = vmm.alive()
    for buffer in vm_dmabufs():
        if buffer["inode"] == inode:
            taken = DmaBuf(process.take(pid, buffer["fd"]))
            if taken.inode == inode:
                return buffers.keep(taken)
            taken.close()  # the number was used again meanwhile
    raise LookupError(f"the VMM holds no dma-buf with inode {inode}")


def vm_pages(phys: list[int]) -> list[int | None]:
    """Say where in the guest's RAM each 4 KiB page of host-physical memory lies: its offset, or ``None``."""
    pid = vmm.alive()
    wanted = {address // PAGE for address in phys}
    places: dict[int, int] = {}
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for start, end, offset in ram_mappings(files.read(f"/proc/{pid}/maps")):
            entries = os.pread(pagemap.fileno(), (end - start) // PAGE * 8, start // PAGE * 8)
            for index, word in enumerate(memoryview(entries).cast("Q")):
                if word & PRESENT and word & PFN in wanted:
                    places[word & PFN] = offset + index * PAGE
    return [places.get(address // PAGE) for address in phys]


def vm_screendump() -> dict[str, Any]:
    """Return the guest's picture: ``width``, ``height``, ``format`` (``RGB``), ``data`` (rows of 3 bytes)."""
    known = vmm.recorded()
    path = f"{known[3] if known else vmm.FOLDER}/screen.ppm"
    vmm.vm_qmp("screendump", {"filename": path})
    try:
        return parse_ppm(files.read_bytes(path))
    finally:
        os.unlink(path)


def parse_ppm(data: bytes) -> dict[str, Any]:
    """Parse a binary PPM (netpbm's ppm(5), as QEMU's ui/console.c writes it: no comments, maximum 255)."""
    magic, size, maximum, pixels = (data.split(b"\n", 3) + [b""] * 3)[:4]  # pixels may look like white space
    width, height = (size.split() + [b"0"] * 2)[:2]
    if magic != b"P6" or maximum != b"255" or len(pixels) != int(width) * int(height) * 3:
        raise ValueError(f"not a picture as QEMU writes it: {data[:20]!r}...")
    return {"width": int(width), "height": int(height), "format": "RGB", "data": pixels}


def ram_mappings(maps: str) -> list[tuple[int, int, int]]:
    """Start, end and offset of each mapping of guest RAM: the memfds that QEMU (backends/hostmem-memfd.c) and
    crosvm (vm_memory) name so.
    """
    found = []
    for line in maps.splitlines():
        span, _, offset, _, _, *name = line.split(maxsplit=5)
        if name and name[0].startswith(("/memfd:memory-backend-memfd", "/memfd:crosvm_guest")):
            start, end = span.split("-")
            found.append((int(start, 16), int(end, 16), int(offset, 16)))
    return found
