"""Machines of their own on this one: network and mount namespaces, joined by a virtual cable."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.admin.conftest import ENVIRONMENT, process

DROPBEAR = "/usr/sbin/dropbear"

needed = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "nsenter", "ssh", DROPBEAR))),
    reason="needs root for network namespaces, iproute2, util-linux, ssh and dropbear-bin",
)

FIRST = """
mount --bind "$1/passwd" /etc/passwd
ip link set lo up
echo ready
exec sleep infinity
"""
"""A machine's first process keeps its namespaces. Home is a folder of the test: ssh asks passwd for it."""


@dataclass(frozen=True)
class Machine:
    """One of them. ``folder`` holds its home and the logs of what runs on it."""

    pid: int
    folder: Path

    @property
    def home(self) -> Path:
        """Root's home there."""
        return self.folder / "home"

    def words(self, command: Sequence[object]) -> list[str]:
        """``command``, to be run there."""
        return ["nsenter", "-t", str(self.pid), "-n", "-m", f"--wd={self.folder}", "--", *map(str, command)]

    def run(self, *command: object, timeout: float = 60, **more: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.words(command),
            cwd=self.folder,
            env={**ENVIRONMENT, **more},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def lab(self, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
        """The ``lab`` command there."""
        return self.run(sys.executable, "-m", "lab.cli", *words, **more)

    def start(
        self, command: Sequence[object], ready: str, log: str
    ) -> contextlib.AbstractContextManager[re.Match[str]]:
        """Keep it running for a block."""
        return process(self.words(command), cwd=self.folder, ready=ready, log=log)


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A machine without any network but its loopback."""
    (folder / "home" / ".ssh").mkdir(parents=True, mode=0o700)
    (folder / "home").chmod(0o700)
    (folder / "passwd").write_text(f"root:x:0:0:root:{folder}/home:/bin/sh\n")
    command = [
        "unshare",
        "--net",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-ec",
        FIRST,
        "sh",
        str(folder),
    ]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"ready\n"
        yield Machine(first.pid, folder)
    finally:
        first.kill()
        first.wait()
        if first.stdout is not None:
            first.stdout.close()


def join(one: Machine, other: Machine) -> tuple[str, str]:
    """Lay a cable between them; their addresses."""
    addresses = ("10.77.0.1", "10.77.0.2")
    cable = f"ip link add eth0 type veth peer name eth0 netns {other.pid}"
    for each, command in ((one, cable), *((each, "ip link set eth0 up") for each in (one, other))):
        done = each.run(*command.split())
        assert done.returncode == 0, done.stderr
    for each, address in zip((one, other), addresses, strict=True):
        assert each.run("ip", "addr", "add", f"{address}/24", "dev", "eth0").returncode == 0
    return addresses


@contextlib.contextmanager
def ssh_server(server: Machine, address: str, client: Machine, name: str) -> Iterator[None]:
    """An ssh server that lets ``client`` in by key, and is known there as ``name`` by its host key."""
    key, host_key = client.home / ".ssh" / "id_ed25519", server.folder / "host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=30)
    made = subprocess.run(
        ["dropbearkey", "-t", "ed25519", "-f", host_key],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    [public] = re.findall(r"^ssh-ed25519 \S+", made.stdout, re.MULTILINE)
    authorized = server.home / ".ssh" / "authorized_keys"
    authorized.write_text(key.with_suffix(".pub").read_text())
    authorized.chmod(0o600)
    (client.home / ".ssh" / "known_hosts").write_text(f"{address} {public}\n")
    (client.home / ".ssh" / "config").write_text(f"Host {name}\n  HostName {address}\n")
    command = [DROPBEAR, "-F", "-E", "-s", "-m", "-r", host_key, "-p", f"{address}:22"]
    with server.start(command, ready="Not backgrounding", log="ssh.log"):
        until_open(client, address, 22)
        yield


def until_open(client: Machine, address: str, port: int, seconds: float = 10) -> None:
    """Wait until a TCP port is open."""
    script = f"import socket; socket.create_connection(('{address}', {port}), 1).close()"
    end = time.monotonic() + seconds
    while (done := client.run(sys.executable, "-S", "-c", script)).returncode:
        assert time.monotonic() < end, done.stderr
        time.sleep(0.05)
