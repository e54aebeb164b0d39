"""The part of V4L2's UAPI that the agent uses: include/uapi/linux/videodev2.h, 64-bit layout."""

from __future__ import annotations

import ctypes

from . import ioctl

u8, u16, u32, s32, u64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint64

VIDEO_MAX_PLANES = 8

# enum v4l2_buf_type
BUF_TYPE_VIDEO_CAPTURE = 1
BUF_TYPE_VIDEO_OUTPUT = 2
BUF_TYPE_VIDEO_CAPTURE_MPLANE = 9
BUF_TYPE_VIDEO_OUTPUT_MPLANE = 10

# enum v4l2_memory
MEMORY_MMAP = 1
MEMORY_DMABUF = 4

FIELD_NONE = 1

# v4l2_capability.device_caps
CAP_VIDEO_CAPTURE = 0x00000001
CAP_VIDEO_CAPTURE_MPLANE = 0x00001000
CAP_VIDEO_M2M_MPLANE = 0x00004000
CAP_VIDEO_M2M = 0x00008000
CAP_DEVICE_CAPS = 0x80000000

FMT_FLAG_COMPRESSED = 0x0001
FRMSIZE_TYPE_DISCRETE = 1

BUF_FLAG_ERROR = 0x00000040
BUF_FLAG_TIMESTAMP_COPY = 0x00004000
BUF_FLAG_LAST = 0x00100000

EVENT_EOS = 2
EVENT_SOURCE_CHANGE = 5

DEC_CMD_START = 0
DEC_CMD_STOP = 1

SEL_TGT_COMPOSE = 0x0100

CID_MIN_BUFFERS_FOR_CAPTURE = 0x00980900 + 39


class timeval(ctypes.Structure):  # noqa: D101
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long))


class v4l2_capability(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32),
        ("version", u32),
        ("capabilities", u32),
        ("device_caps", u32),
        ("reserved", u32 * 3),
    )


class v4l2_fmtdesc(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("index", u32),
        ("type", u32),
        ("flags", u32),
        ("description", ctypes.c_char * 32),
        ("pixelformat", u32),
        ("mbus_code", u32),
        ("reserved", u32 * 3),
    )


class v4l2_pix_format(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("width", u32),
        ("height", u32),
        ("pixelformat", u32),
        ("field", u32),
        ("bytesperline", u32),
        ("sizeimage", u32),
        ("colorspace", u32),
        ("priv", u32),
        ("flags", u32),
        ("ycbcr_enc", u32),
        ("quantization", u32),
        ("xfer_func", u32),
    )


# The next two are packed in the header; their members leave no gap without that either.
class v4l2_plane_pix_format(ctypes.Structure):  # noqa: D101
    _fields_ = (("sizeimage", u32), ("bytesperline", u32), ("reserved", u16 * 6))


class v4l2_pix_format_mplane(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("width", u32),
        ("height", u32),
        ("pixelformat", u32),
        ("field", u32),
        ("colorspace", u32),
        ("plane_fmt", v4l2_plane_pix_format * VIDEO_MAX_PLANES),
        ("num_planes", u8),
        ("flags", u8),
        ("ycbcr_enc", u8),
        ("quantization", u8),
        ("xfer_func", u8),
        ("reserved", u8 * 7),
    )


class _fmt(ctypes.Union):
    _fields_ = (
        ("pix", v4l2_pix_format),
        ("pix_mp", v4l2_pix_format_mplane),
        ("raw_data", u8 * 200),
        ("_align", u64),  # struct v4l2_window holds pointers
    )


class v4l2_format(ctypes.Structure):  # noqa: D101
    _fields_ = (("type", u32), ("fmt", _fmt))


class v4l2_frmsize_stepwise(ctypes.Structure):  # noqa: D101
    _fields_ = tuple(
        (f"{what}_{side}", u32) for side in ("width", "height") for what in ("min", "max", "step")
    )


class v4l2_frmsizeenum(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("index", u32),
        ("pixel_format", u32),
        ("type", u32),
        ("stepwise", v4l2_frmsize_stepwise),  # or, in a union, discrete: width and height
        ("reserved", u32 * 2),
    )


class v4l2_requestbuffers(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("count", u32),
        ("type", u32),
        ("memory", u32),
        ("capabilities", u32),
        ("flags", u8),
        ("reserved", u8 * 3),
    )


class _plane_m(ctypes.Union):
    _fields_ = (("mem_offset", u32), ("userptr", ctypes.c_ulong), ("fd", s32))


class v4l2_plane(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("bytesused", u32),
        ("length", u32),
        ("m", _plane_m),
        ("data_offset", u32),
        ("reserved", u32 * 11),
    )


class v4l2_timecode(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("type", u32),
        ("flags", u32),
        ("frames", u8),
        ("seconds", u8),
        ("minutes", u8),
        ("hours", u8),
        ("userbits", u8 * 4),
    )


