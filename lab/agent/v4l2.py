"""V4L2 memory-to-memory devices: formats, buffers, streaming, events. Single- and multi-planar API alike.

A buffer has as many memory planes as its format, each of which is a dma-buf of its own; one with the
single-planar API.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import time

from . import files
from . import videodev2 as v

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .ioctl import Request


PATIENCE = 2.0
"""Seconds that somebody else may hold the device's priority (VIDIOC_S_PRIORITY), as v4l2-compliance does."""


def insist(request: Request, fd: int, argument: Any) -> None:
    """Do an ioctl that fails with EBUSY while somebody has a higher priority, and wait until nobody has.

    drivers/media/v4l2-core/v4l2-ioctl.c, INFO_FL_PRIO and v4l2_prio_check().
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            request(fd, argument)
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > end:
                raise
        time.sleep(0.02)


class Done:
    """A dequeued buffer. ``planes``: bytes used of each memory plane, ``bytesused`` of all of them."""

    __slots__ = ("bytesused", "error", "index", "last", "planes", "sequence")

    def __init__(self, index: int, planes: list[int], flags: int, sequence: int) -> None:
        self.index = index
        self.planes = planes
        self.bytesused = sum(planes)
        self.error = bool(flags & v.BUF_FLAG_ERROR)
        self.last = bool(flags & v.BUF_FLAG_LAST)
        self.sequence = sequence


class Queue:
    """One direction of a device.

    ``memory`` is MMAP or DMABUF, as last requested; ``planes``: memory planes of a buffer, as the format was
    when it was last looked at.
    """

    def __init__(self, fd: int, kind: int) -> None:
        self.fd = fd
        self.kind = kind
        self.mplane = kind in (v.BUF_TYPE_VIDEO_CAPTURE_MPLANE, v.BUF_TYPE_VIDEO_OUTPUT_MPLANE)
        self.memory = v.MEMORY_MMAP
        self.planes = 1

    def formats(self) -> list[tuple[str, bool]]:
        """Return (fourcc, compressed) of each format."""
        found = []
        for index in range(256):
            request = v.v4l2_fmtdesc(index=index, type=self.kind)
            try:
                v.ENUM_FMT(self.fd, request)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    break
                raise
            found.append((v.fourcc_name(request.pixelformat), bool(request.flags & v.FMT_FLAG_COMPRESSED)))
        return found

    def format(self) -> dict[str, Any]:
        """Return ``pixelformat`` (fourcc), ``width``, ``height`` and ``planes``.

        ``planes``: ``bytesperline`` and ``sizeimage`` of each memory plane; beside it, under the same names,
        the first one's bytes of a row and the bytes of all of them.
        """
        request = v.v4l2_format(type=self.kind)
        v.G_FMT(self.fd, request)
        found = described(request, self.mplane)
        self.planes = len(found["planes"])
        return found

    def set_format(
        self, pixelformat: str, width: int = 0, height: int = 0, sizeimage: int = 0
    ) -> dict[str, Any]:
        """Ask for a format and return what the driver made of it (as `format`); 0: the driver's choice."""
        request = v.v4l2_format(type=self.kind)
        pix = request.fmt.pix_mp if self.mplane else request.fmt.pix
        pix.width, pix.height, pix.pixelformat = width, height, v.fourcc(pixelformat)
        pix.field = v.FIELD_NONE
        if self.mplane:
            pix.num_planes = 1  # the driver says how many the format has
            pix.plane_fmt[0].sizeimage = sizeimage
        else:
            pix.sizeimage = sizeimage
        insist(v.S_FMT, self.fd, request)
        found = described(request, self.mplane)
        if found["pixelformat"] != pixelformat:
            raise OSError(errno.EINVAL, f"VIDIOC_S_FMT: {pixelformat} became {found['pixelformat']}")
        self.planes = len(found["planes"])
        return found

    def request(self, count: int, memory: int) -> int:
        """Ask for buffers and return how many there are; 0 frees all."""
        request = v.v4l2_requestbuffers(count=count, type=self.kind, memory=memory)
        insist(v.REQBUFS, self.fd, request)
        self.memory = memory
        return int(request.count)

    def _buffer(self, index: int = 0) -> tuple[Any, list[Any]]:
        """Return a v4l2_buffer and what has length, bytesused and m: each of its planes, or itself."""
        buffer = v.v4l2_buffer(index=index, type=self.kind, memory=self.memory)
        if not self.mplane:
            return buffer, [buffer]
        planes = (v.v4l2_plane * v.VIDEO_MAX_PLANES)()
        buffer.m.planes = planes
        buffer.length = self.planes
        return buffer, list(planes[: self.planes])

    def map(self, index: int) -> mmap.mmap:
        """Map the first plane of an MMAP buffer."""
        buffer, planes = self._buffer(index)
        v.QUERYBUF(self.fd, buffer)
        offset = planes[0].m.mem_offset if self.mplane else buffer.m.offset
        return mmap.mmap(self.fd, planes[0].length, offset=offset)

    def export(self, index: int, plane: int = 0) -> int:
        """Export a plane of an MMAP buffer; returns a dma-buf file descriptor, each call another one."""
        request = v.v4l2_exportbuffer(
            type=self.kind, index=index, plane=plane, flags=os.O_RDWR | os.O_CLOEXEC
        )
        v.EXPBUF(self.fd, request)
        return int(request.fd)

    def queue(self, index: int, fds: list[int] | None = None, bytesused: int = 0) -> None:
        """Queue an MMAP buffer, or a dma-buf a plane, each with its whole size (length 0 means that).

        ``bytesused``: of the first plane.
        """
        buffer, planes = self._buffer(index)
        planes[0].bytesused = bytesused
        if fds is not None:
            for plane, fd in zip(planes, fds, strict=True):
                plane.m.fd = fd
            if not self.mplane:
                buffer.length = 0
        v.QBUF(self.fd, buffer)

    def dequeue(self) -> Done | None:
        """Take a finished buffer; ``None`` if there is none yet. ``OSError`` EPIPE after the last one."""
        buffer, planes = self._buffer()
        try:
            v.DQBUF(self.fd, buffer)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return None
            raise
        return Done(buffer.index, [plane.bytesused for plane in planes], buffer.flags, buffer.sequence)

    def on(self) -> None:
        """Start streaming."""
        insist(v.STREAMON, self.fd, ctypes.c_int(self.kind))

    def off(self) -> None:
        """Stop streaming and take all buffers back; allowed in any state."""
        insist(v.STREAMOFF, self.fd, ctypes.c_int(self.kind))


