"""Test pictures in which every way to get a frame wrong changes bytes.

Each 8x8 tile has a level, and a shape that lies in a few Walsh functions, so that the lossy codec
keeps it and a QCIF frame stays around 5 kB. Neighbouring tiles differ (a wrong stride or offset
shows), ramps make the rows and columns within tiles differ (a repeated or swapped line shows), the
three planes have levels of their own (swapped planes show), and every tile's level moves with the
frame number (a stale or skipped frame shows in every page of the buffer). A bar that moves by one
tile a frame has a picture of its own, so that frames hold both I and P blocks.
"""

from __future__ import annotations

from lab.media.frame import Frame, Plane, chroma_size, luma_size

_RAMP = (-14, -10, -6, -2, 2, 6, 10, 14)
_FLAT = [(0,) * 8] * 8
_SHAPES = (
    _FLAT,
    [_RAMP] * 8,
    [(level,) * 8 for level in _RAMP],
    [tuple(-level for level in _RAMP)] * 8,
)
_BAR = [tuple(24 if (row // 2 + column // 2) % 2 else -24 for column in range(8)) for row in range(8)]

_LOW, _LEVELS = 40, 176
_STEP = 5
"""Level change from frame to frame: less than a ramp varies, so that ramps become P blocks."""
_BITS = 8


def moving(width: int, height: int, count: int) -> list[Frame]:
    """``count`` frames of ``width`` x ``height`` pixels, the same ones at every call.

    The first eight luma tiles of the picture (where it is 64 pixels wide) carry the frame number, see
    ``number``.
    """
    return [_frame(width, height, index) for index in range(count)]


def number(frame: Frame) -> int:
    """The frame number modulo 256 that a decoded frame of ``moving`` shows, most significant bit first.

    Raises ValueError where the picture is less than 64 pixels wide.
    """
    if frame.y.width < 8 * _BITS:
        raise ValueError(f"{frame.width} pixels are too few for a frame number")
    row = frame.y.data[3 * frame.y.width :]
    return sum((row[8 * bit + 3] >= 128) << (_BITS - 1 - bit) for bit in range(_BITS))


def _frame(width: int, height: int, index: int) -> Frame:
    luma, chroma = luma_size(width, height), chroma_size(width, height)
    return Frame(
        width,
        height,
        _plane(*luma, index, seed=5, marked=True),
        _plane(*chroma, index, seed=71, marked=False),
        _plane(*chroma, index, seed=138, marked=False),
        index=index,
    )


def _plane(width: int, height: int, index: int, *, seed: int, marked: bool) -> Plane:
    columns = width // 8
    rows = []
    for tile_row in range(height // 8):
        tiles = [_tile(column, tile_row, columns, index, seed) for column in range(columns)]
        if marked and tile_row == 0 and columns >= _BITS:
            for bit in range(_BITS):
                level = 208 if index >> (_BITS - 1 - bit) & 1 else 48
                tiles[bit] = [bytes([level] * 8)] * 8
        rows += [b"".join(tile[line] for tile in tiles) for line in range(8)]
    return Plane(width, height, b"".join(rows))


def _tile(column: int, row: int, columns: int, index: int, seed: int) -> list[bytes]:
    """Eight rows of eight samples."""
    key = column * 37 + row * 59 + seed
    level = _LOW + (key + _STEP * index) % _LEVELS
    bar = (column + row) % columns == index % columns
    shape = _BAR if bar else _SHAPES[(column + 2 * row + seed) % len(_SHAPES)]
    return [bytes([level + offset for offset in line]) for line in shape]
