"""The decoder decodes: every pixel as the reference decoder has it, whatever the stream does."""

from __future__ import annotations

import pytest

from lab.media import Stream, sample
from lab.sharing import ALLOCATORS

OWN = ALLOCATORS["decoder-mmap"]


class Damaged(Stream):
    """One frame that no parser would take: it is fed as it is."""

    @property
    def sizes(self) -> list[int]:
        """All of it is one frame."""
        return [len(self.data)]


@pytest.mark.parametrize("fourcc", ["NV12", "YU12"])
def test_key_frame_and_what_builds_on_it(decoder, fourcc):
    """More frames than buffers, in each raw format: each frame's pixels are its own, none is stale."""
    share = decoder.decode_into(OWN, sample(48, 32, count=3), capture=fourcc, buffers=2)
    assert len(share.frames) == 3, share.explain()
    assert share.as_expected, share.explain()


@pytest.mark.parametrize("size", [(16, 16), (72, 40), (112, 80)], ids=lambda size: "x".join(map(str, size)))
def test_size(decoder, size):
    """Strides and plane offsets come from the device and hold for sizes that it has to pad."""
    share = decoder.decode_into(OWN, sample(*size, count=1))
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
def test_hostile_stream_is_refused_and_the_board_survives(decoder, damage):
    """A damaged frame is refused or flagged; the next session decodes as if nothing had been."""
    good = sample(48, 32, count=1)
    bad = damage(good.data)
    raw = decoder.share(Damaged(bad), allocator=OWN.provider, timeout=3.0)
    flagged = any(frame["error_flag"] for frame in raw["frames"])
    assert raw["errno"] or flagged, f"a damaged stream went through: stage {raw['stage']}"
    assert not [line for line in raw["kmsg"] if "Oops" in line or "BUG:" in line], raw["kmsg"]
    share = decoder.decode_into(OWN, good)
    assert share.as_expected, share.explain()
