"""Boot images for fastboot: by Debian's mkbootimg, read back by its unpack_bootimg and by their header."""

from __future__ import annotations

import gzip
import struct
import zlib

import pytest

from lab.base.errors import LabError
from lab.imaging.androidboot import Layout, boot_image, unpack

BASE, PAGE = 0x80000000, 4096
CMDLINE = "console=ttyMSM0,115200n8 lab.root=http://192.168.0.1/squashfs lab.size=5"


@pytest.fixture
def parts(tmp_path):
    contents = {
        "kernel": bytes(range(256)) * 999,
        "initrd": b"070701" * 777,
        "tree": b"\xd0\r\xfe\xed" + bytes(99),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return {name: tmp_path / name for name in contents}


@pytest.mark.parametrize("header", [0, 2])
def test_what_goes_in_comes_out(parts, tmp_path, header):
    image = tmp_path / "boot.img"
    boot_image(image, Layout(header, BASE, PAGE), **parts, cmdline=CMDLINE)
    found = unpack(image, tmp_path / "out")
    packed = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert packed.decompress(found["kernel"]) == parts["kernel"].read_bytes()
    assert found["ramdisk"] == parts["initrd"].read_bytes()
    tree = parts["tree"].read_bytes()
    assert packed.unused_data == (tree if header == 0 else b""), "what lies behind the compressed kernel"
    assert found.get("dtb", b"") == (b"" if header == 0 else tree)
    head = image.read_bytes()[:PAGE]
    assert head.startswith(b"ANDROID!")
    assert struct.unpack_from("<II", head, 36) == (PAGE, header)
    assert struct.unpack_from("<I", head, 12) == (BASE + 0x8000,)
    assert head[64 : 64 + 512].rstrip(b"\0").decode() == CMDLINE
    assert list(tmp_path.glob("*.kernel")) == []


def test_the_same_parts_give_the_same_image(parts, tmp_path):
    made = []
    for name in ("one.img", "other.img"):
        boot_image(tmp_path / name, Layout(0, BASE, PAGE), **parts, cmdline=CMDLINE)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    assert gzip.compress(parts["kernel"].read_bytes(), 1, mtime=0) in made[0]


def test_what_is_no_boot_image(parts, tmp_path):
    with pytest.raises(LabError, match="unpack_bootimg failed: "):
        unpack(parts["kernel"], tmp_path / "out")


def test_words_that_do_not_fit(parts, tmp_path):
    with pytest.raises(LabError, match="mkbootimg failed: "):
        boot_image(tmp_path / "boot.img", Layout(0, BASE, PAGE), **parts, cmdline="x" * 2000)
