"""Memory that the host's graphics stack allocates, as a texture of the guest: a gbm buffer through virgl.

GBM: gbm.h of Mesa. A buffer for scanout is one that the VMM's display exports as a dma-buf on the host.
"""

from __future__ import annotations

import ctypes
import os
import time

from . import drm, egl, gles, kms, virtgpu
from .buffers import HANDLES
from .videodev2 import fourcc as code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCANOUT, RENDERING, LINEAR = 1, 4, 16  # enum gbm_bo_flags
_pointer, _u32, _int = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int
_GBM: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "gbm_create_device": (_pointer, (_int,)),
    "gbm_bo_create": (_pointer, (_pointer, _u32, _u32, _u32, _u32)),
    "gbm_bo_destroy": (None, (_pointer,)),
    "gbm_bo_get_stride": (_u32, (_pointer,)),
    "gbm_bo_get_fd": (_int, (_pointer,)),
    "gbm_bo_get_handle": (ctypes.c_uint64, (_pointer,)),
}


class Device:
    """virtio-gpu's card as GBM and EGL see it; for the process's life, as Mesa takes seconds for it."""

    def __init__(self) -> None:
        """Open it; ``OSError`` ENOTSUP where this virtio-gpu does not draw."""
        self.card = virtgpu.open_node("card")
        try:
            if not virtgpu.param(self.card, "3d"):
                raise OSError(95, "this virtio-gpu has no 3D: the VMM's device must be one with virgl")
            try:
                self.gbm = ctypes.CDLL("libgbm.so.1")
            except OSError as error:
                raise OSError(2, f"no GBM in this image: {error}") from None
            for name, (result, arguments) in _GBM.items():
                function = getattr(self.gbm, name)
                function.restype, function.argtypes = result, arguments
            self.device = self.gbm.gbm_create_device(self.card)
            if not self.device:
                raise egl.GraphicsError("gbm_create_device")
            self.drawing = gles.Sampler(egl.GBM, self.device)
            drm.master(self.card, False)  # others have displays, too
        except BaseException:
            os.close(self.card)
            raise


_device: Device | None = None


def device() -> Device:
    """Return the process's device, made at first use."""
    global _device
    if _device is None:
        _device = Device()
    return _device


class Texture:
    """A gbm buffer on the display, so that the VMM exports it, which GL samples and draws."""

    def __init__(self, on: Device, width: int, height: int, fourcc: str) -> None:
        self.on = on
        self.width, self.height, self.fourcc = width, height, fourcc
        self._image = 0
        self._scanout: kms.Scanout | None = None
        self._bo = on.gbm.gbm_bo_create(on.device, width, height, code(fourcc), SCANOUT | RENDERING | LINEAR)
        if not self._bo:
            raise egl.GraphicsError(f"gbm_bo_create: no {width}x{height} {fourcc} for scanout and rendering")
        try:
            self.stride = on.gbm.gbm_bo_get_stride(self._bo)
            handle = on.gbm.gbm_bo_get_handle(self._bo) & 0xFFFFFFFF
            self.resource = virtgpu.resource(on.card, handle)["resource"]
            fd = on.gbm.gbm_bo_get_fd(self._bo)
            if fd < 0:
                raise egl.GraphicsError("gbm_bo_get_fd")
            try:
                self._image = on.drawing.egl.image(fd, width, height, code(fourcc), self.stride)
            finally:
                os.close(fd)
        except BaseException:
            self.close()
            raise

    def show(self) -> None:
        """Put it on the display: with this the VMM makes a dma-buf of it."""
        handle = self.on.gbm.gbm_bo_get_handle(self._bo) & 0xFFFFFFFF
        drm.master(self.on.card, True)
        # the display takes XR24 only, whatever GL reads out of the fourth byte
        self._scanout = kms.Scanout(self.on.card, handle, self.width, self.height, self.stride, "XR24")

    def flush(self) -> None:
        """Tell the VMM that it has changed."""
        if self._scanout is not None:
            self._scanout.flush()

    def clear(self, colour: tuple[int, int, int, int]) -> None:
        """Draw one colour into it and wait until the host has."""
        self.on.drawing.clear(self._image, self.width, self.height, colour)

    def sample(self) -> bytes:
        """Return every pixel as GL samples it: red, green, blue, alpha."""
        return self.on.drawing.sample(self._image, self.width, self.height)

    def close(self) -> None:
        """Switch the display off and let go of the buffer; closing twice does nothing."""
        if self._scanout is not None:
            shown, self._scanout = self._scanout, None
            drm.master(self.on.card, True)
            shown.close()
            drm.master(self.on.card, False)
        if self._image:
            self.on.drawing.egl.forget(self._image)
            self._image = 0
        if self._bo:
            self.on.gbm.gbm_bo_destroy(self._bo)
            self._bo = None


def virgl_texture(
    width: int, height: int, fourcc: str = "AR24", colour: tuple[int, int, int, int] = (165, 165, 165, 165)
) -> dict[str, Any]:
    """Have the host allocate a texture, draw ``colour`` into all of it, and show it on the display.

    Returns ``texture`` (a handle for `virgl_sample`, `virgl_clear` and `free`), ``resource`` (its number in
    the device's commands), ``width``, ``height``, ``stride`` (as the guest sees it), ``fourcc``,
    ``renderer``, ``gl``, ``egl``, and ``times``: seconds of ``start`` (long once) and ``make``. ``OSError``
    ENOTSUP where virtio-gpu has no 3D, EIO with EGL's own error where something is refused.
    """
    began = time.monotonic()
    on = device()
    started = time.monotonic()
    texture = Texture(on, width, height, fourcc)
    try:
        texture.clear(colour)
        texture.show()
    except BaseException:
        texture.close()
        raise
    return {
        "texture": HANDLES.add(texture),
        "resource": texture.resource,
        "width": width,
        "height": height,
        "stride": texture.stride,
        "fourcc": fourcc,
        **on.drawing.egl.describe(),
        "times": {"start": started - began, "make": time.monotonic() - started},
    }


def virgl_sample(texture: int) -> dict[str, Any]:
    """Sample a texture through virgl now: ``data`` (RGBA, row by row), ``times``: seconds of ``sample``.

    What GL calls red is what the host's memory has first, whatever order the guest's format names: see
    ``order`` that `virgl_clear` shows.
    """
    began = time.monotonic()
    data = _texture(texture).sample()
    return {"data": data, "times": {"sample": time.monotonic() - began}}


def virgl_clear(texture: int, colour: tuple[int, int, int, int]) -> None:
    """Draw one colour (red, green, blue, alpha) into a texture: the guest writes, the host may read."""
    thing = _texture(texture)
    thing.clear((colour[0], colour[1], colour[2], colour[3]))
    thing.flush()


def _texture(handle: int) -> Texture:
    thing = HANDLES.get(handle)
    if not isinstance(thing, Texture):
        raise TypeError(f"handle {handle} is a {type(thing).__name__}, not a texture")
    return thing
