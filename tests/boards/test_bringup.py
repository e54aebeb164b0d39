"""A bring-up of boards that are well, and of boards that are broken in one place on purpose."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from lab.boards import Target, load_target
from lab.boards.bringup import Bench, Outcome, run, steps
from lab.boards.bringup.proposal import diff, proposed
from lab.imaging.image import pack
from lab.rack import Machine, Rack
from tests.boards.outlet import outlet
from tests.command import lab

NAME = "virt-cma"
STEPS = ["power", "serial", "loader", "network", "kernel", "agent", "decoders", "kvm", "gpu", "mode off"]

Broken = Callable[..., dict[str, Outcome]]


@pytest.fixture(scope="module")
def racks(real_image, tmp_path_factory) -> Iterator[Callable[[Target], Rack]]:
    """The rack with a target's board: one for each machine."""
    found: dict[str, Rack] = {}

    def of(target: Target) -> Rack:
        machine = Machine.model_validate(target.virtual)
        key = machine.model_dump_json()
        if key not in found:
            directory = tmp_path_factory.mktemp("bringup")
            found[key] = Rack.start({NAME: machine}, image=real_image, directory=directory)
        return found[key]

    yield of
    for rack in found.values():
        rack.close()


@pytest.fixture
def bring_up(racks, real_image, tmp_path) -> Broken:
    """Bring the board up with parts of the text of its target, its resources or its image exchanged."""

    def go(*, text: dict[str, str] | None = None, image=real_image, **resources: dict[str, object]):
        whole = load_target(NAME).path.read_text()
        for old, new in (text or {}).items():
            assert old in whole
            whole = whole.replace(old, new)
        (tmp_path / f"{NAME}.yaml").write_text(whole)
        target = load_target(tmp_path / f"{NAME}.yaml")
        rack = racks(target)
        folder = tmp_path / "environment"
        folder.mkdir()
        environment = target.write_environment(
            folder,
            resources={**rack.resources(NAME), **resources},
            image=image,
            keyfile=rack.keyfile,
            boot_files=rack.boot_files,
        )
        with Bench(environment, target) as bench:
            outcomes = list(run(bench, steps(bench)))
        assert [outcome.step for outcome in outcomes] == STEPS
        return {outcome.step: outcome for outcome in outcomes}

    return go


def broken(outcomes: dict[str, Outcome], step: str) -> Outcome:
    """The outcome of ``step``, which is the first red one; all before are green, and it says what to do."""
    before = STEPS[: STEPS.index(step)]
    assert {name: str(outcomes[name].state) for name in before} == dict.fromkeys(before, "green")
    assert outcomes[step].state == "red", outcomes[step]
    assert outcomes[step].todo
    return outcomes[step]


def not_tried_after(outcomes: dict[str, Outcome], step: str) -> None:
    after = STEPS[STEPS.index(step) + 1 :]
    assert {str(outcomes[name].state) for name in after} == {"not tried"}
    assert outcomes[after[0]].said == f"needs {step}"


