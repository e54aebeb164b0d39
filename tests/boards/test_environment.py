"""The labgrid environment that is written for one board of a target."""

from __future__ import annotations

import pytest
from labgrid import Environment
from labgrid.exceptions import InvalidConfigError

from lab.base.errors import ConfigError
from lab.boards import environment, load_target
from lab.boards.checks import State, gear
from lab.imaging import Image

RESOURCES = {
    "NetworkPowerPort": {"model": "rest", "host": "http://127.0.0.1:1/t/b", "index": "0"},
    "NetworkSerialPort": {"host": "127.0.0.1", "port": 2, "protocol": "raw"},
    "NetworkService": {"address": "127.0.0.1", "username": "root", "port": 3},
    "TFTPProvider": {"internal": "/srv/tftp/", "external": ""},
}


@pytest.fixture
def image(tmp_path):
    for name, data in (("kernel", b"kernel"), ("initrd", b"12345")):
        (tmp_path / name).write_bytes(data)
    return Image("board-trixie", "", tmp_path, {}, cached=True)


@pytest.fixture
def target():
    return load_target("virt-smmu")


def test_labgrid_builds_every_driver_of_the_written_file(tmp_path, target, image):
    keyfile = tmp_path / "key"
    path = target.write_environment(tmp_path, resources=RESOURCES, image=image, keyfile=keyfile)
    environment = Environment(str(path))
    board = environment.get_target("main")
    assert {type(resource).__name__ for resource in board.resources} == set(RESOURCES)
    assert board.get_driver("SSHDriver", activate=False).keyfile == str(keyfile)
    strategy = board.get_strategy()
    assert strategy.console is board.get_driver("SerialDriver", activate=False)
    assert strategy.mode == target.default_modes[0]
    assert environment.config.get_image_path("kernel") == str(image.kernel)


def test_written_file_is_the_same_target_again(tmp_path, target, image):
    again = load_target(target.write_environment(tmp_path, resources=RESOURCES, image=image)).check()
    ours = {"soc", "board", "memory", "modules", "decoders", "iommu", "boot", "virtual"}
    assert again.model_dump(include=ours) == target.model_dump(include=ours)
    assert again.name == target.name


def test_initrd_parts_start_at_multiples_of_four(tmp_path, target, image):
    extra = tmp_path / "extra.cpio"
    extra.write_bytes(b"070701")
    path = target.write_environment(tmp_path, resources=RESOURCES, image=image, boot_files=extra)
    initrd = Environment(str(path)).config.get_image_path("initrd")
    with open(initrd, "rb") as file:  # noqa: PTH123
        assert file.read() == b"12345\0\0\0" + b"070701\0\0"


def test_place_is_taken_from_the_environment(tmp_path, target, image, monkeypatch):
    monkeypatch.setenv("LG_PLACE", "rock-1")
    path = target.write_environment(tmp_path, image=image)
    monkeypatch.delenv("LG_PLACE")
    assert Environment(str(path)).config.data["targets"]["main"]["resources"] == {
        "RemotePlace": {"name": "rock-1"}
    }


def test_unset_place_stays_a_template(tmp_path, target, image, monkeypatch):
    monkeypatch.delenv("LG_PLACE", raising=False)
    path = target.write_environment(tmp_path, image=image)
    with pytest.raises(InvalidConfigError, match="LG_PLACE"):
        Environment(str(path))
    monkeypatch.setenv("LG_PLACE", "later")
    resources = Environment(str(path)).config.data["targets"]["main"]["resources"]
    assert resources["RemotePlace"]["name"] == "later"


def test_drivers_may_be_a_list_in_both_of_labgrids_notations(tmp_path, target):
    path = tmp_path / "listed.yaml"
    text = target.path.read_text()
    for name in environment.drivers(target):
        text = text.replace(f"      {name}: {{", f"      - {name}: {{")
    text = text.replace("- SerialDriver: {}", "- {cls: SerialDriver, name: line}")
    path.write_text(text)
    listed = load_target(path)
    assert environment.drivers(listed) == environment.drivers(target)
    assert [one for one in gear.findings(listed) if one.state is State.WRONG] == []


def test_unreadable_image_is_a_config_error(tmp_path, target, image):
    image.initrd.unlink()
    with pytest.raises(ConfigError, match=r"initrd: cannot be read"):
        target.write_environment(tmp_path, resources=RESOURCES, image=image)


def test_a_tftp_server_on_this_machine_takes_the_place_of_an_exported_one(tmp_path, target, image):
    """An exporter's RemoteTFTPProvider, which labgrid reaches by ssh only, is there as well."""
    offered = {name: arguments for name, arguments in RESOURCES.items() if name != "TFTPProvider"}
    offered["RemoteTFTPProvider"] = {"host": "127.0.0.1", "internal": "/srv/", "external": "there/"}
    served = tmp_path / "served"
    served.mkdir()
    here = {"internal": f"{served}/", "external": "here/"}
    path = target.write_environment(tmp_path, resources=offered, image=image, served={"TFTPProvider": here})
    driver = Environment(str(path)).get_target("main").get_driver("TFTPProviderDriver")
    assert driver.stage(str(image.kernel)) == "here/kernel"
    assert (served / "kernel").read_bytes() == b"kernel"


def test_parts_of_ones_own_change_what_a_board_boots_with(tmp_path, target):
    for name in ("kernel", "initrd", "dtb"):
        (tmp_path / name).write_bytes(name.encode())
    image = Image("board-trixie", "", tmp_path, {"own": {"cmdline": "mine=1"}}, cached=True)
    path = target.write_environment(tmp_path, resources=RESOURCES, image=image)
    again = load_target(path)
    assert again.boot.cmdline == f"{target.boot.cmdline} mine=1"
    assert again.boot.dtb is not None
    assert Environment(str(path)).config.get_image_path("dtb") == str(tmp_path / "dtb")
