"""What paths with several buffers make of what board, guest and VMM say."""

from __future__ import annotations

import pytest

from lab.runs.crossings.crossing import identity, in_frame
from lab.runs.crossings.guest_memory import WIDTH, matches

BUFFERS = [{"inode": inode} for inode in range(10, 16)]


def decoded(buffer: int | None, planes: int = 2) -> dict:
    """Evidence of a decoder that filled one of its buffers; None: none."""
    frames = [] if buffer is None else [{"buffer": buffer}]
    return {"formats": [{"planes": [{}] * planes}], "frames": frames, "buffers": BUFFERS}


@pytest.mark.parametrize(
    ("buffer", "planes", "wanted"),
    [(None, 2, [10, 11]), (0, 2, [10, 11]), (2, 2, [14, 15]), (1, 3, [13, 14, 15]), (4, 1, [14])],
)
def test_the_dma_bufs_of_the_frame_are_all_planes_of_its_buffer(buffer, planes, wanted):
    assert [one["inode"] for one in in_frame(decoded(buffer, planes), BUFFERS)] == wanted


@pytest.mark.parametrize("plane", [0, 1])
def test_each_plane_has_to_be_the_decoders(plane):
    assert identity(decoded(1), BUFFERS) == {"inode": 12}
    other = [*BUFFERS]
    other[2 + plane] = {"inode": 99}
    assert identity(decoded(1), other) == {"inode": 99}
    assert identity(decoded(0), other) == {"inode": 10}
    other[2 + plane] = None
    assert identity(decoded(1), other) is None


FRAME = bytes(range(1, 251)) * 3


def shown(frame: bytes, more: bytes = b"") -> dict:
    """The VMM's picture of what begins with ``frame``: red, green, blue of each pixel."""
    whole = frame + more
    pixels = [whole[at : at + 3][::-1] for at in range(0, len(whole) - 3, 4)]
    return {"data": b"".join(pixels)}


@pytest.mark.parametrize("size", [4, 4 * WIDTH - 4, 4 * WIDTH, 4 * WIDTH + 8, 748])
def test_a_picture_shows_every_pixel_of_a_frame(size):
    frame = FRAME[:size]
    assert matches(shown(frame, bytes(64)), frame)
    for byte in (0, size - 2):
        wrong = bytearray(frame)
        wrong[byte] ^= 1
        assert not matches(shown(bytes(wrong), bytes(64)), frame), byte
    assert not matches(shown(frame[: size - 4]), frame)
