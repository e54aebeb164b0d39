"""``lab decode`` by the reference decoder, as a user calls it."""

import hashlib
import json
import subprocess
import sys

import pytest

from lab.base.errors import ConfigError
from lab.media import Stream, sample

STREAM = sample(64, 48, 3)
# The command alone, in the way that lab.cli.app mounts it, errors as lab.cli.app prints them.
PROGRAM = """
import sys, typer
from lab.base.errors import SharelabError
from lab.cli.decode import decode
app = typer.Typer()
app.command()(decode)
try:
    app()
except SharelabError as error:
    print(f"lab: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
"""


def lab_decode(*arguments):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "clip.fwht"
    path.write_bytes(STREAM.data)
    return path


def test_one_line_a_frame(file):
    done = lab_decode(file)
    assert done.returncode == 0
    kinds = "IPP"
    assert done.stdout.splitlines() == [
        f"{i:5}  64x48  {kinds[i]}  {hashlib.sha256(STREAM.references('NV12')[i]).hexdigest()}"
        for i in range(3)
    ]


def test_json_and_output(file, tmp_path):
    kept = tmp_path / "clip.nv12"
    done = lab_decode(file, "--json", "--output", kept)
    assert [row["sha256"] for row in json.loads(done.stdout)] == [frame.sha256 for frame in STREAM.frames]
    assert kept.read_bytes() == b"".join(STREAM.references("NV12"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.fwht", "clip.nv12"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (STREAM.data[:-3], "frame 2 at byte"),
        (STREAM.data[: STREAM.sizes[0] + 10], "frame 1 at byte"),
        (b"RIFF" + bytes(100), "no FWHT frame begins here"),
        (b"", "the stream is empty"),
        # Damage inside the last frame shows only while decoding.
        (STREAM.data[: sum(STREAM.sizes[:2]) + 44] + b"\xff" * STREAM.sizes[2], "has bit 14 set"),
    ],
)
def test_broken_files_give_one_line_and_leave_nothing(tmp_path, data, words):
    path = tmp_path / "bad.fwht"
    path.write_bytes(data[: len(STREAM.data)])
    done = lab_decode(path, "--output", tmp_path / "bad.nv12")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert str(path) in done.stderr
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_used(file, tmp_path):
    for arguments in (
        (tmp_path / "none.fwht",),
        (tmp_path,),
        ("/dev/zero",),
        (file, "--output", tmp_path / "no/where"),
    ):
        done = lab_decode(*arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_a_file_too_large_is_not_read(tmp_path):
    path = tmp_path / "huge.fwht"
    with path.open("wb") as huge:
        huge.truncate(1 << 40)
    with pytest.raises(ConfigError, match="larger than 256 MiB"):
        Stream.read(path)
