"""The VMM is killed at a random moment of each path: a MISS or the right verdict, and nothing is left behind.

Once a path here; ``LAB_KILLS=20`` for more.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab.base.errors import LabError
from lab.base.words import IommuMode
from lab.boards import load_target
from lab.media import sample
from lab.runs.crossings.crossing import Crossing
from lab.runs.crossings.guest_memory import guest_blob
from lab.runs.devices import Decoder
from lab.runs.lab import Lab
from lab.runs.record import Attempt

pytestmark = [pytest.mark.board, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("LAB_KILLS", "1"))
LATEST = 3.0
"""Seconds that an experiment on a running guest takes, about."""
STREAM = sample(64, 64, count=1)
EXPERIMENTS = {
    "guest-blob": lambda held: guest_blob(held, STREAM, "guest-blob"),
    "guest-blob-contig": lambda held: guest_blob(held, STREAM, "guest-blob-contig"),
}
TRACING = "/sys/kernel/tracing/instances/leaks"


@dataclass
class Left:
    """What is there on the board while no test runs."""

    dmabufs: int
    vmms: int
    hugepages: int
    mapped: int
    """Bytes that the IOMMU maps, less those that were mapped when the count began."""


class Board:
    """A booted board with its IOMMU's mappings counted."""

    def __init__(self, lab: Lab) -> None:
        self.board = lab.board(IommuMode.TRANSLATED)
        events = f"for e in map unmap; do echo 1 > {TRACING}/events/iommu/$e/enable; done"
        self.shell(f"mkdir -p {TRACING}; {events}")

    def shell(self, line: str) -> str:
        """What a command line prints there."""
        text: str = self.board.agent.run(["dash", "-c", line])["stdout"].decode()
        return text

    def crossing(self) -> Crossing:
        """A new attempt at a path."""
        attempt = Attempt()
        decoder = self.board.target.decoders[0]
        return Crossing(Decoder(self.board, decoder, IommuMode.TRANSLATED, attempt), attempt)

    def left(self) -> Left:
        """What is left when the guest has been ended and the test's handles are closed."""
        self.board.end_guest()
        self.board.agent.call("reset")
        mapped = 0
        for line in self.shell(f"grep IOMMU: {TRACING}/trace").splitlines():
            size = int(line.rpartition("=")[2], 0)
            mapped += -size if "unmapped_size=" in line else size
        return Left(
            dmabufs=len(self.board.agent.call("dmabufs")),
            vmms=int(self.shell("grep -l qemu-system /proc/[0-9]*/comm 2>/dev/null | wc -l")),
            hugepages=int(self.shell("cat /proc/sys/vm/nr_hugepages")),
            mapped=mapped,
        )


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    lab = Lab(load_target("virt-smmu"), place=None)
    try:
        lab.prepare()
        lab.open()
        yield Board(lab)
    finally:
        lab.close()


def test_a_vmm_killed_at_any_moment(board):
    before = board.left()
    dice = random.Random(20190912)
    lost = 0
    for path, experiment in EXPERIMENTS.items():
        for _ in range(KILLS):
            held = board.crossing()
            guest = held.guest(backing="hugetlb")
            when = f"{path}, killed after {(delay := dice.uniform(0.0, LATEST)):.2f} s"
            kill = f"sleep {delay:.2f}; kill -9 {guest.status()['pid']}"
            board.board.agent.call("start", argv=["dash", "-c", kill])
            try:
                share = held.prove(path, experiment)
                assert share.as_expected, f"{when}: {share.explain()}"
            except LabError:
                lost += 1
            finally:
                held.finish()
            assert board.left() == before, when
        held = board.crossing()
        assert held.prove(path, experiment).as_expected, f"{path}: the next test must pass"
        held.finish()
        assert board.left() == before, path
    assert lost, "no kill came in time: the test says nothing"
