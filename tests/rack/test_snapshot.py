"""Snapshots: the store by itself, and boards at U-Boot's prompt that are saved and go on."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.base import dirs
from lab.base.errors import LabError
from lab.rack import Rack
from lab.rack.layout import BoardPlan
from lab.rack.snapshot import Store, full_key, machine_facts
from tests.rack.conftest import VIRT, Bench, Files, eventually, gone

KEY = hashlib.sha256(b"one").hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


def put(store: Store, key: str, data: bytes, **about: str) -> None:
    """A snapshot with ``data`` in the place of what QEMU writes."""
    with store.part() as part:
        reader = threading.Thread(target=part.receive)
        reader.start()
        part.fifo.write_bytes(data)
        part.ended()
        reader.join()
        part.describe({"machine": "any"}, about)
        store.keep(part, key)


def feed(store: Store, key: str) -> tuple[bool, bytes]:
    """What comes out of a snapshot, and whether it says that it is as it was."""
    found = store.find(key)
    assert found is not None
    reader, writer = os.pipe()
    outcome: list[bool] = []
    thread = threading.Thread(target=lambda: outcome.append(found.feed(writer)))
    thread.start()
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    thread.join()
    return outcome[0], data


def test_a_snapshot_comes_out_as_it_went_in(tmp_path: Path) -> None:
    store = Store(tmp_path / "snapshots")
    data = os.urandom(3_000_001)
    put(store, KEY, data, boot_id="4711")
    found = store.find(KEY)
    assert found is not None
    assert found.about == {"boot_id": "4711"}
    assert feed(store, KEY) == (True, data)
    assert store.find(OTHER) is None
    assert store.root.stat().st_mode & 0o077 == 0, "it holds the memory of a board, keys and all"


@pytest.mark.parametrize("position", [0, 1_500_000, -1])
def test_one_flipped_bit_is_told(tmp_path: Path, position: int) -> None:
    store = Store(tmp_path)
    put(store, KEY, bytes(3_000_000))
    state = tmp_path / KEY / "state"
    data = bytearray(state.read_bytes())
    data[position] ^= 1
    state.write_bytes(data)
    assert feed(store, KEY)[0] is False


def test_a_snapshot_without_its_end_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, KEY, bytes(3_000_000))
    os.truncate(tmp_path / KEY / "state", 2_999_999)
    assert feed(store, KEY)[0] is False


def test_a_reader_that_leaves_does_not_hold_up_the_check(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, KEY, bytes(3_000_000))
    found = store.find(KEY)
    assert found is not None
    reader, writer = os.pipe()
    os.close(reader)
    assert found.feed(writer) is True


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"sha256": "00", "machine": {}}'])
def test_what_is_no_snapshot_is_none(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path)
    put(store, KEY, b"x")
    (tmp_path / KEY / "about.json").write_text(text)
    assert store.find(KEY) is None
    assert store.all() == []


def test_those_unused_for_longest_make_room(tmp_path: Path) -> None:
    store = Store(tmp_path, space=2500)
    keys = [hashlib.sha256(bytes([number])).hexdigest() for number in range(3)]
    for number, key in enumerate(keys[:2]):
        put(store, key, bytes(1000))
        os.utime(tmp_path / key, (number, number))
    assert store.find(keys[0]), "this use makes it the newer one"
    put(store, keys[2], bytes(1000))
    assert [snapshot.key for snapshot in store.all()] == [keys[2], keys[0]]
    put(store, KEY, bytes(9000))
    assert [snapshot.key for snapshot in store.all()] == [KEY], "the newest stays, however large"
    assert [snapshot.key for snapshot in store.clear()] == [KEY]
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_saving_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.part():
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_swept_and_what_is_written_is_not(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from lab.rack.snapshot import Store\n"
        "with Store(Path(sys.argv[1])).part() as part: print('part', flush=True); time.sleep(60)"
    )
    python = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(python, cwd=dirs.root(), stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"part\n"
        put(Store(tmp_path), KEY, b"x")
        assert len(list(tmp_path.glob(".part-*"))) == 1, "its writer lives"
        writer.kill()
    put(Store(tmp_path), OTHER, b"x")
    assert {path.name for path in tmp_path.iterdir()} == {KEY, OTHER}


def plan(files: Files, **changes: object) -> BoardPlan:
    data = VIRT.model_dump() | {"uboot": str(files.uboot), "squashfs": str(files.squashfs)} | changes
    return BoardPlan(name="any", **data)


def test_two_who_save_at_once_are_not_in_each_others_way(tmp_path: Path) -> None:
    failed: list[OSError] = []

    def save() -> None:
        try:
            for _ in range(300):
                with Store(tmp_path).part():
                    pass
        except OSError as error:
            failed.append(error)

    savers = [threading.Thread(target=save) for _ in range(2)]
    for thread in savers:
        thread.start()
    for thread in savers:
        thread.join()
    assert not failed


def test_the_key_follows_the_machine_and_not_the_rack(files: Files, tmp_path: Path) -> None:
    facts = machine_facts(plan(files))
    moved = BoardPlan(**{**vars(plan(files)), "name": "another", "ssh_port": 4711, "serial_port": 4712})
    assert full_key(KEY, machine_facts(moved)) == full_key(KEY, facts)
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4096))
    uboot = tmp_path / "uboot"
    uboot.write_bytes(b"another")
    for changes in (
        {"memory": "2G"},
        {"smp": 1},
        {"devices": VIRT.devices[:1]},
        {"extra": ("-icount", "auto")},
        {"machine": "virt"},
        {"squashfs": str(disk)},
        {"uboot": str(uboot)},
    ):
        assert full_key(KEY, machine_facts(plan(files, **changes))) != full_key(KEY, facts), changes
    assert full_key(OTHER, facts) != full_key(KEY, facts)


@pytest.fixture(scope="module")
def rack(bootable: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """Two boards of one kind and one of another; its snapshots lie where a comma and a quote are, too."""
    folder = tmp_path_factory.mktemp("rack")
    boards = {"one": VIRT, "two": VIRT, "other": VIRT.model_copy(update={"smp": 1})}
    with Rack.start(boards, image=bootable, directory=folder, snapshots=folder / "a,b 'c'") as rack:
        yield rack


@pytest.fixture
def store(rack: Rack) -> Store:
    return Store(rack.directory / "a,b 'c'")


@pytest.fixture
def saved(rack: Rack) -> Iterator[Bench]:
    """Board one at U-Boot's prompt, with something in its memory, saved as KEY; off in the end."""
    bench = Bench(rack, "one")
    bench.power.cycle()
    bench.prompt()
    bench.uboot("setenv remembered by heart")
    rack.snapshots("one").save(KEY, {"said": "this"})
    yield bench
    bench.power.off()
    bench.target.deactivate(bench.console)


