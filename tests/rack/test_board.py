"""Virtual boards up to U-Boot's prompt, driven by labgrid's own drivers."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from labgrid.driver import TFTPProviderDriver
from labgrid.resource import TFTPProvider

from lab.base import dirs
from lab.rack import Rack
from lab.rack.board import Board
from lab.rack.layout import BoardPlan
from tests.rack.conftest import VIRT, Bench, Files, eventually, gone, parent_command

pytestmark = pytest.mark.board

BOARDS = {
    "good": VIRT,
    "bad": VIRT.model_copy(update={"devices": ("no-such-device",)}),
    "silent": VIRT.model_copy(update={"extra": ("-S",)}),
}


@pytest.fixture(scope="module")
def rack(bootable: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """One rack for all tests here; its folder has a comma, as a user's may."""
    folder = tmp_path_factory.mktemp("rack") / "a,b"
    with Rack.start(BOARDS, image=bootable, directory=folder) as rack:
        yield rack


@pytest.fixture
def bench(rack: Rack) -> Iterator[Bench]:
    """The good board, off before and after."""
    bench = Bench(rack, "good")
    bench.power.off()
    yield bench
    bench.power.off()
    bench.target.deactivate(bench.console)


def test_power_and_console_over_cycles(rack: Rack, bench: Bench) -> None:
    """One connection to the console serves two power cycles; all of it is in the log."""
    mark = rack.console_log("good").stat().st_size
    bench.console.write(b"to a board that is off")
    bench.power.on()
    assert bench.power.get() is True
    assert b"U-Boot" in bench.prompt()
    pid = rack.status()["good"].pid
    bench.power.on()  # a relay that is closed stays closed
    assert rack.status()["good"].pid == pid
    bench.power.cycle()
    assert b"U-Boot" in bench.prompt()
    assert rack.status()["good"].pid != pid
    bench.power.off()
    assert bench.power.get() is False
    log = rack.console_log("good").read_bytes()[mark:]
    assert log.count(b"stop autoboot") == 2
    assert b"to a board" not in log


def test_the_board_fetches_a_staged_file_and_has_its_devices(
    rack: Rack, bench: Bench, tmp_path: Path
) -> None:
    content = random.Random(4).randbytes(300_001)
    (tmp_path / "kernel image").write_bytes(content)
    TFTPProvider(bench.target, None, **rack.resources("good")["TFTPProvider"])
    provider = TFTPProviderDriver(bench.target, None)
    bench.target.activate(provider)
    name = provider.stage(str(tmp_path / "kernel image"))
    bench.power.on()
    bench.prompt()
    bench.uboot("setenv autoload no; dhcp")
    got = bench.uboot(f"tftpboot 0x42000000 '{name}'")
    assert f"Bytes transferred = {len(content)}" in got
    assert f"{zlib.crc32(content):08x}" in bench.uboot("crc32 0x42000000 ${filesize}")
    slots = [line.split()[:3] for line in bench.uboot("pci").splitlines() if line.startswith("00.")]
    assert ["00.01.00", "0x1234", "0x11e8"] in slots
    assert ["00.02.00", "0x1234", "0x11e8"] in slots
    assert {slot[0] for slot in slots if slot[1] == "0x1af4"} == {"00.1e.00", "00.1f.00"}

    # What edu says on QEMU's stdout is in the log at once, not at QEMU's end: a DMA beyond its 28 bits.
    for offset, value in ((0x80, 0x50000000), (0x88, 0x40000), (0x90, 0x10), (0x98, 1)):
        bench.uboot(f"mw.q {0x10000000 + offset:#x} {value:#x}")
    assert eventually(lambda: "EDU: clamping DMA" in rack.log_tail("good"))


def test_a_board_that_switches_itself_off_is_off(rack: Rack, bench: Bench) -> None:
    bench.power.on()
    bench.prompt()
    bench.console.write(b"poweroff\n")
    assert eventually(lambda: not bench.power.get())
    assert "SHUTDOWN" in rack.log_tail("good")
    assert "QEMU ended with exit status 0" in rack.log_tail("good", 3)