def described(request: v.v4l2_format, mplane: bool) -> dict[str, Any]:
    """Return a v4l2_format as `Queue.format` does."""
    pix = request.fmt.pix_mp if mplane else request.fmt.pix
    planes = [pix.plane_fmt[index] for index in range(pix.num_planes)] if mplane else [pix]
    return {
        "pixelformat": v.fourcc_name(pix.pixelformat),
        "width": pix.width,
        "height": pix.height,
        "bytesperline": planes[0].bytesperline,
        "sizeimage": sum(plane.sizeimage for plane in planes),
        "planes": [{"bytesperline": plane.bytesperline, "sizeimage": plane.sizeimage} for plane in planes],
    }


class Device:
    """An open memory-to-memory device, non-blocking."""

    def __init__(self, node: str) -> None:
        """Open ``node``; ``OSError`` ENODEV if it is no memory-to-memory video device."""
        self.fd = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            capability = v.v4l2_capability()
            v.QUERYCAP(self.fd, capability)
            caps = capability.device_caps
            if not caps & (v.CAP_VIDEO_M2M | v.CAP_VIDEO_M2M_MPLANE):
                raise OSError(errno.ENODEV, f"{node} is no memory-to-memory video device")
        except BaseException:
            self.close()
            raise
        self.driver, self.card, self.bus_info = (
            name.decode(errors="replace")
            for name in (capability.driver, capability.card, capability.bus_info)
        )
        self.mplane = bool(caps & v.CAP_VIDEO_M2M_MPLANE)
        if self.mplane:
            self.output = Queue(self.fd, v.BUF_TYPE_VIDEO_OUTPUT_MPLANE)
            self.capture = Queue(self.fd, v.BUF_TYPE_VIDEO_CAPTURE_MPLANE)
        else:
            self.output = Queue(self.fd, v.BUF_TYPE_VIDEO_OUTPUT)
            self.capture = Queue(self.fd, v.BUF_TYPE_VIDEO_CAPTURE)

    def subscribe(self, kind: int) -> None:
        """Ask for events of a kind."""
        v.SUBSCRIBE_EVENT(self.fd, v.v4l2_event_subscription(type=kind))

    def event(self) -> int | None:
        """Take the next event and return its kind, ``None`` if none is pending."""
        event = v.v4l2_event()
        try:
            v.DQEVENT(self.fd, event)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EAGAIN):
                return None
            raise
        return int(event.type)

    def control(self, number: int) -> int | None:
        """Return a control's value, ``None`` if the driver does not have it."""
        control = v.v4l2_control(id=number)
        try:
            v.G_CTRL(self.fd, control)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY):
                return None
            raise
        return int(control.value)

    def command(self, command: int) -> None:
        """Send DEC_CMD_START or DEC_CMD_STOP."""
        v.DECODER_CMD(self.fd, v.v4l2_decoder_cmd(cmd=command))

    def visible(self) -> list[int] | None:
        """Return ``[left, top, width, height]`` of the visible pixels, ``None`` if that is not told."""
        kind = v.BUF_TYPE_VIDEO_CAPTURE  # the selection API takes the single-planar type (6.12: either)
        selection = v.v4l2_selection(type=kind, target=v.SEL_TGT_COMPOSE)
        try:
            v.G_SELECTION(self.fd, selection)
        except OSError:
            return None
        return [selection.r.left, selection.r.top, selection.r.width, selection.r.height]

    def close(self) -> None:
        """Close the device: the driver stops streaming and frees every buffer. Twice does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def device_of(node: str) -> str:
    """Return the bus device behind a video node: ``/dev/video0`` -> ``0000:00:01.0``."""
    return os.path.basename(os.path.realpath(f"/sys/class/video4linux/{os.path.basename(node)}/device"))


def node_of(device: str) -> str | None:
    """Return the video node of a bus device, ``None`` if it has none."""
    for name in files.listing("/sys/class/video4linux"):
        if device_of(name) == device:
            return f"/dev/{name}"
    return None


def decoders() -> list[dict[str, Any]]:
    """List memory-to-memory devices that take a compressed format.

    Each: ``node``, ``driver``, ``card``, ``device`` (as `device_of`), ``bus_info``, ``outputs`` and
    ``captures`` ([fourcc]), ``mplane``.
    """
    found = []
    for name in files.listing("/sys/class/video4linux"):
        if not name.startswith("video"):
            continue
        try:
            device = Device(f"/dev/{name}")
        except OSError:
            continue  # another kind of video device, or one that another program holds
        try:
            outputs = device.output.formats()
            if any(compressed for _, compressed in outputs):
                found.append(
                    {
                        "node": f"/dev/{name}",
                        "driver": device.driver,
                        "card": device.card,
                        "device": device_of(name),
                        "bus_info": device.bus_info,
                        "outputs": [fourcc for fourcc, _ in outputs],
                        "captures": [fourcc for fourcc, _ in device.capture.formats()],
                        "mplane": device.mplane,
                    }
                )
        finally:
            device.close()
    return found
