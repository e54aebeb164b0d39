"""Streams by Debian's ffmpeg: each frame's hash is that of its pixels, by whichever decoder."""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import replace

import pytest

from lab.base.errors import ConfigError, LabError
from lab.base.yamlfile import load as read
from lab.imaging.builder import image_cache
from lab.imaging.streams import StreamRecipe, ffmpeg, load, pictures, streams

OTHERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Codec -> a software decoder that shares no code with ffmpeg's own, which gave the hashes."""

PICTURES = {"h264": lambda head: head & 0x1F in (1, 5), "hevc": lambda head: head >> 1 & 0x3F < 32}
"""Codec -> whether the NAL unit with this first byte is a slice; pictures of the streams have one each."""

LARGE = 1920 * 1080


@pytest.fixture(scope="module")
def found():
    return streams()


@pytest.fixture(scope="module")
def program():
    return ffmpeg(image_cache(), load())


def decoded(program, stream, data: bytes, *before: str) -> list[str]:
    """The hashes of the frames of a stream's bytes, from ffmpeg's raw I420."""
    argv = [*program, "-v", "quiet", *before, "-i", "pipe:", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
    raw = subprocess.run(argv, input=data, capture_output=True, check=False).stdout
    half = ((stream.width + 1) // 2) * ((stream.height + 1) // 2)
    size = stream.width * stream.height + 2 * half
    assert len(raw) % size == 0
    return [hashlib.sha256(raw[at : at + size]).hexdigest() for at in range(0, len(raw), size)]


def test_every_codec_has_every_size_that_it_can_have(found):
    recipe = load()
    made = {(one.codec, (one.width, one.height)) for one in found}
    assert made == {(codec, entry.size) for entry in recipe.sizes for codec in entry.codecs or recipe.codecs}
    for one in found:
        assert hashlib.sha256(one.path.read_bytes()).hexdigest() == one.sha256
        assert len(set(one.frames)) == len(one.frames), (
            f"{one.path.name}: frames that a mix-up would not show"
        )


def test_a_frames_hash_is_that_of_its_visible_pixels(found, program):
    for one in found:
        if one.width * one.height <= LARGE:
            assert decoded(program, one, one.path.read_bytes()) == list(one.frames), one.path.name


def test_decoders_of_other_origin_agree(found, program):
    tried = [one for one in found if one.codec in OTHERS]
    assert tried
    for one in tried:
        data = one.path.read_bytes()
        assert decoded(program, one, data, "-c:v", OTHERS[one.codec]) == list(one.frames), one.path.name


def test_a_damaged_stream_has_other_frames(found, program):
    for one in found[:4]:
        data = bytearray(one.path.read_bytes())
        for at in range(len(data) // 2, len(data), 97):
            data[at] ^= 0xFF
        assert decoded(program, one, bytes(data)) != list(one.frames), one.path.name


def test_pieces_of_annex_b_hold_one_picture_each(found):
    """By their NAL units' heads: what a stateful decoder must get is one access unit at a time."""
    tried = [one for one in found if one.codec in PICTURES]
    assert tried
    for one in tried:
        data, at = one.path.read_bytes(), 0
        assert len(one.pieces) == len(one.frames), one.path.name
        for offset, size in one.pieces:
            assert offset == at, f"{one.path.name}: nothing between the pieces"
            at += size
            piece = data[offset:at]
            assert piece.startswith((b"\0\0\1", b"\0\0\0\1")), one.path.name
            heads = [piece[found.end()] for found in re.finditer(b"\0\0\1", piece)]
            assert sum(map(PICTURES[one.codec], heads)) == 1, (one.path.name, offset)
        assert at == len(data), one.path.name


def test_pieces_of_ivf_are_its_frames(found):
    """By the container's own table (https://wiki.multimedia.cx/index.php/Duck_IVF)."""
    for one in [one for one in found if one.codec in OTHERS]:
        data = one.path.read_bytes()
        at = int.from_bytes(data[6:8], "little")
        pieces = []
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "little")
            pieces.append((at + 12, size))
            at += 12 + size
        assert list(one.pieces) == pieces, one.path.name


def test_pictures_are_those_of_the_hashes(found):
    for one in [one for one in found if one.width < 100]:
        shown = pictures(one)
        assert [hashlib.sha256(picture).hexdigest() for picture in shown] == list(one.frames)
        assert pictures(one, count=1) == shown[:1]
    with pytest.raises(LabError, match="does not decode"):
        pictures(replace(found[0], frames=found[1].frames))


def test_a_size_for_a_codec_that_there_is_not(tmp_path):
    path = tmp_path / "streams.yaml"
    path.write_text(
        "suite: trixie\npackage: ffmpeg\nrate: 25\npattern: testsrc2\n"
        "codecs: {vp8: {encoder: libvpx, format: ivf}}\nsizes: [{size: [2, 2], frames: 1, codecs: [av1]}]\n"
    )
    with pytest.raises(ConfigError, match="no codec av1, only vp8"):
        read(path, StreamRecipe)
