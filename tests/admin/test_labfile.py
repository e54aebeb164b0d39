"""The lab file: what is made of it, and what a user is told about what is wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.admin.exported import exported_class
from lab.admin.labfile import LabFile, Match, load
from lab.base import dirs
from lab.base.errors import ConfigError
from lab.boards.target import load_target
from tests.admin.conftest import lab

GOOD = """\
max_per_user: 2
coordinator: {machine: server}
exporters:
  shelf:
    machine: shelf1
    resources:
      rock-1:
        USBSerialPort: {match: {ID_SERIAL_SHORT: A10K}, speed: 1500000}
        NetworkService: {address: 10.0.0.7, username: root}
      shared:
        NetworkPowerPort: {model: rest, host: "http://10.0.0.1/{index}", index: 1}
  hub:
    resources:
      evk: {NetworkService: {address: 10.0.0.8, username: root}}
places:
  rock-1:
    tags: {soc: rk3588, rack: 7}
    matches: [shelf/rock-1/*, {shelf/shared/NetworkPowerPort: main-power}]
  evk:
  seat:
    target: virt-smmu
    matches: []
"""


def read(tmp_path: Path, text: str = GOOD) -> LabFile:
    path = tmp_path / "lab.yaml"
    path.write_text(text)

    def soc_of(target: str) -> str:
        if target != "virt-smmu":
            raise ConfigError(f"unknown target '{target}'", hint="known: virt-smmu")
        return "qemu-virt"

    return load(path, soc_of)


def test_places_as_the_coordinator_is_to_have_them(tmp_path: Path):
    rock, evk, seat = read(tmp_path).places
    assert rock.tags == {"soc": "rk3588", "rack": "7", "max_per_user": "2"}
    assert rock.matches == (Match("shelf/rock-1/*"), Match("shelf/shared/NetworkPowerPort", "main-power"))
    assert evk.matches == (Match("hub/evk/*"),)
    assert seat.tags == {"target": "virt-smmu", "soc": "qemu-virt", "max_per_user": "2"}
    assert seat.matches == ()


def test_a_target_that_is_a_file_lies_beside_the_labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever reserves the place may be in another folder: the tag has the whole path."""
    (tmp_path / "lab").mkdir()
    virtual = (dirs.root() / "targets" / "virt-smmu.yaml").read_text()
    (tmp_path / "lab" / "new.yaml").write_text(virtual.replace("soc: qemu-virt", "soc: new"))
    (tmp_path / "lab" / "lab.yaml").write_text("places: {a: {target: new.yaml}, b: {target: ./new.yaml}}\n")
    monkeypatch.chdir(tmp_path)
    found = load(Path("lab/lab.yaml"), lambda target: load_target(target).soc).places
    for place in found:
        assert place.tags == {"target": str(tmp_path / "lab" / "new.yaml"), "soc": "new"}


def test_machines_and_hostnames(tmp_path: Path):
    found = read(tmp_path)
    assert found.machines == ["server", "shelf1"]
    assert {name: (one.machine, one.hostname) for name, one in found.exporters.items()} == {
        "shelf": ("shelf1", "shelf1"),
        "hub": ("server", "server"),
    }
    alone = read(tmp_path, "exporters: {here: {}}\n")
    assert (alone.exporters["here"].machine, alone.exporters["here"].hostname) == ("localhost", "127.0.0.1")


@pytest.mark.filterwarnings("ignore:ser2net")  # its absence is the doctor's business
def test_classes_as_the_exporter_offers_them():
    """Against labgrid's exporter itself, for one class of each kind that needs no hardware to be made."""
    from labgrid.remote.exporter import exports

    for cls, parameters in {
        "RawSerialPort": {"port": "/dev/null"},
        "TFTPProvider": {"internal": "/srv/", "external": ""},
        "NetworkService": {"address": "10.0.0.7", "username": "root"},
        "USBMassStorage": {"match": {"ID_PATH": "x"}},
        "SysfsGPIO": {"index": 1},
        "YKUSHPowerPort": {"serial": "x", "index": 1},
    }.items():
        made = exports[cls]({"cls": cls, "params": parameters, "avail": False}, host="h", proxy="p")
        assert made.data["cls"] == exported_class(cls), cls
    assert exported_class("NetworkPowerPort") == "NetworkPowerPort"


@pytest.mark.parametrize(
    ("old", "new", "line_with", "said"),
    [
        ("USBSerialPort:", "USBSerialPrt:", "USBSerialPrt", "did you mean USBSerialPort"),
        ("speed: 1500000", "sped: 1500000", "sped:", "USBSerialPort takes no 'sped'"),
        ("index: 1}", "index: one}", "index: one", "NetworkPowerPort.index cannot be 'one'"),
        (", username: root}\n      shared", "}\n      shared", "10.0.0.7", "needs 'username'"),
        ("[shelf/rock-1/*,", "[shelf/rock-2/*,", "rock-2", "'shelf/rock-2/*' matches nothing: exported are"),
        ("[shelf/rock-1/*,", "[shelf/rock-1,", "[shelf/rock-1,", "'shelf/rock-1' is not a match"),
        ("  evk:\n  seat", "  evk2:\n  seat", "evk2", "no exporter has a group 'evk2'"),
        ("target: virt-smmu", "target: virt-smu", "virt-smu", "unknown target 'virt-smu'"),
        ("soc: rk3588", "SoC: rk3588", "SoC", "'SoC' cannot be a tag"),
        ("soc: rk3588", "soc: rk 3588", "rk 3588", "'rk 3588' cannot be a tag's value"),
        ("soc: rk3588", "health: healthy", "health", "the tag 'health' is not a file's to set"),
        ("    target: virt-smmu", "    taget: virt-smmu", "taget", "places.seat.taget' (known: matches"),
        ("{machine: server}", "server", "coordinator", "keys and values are wanted here (known: l"),
        ("{machine: server}", "{listen: 'nowhere'}", "nowhere", "'nowhere' is not HOST:PORT"),
        ("  hub:", "  hub/1:", "hub/1", "'hub/1' cannot be a name"),
        ("  evk:\n  seat", "  rock-1:\n  seat", "  rock-1:", "key 'rock-1' stands twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, old: str, new: str, line_with: str, said: str):
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert said in str(error.value)
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line_with in line]
    assert error.value.line in lines


def test_the_example_of_the_documentation_is_a_lab(tmp_path: Path):
    text = (dirs.root() / "docs" / "sharing-a-lab.md").read_text()
    (tmp_path / "lab.yaml").write_text(text.partition("```yaml\n")[2].partition("```")[0])
    rock, evk = load(tmp_path / "lab.yaml", lambda target: load_target(target).soc).places
    assert (rock.tags["soc"], evk.tags["soc"]) == ("rk3588", "imx8mq")


def test_one_line_and_exit_code_2(tmp_path: Path):
    (tmp_path / "lab.yaml").write_text("places: {a: {target: nothing}}\n")
    done = lab("units", "lab.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("lab: lab.yaml:1: unknown target 'nothing': known: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "units").exists()
