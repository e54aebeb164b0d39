"""The decoder decodes: every pixel as the reference decoder has it, whatever the stream does."""

from __future__ import annotations

import pytest

from lab.media import Recorded
from lab.runs.streams import FWHT, first_frame
from lab.sharing import ALLOCATORS

OWN = ALLOCATORS["decoder-mmap"]
pytestmark = pytest.mark.every_driver


def test_key_frame_and_what_builds_on_it(decoder, raw, frames):
    """More frames than buffers, in each raw format: each frame's pixels are its own, none is stale."""
    stream = frames(3)
    share = decoder.decode_into(OWN, stream, capture=raw, buffers=2)
    assert len(share.pictures) == len(stream.pictures), share.explain()
    assert share.as_expected, share.explain()


def test_size(decoder, sized):
    """Strides, planes and the visible part come from the device, and hold for sizes that it has to pad."""
    share = decoder.decode_into(OWN, sized)
    assert share.as_expected, share.explain()


@pytest.mark.parametrize("memory", ["decoder-mmap", "heap-cma"])
def test_the_resolution_changes_on_the_way(decoder, changing, memory):
    """The decoder tells it and gets buffers of the new size; no frame is lost before, between or after."""
    share = decoder.decode_into(ALLOCATORS[memory], changing)
    assert len(share.raw["formats"]) == 3, share.explain()
    assert share.as_expected, share.explain()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"\xff" * 8 + data[8:], id="no-magic"),
        pytest.param(lambda data: data[:52] + b"\xff" * (len(data) - 52), id="endless-runs"),
        pytest.param(lambda data: data[:12] + b"\x7f\xff\xff\xff" * 2 + data[20:], id="huge-size"),
        pytest.param(lambda data: data[: len(data) // 2], id="truncated"),
    ],
)
def test_hostile_stream_is_refused_and_the_board_survives(decoder, frames, damage):
    """A damaged frame is refused or flagged; the next session decodes as if nothing had been.

    Decoders of other codecs than FWHT may conceal the damage.
    """
    good = frames(1)
    bad = damage(first_frame(good).data)
    hostile = Recorded("damaged", good.coded, bad, [len(bad)], good.shapes, good.pictures)
    raw = decoder.share(hostile, allocator=OWN.provider, timeout=3.0)
    if good.coded == FWHT:
        flagged = any(frame["error_flag"] for frame in raw["frames"])
        assert raw["errno"] or flagged, f"a damaged stream went through: stage {raw['stage']}"
    assert not [line for line in raw["kmsg"] if "Oops" in line or "BUG:" in line], raw["kmsg"]
    share = decoder.decode_into(OWN, good)
    assert share.as_expected, share.explain()
