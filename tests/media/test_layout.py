"""Pixels out of a decoder's buffer: every layout, held against the frame that was laid out."""

from __future__ import annotations

import pytest

from lab.media import FrameLayout, sample
from lab.media.layout import CHROMA, interleaved

STRIDE, ROWS = 128, 96
LUMA = STRIDE * ROWS
PADDING = 0xEB


def laid_out(frame, fourcc: str) -> tuple[bytes, tuple[int, ...], tuple[int, ...]]:
    """Memory planes one after another, with bytes of a row and of all of each; written pixel by pixel."""
    count, order = CHROMA[fourcc]
    memory = [bytearray([PADDING]) * LUMA, *(bytearray([PADDING]) * (LUMA // 4) for _ in range(2))]
    pairs = bytearray([PADDING]) * (LUMA // 2)
    chroma = {"u": frame.cb, "v": frame.cr}
    for y in range(frame.height):
        for x in range(frame.width):
            memory[0][y * STRIDE + x] = frame.y.data[y * frame.y.width + x]
    names = order.replace(" ", "")
    for place, name in enumerate(names):
        plane = chroma[name]
        for y in range(min((frame.height + 1) // 2, plane.height)):
            for x in range(min((frame.width + 1) // 2, plane.width)):
                value = plane.data[y * plane.width + x]
                memory[1 + place][y * STRIDE // 2 + x] = value
                pairs[y * STRIDE + 2 * x + place] = value
    planes = memory if " " in order else [memory[0], pairs]
    strides = (STRIDE, STRIDE // 2, STRIDE // 2) if " " in order else (STRIDE, STRIDE)
    data = b"".join(planes)
    if count == 1:
        return data, (STRIDE,), (len(data),)
    return data, strides, tuple(map(len, planes))


@pytest.mark.parametrize("size", [(64, 48), (58, 46), (72, 40)], ids=str)
@pytest.mark.parametrize("fourcc", CHROMA)
def test_the_visible_pixels_of_every_layout(fourcc, size):
    (frame,) = sample(*size, count=1).frames
    data, strides, sizes = laid_out(frame, fourcc)
    layout = FrameLayout(fourcc, strides, ROWS, (0, 0, *size), sizes)
    assert layout.size == len(data)
    assert layout.pixels(data) == frame.i420
    damaged = bytearray(data)
    damaged[(size[1] - 1) * STRIDE + size[0] - 1] ^= 1
    assert layout.pixels(bytes(damaged)) != frame.i420, "the last pixel that is seen"
    damaged = bytearray(data)
    damaged[size[0]] ^= 1
    assert layout.pixels(bytes(damaged)) == frame.i420, "the first byte beside them"


def test_a_part_of_a_frame():
    (frame,) = sample(64, 48, count=1).frames
    data, strides, sizes = laid_out(frame, "NM12")
    layout = FrameLayout("NM12", strides, ROWS, (16, 8, 31, 21), sizes)
    found = layout.pixels(data)
    rows = [frame.y.data[y * 64 + 16 :][:31] for y in range(8, 29)]
    assert found[: 31 * 21] == b"".join(rows)
    assert len(found) == 31 * 21 + 2 * 16 * 11


def test_planes_that_ended_early_are_not_mixed_up():
    (frame,) = sample(64, 48, count=1).frames
    data, strides, sizes = laid_out(frame, "YM12")
    layout = FrameLayout("YM12", strides, ROWS, (0, 0, 64, 48), sizes)
    short = [STRIDE * 10, *sizes[1:]]
    found = layout.pixels(data[: short[0]] + data[sizes[0] :], short)
    assert found[: 64 * 10] == frame.i420[: 64 * 10]
    assert not any(found[64 * 10 : 64 * 48])
    assert found[64 * 48 :] == frame.i420[64 * 48 :]


def test_the_words_of_the_agent():
    planes = [{"bytesperline": 128, "sizeimage": 4096}, {"bytesperline": 128, "sizeimage": 2048}]
    found = {"pixelformat": "NM12", "width": 48, "height": 32, "planes": planes}
    layout = FrameLayout.of(found | {"visible": [0, 0, 47, 31]}, (1, 1))
    assert (layout.visible, layout.rows, layout.sizes) == ((0, 0, 47, 31), 32, (4096, 2048))
    assert FrameLayout.of(found, (46, 30)).visible == (0, 0, 46, 30), "a driver that does not tell"
    for fourcc in ("NV12", "MM21"):
        with pytest.raises(ValueError, match=f"no layout of {fourcc} in 2 memory planes"):
            FrameLayout.of(found | {"pixelformat": fourcc}, (46, 30))


def test_pairs_and_planes_are_the_same_picture():
    (frame,) = sample(64, 48, count=1).frames
    assert interleaved(frame.i420, 64, 48) == frame.nv12()
    for fourcc in ("NV12", "NM12"):
        assert FrameLayout.packed(fourcc, 64, 48).pixels(frame.nv12()) == frame.i420
    for fourcc in ("YU12", "YM12"):
        assert FrameLayout.packed(fourcc, 64, 48).pixels(frame.i420) == frame.i420