def test_a_killed_qemu_is_off_and_can_be_switched_on_again(rack: Rack, bench: Bench) -> None:
    bench.power.on()
    pid = rack.status()["good"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not bench.power.get())
    assert eventually(lambda: "QEMU ended by SIGKILL" in rack.log_tail("good", 3))
    bench.power.on()
    bench.prompt()


def test_a_stopped_qemu_is_switched_off(rack: Rack, bench: Bench) -> None:
    bench.power.on()
    pid = rack.status()["good"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    bench.power.off()
    assert gone(pid)
    assert bench.power.get() is False


def test_ssh_has_the_same_port_in_every_cycle(rack: Rack, bench: Bench) -> None:
    address = ("127.0.0.1", rack.resources("good")["NetworkService"]["port"])
    for _ in range(2):
        bench.power.on()
        socket.create_connection(address, timeout=5).close()
        bench.power.off()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)


def test_an_option_that_qemu_refuses_is_told(rack: Rack) -> None:
    bench = Bench(rack, "bad")
    with pytest.raises(requests.HTTPError, match="'no-such-device' is not a valid device model name"):
        bench.power.on()
    assert bench.power.get() is False
    assert "qemu: qemu-system-aarch64: -device no-such-device" in rack.log_tail("bad")
    assert "power on failed: QEMU ended at once" in rack.log_tail("bad")


def test_an_ssh_port_that_another_program_took_is_told(rack: Rack, bench: Bench) -> None:
    """The rack holds the port; only a program that sets SO_REUSEADDR and asks for just this one gets it."""
    port = rack.resources("good")["NetworkService"]["port"]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(requests.HTTPError, match=f"hostfwd=tcp:127.0.0.1:{port}|host forwarding rule"):
            bench.power.on()
    bench.power.on()


def test_power_on_returns_when_the_machine_exists_though_it_is_silent(rack: Rack) -> None:
    """``-S``: QEMU is there and its monitor answers, but no instruction runs; output is no condition."""
    bench = Bench(rack, "silent")
    bench.power.on()
    assert rack.status()["silent"].pid is not None
    assert rack.console_log("silent").read_bytes() == b""
    bench.power.off()


def test_nothing_is_left_after_a_kill_of_parent_or_supervisor(bootable: Files, tmp_path: Path) -> None:
    for number, victim in enumerate(("parent", "supervisor")):
        command = parent_command(tmp_path / str(number), bootable.uboot, "on")
        with subprocess.Popen(command, cwd=dirs.root(), stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            supervisor, qemu = json.loads(parent.stdout.readline())
            assert not gone(qemu)
            os.kill(parent.pid if victim == "parent" else supervisor, signal.SIGKILL)
            assert eventually(lambda q=qemu, s=supervisor: gone(q) and gone(s))
            parent.kill()


def test_a_rack_ends_with_a_stopped_board_in_it(bootable: Files, tmp_path: Path) -> None:
    rack = Rack.start({"one": VIRT}, image=bootable, directory=tmp_path)
    Bench(rack, "one").power.on()
    pid = rack.status()["one"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    rack.close()
    assert gone(pid)
    assert time.monotonic() - started < 8  # the supervisor did it, it was not killed after its time-out


def test_who_switches_off_while_another_switches_on_is_obeyed(bootable: Files, tmp_path: Path) -> None:
    plan = BoardPlan(
        name="b",
        machine="virt",
        cpu="max",
        smp=1,
        memory="256M",
        devices=(),
        extra=("-S",),
        uboot=str(bootable.uboot),
        squashfs=str(bootable.squashfs),
    )

    async def body() -> None:
        board = Board(plan, tmp_path)
        await board.open()
        try:
            await board.on()
            os.kill(board.status()["pid"], signal.SIGKILL)
            while board.powered:
                await asyncio.sleep(0)
            # one waits for what the killed one left, then starts; the other finds nothing running yet
            on, off = asyncio.create_task(board.on()), asyncio.create_task(board.off())
            await asyncio.wait_for(off, 20)
            await on
            assert not board.powered
        finally:
            await board.close()

    asyncio.run(body())
