"""The VMM is killed at a random moment of a path: a MISS or the right verdict, and nothing is left behind.

Once on two paths here. For more: ``LAB_KILLS=20 LAB_KILL_PATHS=all`` (an hour); other moments:
``LAB_KILL_SEED``. With ``LAB_SNAPSHOT=1`` a guest that can be saved goes on instead of booting each time,
which takes half the time: then the moments are those of the path alone, without the boot.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from lab.base.errors import LabError
from lab.base.words import IommuMode
from lab.boards import load_target
from lab.boards.errors import CallError
from lab.boards.guest import Guest
from lab.media import sample
from lab.runs.crossings.crossing import Crossing
from lab.runs.crossings.given_decoder import vfio_decoder
from lab.runs.crossings.guest_memory import guest_blob, resource_uuid, untraced, wrong_buffer
from lab.runs.crossings.host_blob import host_blob
from lab.runs.crossings.imported import guest_import
from lab.runs.crossings.virgl import guest_copied, host3d_blob, virgl_texture
from lab.runs.devices import Decoder
from lab.runs.lab import Lab
from lab.runs.record import Attempt

KILLS = int(os.environ.get("LAB_KILLS", "1"))
STREAM = sample(64, 64, count=1)
EXPERIMENTS = {
    "guest-blob": lambda held: guest_blob(held, STREAM, "guest-blob"),
    "guest-blob-contig": lambda held: guest_blob(held, STREAM, "guest-blob-contig"),
    "wrong-buffer": lambda held: wrong_buffer(held, STREAM),
    "untraced": lambda held: untraced(held, STREAM),
    "resource-uuid": lambda held: resource_uuid(held, STREAM),
    "guest-import": lambda held: guest_import(held, STREAM),
    "host-blob": lambda held: host_blob(held, STREAM),
    "vfio-decoder": lambda held: vfio_decoder(held, STREAM),
    "virgl-texture": lambda held: virgl_texture(held, STREAM),
    "guest-copied": lambda held: guest_copied(held, STREAM),
    "host3d-blob": lambda held: host3d_blob(held, STREAM),
}
SHORT = "guest-blob-contig,vfio-decoder"
"""The two that leave most behind if anything does: huge pages, a lifted dma-buf; a decoder given away."""
WANTED = os.environ.get("LAB_KILL_PATHS", SHORT)
LATEST = {"virgl-texture": 14.0, "guest-copied": 8.0}
"""Seconds from the guest's ready line to the end of an experiment, about; of the others: 6."""
READY = "LAB-READY"
TO_AGENT = 3.0
"""Of these, until the guest's agent answers."""
pytestmark = [pytest.mark.board, pytest.mark.timeout(900 if KILLS == 1 else 0)]
AWAIT = """
rm -f /run/lab/vm/console
until [ -e /run/lab/vm/process ]; do sleep 0.1; done
until grep -q "{ready}" /run/lab/vm/console; do sleep 0.1; done
"""
KILL = """
sleep {delay:.2f}
kill -9 $(cut -d" " -f1 /run/lab/vm/process)
"""
MSI = "iova=0x0000000008000000 "
"""VFIO maps the page for interrupts there; it goes with the domain, of which no event tells
(Linux, drivers/iommu/dma-iommu.c, iommu_put_msi_cookie)."""
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
        self.count()

    def count(self) -> None:
        """Begin to count what the IOMMU maps; once a boot."""
        # Loads drivers that map memory of their own and keep it: before the count begins.
        device = self.board.target.decoders[0].device
        self.board.agent.call("board_capabilities", device=device, gles=False, timeout=60)
        events = f"for e in map unmap; do echo 1 > {TRACING}/events/iommu/$e/enable; done"
        self.shell(f"mkdir -p {TRACING}; {events}")

    def shell(self, line: str) -> str:
        """What a command line prints there."""
        text: str = self.board.agent.run(["dash", "-c", line])["stdout"].decode()
        return text

    def crossing(self, path: str, moment: float | None = None, *, booting: bool = False) -> Hunted:
        """A new attempt at ``path``, whose VMM is killed at a ``moment`` from 0, its begin, to 1."""
        attempt = Attempt()
        decoder = Decoder(self.board, self.board.target.decoders[0], IommuMode.TRANSLATED, attempt)
        return Hunted(self, decoder, attempt, path, moment, booting)

    def left(self) -> Left:
        """What is left when the guest has been ended and the test's handles are closed."""
        self.board.end_guest()
        self.board.agent.call("reset")
        mapped = 0
        for line in self.shell(f"grep IOMMU: {TRACING}/trace").splitlines():
            if MSI in line:
                continue
            size = int(line.rpartition("=")[2], 0)
            mapped += -size if "unmapped_size=" in line else size
        return Left(
            dmabufs=len(self.board.agent.call("dmabufs")),
            vmms=int(self.shell("grep -l qemu-system /proc/[0-9]*/comm 2>/dev/null | wc -l")),
            hugepages=int(self.shell("cat /proc/sys/vm/nr_hugepages")),
            mapped=mapped,
        )


