"""A decoded picture, and how a V4L2 decoder lays it out in a CAPTURE buffer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

PIXEL_FORMATS = ("NV12", "YU12")


def round_up(value: int, step: int) -> int:
    """``value``, or the next multiple of ``step`` above it."""
    return -(-value // step) * step


@dataclass(frozen=True)
class Plane:
    """One component, 8 bits a sample. ``width`` and ``height`` are multiples of 8; rows have no gap."""

    width: int
    height: int
    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != self.width * self.height or self.width % 8 or self.height % 8:
            raise ValueError(f"{len(self.data)} bytes are no {self.width}x{self.height} plane of 8x8 blocks")

    def cropped(self, width: int, height: int, fill: int) -> list[bytes]:
        """``height`` rows of ``width`` samples; ``fill`` where the plane has none."""
        pad = bytes([fill])
        rows = [
            self.data[row * self.width : row * self.width + min(width, self.width)].ljust(width, pad)
            for row in range(min(height, self.height))
        ]
        return rows + [pad * width] * (height - len(rows))


def luma_size(width: int, height: int) -> tuple[int, int]:
    """Size of the coded luma plane: whole blocks (codec-fwht.c, decode_plane)."""
    return round_up(width, 8), round_up(height, 8)


def chroma_size(width: int, height: int) -> tuple[int, int]:
    """Size of either coded chroma plane: half the picture, rounded down, then whole blocks."""
    return round_up(width // 2, 8), round_up(height // 2, 8)


@dataclass(frozen=True)
class Frame:
    """One YUV 4:2:0 picture of ``width`` x ``height`` with planes of whole blocks.

    ``index`` counts from 0 in its stream; ``intra`` as its header says.
    """

    width: int
    height: int
    y: Plane
    cb: Plane
    cr: Plane
    index: int = 0
    intra: bool = True

    @property
    def coded(self) -> tuple[int, int]:
        """Width and height in the buffer: multiples of 16, so that luma and chroma are whole blocks."""
        return round_up(self.width, 16), round_up(self.height, 16)

    def pack(
        self, fourcc: str, *, stride: int | None = None, height: int | None = None, fill: int = 0
    ) -> bytes:
        """The bytes of the CAPTURE buffer that holds this frame.

        ``fourcc`` is NV12 (luma rows, then rows of Cb Cr pairs) or YU12 (luma, Cb, Cr, with half the
        stride). ``stride`` (bytes a luma row, even) and ``height`` (luma rows, even) default to the
        coded size. Samples that the codec never writes are ``fill``.
        Source: codec-v4l2-fwht.c, prepare_raw_frame. Raises ValueError for another layout.
        """
        stride = self.coded[0] if stride is None else stride
        height = self.coded[1] if height is None else height
        if fourcc not in PIXEL_FORMATS or stride < 2 or height < 2 or stride % 2 or height % 2:
            raise ValueError(f"no layout {fourcc} with stride {stride} and height {height}")
        luma = b"".join(self.y.cropped(stride, height, fill))
        cb = b"".join(self.cb.cropped(stride // 2, height // 2, fill))
        cr = b"".join(self.cr.cropped(stride // 2, height // 2, fill))
        if fourcc == "YU12":
            return luma + cb + cr
        chroma = bytearray(2 * len(cb))
        chroma[0::2] = cb
        chroma[1::2] = cr
        return luma + bytes(chroma)

    @cached_property
    def i420(self) -> bytes:
        """The visible pixels: luma, Cb, Cr without a gap, sizes of chroma rounded up.

        Samples that the codec never writes, which odd sizes have, are zero as in ``pack``.
        """
        half = (self.width + 1) // 2, (self.height + 1) // 2
        rows = self.y.cropped(self.width, self.height, 0)
        return b"".join([*rows, *self.cb.cropped(*half, 0), *self.cr.cropped(*half, 0)])

    def nv12(self) -> bytes:
        """``pack("NV12")``."""
        return self.pack("NV12")

    def yuv420(self) -> bytes:
        """``pack("YU12")``."""
        return self.pack("YU12")

    @cached_property
    def sha256(self) -> str:
        """Hash, in hex, of the frame as NV12 in its coded size."""
        return hashlib.sha256(self.nv12()).hexdigest()
