"""Files for a board as the servers of this machine find them, with labgrid's own driver and resources."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labgrid import Target
from labgrid.driver import HTTPProviderDriver
from labgrid.resource import HTTPProvider

from lab.boards.served import for_others, offer


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user of this machine may enter, as /srv/tftp is; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="lab-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def private(public: Path) -> Path:
    """A folder on the same disk that only this user may enter, as a home is."""
    folder = public / "home"
    folder.mkdir(mode=0o700)
    return folder


def driver(folder: Path) -> Any:
    target = Target("main")
    HTTPProvider(target, name=None, internal=f"{folder}/", external="http://10.0.0.1/board/")
    made = HTTPProviderDriver(target, name=None)
    target.activate(made)
    return made


def reads(path: Path) -> bytes:
    """What somebody else reads: a user of its own, as servers have, where this one can be another."""
    if os.getuid() == 0:
        done = subprocess.run(["cat", path], user="nobody", extra_groups=[], capture_output=True, check=True)
        return done.stdout
    assert for_others(path)
    return path.read_bytes()


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_file_that_others_may_not_read_is_put_where_they_may(public: Path, private: Path, mode: int):
    file = private / "kernel"
    file.write_bytes(b"first")
    file.chmod(mode)
    http = driver(public / "board")
    assert offer(http, file) == "http://10.0.0.1/board/kernel"
    assert reads(public / "board/kernel") == b"first"
    assert (public / "board/kernel").samefile(file) == (mode == 0o644), "the disk has it once where it can"
    file.unlink()
    file.write_bytes(b"other")
    file.chmod(mode)
    assert offer(http, file) == "http://10.0.0.1/board/kernel"
    assert reads(public / "board/kernel") == b"other"
    assert {path.name for path in (public / "board/files").iterdir()} == {"kernel"}


def test_a_copy_is_known_again(public: Path, private: Path):
    file = private / "root"
    file.write_bytes(b"large")
    file.chmod(0o600)
    http = driver(public / "board")
    offer(http, file)
    first = (public / "board/root").stat()
    offer(http, file)
    assert (public / "board/root").stat().st_ino == first.st_ino


def test_what_can_be_read_where_it_lies_is_only_linked_to(public: Path):
    file = public / "kernel"
    file.write_bytes(b"kernel")
    assert offer(driver(public / "board"), file) == "http://10.0.0.1/board/kernel"
    assert (public / "board/kernel").readlink() == file
    assert not (public / "board/files").exists()


def test_a_servers_private_folder_is_served_by_this_user(private: Path):
    """The racks': nothing is copied there."""
    file = private / "kernel"
    file.write_bytes(b"kernel")
    offer(driver(private / "board"), file)
    assert (private / "board/kernel").readlink() == file
