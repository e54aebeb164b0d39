"""virtio-gpu's own ioctls: what the device can do, blob resources, transfers.

UAPI: include/uapi/drm/virtgpu_drm.h. What the driver makes of it: drivers/gpu/drm/virtio/virtgpu_ioctl.c.
"""

from __future__ import annotations

import ctypes
import mmap
import os

from . import drm, ioctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

u32, u64 = ctypes.c_uint32, ctypes.c_uint64


class drm_virtgpu_map(ctypes.Structure):  # noqa: D101
    _fields_ = (("offset", u64), ("handle", u32), ("pad", u32))


class drm_virtgpu_getparam(ctypes.Structure):  # noqa: D101
    _fields_ = (("param", u64), ("value", u64))


class drm_virtgpu_resource_info(ctypes.Structure):  # noqa: D101
    _fields_ = (("bo_handle", u32), ("res_handle", u32), ("size", u32), ("blob_mem", u32))


class drm_virtgpu_3d_box(ctypes.Structure):  # noqa: D101
    _fields_ = (("x", u32), ("y", u32), ("z", u32), ("w", u32), ("h", u32), ("d", u32))


class drm_virtgpu_3d_transfer_to_host(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("bo_handle", u32),
        ("box", drm_virtgpu_3d_box),
        ("level", u32),
        ("offset", u32),
        ("stride", u32),
        ("layer_stride", u32),
    )


class drm_virtgpu_3d_wait(ctypes.Structure):  # noqa: D101
    _fields_ = (("handle", u32), ("flags", u32))


class drm_virtgpu_get_caps(ctypes.Structure):  # noqa: D101
    _fields_ = (("cap_set_id", u32), ("cap_set_ver", u32), ("addr", u64), ("size", u32), ("pad", u32))


class drm_virtgpu_resource_create_blob(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("blob_mem", u32),
        ("blob_flags", u32),
        ("bo_handle", u32),
        ("res_handle", u32),
        ("size", u64),
        ("pad", u32),
        ("cmd_size", u32),
        ("cmd", u64),
        ("blob_id", u64),
    )


class drm_virtgpu_context_set_param(ctypes.Structure):  # noqa: D101
    _fields_ = (("param", u64), ("value", u64))


class drm_virtgpu_context_init(ctypes.Structure):  # noqa: D101
    _fields_ = (("num_params", u32), ("pad", u32), ("ctx_set_params", u64))


_NAME = "DRM_IOCTL_VIRTGPU_"
MAP = ioctl.both(f"{_NAME}MAP", "d", 0x41, drm_virtgpu_map)
GETPARAM = ioctl.both(f"{_NAME}GETPARAM", "d", 0x43, drm_virtgpu_getparam)
RESOURCE_INFO = ioctl.both(f"{_NAME}RESOURCE_INFO", "d", 0x45, drm_virtgpu_resource_info)
TRANSFER_TO_HOST = ioctl.both(f"{_NAME}TRANSFER_TO_HOST", "d", 0x47, drm_virtgpu_3d_transfer_to_host)
WAIT = ioctl.both(f"{_NAME}WAIT", "d", 0x48, drm_virtgpu_3d_wait)
GET_CAPS = ioctl.both(f"{_NAME}GET_CAPS", "d", 0x49, drm_virtgpu_get_caps)
# 6.18 and later have another word behind blob_id; an older kernel takes the shorter struct as well as a newer
# one does (drm_ioctl() copies what the number says and zeroes the rest).
RESOURCE_CREATE_BLOB = ioctl.both(f"{_NAME}RESOURCE_CREATE_BLOB", "d", 0x4A, drm_virtgpu_resource_create_blob)
CONTEXT_INIT = ioctl.both(f"{_NAME}CONTEXT_INIT", "d", 0x4B, drm_virtgpu_context_init)

PARAMS = {
    "3d": 1,
    "capset_query_fix": 2,
    "resource_blob": 3,
    "host_visible": 4,
    "cross_device": 5,  # set where the device offers VIRTIO_GPU_F_RESOURCE_UUID
    "context_init": 6,
    "capsets": 7,  # bit N: capset N
    "debug_name": 8,
    "blob_alignment": 9,
}
CAPSETS = {1: "virgl", 2: "virgl2", 3: "gfxstream", 4: "venus", 5: "cross-domain", 6: "drm"}
MEM = {"guest": 1, "host3d": 2, "host3d-guest": 3}
MAPPABLE, SHAREABLE, CROSS_DEVICE = 1, 2, 4
CONTEXT_CAPSET_ID = 1
DRIVER = "virtio_gpu"


