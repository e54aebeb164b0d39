"""Calls on buffers that stay on the board behind handles, and the table of everything that is open."""

from __future__ import annotations

from . import files
from .allocators import find
from .dmabuf import DmaBuf, attachments
from .handles import Handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HANDLES = Handles()


def get(handle: int) -> DmaBuf:
    """Return the buffer of a handle; ``LookupError`` if it is not open, ``TypeError`` if it is no buffer."""
    thing = HANDLES.get(handle)
    if not isinstance(thing, DmaBuf):
        raise TypeError(f"handle {handle} is a {type(thing).__name__}, not a buffer")
    return thing


def allocate(allocator: str, size: int, **options: Any) -> dict[str, Any]:
    """Allocate at least ``size`` bytes and keep them open until `free` or `reset`.

    Returns ``handle``, ``size``, ``exporter``, ``inode``, ``runs``, ``pages`` (physical addresses of 4 KiB
    pages, ``None``: not knowable) and ``fd_name`` (what /proc/PID/fd/N reads). The decoder's own buffers are
    not made here: `own_buffers`.
    """
    if size <= 0:
        raise ValueError(f"a buffer needs a size above 0, not {size}")
    return keep(find(allocator).allocate(size, **options))


def keep(buffer: DmaBuf) -> dict[str, Any]:
    """Keep a buffer open until `free` or `reset`; returns as `allocate`."""
    return {
        "handle": HANDLES.add(buffer),
        **buffer.describe(),
        "pages": buffer.pages,
        "fd_name": files.link_name(f"/proc/self/fd/{buffer.fd}"),
    }


def own_buffers(
    node: str, count: int, coded: str, width: int, height: int, capture: str | None = None
) -> list[dict[str, Any]]:
    """Have a decoder allocate ``count`` CAPTURE buffers (its queue may want more), export and keep them.

    Each memory plane as `allocate` returns a buffer, in the queue's order. ``capture``: their fourcc, by
    default a linear one (`formats.linear`). Raises as `v4l2.Device`.
    """
    from . import videodev2 as v
    from .formats import linear
    from .v4l2 import Device

    device = Device(node)  # closed with the first of the buffers: their memory is their own by then
    made: list[DmaBuf] = []
    try:
        device.output.set_format(coded, width, height)
        device.capture.set_format(capture or linear(device.capture), width, height)
        for index in range(device.capture.request(count, v.MEMORY_MMAP)):
            for plane in range(device.capture.planes):
                fd = device.capture.export(index, plane)
                made.append(DmaBuf(fd, extra=[device]))
    except BaseException:
        for buffer in made:
            buffer.close()
        device.close()
        raise
    return [keep(buffer) for buffer in made]


def read(handle: int, size: int | None = None, offset: int = 0) -> bytes:
    """Read a buffer by CPU, synchronised (`DmaBuf.read`)."""
    return get(handle).read(size, offset)


def write(handle: int, data: bytes, offset: int = 0) -> None:
    """Write a buffer by CPU, synchronised (`DmaBuf.write`)."""
    get(handle).write(data, offset)


def describe(handle: int) -> dict[str, Any]:
    """Return what `allocate` returned about a buffer, and its ``attachments`` now (``None``: no debugfs)."""
    buffer = get(handle)
    return {
        "handle": handle,
        **buffer.describe(),
        "pages": buffer.pages,
        "attachments": attachments(buffer.inode),
    }


def free(handle: int) -> None:
    """Close one buffer. Its memory lives on while something else, as a queue, holds it."""
    HANDLES.close(handle)


def reset() -> list[str]:
    """Close everything that a test opened; returns what went wrong on the way, as text.

    A device that was given away comes back with it, once no virtual machine has it any more.
    """
    errors = HANDLES.reset()
    if files.listing("/run/lab/vfio"):  # else without the import
        from . import vfio

        errors += vfio.reset()
    return errors
