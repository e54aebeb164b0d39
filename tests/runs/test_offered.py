"""The labgrid environment of a physical board: what its place has decides on the drivers beside the usual."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from labgrid import Environment
from labgrid.strategy import StrategyError

from lab.base.errors import LabError
from lab.boards import load_target
from lab.boards.devicetree import DeviceTree
from lab.imaging import Image
from lab.imaging.kernels import Kernels
from lab.places import Health, Place
from lab.runs.offered import gear, own_tree, served_here

USUAL = {
    "NetworkSerialPort": {"host": "127.0.0.1", "port": 2, "protocol": "raw"},
    "NetworkService": {"address": "127.0.0.1", "username": "root"},
    "TFTPProvider": {"internal": "/srv/tftp/", "external": ""},
}
OUTLET = {"NetworkPowerPort": {"model": "rest", "host": "http://127.0.0.1:1", "index": "0"}}
OTHER_OUTLET = {
    "TasmotaPowerPort": {
        "host": "127.0.0.1",
        "status_topic": "a",
        "power_topic": "b",
        "avail_topic": "c",
    }
}
WEB = {"RemoteHTTPProvider": {"host": "127.0.0.1", "internal": "/srv/tftp/", "external": "http://10.0.0.1/"}}
MUX = {
    "NetworkUSBSDMuxDevice": {
        "host": "127.0.0.1",
        "busnum": 0,
        "devnum": 0,
        "path": None,
        "vendor_id": 0,
        "model_id": 0,
        "control_path": None,
    }
}


@pytest.fixture
def rock():
    return load_target("rk3399-rockpro64")


@pytest.mark.parametrize(
    ("offered", "drivers"),
    [
        (USUAL | OUTLET, {}),
        (USUAL | OTHER_OUTLET, {"TasmotaPowerDriver": {}}),
        (USUAL | OUTLET | MUX, {"USBSDMuxDriver": {}}),
        (USUAL | OUTLET | WEB, {"HTTPProviderDriver": {}}),
        (
            ["NetworkPowerPort", "NetworkRKUSBLoader"],
            {"RKUSBDriver": {"image": "rk-image", "usb_loader": "rk-loader"}},
        ),
        ([], {}),
    ],
)
def test_drivers_follow_what_the_place_offers(rock, offered, drivers):
    assert gear(rock, offered) == drivers


@pytest.mark.parametrize("offered", [USUAL | OUTLET, USUAL | OUTLET | MUX], ids=["plain", "mux"])
def test_labgrid_builds_the_board_of_a_place(rock, tmp_path, offered):
    path = rock.write_environment(tmp_path, resources=offered, drivers=gear(rock, offered))
    board = Environment(str(path)).get_target("main")
    strategy = board.get_strategy()
    assert strategy.power is board.get_driver("PowerProtocol", activate=False)
    found = {type(driver).__name__ for driver in board.drivers}
    assert ("USBSDMuxDriver" in found) == ("NetworkUSBSDMuxDevice" in offered)


def test_a_root_file_system_needs_a_place_that_serves_it(rock, tmp_path):
    for name in ("kernel", "initrd", "drivers", "squashfs"):
        (tmp_path / name).write_bytes(name.encode())
    image = Image("board-trixie", "", tmp_path, {}, cached=True)
    path = rock.write_environment(tmp_path, resources=USUAL | OUTLET, image=image)
    with pytest.raises(StrategyError, match="the place offers no HTTPProvider"):
        Environment(str(path)).get_target("main").get_strategy()._network_root()
    served = {"HTTPProvider": {"internal": f"{tmp_path}/www/", "external": "http://10.0.0.1/lab/"}}
    offered = USUAL | OUTLET | WEB
    path = rock.write_environment(
        tmp_path, resources=offered, image=image, drivers=gear(rock, offered), served=served
    )
    root = Environment(str(path)).get_target("main").get_strategy()._network_root()
    assert (root.url, root.size) == ("http://10.0.0.1/lab/squashfs", len("squashfs"))
    joined = (tmp_path / f"{rock.name}.initrd").read_bytes()
    assert joined == b"initrd\0\0drivers\0"


def test_a_folder_of_this_machine_that_is_not_there_is_named_before_a_boot(tmp_path):
    """Not by the ssh that labgrid's driver would try. A console does without."""
    www = tmp_path / "www"
    offered = {"RemoteHTTPProvider": WEB["RemoteHTTPProvider"] | {"internal": f"{www}/"}}
    now = datetime.now(UTC)
    place = Place("rock", {}, Health.HEALTHY, "", (), None, None, None, None, now, resources=offered)
    with pytest.raises(LabError, match=f"rock: the HTTPProvider's folder {www}/ is not there: sudo install"):
        served_here(place, to_boot=True)
    assert served_here(place, to_boot=False) == {}
    www.mkdir()
    served = {"internal": f"{www}/", "external": "http://10.0.0.1/"}
    assert served_here(place, to_boot=True) == {"HTTPProvider": served}


def test_another_outlets_driver_takes_the_usual_ones_place(rock, tmp_path):
    offered = USUAL | OTHER_OUTLET
    path = rock.write_environment(tmp_path, resources=offered, drivers=gear(rock, offered))
    listed = Environment(str(path)).config.data["targets"]["main"]["drivers"]
    assert "TasmotaPowerDriver" in listed
    assert "NetworkPowerDriver" not in listed


def test_a_board_gets_its_tree_from_the_kernel_that_it_boots(rock, tmp_path):
    for name in ("kernel", "initrd", "drivers", "squashfs"):
        (tmp_path / name).write_bytes(name.encode())
    image = Image("board-trixie", "", tmp_path, {}, cached=True)
    path = rock.write_environment(tmp_path, resources=USUAL | OUTLET, image=image)
    tree = Environment(str(path)).config.get_image_path("dtb")
    assert tree == str(Kernels.of(rock.image).found[0].dtb(rock.boot.dtb))
    assert own_tree(rock, image, tmp_path) is None
    strategy = Environment(str(path)).get_target("main").get_strategy()
    assert strategy._tree("translated") == strategy.boot_file("dtb")
    edited = DeviceTree.read(strategy._tree("off")).nodes
    assert "iommus" in DeviceTree.read(strategy.boot_file("dtb")).nodes["/video-codec@ff660000"]
    assert "iommus" not in edited["/video-codec@ff660000"]
