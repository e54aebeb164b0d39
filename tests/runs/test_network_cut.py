"""The network between `lab run` and the lab is cut for twenty seconds: a right verdict or MISS, no other."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.base import dirs
from lab.base.words import Status
from lab.results.log import LogContents, read
from tests.admin.machines import Machine, join, machine, needed

pytestmark = [pytest.mark.board, pytest.mark.timeout(400), needed]

CUT = 20.0
"""Seconds; a lease that nobody prolongs lasts 60."""


@dataclass
class Lab:
    """A machine with a coordinator, an exporter and a board; and the user's."""

    lab: Machine
    user: Machine
    address: str

    def cable(self, state: str) -> None:
        """Pull it (``down``), or plug it in again (``up``)."""
        done = self.lab.run("ip", "link", "set", "eth0", state)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """The board's ports are on the loopback of both, joined through the cable."""
    here = Path(__file__).parent
    # Both are root of this machine: images and keys are the same, only the network is not.
    with machine(tmp_path / "l") as there, machine(tmp_path / "u") as user:
        there_address, _ = join(there, user)
        script = [sys.executable, here / "lab_here.py", there.folder / "lab"]
        with there.start(script, r"ports (.*)\n", "lab.log") as said:
            coordinator, *ports = said[1].split()
            relay = [sys.executable, here / "relay.py"]
            inner = [*relay, there_address, "127.0.0.1", coordinator, *ports]
            outer = [*relay, "127.0.0.1", there_address, *ports]
            with there.start(inner, "ready", "relay.log"), user.start(outer, "ready", "relay.log"):
                yield Lab(there, user, f"{there_address}:{coordinator}")


def log(folder: Path) -> LogContents:
    path = folder / "results" / "latest" / "results.jsonl"
    return read(path) if path.exists() else LogContents((), ())


def test_a_cut_of_twenty_seconds_gives_no_wrong_verdict(lab):
    folder = lab.user.folder
    words = ["run", "board", "-t", "virt-cma", "--wait", "2m", "-k", "test_size or test_hostile"]
    environment = {"LG_COORDINATOR": lab.address, "LG_USERNAME": "ci", "PYTHONPATH": str(dirs.root())}
    command = ["env", *(f"{key}={value}" for key, value in environment.items())]
    command += [sys.executable, "-m", "lab.cli", *words]
    with (folder / "run.log").open("w") as output:
        process = subprocess.Popen(lab.user.words(command), stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 150
            while len(log(folder).results) < 2:
                assert process.poll() is None, (folder / "run.log").read_text()
                assert time.monotonic() < deadline, (folder / "run.log").read_text()
                time.sleep(0.1)
            lab.cable("down")
            cut = time.monotonic()
            while process.poll() is None and time.monotonic() < cut + CUT:
                time.sleep(0.1)
            lab.cable("up")
            code = process.wait(180)
        finally:
            process.kill()
            process.wait()
    said = (folder / "run.log").read_text()
    contents = log(folder)
    print(said)
    assert code in (0, 3), said
    assert {result.status for result in contents.results} <= {Status.PASS, Status.MISS}, said
    judged = [result.key for result in contents.results if result.judged]
    assert len(judged) == len(set(judged)), "no cell is judged twice"
    lost = [result for result in contents.results if not result.judged]
    assert all(result.verdict is None for result in lost), "what the lab broke has no verdict"
