"""``lab doctor`` on a lab with every kind of trouble; drivers that find nothing; adapters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from lab.admin.doctor import network
from lab.admin.doctor.machine import resource_of
from lab.admin.doctor.places import unbound
from lab.boards import load_target
from lab.places import LeaseInfo, Session, connect
from lab.places.model import LEASE
from lab.places.wire import pb
from tests.admin.conftest import Bench

LAB = """\
exporters:
  shelf:
    resources:
      rock: {NetworkService: {address: 10.0.0.7, username: root}}
      evk: {NetworkService: {address: 10.0.0.8, username: root}}
  gone: {resources: {odd: {NetworkService: {address: 10.0.0.9, username: root}}}}
places: {rock: {tags: {soc: rk3588}}, evk: {target: virt-smmu}, odd: {}}
"""
EXPORTED = """\
rock: {NetworkService: {address: 10.0.0.7, username: root}}
evk: {NetworkService: {address: 10.0.0.8, username: root}}
"""


@pytest.fixture
def session(bench: Bench) -> Iterator[Session]:
    (bench.folder / "lab.yaml").write_text(LAB)
    bench.exporter("shelf", EXPORTED)
    assert bench.lab("sync", "lab.yaml").returncode == 0
    with connect(bench.address) as connected:
        yield connected


def doctor(bench: Bench) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Exit code, and what is said of each subject."""
    done = bench.lab("doctor", "lab.yaml", "--json")
    found: dict[str, list[dict[str, str]]] = {}
    for one in json.loads(done.stdout):
        found.setdefault(one["subject"], []).append(one)
    return done.returncode, found


def test_what_keeps_a_board_from_its_users_is_said_with_the_next_step(bench: Bench, session: Session):
    tags = {"health": "quarantined", "health_reason": "serial silent"}
    session.set_tags("rock", tags)
    for place in ("rock", "evk"):
        session.call("AcquirePlace", pb.AcquirePlaceRequest(placename=place))
    now = session.now()
    ended = LeaseInfo(session.identity, now, now - timedelta(minutes=5), now)
    session.set_tags("evk", {LEASE: ended.text(), "health": "healthy", "colour": "red"})

    code, found = doctor(bench)
    said = {
        subject: " | ".join(f"{one['state']}: {one['text']}" for one in all_)
        for subject, all_ in found.items()
    }
    assert code == 3
    assert said["exporter"] == "bad: gone is not connected; it runs on localhost"
    assert said["exporters"] == "ok: shelf"
    assert said["file"] == "warning: lab.yaml and the coordinator differ: evk"
    assert "warning: quarantined: serial silent" in said["rock"]
    assert f"info: held by {session.identity} without a lease" in said["rock"]
    assert f"bad: the lease of {session.identity} ended at" in said["evk"]
    assert (
        "target virt-smmu needs what the place has not: NetworkPowerPort (NetworkPowerDriver)" in said["evk"]
    )
    assert "bad: no live resources for gone/odd/*" in said["odd"]
    assert "warning: nobody gets it: it has no health yet" in said["odd"]
    assert all(one["todo"] for all_ in found.values() for one in all_ if one["state"] in ("bad", "warning"))


def test_it_touches_nothing(bench: Bench, session: Session):
    def state() -> list[str]:
        return [str(place) for place in session.call("GetPlaces", pb.GetPlacesRequest()).places]

    before = state()
    doctor(bench)
    assert state() == before


def test_drivers_that_find_nothing():
    """Against labgrid's own bindings; the drivers that bind to drivers are content with those."""
    main = load_target("virt-smmu").check().targets["main"]
    whole = ["NetworkPowerPort", "NetworkSerialPort", "NetworkService", "RemoteTFTPProvider"]
    assert list(unbound(main, whole)) == []
    assert list(unbound(main, whole[1:])) == [("NetworkPowerDriver", ["NetworkPowerPort"])]
    for entry in ({"ShellDriver": {}}, {"cls": "ShellDriver", "name": "shell", "prompt": "#"}):
        assert dict(unbound({"drivers": [entry]}, [])) == {"ShellDriver": ["ConsoleProtocol"]}


@pytest.mark.parametrize(
    ("properties", "match"),
    [
        ({"ID_SERIAL_SHORT": "A10K", "ID_USB_INTERFACE_NUM": "00"}, "{ID_SERIAL_SHORT: A10K}"),
        (
            {"ID_SERIAL_SHORT": "A10K", "ID_USB_INTERFACE_NUM": "02"},
            "{ID_SERIAL_SHORT: A10K, ID_USB_INTERFACE_NUM: '02'}",
        ),
        ({"ID_PATH": "pci-0000:00:14.0-usb-0:2:1.0"}, "{ID_PATH: 'pci-0000:00:14.0-usb-0:2:1.0'}"),
    ],
)
def test_an_adapter_is_shown_as_it_is_written_into_the_file(properties: dict[str, str], match: str):
    import yaml

    text = resource_of(properties)
    assert text == f"USBSerialPort: {{match: {match}, speed: 115200}}"
    keys = ("ID_SERIAL_SHORT", "ID_PATH", "ID_USB_INTERFACE_NUM")
    expected = {key: value for key, value in properties.items() if key in keys and value != "00"}
    assert yaml.safe_load(text)["USBSerialPort"]["match"] == expected


@pytest.mark.parametrize("address", ["lab..example:20408", f"{'x' * 64}.example:20408"])
def test_what_cannot_be_a_hosts_name_is_said(address: str):
    host, port = network.split(address)
    assert network.obstacle(host, port) == f"'{host}' cannot be a host's name"
    assert not network.is_loopback(host)
