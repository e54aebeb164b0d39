"""`lab run` on places of a lab: real coordinator, exporter and rack; boards are lost, kicked and dead."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.base.words import Status
from lab.places import Health, Session, connect
from lab.places.model import MISSES
from lab.results.log import LogContents, read
from lab.results.places import Ended
from tests.boardlab import BoardLab
from tests.boards.webserver import server
from tests.lightlab import eventually, read_until

pytestmark = [pytest.mark.board, pytest.mark.timeout(400)]

DEAD = {
    "NetworkPowerPort": {"model": "rest", "host": "http://127.0.0.1:9/none", "index": "0"},
    "NetworkSerialPort": {"host": "127.0.0.1", "port": 9, "protocol": "raw"},
    "NetworkService": {"address": "127.0.0.1", "username": "root", "port": 9},
}
"""A board whose power, console and ssh nobody answers; the exporter offers it all the same."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardLab]:
    boards = {"cma-1": "virt-cma", "cma-2": "virt-cma", "net-1": "virt-netroot"}
    with BoardLab(tmp_path_factory.mktemp("lab"), boards) as found:
        yield found


@pytest.fixture
def session(lab: BoardLab) -> Iterator[Session]:
    with connect(lab.address, user="test") as found:
        yield found


def run(lab: BoardLab, folder: Path, *words: str):  # type: ignore[no-untyped-def]
    """``lab run``, with its results in ``folder``."""
    return lab.lab("run", "board", *words, "--results", str(folder), user="ci")


def log(folder: Path) -> LogContents:
    return read(folder / "latest" / "results.jsonl")


def powered(lab: BoardLab, place: str) -> bool:
    return lab.rack.status()[place].power


def test_a_kicked_run_leaves_the_board_alone_and_measures_the_rest_on_another(lab, session, tmp_path):
    process = run(lab, tmp_path, "-t", "virt-cma", "--wait", "2m", "-k", "test_size or test_hostile")
    said, _ = read_until(process, "verified:", timeout=120)
    eventually(lambda: len(log(tmp_path).results) >= 2, timeout=60)
    [first] = [place.name for place in session.places() if place.acquired]
    session.kick(first, "test")
    more, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said + more
    contents = log(tmp_path)
    missed = [result for result in contents.results if result.status is Status.MISS]
    assert {result.place for result in missed} <= {first}
    assert len(missed) <= 1, "only what was being measured"
    assert contents.run is not None
    passed = [result.key for result in contents.results if result.status is Status.PASS]
    assert sorted(passed) == sorted(cell.key for cell in contents.run.planned), "every cell, once"
    assert [lease.ended for lease in contents.leases] == [Ended.LOST, Ended.RELEASED]
    second = contents.leases[1].place
    assert second != first
    assert powered(lab, first), "it may be somebody else's by now: nobody may switch it off"
    assert not powered(lab, second)
    assert not any(place.acquired for place in session.places())


def test_a_terminated_run_frees_everything_soon(lab, session, tmp_path):
    lab.all_off()
    process = run(lab, tmp_path, "-t", "virt-cma", "--wait", "2m")
    read_until(process, "place    ", timeout=120)
    [held] = [place.name for place in session.places() if place.acquired]
    eventually(lambda: powered(lab, held), timeout=60)
    process.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    eventually(lambda: not any(place.acquired for place in session.places()), timeout=20)
    seconds = time.monotonic() - begin
    print(f"freed {seconds:.2f} s after SIGTERM")
    assert seconds < 15  # five are the aim; a test machine may be busy
    assert not session.waiting()
    eventually(lambda: not powered(lab, held), timeout=20)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 143, output
    assert {result.status for result in log(tmp_path).results} <= {Status.PASS, Status.MISS}


