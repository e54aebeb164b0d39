"""install.sh with a real systemd: a user's manager in namespaces, its units with labgrid's real programs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.admin import machines
from tests.admin.conftest import BIN
from tests.admin.machines import Machine

SYSTEMD = Path("/lib/systemd/systemd")
LAB = """\
exporters: {bench: {resources: {evk: {NetworkService: {address: 10.0.0.8, username: root}}}}}
places: {evk: {tags: {soc: imx8mq}}}
"""
MOUNTS = """
mount -t tmpfs tmpfs /run
mkdir -p -m 700 /run/systemd/system /run/user/0
umount -l /sys/fs/cgroup
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir /sys/fs/cgroup/unified /sys/fs/cgroup/systemd
mount -t cgroup2 none /sys/fs/cgroup/unified
mount -t cgroup -o none,name=systemd none /sys/fs/cgroup/systemd
"""
"""What systemctl asks whether systemd runs, and control groups in the hybrid layout."""

UNITS = ("coordinator", "janitor", "exporter-bench")


class User:
    """A user's session on a machine with systemd."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.environment = {"XDG_RUNTIME_DIR": "/run/user/0", "HOME": str(machine.home)}

    def run(self, *command: object) -> str:
        """What a command says on both outputs. It must succeed."""
        done = self.machine.run(*command, **self.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def pids(self) -> dict[str, int]:
        """The main process of each unit."""
        show = ["systemctl", "--user", "show", "-p", "MainPID", "--value"]
        return {unit: int(self.run(*show, f"sharelab-{unit}.service")) for unit in UNITS}


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    with ExitStack() as stack:
        machine = stack.enter_context(machines.machine(tmp_path))
        found = User(machine)
        done = machine.run("sh", "-ec", MOUNTS)
        if done.returncode:
            pytest.skip(f"no systemd in namespaces here: {done.stderr}")
        command = ["env", *(f"{key}={value}" for key, value in found.environment.items()), SYSTEMD, "--user"]
        stack.enter_context(machine.start(command, "", "systemd.log"))
        end = time.monotonic() + 20
        while machine.run("systemctl", "--user", "is-system-running", **found.environment).returncode:
            assert time.monotonic() < end, (tmp_path / "systemd.log").read_text()
            time.sleep(0.1)
        yield found
        found.run("systemctl", "--user", "stop", "sharelab-*")


@machines.needed
@pytest.mark.skipif(
    not SYSTEMD.exists() or Path("/run/systemd/system").exists(),
    reason="needs systemd's program, on a machine that it does not run already",
)
def test_units_are_installed_kept_alive_and_the_coordinator_is_never_restarted(user: User):
    folder = user.machine.folder
    (folder / "lab.yaml").write_text(LAB)
    done = user.machine.lab("units", "lab.yaml", "--bin", BIN)
    assert done.returncode == 0, done.stderr
    install = ["sh", "units/localhost/install.sh"]
    said = user.run(*install)
    assert all(f"sharelab-{unit}.service" in said for unit in UNITS)
    first = user.pids()
    assert all(first.values())
    assert (user.machine.home / ".config/sharelab/exporter-bench.yaml").stat().st_mode & 0o077 == 0

    unit = folder / "units/localhost/sharelab-coordinator.service"
    unit.write_text(unit.read_text() + "# changed\n")
    said = user.run(*install)
    assert "still running as before" in said  # its restart would drop every lease
    second = user.pids()
    assert second["coordinator"] == first["coordinator"]
    assert second["exporter-bench"] != first["exporter-bench"]

    os.kill(second["coordinator"], 9)  # with it the exporter ends (status 100), and must come back as well
    end = time.monotonic() + 30
    while user.machine.lab("sync", "lab.yaml").returncode or (third := user.pids()) == second:
        assert time.monotonic() < end
        time.sleep(0.2)
    while "no problems" not in (said := user.machine.lab("doctor", "lab.yaml").stdout):
        assert time.monotonic() < end, said
        time.sleep(0.2)
    assert third["coordinator"] not in (0, second["coordinator"])
