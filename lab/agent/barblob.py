"""Calls in the guest: the memory in a device's BAR as a dma-buf (images/blob-exporter)."""

from __future__ import annotations

import ctypes
import os

from . import buffers, ioctl
from .dmabuf import DmaBuf
from .memfd import PAGE, whole
from .modules import load, wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODULE, NODE = "blob_exporter", "/dev/blob-exporter"


class blob_export(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("offset", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("fd", ctypes.c_int32),
        ("pad", ctypes.c_uint32),
    )


BLOB_EXPORT = ioctl.both("BLOB_EXPORT", "L", 0, blob_export)


def bar_capability() -> dict[str, tuple[bool, str]]:
    """Load the exporter and say whether it is there, ``guest-exporter``, in the words of modprobe or kernel.

    By loading, the driver tells the VMM that it is there: from now on the host may map.
    """
    try:
        found = load(MODULE)
    except OSError as error:
        return {"guest-exporter": (False, str(error.strerror or error))}
    if wait_for(NODE, 2.0):
        return {"guest-exporter": (True, "")}
    words = found["kmsg"][-1] if found["kmsg"] else "no device has memory in a BAR"
    return {"guest-exporter": (False, f"{MODULE} is loaded, but {words}")}


def bar_export(offset: int, size: int) -> dict[str, Any]:
    """Export ``size`` bytes (rounded up to pages) at ``offset`` of the BAR; the host says what is there.

    Returns as `buffers.allocate`, and ``address``: guest-physical. ``FileNotFoundError`` before
    `bar_capability` found the exporter; ``OSError`` EINVAL outside the BAR.
    """
    node = os.open(NODE, os.O_RDWR | os.O_CLOEXEC)
    try:
        request = blob_export(offset=offset, size=whole(size, PAGE))
        BLOB_EXPORT(node, request)
    finally:
        os.close(node)
    return {**buffers.keep(DmaBuf(request.fd)), "address": request.address}
