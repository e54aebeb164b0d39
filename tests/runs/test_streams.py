"""Which streams a decoder is not given, by what its driver says."""

from __future__ import annotations

import pytest

from lab.media import Recorded
from lab.runs.streams import out_of_range

# As a driver of one range and one without would say.
VENUS = {"H264": {"sizes": {"min": [96, 96], "max": [1920, 1088], "step": [1, 1]}}, "VP8 ": {"sizes": None}}


def stream(coded: str, *shapes: tuple[int, int]) -> Recorded:
    return Recorded("one", coded, b"", [], list(shapes), [])


@pytest.mark.parametrize("shape", [(95, 96), (96, 95), (1921, 1088), (1920, 1089)])
def test_a_size_out_of_the_range_is_named_with_the_range(shape):
    said = out_of_range(stream("H264", (128, 128), shape), "/dev/video0", {"coded": VENUS})
    assert said.startswith(f"{shape[0]}x{shape[1]} is none of the sizes of H264 on /dev/video0")
    assert said.endswith("96x96 to 1920x1088")


@pytest.mark.parametrize("shape", [(96, 96), (1920, 1088)])
def test_a_size_in_the_range_is_tried(shape):
    assert out_of_range(stream("H264", shape), "/dev/video0", {"coded": VENUS}) == ""


def test_a_driver_that_tells_no_sizes_is_asked_by_decoding():
    assert out_of_range(stream("VP8 ", (8, 8)), "/dev/video0", {"coded": VENUS}) == ""


def test_a_codec_that_the_driver_lost_is_no_reason_to_leave_a_test_out():
    """Its cell would be unsupported as expected, and nobody would see that a promise is broken."""
    assert out_of_range(stream("HEVC", (128, 128)), "/dev/video0", {"coded": VENUS}) == ""
