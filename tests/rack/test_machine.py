from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base.errors import ConfigError
from lab.rack.command import arguments, escape
from lab.rack.layout import BoardPlan, Plan, read_plan, write_plan
from lab.rack.machine import Location, machine

GOOD = {"machine": "virt", "cpu": "max", "memory": "3G"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"memroy": "3G"}, "virtual.memroy: unknown key 'memroy' (known: machine, cpu, smp, memory,"),
        ({"memory": "3 GB"}, "virtual.memory: '3 GB' is not a size"),
        ({"memory": "0G"}, "virtual.memory: '0G' is not a size"),
        ({"memory": 3}, "virtual.memory: "),
        ({"smp": 0}, "virtual.smp: "),
        ({"smp": "two"}, "virtual.smp: "),
        ({"cpu": ""}, "virtual.cpu: "),
        ({"devices": "edu"}, "virtual.devices: "),
        ({"devices": ["edu", ""]}, "virtual.devices.1: "),
    ],
)
def test_a_wrong_machine_is_one_line_that_names_the_key(change: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        machine({**GOOD, **change})
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_the_target_file_says_where_a_key_is_missing() -> None:
    def error(location: Location, message: str) -> ConfigError:
        return ConfigError(f"{location} {message}", file="x.yaml", line=7)

    with pytest.raises(ConfigError, match=r"x\.yaml:7: \('virtual', 'memory'\) key 'memory' is missing"):
        machine({"machine": "virt", "cpu": "max"}, error=error)


def board(**change: object) -> BoardPlan:
    plan = {
        "name": "b",
        **machine(GOOD).model_dump(),
        "uboot": "/u-boot.bin",
        "squashfs": "/s",
        "ssh_port": 2222,
    }
    return BoardPlan(**{**plan, **change})  # type: ignore[arg-type]


def options(words: list[str], name: str) -> list[str]:
    return [value for key, value in pairwise(words) if key == name]


def test_the_targets_devices_come_first_and_the_racks_have_fixed_slots() -> None:
    words = arguments(board(devices=("edu", "edu,dma_mask=1")), tftp=Path("/t"), console=5, qmp=6)
    devices = options(words, "-device")
    assert devices[:2] == ["edu", "edu,dma_mask=1"]
    assert [device.split(",")[0] for device in devices[2:]] == ["virtio-blk-pci", "virtio-net-pci"]
    assert all("addr=0x1" in device for device in devices[2:])


def test_a_board_without_a_disk_has_only_its_network() -> None:
    words = arguments(board(disk=False), tftp=Path("/t"), console=5, qmp=6)
    assert [device.split(",")[0] for device in options(words, "-device")] == ["virtio-net-pci"]
    assert options(words, "-drive") == []


def test_the_disk_is_read_only_and_ssh_is_on_loopback_only() -> None:
    words = arguments(board(), tftp=Path("/t"), console=5, qmp=6)
    assert "readonly=on" in options(words, "-drive")[0]
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in options(words, "-netdev")[0]


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_comma_in_a_path_starts_no_option(first: str, second: str) -> None:
    """QEMU's rule (util/qemu-option.c, get_opt_value): two commas are one, one ends the value."""
    joined = f"{escape(first)},{escape('x' + second)}"
    values, rest = [""], joined
    while rest:
        if rest.startswith(",,"):
            values[-1], rest = values[-1] + ",", rest[2:]
        elif rest.startswith(","):
            values, rest = [*values, ""], rest[1:]
        else:
            values[-1], rest = values[-1] + rest[0], rest[1:]
    assert values == [first, "x" + second]


def test_a_plan_is_read_as_written_and_only_by_its_owner(tmp_path: Path) -> None:
    plan = Plan(token="t", boards=(board(devices=("edu",), extra=("-S",)), board(name="c")), parent=7)
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan
    assert (tmp_path / "plan.json").stat().st_mode & 0o777 == 0o600