@pytest.mark.board
def test_a_board_that_is_well_is_green_all_the_way(tmp_path):
    done = lab("bringup", NAME, "--json", "--write", "found.yaml", cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert {row["step"]: row["state"] for row in said["steps"]} == dict.fromkeys(STEPS, "green")
    texts = {row["step"]: row["said"] for row in said["steps"]}
    assert "U-Boot" in texts["loader"]
    assert texts["network"].startswith("10.0.2.15, TFTP from 10.0.2.2")
    sizes, raw = "16x16 to 640x368 in steps of 16x16", "NV12 YU12 NM12 YM12"
    assert texts["decoders"] == f"wide /dev/video0 (stateful, multi-planar): FWHT {sizes} to {raw}"
    assert texts["mode off"] == "verified: no group"
    assert load_target(tmp_path / "found.yaml").memory == "3G"
    assert load_target(tmp_path / "found.yaml").decoders[0].planes == 3


@pytest.mark.board
def test_a_board_is_asked_for_its_formats(tmp_path):
    """Bytes of a line and of a plane are the driver's; the target's file has none."""
    done = lab("targets", "show", "--board", NAME, "--json", cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    [decoder] = load_target(NAME).decoders
    found = said["formats"][decoder.device]
    assert found["mplane"] is True
    planes = found["formats"]["coded"]["FWHT"]["raw"]["NM12"]["planes"]
    assert len(planes) == 2
    assert all(plane["bytesperline"] % 128 == 0 and plane["sizeimage"] for plane in planes)


@pytest.mark.board
def test_outlet_that_answers_and_switches_nothing(bring_up):
    with outlet(echoes=False) as url:
        found = bring_up(NetworkPowerPort={"model": "rest", "host": url, "index": "0"})
    assert broken(found, "power").said == "switched on, but the outlet says that it is off"
    not_tried_after(found, "power")


@pytest.mark.board
def test_outlet_that_believes_itself_while_the_board_runs_on(bring_up, racks):
    whole = load_target(NAME)
    rack = racks(whole)
    url = rack.resources(NAME)["NetworkPowerPort"]["host"]
    requests.put(url, data=b"1", timeout=20)
    try:
        with outlet(echoes=True) as other:
            found = bring_up(NetworkPowerPort={"model": "rest", "host": other, "index": "0"})
    finally:
        requests.put(url, data=b"0", timeout=20)
    assert broken(found, "power").said.startswith("switched off, but ")
    assert "still" in found["power"].said


@pytest.mark.board
def test_outlet_that_is_out_of_reach(bring_up):
    found = bring_up(NetworkPowerPort={"model": "rest", "host": "http://127.0.0.1:1", "index": "0"})
    assert broken(found, "power").said == "the outlet is out of reach: Connection refused"


@pytest.mark.board
def test_serial_port_that_is_out_of_reach(bring_up):
    """The step before listens to the console as well, and is about the power alone."""
    found = bring_up(NetworkSerialPort={"host": "127.0.0.1", "port": 1, "protocol": "raw"})
    assert broken(found, "serial").said == "the console's serial port is out of reach: Connection refused"
    assert "network is dead" in found["power"].said
    not_tried_after(found, "serial")


@pytest.mark.board
def test_ssh_that_is_not_at_the_boards_address(bring_up, capfd):
    found = bring_up(
        text={"connection_timeout: 15.0": "connection_timeout: 3.0"},
        NetworkService={"address": "127.0.0.1", "port": 1, "username": "root"},
    )
    refused = "no ssh at 127.0.0.1:1: connect to host 127.0.0.1 port 1: Connection refused"
    assert broken(found, "agent").said == refused
    assert "ssh" not in capfd.readouterr().err, "said once, not once a try"
    not_tried_after(found, "agent")


@pytest.mark.board
def test_console_that_stays_silent(bring_up):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = {"host": "127.0.0.1", "port": silent.getsockname()[1], "protocol": "raw"}
        found = bring_up(text={"silence: 25": "silence: 3"}, NetworkSerialPort=port)
    assert "said nothing for 3 s" in broken(found, "serial").said
    not_tried_after(found, "serial")


@pytest.mark.board
def test_boot_loader_with_another_prompt(bring_up):
    driver = 'UBootDriver: {prompt: "=> ", login_timeout: 10}'
    found = bring_up(text={driver: 'UBootDriver: {prompt: "else> ", login_timeout: 4}'})
    broken(found, "loader")
    assert any("=>" in line for line in found["loader"].console), "what the prompt really is"
    not_tried_after(found, "loader")


@pytest.mark.board
def test_tftp_server_that_serves_another_folder(bring_up, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    found = bring_up(TFTPProvider={"internal": f"{other}/", "external": ""})
    assert f"tftpboot of {NAME}.sample, 64 bytes, failed: TFTP error" in broken(found, "network").said
    not_tried_after(found, "network")


@pytest.mark.board
def test_kernel_that_is_none(bring_up, real_image, tmp_path):
    files = tmp_path / "image"
    files.mkdir()
    for path in real_image.path.iterdir():
        (files / path.name).symlink_to(path)
    for name in ("kernel", "packed"):
        (files / name).unlink()
    (files / "kernel").write_bytes(b"no kernel" * 4096)
    pack(files / "kernel", files / "packed")
    found = bring_up(image=replace(real_image, path=files))
    assert "the start of the kernel" in broken(found, "kernel").said
    assert any("Bad Linux ARM64 Image magic" in line for line in found["kernel"].console)
    not_tried_after(found, "kernel")


@pytest.mark.board
def test_python_that_is_not_on_the_board(bring_up):
    ready = "  console: ttyAMA0\n"
    found = bring_up(text={ready: f"{ready}  python: /nowhere/python\n"})
    assert "agent did not start" in broken(found, "agent").said
    not_tried_after(found, "agent")


@pytest.mark.board
def test_board_without_its_decoder(bring_up):
    found = bring_up(text={"    - edu,addr=0x1,dma_mask=0xffffffff\n": ""})
    said = broken(found, "decoders").said
    assert said.startswith("not there: wide (0000:00:01.0, module fwht_decoder)")
    assert found["mode off"].state == "not tried"
    assert {str(found[name].state) for name in ("kvm", "gpu")} == {"green"}, "they need no decoder"


FACTS = {
    "hello": {"kernel": "6.12.107-arm64"},
    "compatible": ["pine64,rockpro64-v2.1", "pine64,rockpro64", "rockchip,rk3399"],
    "board": {"mem_total": 2_000_000_000},
    "speed": 115200,
    "kvm": True,
    "times": {"uboot": 4.0, "kernel": 16.0, "linux": 30.0},
    "decoders": [
        {"device": "ff660000.video-codec", "outputs": ["S264", "VP9F"], "captures": ["NV12", "NV15"]},
    ],
}


def test_what_the_board_said_is_proposed_as_its_target_file(tmp_path):
    target = load_target("rk3399-rockpro64")
    text = proposed(target, FACTS)
    (tmp_path / "new.yaml").write_text(text)
    new = load_target(tmp_path / "new.yaml")
    assert new.memory == "2G"
    assert new.serial_speed == 115200
    assert new.decoder("rkvdec").raw == ("NV12", "NV15")
    assert new.decoder("rkvdec").coded == target.decoder("rkvdec").coded, "S264 is H264_SLICE"
    assert (new.boot.timeouts.load, new.boot.timeouts.linux) == (36, 42)
    gone = {"kvm", "memory", "boot.timeouts"}
    assert set(target.unverified) - set(new.unverified) == gone
    assert any(line.startswith("-memory: 4G") for line in diff(target, text))


@pytest.mark.parametrize(
    ("entries", "left"),
    [
        ("  memory: sold with 2G\n  boot.timeouts: guessed\n", []),
        (
            "  memory: >-\n    sold with 2G,\n    and with 3G\n  kvm: ours\n  'boot.timeouts': guessed\n",
            ["kvm"],
        ),
    ],
)
def test_what_the_board_has_shown_is_verified_however_it_was_written(tmp_path, entries, left):
    """The proposed file is a target file again, also where nothing is left below the key."""
    path = tmp_path / "mine.yaml"
    before, _, behind = load_target("rk3399-rockpro64").path.read_text().partition("unverified:\n")
    path.write_text(f"{before}unverified:\n{entries}\n{behind[behind.index('targets:') :]}")
    text = proposed(load_target(path), {"board": FACTS["board"], "times": FACTS["times"]})
    path.write_text(text)
    assert list(load_target(path).check().unverified) == left
    assert ("unverified:" in text) == bool(left)


@pytest.mark.parametrize(
    "written",
    [
        "raw:\n    - NV12",
        "raw:\n      - NV12",
        "raw: [\n      NV12,\n    ]",
        "raw: # what it can\n      [NV12]",
    ],
)
def test_a_value_that_is_written_below_its_key_is_replaced_too(tmp_path, written):
    target = load_target("rk3399-rockpro64")
    path = tmp_path / "mine.yaml"
    path.write_text(target.path.read_text().replace("raw: [NV12]\n", f"{written}\n", 1))
    mine = load_target(path)
    assert mine.decoder("rkvdec").raw == ("NV12",)
    path.write_text(proposed(mine, FACTS))
    new = load_target(path)
    assert new.decoder("rkvdec").raw == ("NV12", "NV15")
    assert new.decoder("rkvdec").step == target.decoder("rkvdec").step


def frames(*sizes: int, width: int = 1920, height: int = 1088) -> dict[str, object]:
    """Formats of a decoder whose NV12M frames have planes of these sizes, as its driver says."""
    planes = [{"bytesperline": width, "sizeimage": size} for size in sizes]
    raw = {"NM12": {"width": width, "height": height, "planes": planes}, "YM12": {"errno": 22}}
    return {"api": "stateful", "coded": {"VP90": {"sizes": None, "raw": raw}}}


@pytest.mark.parametrize(
    ("formats", "changed"),
    [
        (frames(2097152, 1048576), {}),
        (frames(2088960, 1044480), {"size": "example: [2088960, 1044480]"}),
        (frames(3133440), {"planes": "planes: 1", "size": "example: [3133440]"}),
        (frames(100, 50, width=640), {}),  # a decoder that has no frames of 1920x1080
    ],
)
def test_what_a_decoder_says_of_its_frames_is_proposed(formats, changed):
    target = load_target("g12b-vim3")
    one = target.decoders[0]
    found = {"device": one.device, "outputs": ["VP90", "H264", "MPG1", "MPG2"], "captures": ["NM12", "YM12"]}
    text = proposed(target, {"hello": FACTS["hello"], "decoders": [{**found, "formats": formats}]})
    added = [line for line in diff(target, text) if line.startswith("+ ")]
    assert len(added) == len(changed)
    assert all(any(words in line for line in added) for words in changed.values()), added


def test_a_board_that_says_what_the_file_says_changes_nothing():
    target = load_target(NAME)
    facts = {"hello": FACTS["hello"], "board": {"mem_total": 2_900_000_000}, "speed": 115200, "kvm": True}
    assert diff(target, proposed(target, facts)) == []
    assert Path(target.path).read_text() == proposed(target, {})