@pytest.fixture
def dead(lab: BoardLab, session: Session, tmp_path: Path) -> Iterator[str]:
    """A place with a board that does not answer; its boot files could be served."""
    folder = tmp_path / "tftp"
    folder.mkdir()
    provider = {"internal": f"{folder}/", "external": ""}
    lab.start_exporter("broken", {"dead-1": {**DEAD, "TFTPProvider": provider}})
    lab.add_places(session, "dead-1", exporter="broken", soc="dead", target="virt-cma")
    eventually(lambda: session.place("dead-1").live)
    yield "dead-1"
    lab.kill("broken")
    session.delete("dead-1")


def test_a_board_that_only_misses_is_quarantined(lab, session, dead, tmp_path):
    """By `lab health` at once, and by three runs in a row that could judge nothing."""
    said = lab.lab_says("health", dead, "--results", str(tmp_path), user="admin", status=3)
    assert "quarantined" in said, said
    found = session.place(dead)
    assert found.health is Health.QUARANTINED
    assert found.health_reason.startswith("MISS: "), found.health_reason
    [record] = log(tmp_path).health
    assert (record.place, record.health) == (dead, "quarantined")

    session.set_health(dead, Health.HEALTHY)
    words = ["--place", dead, "-k", "test_decoder_writes_into and mmap", "--bisect"]
    for before, after in (("", "1"), ("2", "3")):
        session.set_tags(dead, {MISSES: before})
        process = run(lab, tmp_path, *words)
        output, _ = process.communicate(timeout=90)
        assert process.returncode == 125, f"git bisect must skip where the lab failed: {output}"
        found = session.place(dead)
        assert found.tags[MISSES] == after
        assert (found.health is Health.HEALTHY) == (after == "1")
    assert session.place(dead).health is Health.QUARANTINED
    assert "3 MISS in a row" in session.place(dead).health_reason
    assert [record.place for record in log(tmp_path).health] == [dead]

    process = run(lab, tmp_path, "--place", dead, "--wait", "1s")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 3, output
    assert "quarantined" in output


def test_a_root_from_a_broken_server_is_a_miss_that_says_so(lab, session, tmp_path):
    """The other ways in which servers are broken: tests/boards/test_netroot.py."""
    with server("refused", b"", tmp_path) as provider:
        lab.start_exporter("web", {"web-1": {**lab.rack.resources("net-1"), "HTTPProvider": provider}})
        lab.add_places(session, "web-1", exporter="web", soc="qemu-virt", target="virt-netroot")
        eventually(lambda: session.place("web-1").live)
        process = run(lab, tmp_path, "--place", "web-1", "--iommu", "translated", "-k", "into and mmap")
        output, _ = process.communicate(timeout=120)
    lab.kill("web")
    session.delete("web-1")
    assert process.returncode == 3, output
    said = f"LAB-ROOT-FAILED: {provider['external']}squashfs: wget: can't connect"
    assert said in output
    assert {result.status for result in log(tmp_path).results} == {Status.MISS}
    assert all(said in result.reason for result in log(tmp_path).results)
    assert not powered(lab, "net-1")


def test_a_board_of_the_lab_is_brought_up_by_who_holds_it(lab, dead):
    assert f"lab reserve name={dead}" in lab.lab_says("bringup", dead, status=2)
    lab.lab_says("reserve", f"name={dead}", "--for", "1h")
    said = lab.lab_says("bringup", dead, status=3)
    assert re.search("✗ power .*\n", said), said
    assert "· serial           needs power" in said
    lab.lab_says("release", dead)


def test_what_the_lab_does_not_have_is_refused_at_once(lab, tmp_path):
    for words, hint in (
        (("--soc", "rk3588"), "it has qemu-virt"),
        (("--place", "rock-1"), "cma-1"),
        (("-t", "virt-smmu", "--wait", "1m"), "virt-cma"),
    ):
        process = run(lab, tmp_path, *words)
        output, _ = process.communicate(timeout=90)
        assert process.returncode == 2, output
        assert hint in output
