"""DRM from user space: finding a card by its driver, dumb buffers, PRIME export.

UAPI: include/uapi/drm/drm.h and drm_mode.h.
"""

from __future__ import annotations

import ctypes
import os

from . import files, ioctl

u32, u64 = ctypes.c_uint32, ctypes.c_uint64


class drm_mode_create_dumb(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("height", u32),
        ("width", u32),
        ("bpp", u32),
        ("flags", u32),
        ("handle", u32),
        ("pitch", u32),
        ("size", u64),
    )


class drm_mode_destroy_dumb(ctypes.Structure):  # noqa: D101
    _fields_ = (("handle", u32),)


class drm_prime_handle(ctypes.Structure):  # noqa: D101
    _fields_ = (("handle", u32), ("flags", u32), ("fd", ctypes.c_int32))


CREATE_DUMB = ioctl.both("DRM_IOCTL_MODE_CREATE_DUMB", "d", 0xB2, drm_mode_create_dumb)
DESTROY_DUMB = ioctl.both("DRM_IOCTL_MODE_DESTROY_DUMB", "d", 0xB4, drm_mode_destroy_dumb)
PRIME_HANDLE_TO_FD = ioctl.both("DRM_IOCTL_PRIME_HANDLE_TO_FD", "d", 0x2D, drm_prime_handle)

# virtio-gpu takes 32 bits a pixel only (virtgpu_gem.c, virtio_gpu_mode_dumb_create); 1024 make a page.
BPP, WIDTH, PAGE = 32, 1024, 4096


def card(driver: str) -> str | None:
    """Return the first /dev/dri/cardN of the driver (``vgem``, ``virtio_gpu``), ``None`` if there is none."""
    for name in files.listing("/sys/class/drm"):
        if name.startswith("card") and name[4:].isdigit():
            folder = os.path.realpath(f"/sys/class/drm/{name}/device")
            # the card's parent is the PCI function, bound to virtio-pci; the virtio device is below
            drivers = {files.link_name(f"{folder}/driver")}
            drivers |= {files.link_name(f"{folder}/{child}/driver") for child in files.listing(folder)}
            if driver in drivers or os.path.basename(folder) == driver:
                return f"/dev/dri/{name}"
    return None


class Dumb:
    """A dumb buffer on an open card; closing the object closes the card's descriptor with it."""

    def __init__(self, path: str, size: int) -> None:
        """Make one of at least ``size`` bytes, whole pages."""
        self.card = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.handle = 0
        try:
            request = drm_mode_create_dumb(height=-(-size // PAGE), width=WIDTH, bpp=BPP)
            CREATE_DUMB(self.card, request)
            self.handle = request.handle
            self.size = request.size
        except BaseException:
            self.close()
            raise

    def export(self) -> int:
        """Return a dma-buf file descriptor that may be mapped for writing."""
        request = drm_prime_handle(handle=self.handle, flags=os.O_RDWR | os.O_CLOEXEC)
        PRIME_HANDLE_TO_FD(self.card, request)
        return int(request.fd)

    def close(self) -> None:
        """Destroy the buffer; its memory stays while a dma-buf of it is open."""
        if self.card >= 0:
            if self.handle:
                DESTROY_DUMB(self.card, drm_mode_destroy_dumb(self.handle))
            os.close(self.card)
            self.card = -1
