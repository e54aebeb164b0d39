"""Frames against references: every count against its plain definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.sharing.evidence import FrameRead
from lab.sharing.pixels import compare, looks_like

CANARY = 0xA5
# Few values, those near the canary and at both ends of a byte among them, so that all sorts of bytes meet.
few = st.sampled_from([0, 1, 2, CANARY - 2, CANARY - 1, CANARY, CANARY + 1, 254, 255])
data = st.lists(few, max_size=12).map(bytes)
references = st.lists(st.lists(few, min_size=1, max_size=8).map(bytes), min_size=1, max_size=3)


def frames(pictures, **changes):
    """Dequeued frames of these bytes; ``changes``: field -> the value of each."""
    return [
        FrameRead(
            **{"index": at, "error_flag": False, "bytesused": len(picture), "data": picture}
            | {name: values[at] for name, values in changes.items()}
        )
        for at, picture in enumerate(pictures)
    ]


@given(st.lists(data, max_size=3), references, st.none() | few, st.integers(0, 3))
def test_every_byte_counts_as_it_is(pictures, wanted, canary, tolerance):
    found = compare(frames(pictures), wanted, canary, tolerance)
    different = untouched = 0
    wrong = []
    for at, (picture, reference) in enumerate(zip(pictures, wanted, strict=False)):
        for place, right in enumerate(reference):
            there = picture[place : place + 1]
            if not there or abs(there[0] - right) > tolerance:
                different += 1
                untouched += bool(there) and there[0] == canary
                wrong.append(at)
        if len(picture) < len(reference):
            wrong.append(at)
    assert (found.different, found.first_wrong) == (different, wrong[0] if wrong else None)
    assert found.compared == sum(len(one) for one, _ in zip(wanted, pictures, strict=False))
    assert (found.seen, found.wanted) == (len(pictures), len(wanted))
    assert found.right == (not wrong and len(pictures) == len(wanted))
    # A byte that may be meant to be as it is was not left untouched for sure.
    assert found.untouched <= untouched


def test_what_holds_the_canary_and_should_not_is_untouched():
    reference = bytes([1, 2, CANARY, CANARY + 1, 5])
    [blank] = frames([bytes([CANARY]) * 9])
    assert compare([blank], [reference], CANARY, 0).untouched == 4
    assert compare([blank], [reference], CANARY, 1).untouched == 3
    assert compare(frames([bytes([CANARY]) * 2]), [reference], CANARY, 0).untouched == 2
    assert compare([blank], [reference], None, 0).untouched == 0


PICTURES = [bytes([at]) * 6 for at in (1, 2, 3)]


@pytest.mark.parametrize("padding", [b"", b"\0\0"])
def test_a_picture_that_came_before_or_after_is_stale(padding):
    shown = [one + padding for one in (PICTURES[0], PICTURES[2], PICTURES[2])]
    found = compare(frames(shown), PICTURES, CANARY, 0)
    assert (found.first_wrong, found.stale) == (1, 2)
    found = compare(frames([one + padding for one in PICTURES[::-1]]), PICTURES, CANARY, 0)
    assert (found.first_wrong, found.stale) == (0, 2)


def test_a_picture_of_nothing_that_was_sent_is_not_stale():
    shown = [PICTURES[0], bytes([9]) * 6, bytes([8]) * 6]
    found = compare(frames(shown), PICTURES, CANARY, 0)
    assert (found.first_wrong, found.stale) == (1, None)


@pytest.mark.parametrize("changes", [{"bytesused": [6, 5, 6]}, {"index": [0, 2, 1]}], ids=str)
def test_right_bytes_may_be_a_wrong_frame(changes):
    found = compare(frames(PICTURES, **changes), PICTURES, CANARY, 0)
    assert (found.different, found.first_wrong, found.stale, found.right) == (0, 1, None, False)
    assert not found.arrived_right


def test_frames_that_came_may_be_right_though_not_all_did():
    assert compare(frames(PICTURES[:2]), PICTURES, CANARY, 0).arrived_right
    assert compare(frames(PICTURES), PICTURES, CANARY, 0).arrived_right
    assert not compare(frames([*PICTURES, PICTURES[0]]), PICTURES, CANARY, 0).arrived_right
    flagged = frames(PICTURES[:2], error_flag=[False, True])
    assert not compare(flagged, PICTURES, CANARY, 0).arrived_right
    assert compare(flagged, PICTURES, CANARY, 0).error_flags == 1


@given(st.lists(few, max_size=4).map(bytes), few, st.integers(0, 3))
def test_a_picture_looks_like_a_byte_where_each_of_its_is_near(picture, byte, tolerance):
    assert looks_like(picture, byte, tolerance) == all(abs(one - byte) <= tolerance for one in picture)
