"""Showing a buffer on a display: framebuffer, a mode of its own size, flush; and taking all of it back.

UAPI: include/uapi/drm/drm_mode.h.
"""

from __future__ import annotations

import ctypes
import os
from array import array

from . import drm, ioctl
from .videodev2 import fourcc as code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

u16, u32, u64 = ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64


class drm_mode_modeinfo(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("clock", u32),
        ("hdisplay", u16),
        ("hsync_start", u16),
        ("hsync_end", u16),
        ("htotal", u16),
        ("hskew", u16),
        ("vdisplay", u16),
        ("vsync_start", u16),
        ("vsync_end", u16),
        ("vtotal", u16),
        ("vscan", u16),
        ("vrefresh", u32),
        ("flags", u32),
        ("type", u32),
        ("name", ctypes.c_char * 32),
    )


class drm_mode_card_res(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("fb_id_ptr", u64),
        ("crtc_id_ptr", u64),
        ("connector_id_ptr", u64),
        ("encoder_id_ptr", u64),
        ("count_fbs", u32),
        ("count_crtcs", u32),
        ("count_connectors", u32),
        ("count_encoders", u32),
        ("min_width", u32),
        ("max_width", u32),
        ("min_height", u32),
        ("max_height", u32),
    )


class drm_mode_crtc(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("set_connectors_ptr", u64),
        ("count_connectors", u32),
        ("crtc_id", u32),
        ("fb_id", u32),
        ("x", u32),
        ("y", u32),
        ("gamma_size", u32),
        ("mode_valid", u32),
        ("mode", drm_mode_modeinfo),
    )


class drm_mode_fb_cmd2(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("fb_id", u32),
        ("width", u32),
        ("height", u32),
        ("pixel_format", u32),
        ("flags", u32),
        ("handles", u32 * 4),
        ("pitches", u32 * 4),
        ("offsets", u32 * 4),
        ("modifier", u64 * 4),
    )


class drm_mode_fb_dirty_cmd(ctypes.Structure):  # noqa: D101
    _fields_ = (("fb_id", u32), ("flags", u32), ("color", u32), ("num_clips", u32), ("clips_ptr", u64))


_NAME = "DRM_IOCTL_MODE_"
GETRESOURCES = ioctl.both(f"{_NAME}GETRESOURCES", "d", 0xA0, drm_mode_card_res)
SETCRTC = ioctl.both(f"{_NAME}SETCRTC", "d", 0xA2, drm_mode_crtc)
RMFB = ioctl.both(f"{_NAME}RMFB", "d", 0xAF, u32)
DIRTYFB = ioctl.both(f"{_NAME}DIRTYFB", "d", 0xB1, drm_mode_fb_dirty_cmd)
ADDFB2 = ioctl.both(f"{_NAME}ADDFB2", "d", 0xB8, drm_mode_fb_cmd2)

LEAST = 32  # pixels in each direction that virtio-gpu shows: virtgpu_display.c, XRES_MIN, YRES_MIN
REFRESH = 60