def open_node(kind: str = "render") -> int:
    """Open virtio-gpu's ``render`` node, or its ``card``; ``FileNotFoundError`` where there is none.

    Whoever opens the card first is its master, so only what sets modes may take it: memory is allocated
    through the render node.
    """
    path = drm.node(DRIVER, "renderD" if kind == "render" else "card")
    if path is None:
        raise FileNotFoundError(2, "no virtio-gpu in this machine")
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def param(fd: int, name: str) -> int | None:
    """Return a parameter of the table `PARAMS`; ``None`` if the kernel does not know it."""
    value = ctypes.c_int(0)  # the kernel writes an int, virtgpu_ioctl.c, virtio_gpu_getparam_ioctl
    try:
        GETPARAM(fd, drm_virtgpu_getparam(PARAMS[name], ctypes.addressof(value)))
    except OSError:
        return None
    return value.value


def capset(fd: int, number: int, size: int = 4096) -> bytes | None:
    """Return a capability set as the device gave it; ``None`` if it has none of that number."""
    room = ctypes.create_string_buffer(size)
    request = drm_virtgpu_get_caps(number, 0, ctypes.addressof(room), size)
    try:
        GET_CAPS(fd, request)
    except OSError:
        return None
    return room.raw


def describe(fd: int) -> dict[str, Any]:
    """Return ``params`` (`PARAMS`) and ``capsets``: the names of those that the device gives."""
    params = {name: param(fd, name) for name in PARAMS}
    offered = params["capsets"] or 0
    numbers = [number for number in CAPSETS if offered >> number & 1]
    if not offered and params["3d"]:  # a kernel that cannot list them
        numbers = [number for number in (1, 2) if capset(fd, number) is not None]
    return {"params": params, "capsets": [CAPSETS[number] for number in numbers]}


def context(fd: int, kind: str) -> None:
    """Make the open node a context of a capset by name; ``OSError`` EINVAL if the device has no such one."""
    number = next(number for number, name in CAPSETS.items() if name == kind)
    wanted = drm_virtgpu_context_set_param(CONTEXT_CAPSET_ID, number)
    CONTEXT_INIT(fd, drm_virtgpu_context_init(num_params=1, ctx_set_params=ctypes.addressof(wanted)))


def resource(fd: int, bo_handle: int) -> dict[str, int]:
    """Return ``resource`` (its number in the device's commands), ``size``, ``blob_mem`` of a GEM handle."""
    info = drm_virtgpu_resource_info(bo_handle=bo_handle)
    RESOURCE_INFO(fd, info)
    return {"resource": info.res_handle, "size": info.size, "blob_mem": info.blob_mem}


class Blob:
    """A blob resource on a render node of its own. Closing it closes the node; a dma-buf of it lives on."""

    def __init__(
        self,
        size: int,
        mem: str = "guest",
        flags: int = MAPPABLE | SHAREABLE,
        capset: str | None = None,
        command: bytes = b"",
        blob_id: int = 0,
    ) -> None:
        """Create it. ``capset``: kind of context to make first; ``command``: what creates it there.

        ``OSError`` EINVAL where the device does not offer what was asked.
        """
        self.node = open_node()
        self.handle = 0
        self.size = size
        try:
            if capset is not None:
                context(self.node, capset)
            words = ctypes.create_string_buffer(command, len(command)) if command else None
            request = drm_virtgpu_resource_create_blob(
                blob_mem=MEM[mem],
                blob_flags=flags,
                size=size,
                cmd_size=len(command),
                cmd=ctypes.addressof(words) if words is not None else 0,
                blob_id=blob_id,
            )
            RESOURCE_CREATE_BLOB(self.node, request)
            self.handle = request.bo_handle
            self.resource = request.res_handle
        except BaseException:
            self.close()
            raise

    def export(self) -> int:
        """Return a dma-buf file descriptor (PRIME)."""
        return drm.export(self.node, self.handle)

    def map(self) -> mmap.mmap:
        """Map it by the node; ``OSError`` where it has no memory that can be mapped."""
        request = drm_virtgpu_map(handle=self.handle)
        MAP(self.node, request)
        return mmap.mmap(self.node, self.size, offset=request.offset)

    def close(self) -> None:
        """Close the node, and with it the handle; closing twice does nothing."""
        if self.node >= 0:
            os.close(self.node)
            self.node = -1


def transfer_to_host(fd: int, bo_handle: int, width: int, height: int, stride: int) -> None:
    """Have the device copy the guest's pages into the host's resource, and wait until it has.

    ``OSError`` EINVAL for a guest blob: it has no second copy.
    """
    box = drm_virtgpu_3d_box(w=width, h=height, d=1)
    TRANSFER_TO_HOST(fd, drm_virtgpu_3d_transfer_to_host(bo_handle=bo_handle, box=box, stride=stride))
    WAIT(fd, drm_virtgpu_3d_wait(handle=bo_handle))
