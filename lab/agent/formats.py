"""What a decoder's driver says of its formats: sizes, strides and bytes, asked of the device itself."""

from __future__ import annotations

import errno

from . import v4l2
from . import videodev2 as v

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LINEAR = ("NV12", "NM12", "YU12", "YM12", "NV21", "NM21", "YV12", "YM21")
"""Raw formats whose pixels lie row by row, 4:2:0 with 8 bits; the first that a decoder has is taken."""

STATELESS = ("S264", "S265", "MG2S", "VP8F", "VP9F", "AV1F", "SFWH")
"""Coded formats of the stateless API (Linux, include/uapi/linux/videodev2.h, "Parsed ...")."""


def decoder_formats(node: str, width: int = 1920, height: int = 1080) -> dict[str, Any]:
    """Return ``api`` ("stateful" or "stateless") and ``coded``: fourcc -> what `_coded` finds for that size.

    The open file has a context of its own, so nobody else's formats change. ``OSError`` where the device
    cannot be opened, or is no memory-to-memory device.
    """
    device = v4l2.Device(node)
    try:
        names = [fourcc for fourcc, compressed in device.output.formats() if compressed]
        parsed = [fourcc in STATELESS for fourcc in names]
        return {
            "api": "stateless" if names and all(parsed) else "stateful",
            "coded": {fourcc: _coded(device, fourcc, width, height) for fourcc in names},
        }
    finally:
        device.close()


def linear(queue: v4l2.Queue) -> str:
    """Return the first of `LINEAR` that a CAPTURE queue offers now; ``OSError`` EMEDIUMTYPE without one."""
    offered = [fourcc for fourcc, _ in queue.formats()]
    found = next((fourcc for fourcc in LINEAR if fourcc in offered), None)
    if found is None:
        raise OSError(
            errno.EMEDIUMTYPE, f"the decoder offers no linear format, only {', '.join(offered) or 'none'}"
        )
    return found


def _coded(device: v4l2.Device, fourcc: str, width: int, height: int) -> dict[str, Any]:
    """Return ``sizes`` (see `_sizes`) and ``raw``: fourcc -> what the driver makes of a frame of that size.

    Of each raw format: ``width`` and ``height`` as the driver rounds them, ``planes``: ``bytesperline`` and
    ``sizeimage`` of each in bytes; or ``errno`` of what it said instead.
    """
    sizes = _sizes(device.fd, fourcc)
    try:
        device.output.set_format(fourcc, width, height)
    except OSError as error:
        return {"sizes": sizes, "errno": error.errno, "raw": {}}
    raw = {}
    for name, _ in device.capture.formats():
        try:
            raw[name] = _tried(device.capture, name, width, height)
        except OSError as error:
            raw[name] = {"errno": error.errno}
    return {"sizes": sizes, "raw": raw}


def _sizes(fd: int, fourcc: str) -> dict[str, list[int]] | None:
    """Return ``min``, ``max`` and ``step`` ([width, height] in pixels); ``None`` where it tells none."""
    request = v.v4l2_frmsizeenum(index=0, pixel_format=v.fourcc(fourcc))
    try:
        v.ENUM_FRAMESIZES(fd, request)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTTY):
            return None
        raise
    size = request.stepwise
    if request.type == v.FRMSIZE_TYPE_DISCRETE:
        only = [size.min_width, size.max_width]  # width and height: the union's first two numbers
        return {"min": only, "max": only, "step": [1, 1]}
    return {
        "min": [size.min_width, size.min_height],
        "max": [size.max_width, size.max_height],
        "step": [size.step_width, size.step_height],
    }


def _tried(queue: v4l2.Queue, fourcc: str, width: int, height: int) -> dict[str, Any]:
    """Ask by VIDIOC_TRY_FMT, which changes nothing."""
    request = v.v4l2_format(type=queue.kind)
    pix = request.fmt.pix_mp if queue.mplane else request.fmt.pix
    pix.width, pix.height, pix.pixelformat, pix.field = width, height, v.fourcc(fourcc), v.FIELD_NONE
    v.TRY_FMT(queue.fd, request)
    found = v4l2.described(request, queue.mplane)
    if found["pixelformat"] != fourcc:
        raise OSError(errno.EINVAL, f"VIDIOC_TRY_FMT: {fourcc} became {found['pixelformat']}")
    return {name: found[name] for name in ("width", "height", "planes")}
