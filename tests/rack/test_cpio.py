from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.rack import cpio

names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1).filter(
    lambda name: name not in (".", "..", "TRAILER!!!")
)
files = st.builds(cpio.file, names, st.binary(max_size=2000), st.integers(0, 0o7777))


def read(data: bytes) -> list[cpio.Entry]:
    """A reader that follows the kernel's (init/initramfs.c), alignment included."""
    entries, offset = [], 0
    while True:
        assert offset % 4 == 0
        assert data[offset : offset + 6] == b"070701"
        fields = [int(data[offset + 6 + 8 * i : offset + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[offset + 110 : offset + 110 + name_size]
        assert name.endswith(b"\0")
        body = offset + 110 + name_size
        body += -body % 4
        if name == b"TRAILER!!!\0":
            assert not any(data[body:])
            return entries
        entries.append(cpio.Entry(name[:-1].decode(), mode, data[body : body + size]))
        offset = body + size + -size % 4


@given(st.lists(files, max_size=8))
def test_what_is_written_is_read_back(entries: list[cpio.Entry]) -> None:
    data = cpio.archive(entries)
    assert read(data) == entries
    assert len(data) % 512 == 0


@pytest.mark.skipif(not shutil.which("cpio"), reason="cpio is not installed")
def test_cpio_unpacks_it_with_its_modes(tmp_path: Path) -> None:
    entries = [
        cpio.directory("lab", 0o700),
        cpio.file("lab/key", b"secret\n", 0o600),
        cpio.file("lab/empty", b""),
    ]
    command = ["cpio", "--extract", "--quiet", "--no-preserve-owner"]
    subprocess.run(command, input=cpio.archive(entries), cwd=tmp_path, check=True)
    assert (tmp_path / "lab/key").read_bytes() == b"secret\n"
    assert stat.S_IMODE((tmp_path / "lab/key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "lab").stat().st_mode) == 0o700
    assert (tmp_path / "lab/empty").read_bytes() == b""
