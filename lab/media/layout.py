"""Where a decoder's driver says that it puts pixels, and the pixels out of there.

V4L2's 4:2:0 formats with 8 bits a sample (Linux, Documentation/userspace-api/media/v4l/
pixfmt-yuv-planar.rst). Everything comes from the device: bytes of a row, rows, memory planes, and which
rectangle of it is to be seen. What lies beside that means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self

from lab.media.frame import round_up

CHROMA: dict[str, tuple[int, str]] = {
    "NV12": (1, "uv"),
    "NM12": (2, "uv"),
    "NV21": (1, "vu"),
    "NM21": (2, "vu"),
    "YU12": (1, "u v"),
    "YM12": (3, "u v"),
    "YV12": (1, "v u"),
    "YM21": (3, "v u"),
}
"""Fourcc -> memory planes, and the order of Cb and Cr behind luma: in pairs, or in planes of their own."""


@dataclass(frozen=True)
class FrameLayout:
    """A frame in memory.

    ``strides``: bytes of a row of the first component in each memory plane; ``rows``: of luma, those that
    are not seen included; ``visible``: left, top, width, height in pixels; ``sizes``: bytes of each
    memory plane.
    """

    fourcc: str
    strides: tuple[int, ...]
    rows: int
    visible: tuple[int, int, int, int]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        known = CHROMA.get(self.fourcc)
        if known is None or known[0] != len(self.strides) or len(self.strides) != len(self.sizes):
            raise ValueError(f"no layout of {self.fourcc} in {len(self.strides)} memory planes")

    @classmethod
    def of(cls, found: Mapping[str, Any], size: tuple[int, int]) -> Self:
        """From the agent's words (`lab.agent.v4l2.Queue.format`, with ``visible`` where the driver tells it).

        ``size``: of the pictures, where it does not. Raises ValueError for a format without pixels in rows.
        """
        planes = found["planes"]
        left, top, width, height = found.get("visible") or (0, 0, *size)
        return cls(
            fourcc=found["pixelformat"],
            strides=tuple(plane["bytesperline"] for plane in planes),
            rows=found["height"],
            visible=(left, top, width, height),
            sizes=tuple(plane["sizeimage"] for plane in planes),
        )

    @classmethod
    def packed(cls, fourcc: str, width: int, height: int) -> Self:
        """One memory plane without any gap, also of a format that has several; chroma is rounded up."""
        order = CHROMA[fourcc][1]
        fourcc = next(name for name, (planes, same) in CHROMA.items() if (planes, same) == (1, order))
        stride, rows = round_up(width, 2), round_up(height, 2)
        return cls(fourcc, (stride,), rows, (0, 0, width, height), (stride * rows * 3 // 2,))

    @property
    def size(self) -> int:
        """Bytes of all memory planes."""
        return sum(self.sizes)

    def pixels(self, data: bytes, sizes: Sequence[int] | None = None) -> bytes:
        """The visible pixels of a frame in I420: luma, Cb, Cr, no gap, sizes of chroma rounded up.

        ``data``: the memory planes one after another, ``sizes``: bytes of each in there, by default those of
        the layout. What is missing at the end of a plane is zero.
        """
        ends = list(accumulate(sizes or self.sizes))
        planes = [data[end - size : end] for end, size in zip(ends, sizes or self.sizes, strict=True)]
        left, top, width, height = self.visible
        luma = _rows(planes[0], 0, self.strides[0], (left, top, width, height))
        count, order = CHROMA[self.fourcc]
        across, down = (width + 1) // 2, (height + 1) // 2
        place = (left // 2, top // 2, across, down)
        behind = self.strides[0] * self.rows
        if " " not in order:
            stride = self.strides[-1]
            start = 0 if count > 1 else behind
            pairs = _rows(planes[-1], start, stride, (2 * place[0], place[1], 2 * across, down))
            chroma = {order[0]: pairs[0::2], order[1]: pairs[1::2]}
        else:
            names = order.split()
            stride = self.strides[1] if count > 1 else self.strides[0] // 2
            step = stride * (self.rows // 2)
            chroma = {
                name: _rows(planes[1 + index], 0, stride, place)
                if count > 1
                else _rows(planes[0], behind + index * step, stride, place)
                for index, name in enumerate(names)
            }
        return luma + chroma["u"] + chroma["v"]


def interleaved(i420: bytes, width: int, height: int) -> bytes:
    """The same picture in NV12; ``width`` and ``height`` are even."""
    luma, quarter = width * height, width * height // 4
    chroma = bytearray(2 * quarter)
    chroma[0::2] = i420[luma : luma + quarter]
    chroma[1::2] = i420[luma + quarter : luma + 2 * quarter]
    return i420[:luma] + bytes(chroma)


def _rows(plane: bytes, start: int, stride: int, place: tuple[int, int, int, int]) -> bytes:
    """``place``: left, top, bytes of a row, rows."""
    left, top, width, height = place
    first = start + top * stride + left
    plane = plane.ljust(first + height * stride, b"\0")
    return b"".join(plane[at : at + width] for at in range(first, first + height * stride, stride))
