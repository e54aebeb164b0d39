"""Pictures and memory maps of a VMM, as text and bytes."""

from __future__ import annotations

import pytest

from lab.agent.vmview import parse_ppm, ram_mappings


@pytest.mark.parametrize("pixels", [b"\n \t\r" * 3, bytes(range(12))], ids=["white space", "plain"])
def test_a_picture_whose_pixels_look_like_white_space(pixels):
    assert parse_ppm(b"P6\n2 2\n255\n" + pixels) == {"width": 2, "height": 2, "format": "RGB", "data": pixels}


@pytest.mark.parametrize(
    "data", [b"", b"P6\n2 2\n255\n" + bytes(11), b"P6\n2 2\n255\n" + bytes(13), b"P5\n2 2\n255\n" + bytes(12)]
)
def test_what_is_no_whole_picture_is_refused(data):
    with pytest.raises(ValueError, match="not a picture"):
        parse_ppm(data)


def test_guest_ram_is_told_from_other_mappings():
    maps = """\
aaaac0000000-aaaac1000000 r-xp 00000000 fe:00 1234                       /usr/bin/qemu-system-aarch64
ffff60000000-ffff80000000 rw-s 00001000 00:01 5                          /memfd:memory-backend-memfd (deleted)
ffff90000000-ffff90001000 rw-s 00000000 00:01 6                          /memfd:other (deleted)
ffff90002000-ffff90003000 rw-p 00000000 00:00 0
ffffa0000000-ffffa0200000 rw-s 00000000 00:01 7                          /memfd:crosvm_guest (deleted)
"""
    assert ram_mappings(maps) == [
        (0xFFFF60000000, 0xFFFF80000000, 0x1000),
        (0xFFFFA0000000, 0xFFFFA0200000, 0),
    ]
