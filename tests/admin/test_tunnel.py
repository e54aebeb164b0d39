"""A coordinator on one machine's loopback, an exporter and a user on another: by ssh, as `lab units` and
`lab doctor` set it up. Both machines are network namespaces; everything on them is real."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.admin import machines
from tests.admin.conftest import BIN
from tests.admin.machines import Machine, until_open
from tests.lightlab import eventually

LAB = """\
coordinator: {machine: labhost}
exporters:
  near:
    hostname: 127.0.0.1
    resources: {evk: {NetworkSerialPort: {host: 127.0.0.1, port: 2000, protocol: raw, speed: 115200}}}
  far:
    machine: shelf
    resources: {rock: {NetworkService: {address: 10.0.0.7, username: root}}}
places:
  evk: {tags: {soc: imx8mq}}
  rock: {tags: {soc: rk3588}}
"""
ECHO = """
import socket
server = socket.create_server(("127.0.0.1", 2000))
print("listens", flush=True)
while True:
    peer, _ = server.accept()
    while data := peer.recv(4096):
        peer.sendall(b"evk says " + data)
"""
RESERVE = """
from lab.places import Health, connect
with connect() as session:
    for place in session.places():
        session.set_health(place.name, Health.HEALTHY)
    with session.reserve({"soc": "rk3588"}, wait=10) as lease:
        print(lease.place)
"""
CONSOLE = """
import os
from lab.places import connect
with connect() as session, session.reserve({"soc": "imx8mq"}, wait=10) as lease:
    os.environ.update(lease.labgrid_environment())
    from labgrid import Environment
    console = Environment("console.yaml").get_target("main").get_driver("SerialDriver")
    console.write(b"hello\\n")
    print(console.expect("evk says hello", timeout=10)[2].group().decode())
"""
ENVIRONMENT_YAML = """\
targets: {main: {resources: {RemotePlace: {name: !template $LG_PLACE}}, drivers: {SerialDriver: {}}}}
"""


def command(unit: Path, folder: Path) -> list[str]:
    """What systemd would start; %E is where install.sh puts the configuration."""
    found = re.search(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    assert found is not None
    return shlex.split(found[1].replace("%E/sharelab", str(folder)))


class Lab:
    """The two machines, with the coordinator and its exporter running on the first."""

    def __init__(self, labhost: Machine, shelf: Machine, units: Path, stack: ExitStack) -> None:
        self.labhost = labhost
        self.shelf = shelf
        self.units = units
        self._stack = stack

    def start(self, unit: str, ready: str) -> None:
        """Start a unit on the machine that it was written for."""
        path = self.units / unit
        machine = {"labhost": self.labhost, "shelf": self.shelf}[path.parent.name]
        self._stack.enter_context(machine.start(command(path, path.parent), ready, f"{path.stem}.log"))

    def tunnel(self) -> None:
        """Bring the coordinator to the shelf's loopback."""
        path = self.units / "shelf" / "sharelab-tunnel.service"
        self._stack.enter_context(self.shelf.start(command(path, path.parent), "", "tunnel.log"))
        until_open(self.shelf, "127.0.0.1", 20408)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("machines")
    with ExitStack() as stack:
        for name in ("labhost", "shelf"):
            (folder / name).mkdir()
            (folder / name / "lab.yaml").write_text(LAB)
        labhost, shelf = (
            stack.enter_context(machines.machine(folder / name)) for name in ("labhost", "shelf")
        )
        address, _ = machines.join(labhost, shelf)
        stack.enter_context(machines.ssh_server(labhost, address, shelf, "labhost"))
        done = labhost.lab("units", "lab.yaml", "--bin", BIN)
        assert done.returncode == 0, done.stderr
        found = Lab(labhost, shelf, labhost.folder / "units", stack)
        found.start("labhost/sharelab-coordinator.service", "listening on 127.0.0.1:20408")
        found.start("labhost/sharelab-exporter-near.service", "Exporter ready")
        found.start("labhost/sharelab-janitor.service", "")
        stack.enter_context(labhost.start([sys.executable, "-S", "-c", ECHO], "listens", "echo.log"))
        yield found


def findings(machine: Machine, *words: str, **more: str) -> dict[str, dict[str, str]]:
    """What the doctor says, by subject."""
    done = machine.lab("doctor", "--json", *words, **more)
    assert done.returncode in (0, 3), done.stderr
    return {one["subject"]: one for one in json.loads(done.stdout)}


def healthy(found: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """What was found, where nothing of it is amiss; the janitor may still be on its way."""
    return found if {one["state"] for one in found.values()} <= {"ok", "info"} else {}


@machines.needed
def test_the_network_does_not_reach_it_and_the_doctor_says_how(lab: Lab):
    found = findings(lab.shelf, LG_COORDINATOR="10.77.0.1:20408")["answers"]
    assert (found["state"], found["text"]) == ("bad", "no: Connection refused")
    assert any("-L 127.0.0.1:20408:127.0.0.1:20408 10.77.0.1" in line for line in found["todo"])
    assert findings(lab.labhost)["exposed"]["state"] == "ok"


@machines.needed
def test_exporter_user_and_console_through_ssh(lab: Lab):
    lab.tunnel()
    lab.start("shelf/sharelab-exporter-far.service", "Exporter ready")
    done = lab.labhost.lab("sync", "lab.yaml")
    assert "2 places changed" in done.stdout, done.stderr
    done = lab.shelf.run(sys.executable, "-c", RESERVE)
    assert done.stdout == "rock\n", done.stderr
    (lab.shelf.folder / "console.yaml").write_text(ENVIRONMENT_YAML)
    done = lab.shelf.run(sys.executable, "-c", CONSOLE, LG_PROXY="labhost")
    assert done.stdout == "evk says hello\n", done.stderr
    found = eventually(lambda: healthy(findings(lab.shelf, "lab.yaml", LG_PROXY="labhost")))
    assert found["exposed"]["text"] == "no: it listens on loopback only"


@machines.needed
def test_a_host_whose_key_is_not_known_is_not_trusted(lab: Lab):
    found = findings(lab.shelf, LG_PROXY="10.77.0.1")
    assert found["LG_PROXY"]["state"] == "ok"
    (lab.shelf.home / ".ssh" / "known_hosts").rename(lab.shelf.home / ".ssh" / "known_hosts.away")
    try:
        found = findings(lab.shelf, LG_PROXY="10.77.0.1")
        assert found["LG_PROXY"]["state"] == "bad"
        assert "Host key verification failed" in found["LG_PROXY"]["text"]
    finally:
        (lab.shelf.home / ".ssh" / "known_hosts.away").rename(lab.shelf.home / ".ssh" / "known_hosts")


@machines.needed
def test_the_doctor_warns_of_an_exposed_coordinator(lab: Lab):
    """labgrid listens like this unless told otherwise."""
    with lab.labhost.start(
        [BIN / "labgrid-coordinator", "--listen", "[::]:20409"], "listening on", "open.log"
    ):
        here = findings(lab.labhost, "--coordinator", "127.0.0.1:20409")["exposed"]
        there = findings(lab.shelf, "--coordinator", "10.77.0.1:20409")["exposed"]
    assert (here["state"], there["state"]) == ("warning", "warning")
    assert "listens on every address of this machine" in here["text"]
    assert "reached over the network" in there["text"]
    assert any(line.startswith("ssh -NT") for line in there["todo"])