class _buffer_m(ctypes.Union):
    _fields_ = (
        ("offset", u32),
        ("userptr", ctypes.c_ulong),
        ("planes", ctypes.POINTER(v4l2_plane)),
        ("fd", s32),
    )


class v4l2_buffer(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("index", u32),
        ("type", u32),
        ("bytesused", u32),
        ("flags", u32),
        ("field", u32),
        ("timestamp", timeval),
        ("timecode", v4l2_timecode),
        ("sequence", u32),
        ("memory", u32),
        ("m", _buffer_m),
        ("length", u32),
        ("reserved2", u32),
        ("request_fd", s32),
    )


class v4l2_exportbuffer(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("type", u32),
        ("index", u32),
        ("plane", u32),
        ("flags", u32),
        ("fd", s32),
        ("reserved", u32 * 11),
    )


class timespec(ctypes.Structure):  # noqa: D101
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _event_u(ctypes.Union):
    _fields_ = (("changes", u32), ("data", u8 * 64), ("_align", u64))  # v4l2_event_ctrl holds a 64-bit value


class v4l2_event(ctypes.Structure):  # noqa: D101
    _fields_ = (
        ("type", u32),
        ("u", _event_u),
        ("pending", u32),
        ("sequence", u32),
        ("timestamp", timespec),
        ("id", u32),
        ("reserved", u32 * 8),
    )


class v4l2_event_subscription(ctypes.Structure):  # noqa: D101
    _fields_ = (("type", u32), ("id", u32), ("flags", u32), ("reserved", u32 * 5))


class v4l2_control(ctypes.Structure):  # noqa: D101
    _fields_ = (("id", u32), ("value", s32))


class v4l2_decoder_cmd(ctypes.Structure):  # noqa: D101
    _fields_ = (("cmd", u32), ("flags", u32), ("raw", u64 * 8))


class v4l2_rect(ctypes.Structure):  # noqa: D101
    _fields_ = (("left", s32), ("top", s32), ("width", u32), ("height", u32))


class v4l2_selection(ctypes.Structure):  # noqa: D101
    _fields_ = (("type", u32), ("target", u32), ("flags", u32), ("r", v4l2_rect), ("reserved", u32 * 9))


QUERYCAP = ioctl.read("VIDIOC_QUERYCAP", "V", 0, v4l2_capability)
ENUM_FMT = ioctl.both("VIDIOC_ENUM_FMT", "V", 2, v4l2_fmtdesc)
G_FMT = ioctl.both("VIDIOC_G_FMT", "V", 4, v4l2_format)
S_FMT = ioctl.both("VIDIOC_S_FMT", "V", 5, v4l2_format)
TRY_FMT = ioctl.both("VIDIOC_TRY_FMT", "V", 64, v4l2_format)
ENUM_FRAMESIZES = ioctl.both("VIDIOC_ENUM_FRAMESIZES", "V", 74, v4l2_frmsizeenum)
REQBUFS = ioctl.both("VIDIOC_REQBUFS", "V", 8, v4l2_requestbuffers)
QUERYBUF = ioctl.both("VIDIOC_QUERYBUF", "V", 9, v4l2_buffer)
QBUF = ioctl.both("VIDIOC_QBUF", "V", 15, v4l2_buffer)
EXPBUF = ioctl.both("VIDIOC_EXPBUF", "V", 16, v4l2_exportbuffer)
DQBUF = ioctl.both("VIDIOC_DQBUF", "V", 17, v4l2_buffer)
STREAMON = ioctl.write("VIDIOC_STREAMON", "V", 18, ctypes.c_int)
STREAMOFF = ioctl.write("VIDIOC_STREAMOFF", "V", 19, ctypes.c_int)
G_CTRL = ioctl.both("VIDIOC_G_CTRL", "V", 27, v4l2_control)
DQEVENT = ioctl.read("VIDIOC_DQEVENT", "V", 89, v4l2_event)
SUBSCRIBE_EVENT = ioctl.write("VIDIOC_SUBSCRIBE_EVENT", "V", 90, v4l2_event_subscription)
G_SELECTION = ioctl.both("VIDIOC_G_SELECTION", "V", 94, v4l2_selection)
DECODER_CMD = ioctl.both("VIDIOC_DECODER_CMD", "V", 96, v4l2_decoder_cmd)


def fourcc(text: str) -> int:
    """Return a pixel format's number, ``NV12`` -> 0x3231564e; shorter names are padded with spaces."""
    return int.from_bytes(text.ljust(4).encode("ascii"), "little")


def fourcc_name(number: int) -> str:
    """Return a pixel format's name (the top bit, which means big endian, is not shown)."""
    return (number & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace").rstrip()