@pytest.mark.board
def test_a_saved_board_runs_on_and_goes_on_elsewhere(rack: Rack, saved: Bench) -> None:
    assert "by heart" in saved.uboot("printenv remembered"), "it runs on after it was saved"
    saved.uboot("setenv remembered overwritten")
    saved.power.off()
    two = rack.snapshots("two")
    assert two.find(KEY) == {"said": "this"}
    assert two.find(OTHER) is None
    assert two.resume(OTHER) is False
    bench = Bench(rack, "two")
    for _ in range(2):
        assert two.resume(KEY) is True
        assert bench.power.get() is True
        bench.console.write(b"\n")
        bench.console.expect("=> ", timeout=10)
        assert "remembered=by heart" in bench.uboot("printenv remembered")
        bench.power.off()
    bench.target.deactivate(bench.console)


@pytest.mark.board
def test_a_board_of_another_kind_does_not_take_it(rack: Rack, saved: Bench) -> None:
    other = rack.snapshots("other")
    assert other.find(KEY) is None
    assert other.resume(KEY) is False
    assert rack.status()["other"].power is False


@pytest.mark.board
def test_a_board_that_is_on_or_off_at_the_wrong_moment(rack: Rack, saved: Bench) -> None:
    with pytest.raises(LabError, match="on cannot go on from a snapshot"):
        rack.snapshots("one").resume(KEY)
    assert rack.snapshots("one").find(KEY), "no fault of the snapshot's"
    saved.power.off()
    with pytest.raises(LabError, match="off cannot be saved"):
        rack.snapshots("one").save(OTHER, {})


@pytest.mark.board
@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_damaged_snapshot_is_refused_and_removed(rack: Rack, saved: Bench, store: Store, how: str) -> None:
    saved.power.off()
    [snapshot] = store.all()
    state = snapshot.path / "state"
    data = bytearray(state.read_bytes())
    if how == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 1  # in the middle of a page of RAM, where QEMU would not mind
    state.write_bytes(data)
    with pytest.raises(LabError, match="damaged" if how == "flipped" else "QEMU"):
        rack.snapshots("one").resume(KEY)
    assert rack.status()["one"].power is False
    assert rack.snapshots("one").find(KEY) is None
    assert "is of no use, removed" in rack.log_tail("one")
    saved.power.on()
    saved.prompt()


@pytest.mark.board
@pytest.mark.parametrize("victim", ["qemu", "supervisor"])
def test_a_kill_in_the_middle_leaves_no_half_snapshot(bootable: Files, tmp_path: Path, victim: str) -> None:
    """QEMU is stopped, so that the save is in its middle when the kill comes."""
    store = Store(tmp_path / "snapshots")
    rack = Rack.start({"one": VIRT}, image=bootable, directory=tmp_path / "rack", snapshots=store.root)
    with rack:
        bench = Bench(rack, "one")
        bench.power.on()
        bench.prompt()
        pid = rack.status()["one"].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # it never answers "stop": the save waits
        outcome: list[BaseException] = []

        def save() -> None:
            try:
                rack.snapshots("one").save(KEY, {})
            except LabError as error:
                outcome.append(error)

        thread = threading.Thread(target=save)
        thread.start()
        assert eventually(lambda: any(store.root.glob(".part-*/state")))
        os.kill(pid if victim == "qemu" else rack.state.pid, signal.SIGKILL)
        thread.join(20)
        assert outcome
        assert eventually(lambda: gone(pid))
        assert store.all() == []
        if victim == "qemu":
            assert list(store.root.iterdir()) == []
        else:
            assert eventually(lambda: gone(rack.state.pid))
            put(store, OTHER, b"x")
            assert [path.name for path in store.root.iterdir()] == [OTHER]
