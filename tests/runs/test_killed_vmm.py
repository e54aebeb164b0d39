"""The VMM is killed at a random moment of a path: a MISS or the right verdict, and nothing is left behind.

Once on two paths here. For more: ``LAB_KILLS=20 LAB_KILL_PATHS=all`` (an hour); other moments:
``LAB_KILL_SEED``. With ``LAB_SNAPSHOT=1`` a guest that can be saved goes on instead of booting each time,
which takes half the time: then the moments are those of the path alone, without the boot.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from lab.base.errors import LabError
from lab.base.words import IommuMode
from lab.boards import load_target
from lab.boards.errors import CallError, LostGuestError
from lab.boards.guest import Guest
from lab.media import sample
from lab.runs.crossings.crossing import Crossing
from lab.runs.crossings.given_decoder import vfio_decoder
from lab.runs.crossings.guest_memory import guest_blob, resource_uuid, untraced, wrong_buffer
from lab.runs.crossings.host_blob import _reach, host_blob
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
BOOT = 6.0
"""Seconds after a VMM's start of which a moment is chosen where the boot is the aim."""
SPAN = 4.0
"""Seconds that an experiment takes once its guest is there, about; for more kills than one it is measured."""
pytestmark = [pytest.mark.board, pytest.mark.timeout(900 if KILLS == 1 else 0)]
AWAIT = "until [ -e /run/lab/vm/process ]; do sleep 0.1; done; "
KILL = 'sleep {delay:.2f}; kill -9 $(cut -d" " -f1 /run/lab/vm/process)'
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

    def crossing(self, delay: float | None = None, *, booting: bool = False) -> Hunted:
        """A new attempt at a path; see `Hunted`."""
        attempt = Attempt()
        decoder = Decoder(self.board, self.board.target.decoders[0], IommuMode.TRANSLATED, attempt)
        return Hunted(self, decoder, attempt, delay, booting)

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
    """An attempt whose VMM is killed ``delay`` seconds after its guest is there or began.

    A guest that goes on from a snapshot does not boot. None: it is let live.
    """

    def __init__(
        self, board: Board, decoder: Decoder, attempt: Attempt, delay: float | None, booting: bool
    ) -> None:
        super().__init__(decoder, attempt)
        self.killed = False
        """Whether the kill came before the end; known when this is finished."""
        self.when = "let live"
        self.begin: float | None = None
        """When the guest was there (time.monotonic)."""
        self._counted = board
        self._delay = delay
        self._killer: int | None = None
        if booting:
            self._hunt(AWAIT, "its start")

    def _hunt(self, wait: str, begin: str) -> None:
        self.when = f"killed {self._delay:.2f} s after {begin}"
        line = wait + KILL.format(delay=self._delay)
        self._killer = self.agent.call("start", argv=["dash", "-c", line])

    def guest(self, **changes: Any) -> Guest:
        """As ever; the hunt begins. What waited on a board that went back to a snapshot has gone with it."""
        before = self.agent
        guest = super().guest(**changes)
        if self.agent is not before:
            self._counted.count()
            self._killer = None
        if self.begin is None:
            self.begin = time.monotonic()
            if self._killer is None and self._delay is not None:
                self._hunt("", "its guest was there")
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


def let_live(board, path):
    """Do ``path`` in peace, as the test that comes next; seconds that it took once its guest was there."""
    held = board.crossing()
    share = held.prove(path, EXPERIMENTS[path])
    span = time.monotonic() - (held.begin or 0.0)
    held.finish()
    assert share.as_expected, f"{path}, let live: {share.explain()}"
    return span


def test_a_vmm_killed_before_it_is_given_memory_says_nothing_about_memory(board, monkeypatch):
    """The moment at which a failed call of the host's would be its own matter otherwise."""

    def killing(crossing: Crossing) -> dict[str, Any]:
        board.shell(KILL.format(delay=0))
        return _reach(crossing)

    monkeypatch.setattr("lab.runs.crossings.host_blob._reach", killing)
    held = board.crossing()
    with pytest.raises(LostGuestError):
        held.prove("host-blob", EXPERIMENTS["host-blob"])
    held.finish()


def test_a_vmm_killed_at_any_moment(board):
    before = board.left()
    dice = random.Random(os.environ.get("LAB_KILL_SEED", "2027"))
    lost = 0
    paths = list(EXPERIMENTS) if WANTED == "all" else WANTED.split(",")
    for path in paths:
        span = SPAN
        if KILLS > 1:
            span = let_live(board, path)
            assert board.left() == before, path
        for _ in range(KILLS):
            booting = dice.random() < 0.2
            held = board.crossing(dice.uniform(0.0, BOOT if booting else span), booting=booting)
            missed = ""
            try:
                share = held.prove(path, EXPERIMENTS[path])
                assert share.as_expected, f"{path}, {held.when}: {share.explain()}"
                outcome = f"{share.verdict}"
            except LabError as error:
                outcome = missed = f"MISS: {error.message}"
            finally:
                held.finish()
            print(f"{path}, {held.when} of {span:.1f} s: {outcome}")
            assert held.killed or not missed, f"{path}, {held.when}: nobody killed it, but {missed}"
            assert board.left() == before, f"{path}, {held.when}"
            lost += bool(missed)
    let_live(board, paths[-1])
    assert board.left() == before
    assert lost, "no kill came in time: the test says nothing"
