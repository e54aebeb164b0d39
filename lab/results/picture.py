"""Frames as PNG pictures, without an imaging library: raw YUV 4:2:0 to RGB, and a minimal PNG writer."""

from __future__ import annotations

import struct
import zlib

PIXELS_MAX = 1 << 20
"""Pictures above this many pixels are not drawn: a report is no video archive."""


def png(width: int, height: int, rgb: bytes) -> bytes:
    """A PNG file of ``height`` rows of ``width`` RGB triples (ISO/IEC 15948, colour type 2, 8 bit)."""
    if len(rgb) != width * height * 3:
        raise ValueError(f"{len(rgb)} bytes are no {width}x{height} RGB picture")
    stride = width * 3
    # Filter type 0 (none) before each row.
    rows = b"".join(b"\0" + rgb[at : at + stride] for at in range(0, len(rgb), stride))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR" + header, b"IDAT" + zlib.compress(rows, 6), b"IEND")
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def rgb_of(fourcc: str, width: int, height: int, data: bytes) -> bytes:
    """RGB bytes of a frame in ``NV12`` or ``YU12`` with even width and height and no padding.

    BT.601, limited range. A frame that is too short is filled up with zeros. Raises ValueError for
    other formats and sizes.
    """
    luma, blue, red = _planes(fourcc, width, height, data)
    out = bytearray(width * height * 3)
    for y in range(height):
        row = y * width
        chroma = (y // 2) * (width // 2)
        for x in range(width):
            bright = _LUMA[luma[row + x]]
            cb, cr = blue[chroma + x // 2], red[chroma + x // 2]
            at = (row + x) * 3
            out[at] = _CLAMP[bright + _RED_CR[cr]]
            out[at + 1] = _CLAMP[bright + _GREEN_CB[cb] + _GREEN_CR[cr]]
            out[at + 2] = _CLAMP[bright + _BLUE_CB[cb]]
    return bytes(out)


def difference(fourcc: str, width: int, height: int, left: bytes, right: bytes) -> bytes:
    """RGB bytes: black where two frames are alike, the brighter the more a pixel differs.

    The worst of luma and chroma counts, so that swapped planes show; a pixel that differs at all
    is at least dark orange, so that a single one shows. Raises ValueError as ``rgb_of`` does.
    """
    pairs = zip(_planes(fourcc, width, height, left), _planes(fourcc, width, height, right), strict=True)
    luma, blue, red = ([abs(a - b) for a, b in zip(one, other, strict=True)] for one, other in pairs)
    colour = [max(a, b) for a, b in zip(blue, red, strict=True)]
    half = width // 2
    return b"".join(
        _HEAT[max(luma[y * width + x], colour[(y // 2) * half + x // 2])]
        for y in range(height)
        for x in range(width)
    )


def _planes(fourcc: str, width: int, height: int, data: bytes) -> tuple[bytes, bytes, bytes]:
    """Luma, Cb and Cr (both of half the width and height)."""
    if fourcc not in ("NV12", "YU12"):
        raise ValueError(f"no picture of {fourcc} frames")
    if width <= 0 or height <= 0 or width % 2 or height % 2 or width * height > PIXELS_MAX:
        raise ValueError(f"no picture of {width}x{height} frames")
    size = width * height
    data = data[: size * 3 // 2].ljust(size * 3 // 2, b"\0")
    if fourcc == "NV12":
        return data[:size], data[size::2], data[size + 1 :: 2]
    return data[:size], data[size : size + size // 4], data[size + size // 4 :]


_SHIFT = 600  # sums of the tables below lie between -600 and 900; the luma's table carries the shift
_CLAMP = bytes(min(max(value, 0), 255) for value in range(-_SHIFT, 900))
_LUMA = [round(1.164 * (value - 16)) + _SHIFT for value in range(256)]
_RED_CR = [round(1.596 * (value - 128)) for value in range(256)]
_GREEN_CB = [round(-0.392 * (value - 128)) for value in range(256)]
_GREEN_CR = [round(-0.813 * (value - 128)) for value in range(256)]
_BLUE_CB = [round(2.017 * (value - 128)) for value in range(256)]
_HEAT = [bytes(3)] + [bytes((96 + 159 * d // 255, 40 + 190 * d // 255, d * d // 255)) for d in range(1, 256)]
