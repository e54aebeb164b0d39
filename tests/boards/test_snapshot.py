"""A board that goes on from a saved boot: the same as a booted one, and never one of something else.

With a guest in it: tests/runs/test_vm_table.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.agent import ship
from lab.base.words import IommuMode
from lab.boards import Board, Target, load_target
from lab.boards.agent import Agent
from lab.boards.snapshots import SavedBoot, key
from lab.imaging import Image
from lab.media import sample
from lab.rack import Machine, Rack
from lab.rack.snapshot import Store

COLD = ["uboot", "kernel", "linux", "ssh", "agent", "verified"]
WARM = ["restored", "ssh", "agent", "verified"]


def test_the_key_follows_all_that_goes_into_a_boot(
    smmu: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, initrd = tmp_path / "kernel", tmp_path / "initrd"
    kernel.write_bytes(b"kernel")
    initrd.write_bytes(b"initrd and the ssh keys")

    def of(target: Target = smmu, mode: IommuMode = IommuMode.TRANSLATED, guest: object = None) -> str:
        return key(target, None, mode, kernel=kernel, initrd=initrd, guest=guest)

    def edited(old: str, new: str) -> Target:
        text = smmu.path.read_text()
        assert old in text
        path = tmp_path / smmu.path.name
        path.write_text(text.replace(old, new))
        return load_target(path)

    assert of() == of(edited("# A virtual", "# Any virtual")), "a comment changes nothing"
    found = {
        of(),
        *(of(mode=mode) for mode in smmu.modes if mode is not IommuMode.TRANSLATED),
        of(guest={"gpu": "blob"}),
        of(guest={"gpu": "2d"}),
        of(edited("address_bits: [32, 28]", "address_bits: [32, 27]")),
        of(edited("dma_mask: 28", "dma_mask: 27")),
        of(edited("quiet ", "")),
        of(edited("iommu.strict=1", "iommu.strict=2")),
        of(edited("  smp: 1", "  smp: 2")),
    }
    kernel.write_bytes(b"another kernel")
    found.add(of())
    initrd.write_bytes(b"initrd and other ssh keys")
    found.add(of())
    monkeypatch.setattr(ship, "sources", lambda: {"lab.agent.server": "another"})
    found.add(of())
    assert len(found) == 10 + len(smmu.modes)
    assert all(len(name) == 64 for name in found)


@pytest.fixture(scope="module", params=[1, 2], ids=["one CPU", "two CPUs"])
def smp(request: pytest.FixtureRequest) -> int:
    """How many CPUs the board has: the timers of each must go on, and nobody wakes a lone one by chance."""
    found: int = request.param
    return found


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("snapshots"))


TICKS = "while :; do busybox sleep 0.05; done"


@pytest.fixture(scope="module")
def ticking(smp: int) -> Iterator[None]:
    """Boards are saved with a timer about to expire on each CPU.

    QEMU loses just that one. An idle board's may be seconds away, and whatever comes before it wakes the CPU.
    """
    save = SavedBoot.save

    def with_ticks(saved: SavedBoot, agent: Agent, guest: Agent | None = None) -> None:
        for processor in range(smp):
            shell = f"busybox taskset {1 << processor:x} busybox sh -c '{TICKS}' </dev/null >/dev/null 2>&1 &"
            assert agent.run(["busybox", "sh", "-c", shell])["rc"] == 0
        save(saved, agent, guest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SavedBoot, "save", with_ticks)
        yield


@pytest.fixture(scope="module")
def saving(
    smmu: Target,
    smp: int,
    ticking: None,
    real_image: Image,
    shelf: Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Board]:
    """A board whose boots are saved, in a rack of its own."""
    directory = tmp_path_factory.mktemp("saving")
    machine = Machine.model_validate({**(smmu.virtual or {}), "smp": smp})
    with Rack.start(
        {smmu.name: machine}, image=real_image, directory=directory / "rack", snapshots=shelf.root
    ) as rack:
        environment = smmu.write_environment(
            directory,
            resources=rack.resources(smmu.name),
            image=real_image,
            keyfile=rack.keyfile,
            boot_files=rack.boot_files,
        )
        with Board.open(
            environment,
            smmu,
            real_image,
            log_tail=lambda: rack.log_tail(smmu.name),
            snapshots=rack.snapshots(smmu.name),
        ) as board:
            yield board


def decode(board: Board, allocator: str) -> None:
    """Decode a stream on the board, twice over a page long, and compare every byte."""
    stream = sample(64, 64, count=1)
    raw = board.agent.request(
        "share",
        {
            "stream": stream.data,
            "sizes": stream.sizes,
            "device": board.target.decoders[0].device,
            "allocator": allocator,
        },
        timeout=60,
    )
    assert (raw["stage"], raw["errno"]) == ("done", None), raw["message"]
    layout = raw["format"]
    references = stream.references("NV12", stride=layout["bytesperline"], height=layout["height"])
    assert [frame["data"] for frame in raw["frames"]] == references
    assert raw["iommu"]["type"] == "DMA"
    assert raw["faults"] == 0


@pytest.mark.board
@pytest.mark.timeout(240)
def test_a_board_goes_on_from_its_boot_and_decodes(saving: Board, smp: int, shelf: Store) -> None:
    board = saving
    board.boot(IommuMode.TRANSLATED)
    assert list(board.times) == COLD
    assert board.snapshot.startswith("saved ")
    decode(board, "udmabuf-4k")  # the session that was saved is none the worse for it
    boot_id = board.agent.call("hello")["boot_id"]
    facts = board.facts
    board.power_off()

    for _ in range(2):  # a timer that does not go on does not show every time
        board.boot(IommuMode.TRANSLATED)
        assert list(board.times) == WARM
        assert board.snapshot.startswith("restored ")
        assert (board.mode, board.verified) == (IommuMode.TRANSLATED, "DMA")
        assert board.agent.call("hello")["boot_id"] == boot_id
        assert board.facts == facts
        for processor in range(smp):
            mask = f"{1 << processor:x}"
            slept = board.agent.run(["busybox", "taskset", mask, "sleep", "0.3"], timeout=10)
            assert slept["rc"] == 0, slept
        decode(board, "udmabuf-4k")
        decode(board, "decoder-mmap")
        board.power_off()

    [snapshot] = (one for one in shelf.all() if one.about["boot_id"] == boot_id)
    # One that is whole and yet not what it claims to be. Damaged ones: tests/rack/test_snapshot.py.
    about = snapshot.path / "about.json"
    said = json.loads(about.read_text())
    said["about"]["boot_id"] = "another"
    about.write_text(json.dumps(said))
    board.boot(IommuMode.TRANSLATED)
    assert list(board.times) == COLD, "a plain boot instead"
    assert board.snapshot == f"not restored: it went on with boot_id {boot_id} instead of another"
    assert board.agent.call("hello")["boot_id"] != boot_id
    assert shelf.find(snapshot.key), "and a new snapshot in its place"
