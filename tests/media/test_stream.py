"""Headers, hostile files, buffer layouts, and patterns that betray mistakes."""

import struct

import pytest

from lab.base.errors import ConfigError
from lab.media import Frame, Header, MediaError, Plane, decode, patterns, sample, scan
from lab.media.header import MAX_STREAM_PIXELS

STREAM = sample(64, 48, 3)


def corrupted(offset: int, value: int, frame: int = 1) -> bytes:
    """The stream with one header word replaced."""
    at = sum(STREAM.sizes[:frame]) + offset
    return STREAM.data[:at] + struct.pack(">I", value) + STREAM.data[at + 4 :]


def test_sizes_cut_the_stream_into_frames():
    assert sum(STREAM.sizes) == len(STREAM.data)
    assert [header.offset for header in scan(STREAM.data)] == [0, STREAM.sizes[0], sum(STREAM.sizes[:2])]
    assert len(STREAM.references("NV12")) == 3
    assert len(STREAM.references("NV12")[0]) == 64 * 48 * 3 // 2


@pytest.mark.parametrize(
    ("stream", "frame", "offset", "words"),
    [
        (b"", 0, 0, "empty"),
        (STREAM.data[:-1], 2, sum(STREAM.sizes[:2]), "payload is cut"),
        (STREAM.data + bytes(20), 3, len(STREAM.data), "24 bytes before the end of the frame's header"),
        (STREAM.data + bytes(44), 3, len(STREAM.data), "no FWHT frame begins here"),
        (corrupted(8, 4), 1, STREAM.sizes[0], "version 4"),
        (corrupted(8, 0), 1, STREAM.sizes[0], "version 0"),
        (corrupted(12, 0xFFFFFFFF), 1, STREAM.sizes[0], "size 4294967295x48"),
        (corrupted(16, 0), 1, STREAM.sizes[0], "size 64x0"),
        (corrupted(20, 0), 1, STREAM.sizes[0], "not YUV 4:2:0"),
        (corrupted(40, 0xFFFFFFFF), 1, STREAM.sizes[0], "payload is cut"),
        (corrupted(40, 0), 1, STREAM.sizes[0], "no FWHT frame begins here"),
    ],
)
def test_structure_errors_name_frame_and_byte(stream, frame, offset, words):
    with pytest.raises(MediaError, match=words) as caught:
        scan(stream)
    if "no FWHT" not in words:
        assert (caught.value.frame, caught.value.offset) == (frame, offset)
    assert isinstance(caught.value, ConfigError)
    with pytest.raises(MediaError):
        list(decode(stream))


def test_frames_before_a_broken_one_are_decoded():
    frames = decode(STREAM.data[:-1])
    assert [next(frames).index, next(frames).index] == [0, 1]
    with pytest.raises(MediaError):
        next(frames)


def test_stream_that_begins_with_a_p_frame():
    second = STREAM.data[STREAM.sizes[0] :]
    with pytest.raises(MediaError, match="a P frame, and no frame of this size before it"):
        list(decode(second))
    flags = int.from_bytes(second[20:24]) | 0x400
    with pytest.raises(MediaError, match="a P block, and no frame of this size before it"):
        list(decode(second[:20] + flags.to_bytes(4) + second[24:]))


def test_a_block_header_with_bit_14_is_no_block():
    payload = struct.pack(">6H", 0x4000, 15, 0, 15, 0, 15)
    with pytest.raises(MediaError, match="0x4000 has bit 14 set") as caught:
        list(decode(Header(8, 8, 0x400, len(payload)).pack() + payload))
    assert caught.value.offset == 44
    assert next(decode(Header(8, 8, 0x400, len(payload)).pack() + bytes(2) + payload[2:])).y.data == bytes(
        [128] * 64
    )


def test_largest_claim_with_an_empty_payload_is_refused_at_once():
    stream = Header(4096, 2160, 0x400, 0).pack()
    with pytest.raises(MediaError, match="payload ends within a block"):
        list(decode(stream))


def test_one_stream_may_not_claim_endless_work():
    # 14 bytes of payload say "all blocks are grey" for each plane: a small file, a lot of pixels.
    grey = struct.pack(">2H", 0xFFF << 1, 15)
    frame = Header(4096, 2160, 0x400, 60 * len(grey)).pack() + grey * 60
    count = MAX_STREAM_PIXELS // (4096 * 2160) + 1
    assert len(scan(frame * (count - 1))) == count - 1
    with pytest.raises(MediaError, match="claims more than"):
        scan(frame * count)


