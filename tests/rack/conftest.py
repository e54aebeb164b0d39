"""A U-Boot, a rack, and labgrid's own drivers on its boards."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from labgrid import Target
from labgrid.driver import NetworkPowerDriver, SerialDriver
from labgrid.resource import NetworkPowerPort, NetworkSerialPort

from lab.rack import Rack
from tests.rack.parent import VIRT, Files

__all__ = ["VIRT", "Bench", "Files", "eventually", "gone", "parent_command"]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Files that exist, for tests that switch nothing on."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "u-boot.bin").write_bytes(b"not a boot loader")
    (folder / "disk,with comma").write_bytes(bytes(1 << 20))
    return Files(folder / "u-boot.bin", folder / "disk,with comma")


@pytest.fixture(scope="session")
def bootable(files: Files) -> Files:
    """The image's U-Boot and an empty disk."""
    from lab.imaging import build

    return Files(build().uboot, files.squashfs)


class Bench:
    """labgrid's drivers for one board, as an environment file would make them."""

    def __init__(self, rack: Rack, name: str) -> None:
        resources = rack.resources(name)
        self.target = Target(name)
        NetworkPowerPort(self.target, None, **resources["NetworkPowerPort"])
        NetworkSerialPort(self.target, None, **resources["NetworkSerialPort"])
        self.power = NetworkPowerDriver(self.target, None, delay=0.0)
        self.console = SerialDriver(self.target, None)
        self.target.activate(self.power)
        self.target.activate(self.console)

    def prompt(self) -> bytes:
        """Stop U-Boot's countdown; what it wrote until its prompt."""
        _, before, _, _ = self.console.expect("stop autoboot", timeout=30)
        self.console.write(b"\n")
        self.console.expect("=> ", timeout=10)
        return bytes(before)

    def uboot(self, command: str) -> str:
        """The output of one U-Boot command, after its echo."""
        self.console.write(command.encode() + b"\n")
        _, before, _, _ = self.console.expect("\r\n=> ", timeout=30)
        return bytes(before).decode()


def eventually(what: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether ``what`` becomes true within ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.02)
    return what()


def gone(pid: int) -> bool:
    """Whether no process has this number (a zombie counts as gone)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def parent_command(directory: Path, uboot: Path, *words: str) -> list[str]:
    """The command of a process that starts a rack (parent.py); to be run in the checkout."""
    return [sys.executable, "-m", "tests.rack.parent", str(directory), str(uboot), *words]
