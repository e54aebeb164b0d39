"""The FWHT codec: against the kernel's results, and against itself."""

import hashlib
import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.media import Frame, MediaError, Plane, decode, encode, scan
from lab.media.blocks import INTER_SHIFTS, INTRA_SHIFTS, SCAN, from_words, repeated, to_words
from lab.media.frame import chroma_size, luma_size
from lab.media.walsh import forward, inverse, walsh8

VECTORS = Path(__file__).parent / "vectors"
INDEX = json.loads((VECTORS / "frames.json").read_text())
INTRA_AND_RAW = 0x470


@pytest.mark.parametrize("name", INDEX)
def test_decodes_as_the_kernel_does(name):
    stream = (VECTORS / f"{name}.fwht").read_bytes()
    frames = list(decode(stream))
    assert [hashlib.sha256(frame.pack("YU12")).hexdigest() for frame in frames] == INDEX[name]["yu12"]
    assert [header.flags & INTRA_AND_RAW for header in scan(stream)] == INDEX[name]["flags"]


def test_walsh_functions_are_in_order_of_sign_changes():
    for k in range(8):
        unit = [0] * 8
        unit[k] = 1
        function = walsh8(*unit)
        assert set(function) <= {1, -1}
        assert function[0] == 1
        assert sum(a != b for a, b in pairwise(function)) == k


@given(st.lists(st.integers(-255, 255), min_size=64, max_size=64))
def test_transform_is_exact_both_ways(block):
    assert [value for row in inverse(forward(block)) for value in row] == block


def test_transform_wraps_at_16_bits():
    block = [0x4000, 0x4000] + [0] * 62
    assert inverse(block)[0] == (-512, -512, -512, -512, 0, 0, 0, 0)


def test_scan_visits_every_position_once():
    assert sorted(SCAN) == list(range(64))
    assert SCAN[:6] == (0, 1, 8, 2, 9, 16)


levels = st.lists(st.sampled_from([0, 0, 0, 0, 0, 1, -1, 31, -31]), min_size=64, max_size=64)


@given(levels)
def test_run_length_code_is_reversible(block):
    words = to_words(block)
    coefficients, position = from_words((*words, 0xAAAA), 0, INTRA_SHIFTS)
    assert position == len(words)
    assert [coefficients[at] >> shift for at, shift in zip(SCAN, INTRA_SHIFTS, strict=True)] == block


def test_repeats_are_counted_and_bounded():
    words = repeated([(True, (15,))] * 4097)
    assert words == [0x8000 | 0xFFF << 1, 15, 0x8000, 15]


@st.composite
def pictures(draw, width, height):
    """One frame: flat, gradient or noise in each plane."""

    def plane(size):
        columns, rows = size
        kind = draw(st.sampled_from(["flat", "gradient", "noise"]))
        if kind == "noise":
            return Plane(columns, rows, draw(st.randoms(use_true_random=False)).randbytes(columns * rows))
        level = draw(st.integers(0, 255))
        a, b = (0, 0) if kind == "flat" else draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
        return Plane(
            columns, rows, bytes((level + a * x + b * y) & 255 for y in range(rows) for x in range(columns))
        )

    luma, chroma = luma_size(width, height), chroma_size(width, height)
    return Frame(width, height, plane(luma), plane(chroma), plane(chroma))


@st.composite
def films(draw):
    """Frames of one size, some of them repeated."""
    width, height = draw(st.integers(2, 40)), draw(st.integers(2, 40))
    frames = draw(st.lists(pictures(width, height), min_size=1, max_size=3))
    return [draw(st.sampled_from(frames)) for _ in range(draw(st.integers(1, 4)))]


@settings(max_examples=50)
@given(films(), st.integers(1, 4))
def test_without_threshold_the_error_is_the_quantisers(film, gop):
    decoded = list(decode(encode(film, gop=gop, intra_threshold=0, inter_threshold=0)))
    # Each coefficient loses less than its step, and a sample is their sum over 64, rounded down.
    worst = (
        max(sum((1 << shift) - 1 for shift in shifts) for shifts in (INTRA_SHIFTS, INTER_SHIFTS)) // 64 + 1
    )
    assert [(frame.width, frame.height, frame.index) for frame in decoded] == [
        (frame.width, frame.height, index) for index, frame in enumerate(film)
    ]
    for frame, original in zip(decoded, film, strict=True):
        for plane in ("y", "cb", "cr"):
            pairs = zip(getattr(frame, plane).data, getattr(original, plane).data, strict=True)
            assert max(abs(a - b) for a, b in pairs) <= worst


@settings(max_examples=40)
@given(films())
def test_intra_frames_do_not_need_their_predecessors(film):
    stream = encode(film, gop=1)
    last = scan(stream)[-1]
    alone = list(decode(stream[last.offset :]))
    assert alone[0].nv12() == list(decode(stream))[-1].nv12()


@settings(max_examples=40)
@given(films())
def test_the_magic_never_appears_in_a_payload(film):
    stream = encode(film)
    assert stream.count(bytes.fromhex("4f4f4f4fffffffff")) == len(film)


def test_stored_planes_lose_255_so_that_they_cannot_hold_the_magic():
    magic = bytes.fromhex("4f4f4f4fffffffff")
    noise = Plane(8, 8, magic + random.Random(1).randbytes(56))
    stream = encode([Frame(8, 8, noise, noise, noise)], intra_threshold=0)
    assert scan(stream)[0].size == 3 * 64  # nothing was compressed
    assert stream.count(magic) == 1
    assert next(decode(stream)).cr.data == noise.data.replace(b"\xff", b"\xfe")


def test_chroma_of_odd_sizes_is_rounded_down():
    assert chroma_size(33, 49) == (16, 24)
    assert luma_size(33, 49) == (40, 56)


def test_unchanged_pictures_cost_next_to_nothing():
    flat = Plane(64, 64, bytes(range(100, 164)) * 64)
    chroma = Plane(32, 32, bytes([90]) * 1024)
    headers = scan(encode([Frame(64, 64, flat, chroma, chroma)] * 2))
    assert not headers[1].intra
    # Three planes of one repeated P block each, "nothing changes": two words.
    assert headers[1].size < headers[0].size / 4


def test_frames_of_two_sizes_are_no_stream():
    small, large = (
        Frame(size, size, Plane(size, size, bytes(size * size)), *(Plane(8, 8, bytes(64)),) * 2)
        for size in (8, 16)
    )
    with pytest.raises(ValueError, match="frame 1 is 16x16"):
        encode([small, large])


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(0, 400), st.booleans())
def test_any_bytes_decode_or_give_one_clear_error(noise, at, behind_header):
    stream = (VECTORS / "damaged-64x64.fwht").read_bytes()
    stream = stream[: at + 44 * behind_header] + noise + stream[at + len(noise) :]
    error = failure(stream)
    if error is not None:
        assert str(error).startswith(f"frame {error.frame} at byte {error.offset}: ")
        assert "\n" not in str(error)
        assert 0 <= error.offset <= len(stream)


def failure(stream):
    try:
        assert list(decode(stream))
    except MediaError as error:
        return error
    return None