def mode_of(width: int, height: int) -> drm_mode_modeinfo:
    """Return a mode of any size; the blanking means nothing to a virtual display, but has to be there."""
    total = (width + 3, height + 3)
    return drm_mode_modeinfo(
        clock=max(total[0] * total[1] * REFRESH // 1000, 1),
        hdisplay=width,
        hsync_start=width + 1,
        hsync_end=width + 2,
        htotal=total[0],
        vdisplay=height,
        vsync_start=height + 1,
        vsync_end=height + 2,
        vtotal=total[1],
        vrefresh=REFRESH,
        name=f"{width}x{height}".encode(),
    )


def first_pipe(card: int) -> tuple[int, int]:
    """Return the ids of the card's first CRTC and first connector; ``LookupError`` where one is missing."""
    found = drm_mode_card_res()
    GETRESOURCES(card, found)
    if not found.count_crtcs or not found.count_connectors:
        raise LookupError("the card has no display: no CRTC or no connector")
    ids = [array("I", bytes(4 * count)) for count in (found.count_crtcs, found.count_connectors)]
    request = drm_mode_card_res(
        crtc_id_ptr=ids[0].buffer_info()[0],
        connector_id_ptr=ids[1].buffer_info()[0],
        count_crtcs=len(ids[0]),
        count_connectors=len(ids[1]),
    )
    GETRESOURCES(card, request)
    return ids[0][0], ids[1][0]


class Scanout:
    """A buffer on the first display of a card. `close` switches the display off and removes what it made."""

    def __init__(
        self, card: int, handle: int, width: int, height: int, stride: int, fourcc: str = "XR24"
    ) -> None:
        """Show the GEM ``handle`` of the open ``card``, whose master this descriptor must be."""
        self.card = card
        self.fb = 0
        self.shown = False
        self.width, self.height = width, height
        self.crtc, self.connector = first_pipe(card)
        request = drm_mode_fb_cmd2(width=width, height=height, pixel_format=code(fourcc))
        request.handles[0] = handle
        request.pitches[0] = stride
        ADDFB2(card, request)
        self.fb = request.fb_id
        try:
            self.show()
        except BaseException:
            self.close()
            raise

    def show(self) -> None:
        """Put it on the display, in place of what is there."""
        connectors = array("I", [self.connector])
        SETCRTC(
            self.card,
            drm_mode_crtc(
                set_connectors_ptr=connectors.buffer_info()[0],
                count_connectors=1,
                crtc_id=self.crtc,
                fb_id=self.fb,
                mode_valid=1,
                mode=mode_of(self.width, self.height),
            ),
        )
        self.shown = True

    def flush(self) -> None:
        """Tell the display that the buffer's content changed; it is shown when this returns."""
        DIRTYFB(self.card, drm_mode_fb_dirty_cmd(fb_id=self.fb))

    def describe(self) -> dict[str, Any]:
        """Return the ids of ``crtc``, ``connector`` and ``fb``."""
        return {"crtc": self.crtc, "connector": self.connector, "fb": self.fb}

    def close(self) -> None:
        """Switch the display off and remove the framebuffer; closing twice does nothing."""
        if self.shown:
            self.shown = False
            SETCRTC(self.card, drm_mode_crtc(crtc_id=self.crtc))
        if self.fb:
            fb, self.fb = self.fb, 0
            RMFB(self.card, u32(fb))


class Display:
    """dma-bufs shown by virtio-gpu's card, one at a time: import, framebuffer and mode in one.

    All that were shown stay imported until `close`.
    """

    def __init__(self, card: str) -> None:
        """Open the ``card`` by path."""
        self.card = os.open(card, os.O_RDWR | os.O_CLOEXEC)
        self.handle = 0
        self._scanouts: dict[int, Scanout] = {}  # by GEM handle: a card has one for each dma-buf

    @property
    def scanout(self) -> Scanout:
        """What is shown now."""
        return self._scanouts[self.handle]

    def show(self, dmabuf: int, width: int, height: int, stride: int, fourcc: str) -> None:
        """Import ``dmabuf`` and show it instead of what was shown before."""
        handle = drm.adopt(self.card, dmabuf)
        try:
            self._scanouts[handle] = Scanout(self.card, handle, width, height, stride, fourcc)
        except BaseException:
            drm.GEM_CLOSE(self.card, drm.drm_gem_close(handle))
            raise
        self._became(handle)

    def again(self, dmabuf: int) -> None:
        """Show what was shown before; nothing if it still is. ``LookupError`` if it never was."""
        handle = drm.adopt(self.card, dmabuf)
        if handle not in self._scanouts:
            drm.GEM_CLOSE(self.card, drm.drm_gem_close(handle))
            raise LookupError("this buffer was not shown here before")
        if handle != self.handle:
            self._scanouts[handle].show()
            self._became(handle)

    def _became(self, handle: int) -> None:
        if self.handle:
            self.scanout.shown = False
        self.handle = handle

    def close(self) -> None:
        """Show nothing, forget the buffers, leave the card to others; closing twice does nothing."""
        if self.card < 0:
            return
        try:
            while self._scanouts:
                handle, scanout = self._scanouts.popitem()
                scanout.close()
                drm.GEM_CLOSE(self.card, drm.drm_gem_close(handle))
        finally:
            os.close(self.card)
            self.card = -1
