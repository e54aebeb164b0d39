"""Pictures are real PNG files of the right colours, and maps are drawn to scale."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.results.dmamap import draw
from lab.results.picture import difference, png, rgb_of


def unpack(file: bytes) -> tuple[int, int, bytes]:
    """Read a PNG as its specification says, checking every chunk."""
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(file):
        (length,) = struct.unpack_from(">I", file, at)
        name, data = file[at + 4 : at + 8], file[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", file, at + 8 + length)[0] == zlib.crc32(name + data)
        chunks[name] = data
        at += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (8, 2)
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    raw, stride = zlib.decompress(chunks[b"IDAT"]), width * 3 + 1
    rows = [raw[row * stride : (row + 1) * stride] for row in range(height)]
    assert len(raw) == height * stride
    assert all(row[0] == 0 for row in rows)
    return width, height, b"".join(row[1:] for row in rows)


@given(st.integers(1, 9), st.integers(1, 9), st.randoms())
def test_a_png_holds_the_pixels(width: int, height: int, random: Any) -> None:
    rgb = random.randbytes(width * height * 3)
    assert unpack(png(width, height, rgb)) == (width, height, rgb)


# The 100 % colour bars of ITU-R BT.601, limited range: Y, Cb, Cr and RGB.
BARS = {
    "white": (235, 128, 128, (255, 255, 255)),
    "black": (16, 128, 128, (0, 0, 0)),
    "red": (81, 90, 240, (255, 0, 0)),
    "green": (145, 54, 34, (0, 255, 0)),
    "blue": (41, 240, 110, (0, 0, 255)),
}


@pytest.mark.parametrize("bar", BARS)
@pytest.mark.parametrize("fourcc", ["NV12", "YU12"])
def test_colours(bar: str, fourcc: str) -> None:
    y, cb, cr, wanted = BARS[bar]
    chroma = bytes([cb, cr] * 2) if fourcc == "NV12" else bytes([cb] * 2 + [cr] * 2)
    rgb = rgb_of(fourcc, 4, 2, bytes([y] * 8) + chroma)
    for at in range(0, len(rgb), 3):
        assert all(abs(a - b) <= 2 for a, b in zip(rgb[at : at + 3], wanted, strict=True)), tuple(
            rgb[at : at + 3]
        )


def test_planes_in_the_wrong_order_look_different() -> None:
    luma, cb, cr = bytes(8), bytes([90] * 2), bytes([240] * 2)
    good, bad = luma + cb + cr, luma + cr + cb
    assert rgb_of("YU12", 4, 2, good) != rgb_of("YU12", 4, 2, bad)
    assert any(difference("YU12", 4, 2, good, bad))
    assert not any(difference("YU12", 4, 2, good, good))


def test_one_wrong_pixel_shows_where_it_is() -> None:
    good = bytes(24)
    heat = difference("NV12", 4, 4, good, good[:5] + b"\x01" + good[6:])
    assert [at // 3 for at, value in enumerate(heat) if value] == [5, 5]


def test_short_frames_are_filled_up_and_odd_ones_refused() -> None:
    assert len(rgb_of("NV12", 4, 2, b"")) == 24
    for fourcc, width, height in (("AFBC", 4, 2), ("NV12", 3, 2), ("NV12", 0, 0), ("NV12", 1 << 20, 1 << 20)):
        with pytest.raises(ValueError, match="no picture"):
            rgb_of(fourcc, width, height, b"")


PAGES = st.lists(st.integers(0, 1 << 36).map(lambda page: page * 4096), min_size=1, max_size=40, unique=True)


@given(PAGES, st.integers(0, 1 << 20))
def test_scattered_pages_behind_an_iommu_are_one_range(pages: list[int], start: int) -> None:
    drawing = draw({"phys": pages, "dma": [[start * 4096, len(pages) * 4096]]})
    assert drawing is not None
    assert len(drawing.device) == 1
    runs = 1 + sum(b - a != 4096 for a, b in zip(sorted(pages), sorted(pages)[1:], strict=False))
    assert len(drawing.memory) == runs
    assert sum(box.height for box in drawing.memory) == pytest.approx(240)
    assert sum(box.height for box in drawing.device) == pytest.approx(240)
    # The device sees the pages in the order of the buffer.
    ends = [right for _, right in drawing.lines]
    assert ends == sorted(ends)
    for (left, _), page in zip(drawing.lines, pages, strict=True):
        box = next(box for box in drawing.memory if box.y <= left <= box.y + box.height)
        first, size = box.label.split()[:2]
        assert int(first, 16) <= page < int(first, 16) + int(size) * 1024


@pytest.mark.parametrize(
    "mapping",
    [
        {},
        {"phys": [], "dma": []},
        {"phys": None, "dma": 3},
        {"phys": ["x"], "dma": [[1]]},
        {"phys": [1], "dma": [[1, 0]]},
    ],
)
def test_what_is_no_mapping_is_not_drawn(mapping: dict[str, Any]) -> None:
    assert draw(mapping) is None
