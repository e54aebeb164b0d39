"""DRM from user space: finding a device by its driver, dumb buffers, PRIME export and import.

UAPI: include/uapi/drm/drm.h and drm_mode.h.
"""

from __future__ import annotations

import contextlib
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


class drm_gem_close(ctypes.Structure):  # noqa: D101
    _fields_ = (("handle", u32), ("pad", u32))


CREATE_DUMB = ioctl.both("DRM_IOCTL_MODE_CREATE_DUMB", "d", 0xB2, drm_mode_create_dumb)
DESTROY_DUMB = ioctl.both("DRM_IOCTL_MODE_DESTROY_DUMB", "d", 0xB4, drm_mode_destroy_dumb)
PRIME_HANDLE_TO_FD = ioctl.both("DRM_IOCTL_PRIME_HANDLE_TO_FD", "d", 0x2D, drm_prime_handle)
PRIME_FD_TO_HANDLE = ioctl.both("DRM_IOCTL_PRIME_FD_TO_HANDLE", "d", 0x2E, drm_prime_handle)
SET_MASTER = ioctl.none("DRM_IOCTL_SET_MASTER", "d", 0x1E)
DROP_MASTER = ioctl.none("DRM_IOCTL_DROP_MASTER", "d", 0x1F)
GEM_CLOSE = ioctl.write("DRM_IOCTL_GEM_CLOSE", "d", 0x09, drm_gem_close)

# virtio-gpu takes 32 bits a pixel only (virtgpu_gem.c, virtio_gpu_mode_dumb_create); 1024 make a page.
BPP, WIDTH = 32, 1024


def node(driver: str, kind: str = "card") -> str | None:
    """Return a driver's (``vgem``, ``virtio_gpu``) first /dev/dri/cardN, or renderDN for ``kind`` renderD.

    ``None`` if there is none.
    """
    for name in files.listing("/sys/class/drm"):
        if name.startswith(kind) and name[len(kind) :].isdigit() and driver in drivers(name):
            return f"/dev/dri/{name}"
    return None


def master(card: int, wanted: bool) -> None:
    """Become the card's master, who alone sets modes, or give that up; ``OSError`` EBUSY: it is another."""
    (SET_MASTER if wanted else DROP_MASTER)(card, 0)


def drivers(name: str) -> set[str]:
    """Return the names by which the driver of /sys/class/drm/NAME may be known."""
    folder = os.path.realpath(f"/sys/class/drm/{name}/device")
    # the node's parent is the PCI function, bound to virtio-pci; the virtio device is below
    links = [f"{folder}/driver", *(f"{folder}/{child}/driver" for child in files.listing(folder))]
    names = {files.link_name(link) for link in links} | {os.path.basename(folder)}
    return {found for found in names if found}


def export(fd: int, handle: int) -> int:
    """Return a dma-buf file descriptor of a GEM handle that may be mapped for writing."""
    request = drm_prime_handle(handle=handle, flags=os.O_RDWR | os.O_CLOEXEC)
    PRIME_HANDLE_TO_FD(fd, request)
    return int(request.fd)


def adopt(fd: int, dmabuf: int) -> int:
    """Import a dma-buf into an open node and return its GEM handle there; ``OSError`` of the driver."""
    request = drm_prime_handle(fd=dmabuf)
    PRIME_FD_TO_HANDLE(fd, request)
    return int(request.handle)


class Dumb:
    """A dumb buffer on an open card; closing the object closes the card's descriptor with it."""

    def __init__(self, path: str, size: int, width: int = WIDTH) -> None:
        """Make one of at least ``size`` bytes, rows of ``width`` pixels."""
        self.card = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # not the first to open it: somebody else is master
            DROP_MASTER(self.card, 0)  # the master alone may set modes, and a buffer does not want to
        self.handle = 0
        try:
            request = drm_mode_create_dumb(height=-(-size * 8 // (width * BPP)), width=width, bpp=BPP)
            CREATE_DUMB(self.card, request)
            self.handle = request.handle
            self.size = request.size
        except BaseException:
            self.close()
            raise

    def export(self) -> int:
        """Return a dma-buf file descriptor that may be mapped for writing."""
        return export(self.card, self.handle)

    def close(self) -> None:
        """Destroy the buffer; its memory stays while a dma-buf of it is open."""
        if self.card >= 0:
            if self.handle:
                DESTROY_DUMB(self.card, drm_mode_destroy_dumb(self.handle))
            os.close(self.card)
            self.card = -1
