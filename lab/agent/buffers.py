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
    pages, ``None``: not knowable) and ``fd_name`` (what /proc/PID/fd/N reads). ``decoder-mmap`` takes the
    options ``node``, ``width``, ``height``, ``capture`` and ``coded`` (fourcc): a CAPTURE buffer of that
    decoder, exported.
    """
    if size <= 0:
        raise ValueError(f"a buffer needs a size above 0, not {size}")
    if allocator == "decoder-mmap":
        buffer = _decoder_buffer(size, **options)
    else:
        buffer = find(allocator).allocate(size, **options)
    return keep(buffer)


def keep(buffer: DmaBuf) -> dict[str, Any]:
    """Keep a buffer open until `free` or `reset`; returns as `allocate`."""
    return {
        "handle": HANDLES.add(buffer),
        **buffer.describe(),
        "pages": buffer.pages,
        "fd_name": files.link_name(f"/proc/self/fd/{buffer.fd}"),
    }


def _decoder_buffer(
    size: int, node: str, width: int, height: int, capture: str | None = None, coded: str | None = None
) -> DmaBuf:
    from . import videodev2 as v
    from .formats import linear
    from .v4l2 import Device

    device = Device(node)
    try:
        coded = coded or next(fourcc for fourcc, compressed in device.output.formats() if compressed)
        device.output.set_format(coded, width, height)
        capture = capture or linear(device.capture)
        made = device.capture.set_format(capture, width, height)
        if device.capture.planes > 1:
            raise ValueError(
                f"{capture} lies in {device.capture.planes} memory planes: one dma-buf is no buffer"
            )
        if made["sizeimage"] < size:
            raise ValueError(
                f"a {width}x{height} {capture} buffer of {node} has {made['sizeimage']} bytes < {size}"
            )
        device.capture.request(1, v.MEMORY_MMAP)
        return DmaBuf(device.capture.export(0), extra=[device])
    except BaseException:
        device.close()
        raise


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