def numbered() -> Frame:
    """16x8 pixels of which every sample has a value of its own."""
    return Frame(
        16,
        16,
        Plane(16, 16, bytes(range(256))),
        Plane(8, 8, bytes(range(64))),
        Plane(8, 8, bytes(range(100, 164))),
    )


def test_nv12_layout_with_stride_and_height():
    packed = numbered().pack("NV12", stride=20, height=18, fill=7)
    assert len(packed) == 20 * 18 * 3 // 2
    assert packed[20 : 20 + 20] == bytes(range(16, 32)) + bytes([7] * 4)
    assert packed[16 * 20 : 18 * 20] == bytes([7] * 40)
    chroma = packed[20 * 18 :]
    assert chroma[20:28] == bytes([8, 108, 9, 109, 10, 110, 11, 111])
    assert chroma[16:20] == bytes([7] * 4)


def test_yu12_layout_with_stride_and_height():
    packed = numbered().pack("YU12", stride=20, height=16)
    assert packed[20 * 16 :][10:20] == bytes(range(8, 16)) + bytes(2)
    assert packed[20 * 16 * 5 // 4 :][:10] == bytes(range(100, 108)) + bytes(2)
    assert numbered().yuv420() == bytes(range(256)) + bytes(range(64)) + bytes(range(100, 164))


def test_layouts_that_do_not_exist():
    for change in ({"stride": 17}, {"height": 0}, {"stride": -2}):
        with pytest.raises(ValueError, match="no layout"):
            numbered().pack("NV12", **change)
    with pytest.raises(ValueError, match="no layout NV21"):
        numbered().pack("NV21")
    with pytest.raises(ValueError, match="no 8x8 plane"):
        Plane(8, 8, bytes(63))


def test_coded_size_is_rounded_to_16():
    frame = sample(50, 38, 1).frames[0]
    assert frame.coded == (64, 48)
    assert len(frame.nv12()) == 64 * 48 * 3 // 2


class TestPatterns:
    """Each mistake that a broken path makes has to change the decoded QCIF frames."""

    STREAM = sample(176, 144, 10)
    FRAMES = tuple(STREAM.frames)
    PACKED = tuple(frame.nv12() for frame in FRAMES)

    def test_same_every_time_and_cheap_to_decode(self):
        assert sample(176, 144, 2).data == self.STREAM.data[: sum(self.STREAM.sizes[:2])]
        assert self.STREAM.sizes[0] < 8190  # two transfers of the virtual decoder's DMA engine
        assert max(self.STREAM.sizes[1:8]) < 4095

    def test_both_kinds_of_frames_and_no_raw_plane(self):
        headers = scan(self.STREAM.data)
        assert [header.intra for header in headers] == [True, *[False] * 7, True, False]
        assert not any(header.flags & 0x70 for header in headers)

    def test_every_page_of_every_frame_is_different(self):
        for i, one in enumerate(self.PACKED):
            for other in self.PACKED[:i]:
                for page in range(0, len(one), 4096):
                    pairs = zip(one[page : page + 4096], other[page : page + 4096], strict=True)
                    assert sum(a != b for a, b in pairs) > 2000 * (len(one) - page) // len(one)

    def test_every_page_of_one_frame_is_different(self):
        picture = self.PACKED[0]
        pages = [picture[page : page + 4096] for page in range(0, len(picture), 4096)]
        assert len(set(pages)) == len(pages)

    def test_swapped_planes(self):
        for frame in self.FRAMES:
            assert frame.cb.data != frame.cr.data
            swapped = Frame(176, 144, frame.y, frame.cr, frame.cb)
            differing = sum(a != b for a, b in zip(swapped.nv12(), frame.nv12(), strict=True))
            assert differing > 176 * 144 // 2 * 9 // 10

    def test_no_row_repeats_within_a_plane(self):
        for frame in self.FRAMES:
            for plane in (frame.y, frame.cb, frame.cr):
                rows = [plane.data[at : at + plane.width] for at in range(0, len(plane.data), plane.width)]
                assert len(set(rows)) == len(rows)

    @pytest.mark.parametrize("stride", [160, 168, 174, 178, 184, 192, 256])
    def test_wrong_stride(self, stride):
        wrong = self.FRAMES[0].pack("NV12", stride=stride)
        right = self.PACKED[0]
        assert sum(a != b for a, b in zip(wrong, right, strict=False)) > len(right) // 2

    def test_frame_number_survives_the_codec(self):
        assert [patterns.number(frame) for frame in self.FRAMES] == list(range(10))
        last = patterns.moving(64, 16, 256)[-1]
        assert patterns.number(last) == 255
        with pytest.raises(ValueError, match="too few"):
            patterns.number(patterns.moving(32, 32, 1)[0])