class Hunted(Crossing):
    """An attempt whose VMM is killed at a ``moment`` after its start or its guest's ready line.

    Where board and guest go on from a snapshot, it is after that. None: it is let live.
    """

    def __init__(
        self,
        board: Board,
        decoder: Decoder,
        attempt: Attempt,
        path: str,
        moment: float | None,
        booting: bool,
    ) -> None:
        super().__init__(decoder, attempt)
        self.killed = False
        """Whether the kill came before the end; known when this is finished."""
        self.when = f"{path}, let live"
        self._counted = board
        self._path = path
        self._moment = moment
        self._killer = None
        if moment is not None:
            self._hunt(AWAIT.format(ready="" if booting else READY), "its start" if booting else READY)

    def _hunt(self, wait: str, begin: str, less: float = 0.0) -> None:
        delay = (LATEST.get(self._path, 6.0) - less) * (self._moment or 0.0)
        self.when = f"{self._path}, killed {delay:.2f} s after {begin}"
        line = wait + KILL.format(delay=delay)
        self._killer = self.agent.call("start", argv=["dash", "-c", line])

    def guest(self, **changes: Any) -> Guest:
        """As ever; where another boot goes on, the killer that waited on the last one went with it."""
        before = self.agent
        guest = super().guest(**changes)
        if self.agent is not before:
            self._counted.count()
            if self._moment is not None:
                self._hunt("", "its snapshot goes on", less=TO_AGENT)
        return guest

    def finish(self) -> None:
        """As ever, and the hunt is over."""
        super().finish()
        if self._killer is not None:
            with suppress(CallError):  # it still waits for its moment
                done = self.agent.request("finish", {"pid": self._killer, "timeout": 0.1}, timeout=20)
                self.killed = done["rc"] == 0


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
    dice = random.Random(os.environ.get("LAB_KILL_SEED", "2027"))
    lost = 0
    paths = list(EXPERIMENTS) if WANTED == "all" else WANTED.split(",")
    for path in paths:
        experiment = EXPERIMENTS[path]
        for _ in range(KILLS):
            held = board.crossing(path, dice.random(), booting=dice.random() < 0.2)
            missed = ""
            try:
                share = held.prove(path, experiment)
                assert share.as_expected, f"{held.when}: {share.explain()}"
                outcome = f"{share.verdict}"
            except LabError as error:
                outcome = missed = f"MISS: {error.message}"
            finally:
                held.finish()
            print(f"{held.when}: {outcome}")
            assert held.killed or not missed, f"{held.when}: nobody killed it, but {missed}"
            assert board.left() == before, held.when
            lost += bool(missed)
        if KILLS > 1 or path == paths[-1]:  # else the next path is the next test
            held = board.crossing(path)
            assert held.prove(path, experiment).as_expected, f"{path}: the next test must pass"
            held.finish()
            assert board.left() == before, path
    assert lost, "no kill came in time: the test says nothing"
