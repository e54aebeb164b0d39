"""A real supervisor, with all boards off: no QEMU is started here."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from labgrid import Target
from labgrid.driver import HTTPProviderDriver
from labgrid.resource import HTTPProvider

from lab.base import dirs
from lab.base.errors import ConfigError, LabError
from lab.rack import Rack
from lab.rack.board import listener
from lab.rack.rack import GATEWAY
from tests.rack.conftest import VIRT, Files, eventually, gone, parent_command

TWO = {"one": VIRT, "two": VIRT}


def test_two_boards_share_no_port_and_start_switched_off(files: Files, tmp_path: Path) -> None:
    with Rack.start(TWO, image=files, directory=tmp_path / "rack") as rack:
        ports = [port for name in TWO for port in vars(rack.state.boards[name]).values()]
        assert len({*ports, rack.state.http_port}) == 5
        for name in TWO:
            resources = rack.resources(name)
            assert requests.get(resources["NetworkPowerPort"]["host"], timeout=5).text == "0"
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", resources["NetworkService"]["port"]), timeout=5)
            assert rack.console_log(name).read_bytes() == b""
        assert not any(board.power for board in rack.status().values())
        pid = rack.state.pid
    assert gone(pid)
    rack.close()


def test_nobody_without_the_token_switches_a_board(files: Files, tmp_path: Path) -> None:
    with Rack.start(TWO, image=files, directory=tmp_path) as rack:
        url = f"http://127.0.0.1:{rack.state.http_port}"
        for path in ("/one", "/", "//one", f"/{rack.state.token}x/one", f"/{rack.state.token}/three"):
            for method in ("GET", "PUT", "DELETE"):
                assert requests.request(method, url + path, data=b"1", timeout=5).status_code == 404
        assert requests.put(f"{url}/{rack.state.token}/one", data=b"maybe", timeout=5).status_code == 400
        for secret in ("plan.json", "state.json", "token"):
            assert (tmp_path / secret).stat().st_mode & 0o077 == 0


def test_a_staged_file_is_served_by_a_url_that_switches_nothing(files: Files, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    (tmp_path / "root").write_bytes(content)
    with Rack.start(TWO, image=files, directory=tmp_path / "rack") as rack:
        target = Target("one")
        HTTPProvider(target, None, **rack.resources("one")["HTTPProvider"])
        provider = HTTPProviderDriver(target, None)
        target.activate(provider)
        url = provider.stage(str(tmp_path / "root")).replace(GATEWAY, "127.0.0.1")
        assert requests.get(url, timeout=5).content == content
        for other in ("/nothing", "/../console.log", "/..%2Fconsole.log", ""):
            assert requests.get(url.rpartition("/")[0] + other, timeout=5).status_code == 404
        assert rack.state.token not in url
        for method in ("PUT", "DELETE", "POST"):
            assert requests.request(method, url, data=b"1", timeout=5).status_code == 404
        assert requests.put(url.rpartition("/")[0], data=b"1", timeout=5).status_code == 404
        assert not any(board.power for board in rack.status().values())


def test_a_second_rack_in_the_same_folder_is_refused(files: Files, tmp_path: Path) -> None:
    with Rack.start(TWO, image=files, directory=tmp_path) as rack:
        with pytest.raises(LabError, match=r"runs in .* already"):
            Rack.start(TWO, image=files, directory=tmp_path)
        assert rack.status().keys() == TWO.keys()


def test_an_attached_rack_is_the_same_and_outlives_who_started_it(files: Files, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no rack runs"):
        Rack.attach(tmp_path)
    command = parent_command(tmp_path, files.uboot, "stay")
    subprocess.run(command, cwd=dirs.root(), check=True, timeout=30)
    rack = Rack.attach(tmp_path)
    try:
        assert rack.status().keys() == TWO.keys()
        before = rack.resources("one")["NetworkPowerPort"]["host"]
        assert requests.get(before, timeout=5).text == "0"
    finally:
        rack.close()
    assert gone(rack.state.pid)
    with pytest.raises(LabError, match="no rack runs"):
        Rack.attach(tmp_path)


def test_a_rack_ends_when_its_parent_is_killed(files: Files, tmp_path: Path) -> None:
    command = parent_command(tmp_path, files.uboot)
    with subprocess.Popen(command, cwd=dirs.root(), stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid, *_ = json.loads(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
    assert eventually(lambda: gone(pid))


def test_a_dead_supervisor_is_a_lab_error_and_its_log_stays_readable(files: Files, tmp_path: Path) -> None:
    with Rack.start(TWO, image=files, directory=tmp_path) as rack:
        os.kill(rack.state.pid, signal.SIGKILL)
        assert eventually(lambda: gone(rack.state.pid))
        with pytest.raises(LabError, match="does not answer"):
            rack.status()
        assert "supervisor is gone" in rack.log_tail("one")


def test_given_ports_are_used_and_come_back_with_the_same_url(files: Files, tmp_path: Path) -> None:
    base = free_run(5)
    urls = []
    for _ in range(2):
        with Rack.start(TWO, image=files, directory=tmp_path, base_port=base) as rack:
            urls.append(rack.resources("two")["NetworkPowerPort"]["host"])
            assert [*vars(rack.state.boards["two"]).values()] == [base + 3, base + 4]
    assert urls[0] == urls[1]


@pytest.mark.parametrize("taken", [0, 3, 4])
def test_a_port_in_use_is_named(files: Files, tmp_path: Path, taken: int) -> None:
    base = free_run(5)
    with socket.socket() as other:
        other.bind(("127.0.0.1", base + taken))
        other.listen()
        with pytest.raises(ConfigError, match=rf"port .*\b{base + taken}\b.* in use"):
            Rack.start(TWO, image=files, directory=tmp_path, base_port=base)


def free_run(count: int) -> int:
    """The first of ``count`` ports in a row below the range from which the kernel gives out ports."""
    for base in range(20000 + os.getpid() % 5000, 32000, count):
        held = []
        try:
            held = [listener(base + number) for number in range(count)]
        except OSError:
            continue
        finally:
            for bound in held:
                bound.close()
        if len(held) == count:
            return base
    raise AssertionError("no free ports")


def test_a_held_port_is_given_to_nobody_else() -> None:
    held = listener(0)
    port = held.getsockname()[1]
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind(("127.0.0.1", port))
    others = [listener(0) for _ in range(200)]
    assert port not in {other.getsockname()[1] for other in others}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    for other in (held, *others):
        other.close()


def test_what_cannot_boot_is_refused_before_anything_starts(files: Files, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.bin: image file cannot be read"):
        Rack.start(TWO, image=replace(files, uboot=tmp_path / "missing.bin"), directory=tmp_path / "r")
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigError, match="image file is empty"):
        Rack.start(TWO, image=replace(files, squashfs=tmp_path / "empty"), directory=tmp_path / "r")
    with pytest.raises(ConfigError, match="cannot name a board"):
        Rack.start({"../x": VIRT}, image=files, directory=tmp_path / "r")
    assert not (tmp_path / "r" / "boards").exists()


def test_a_board_that_is_not_there_is_named(files: Files, tmp_path: Path) -> None:
    with (
        Rack.start(TWO, image=files, directory=tmp_path) as rack,
        pytest.raises(ConfigError, match="no board 'three' in this rack"),
    ):
        rack.resources("three")


def test_the_exporter_of_labgrid_reads_the_racks_file(files: Files, tmp_path: Path) -> None:
    from labgrid.remote.config import ResourceConfig

    from lab.rack.exporter import exporter_yaml

    with Rack.start(TWO, image=files, directory=tmp_path) as rack:
        (tmp_path / "exporter.yaml").write_text(exporter_yaml(rack))
        data = ResourceConfig(str(tmp_path / "exporter.yaml"), {}).data
        assert data == {name: rack.resources(name) for name in TWO}


def test_a_proxy_in_the_environment_does_not_get_the_power_url(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.setenv("NO_PROXY", "example.org")
    with Rack.start(TWO, image=files, directory=tmp_path) as rack:
        assert requests.get(rack.resources("one")["NetworkPowerPort"]["host"], timeout=5).text == "0"
    assert os.environ["no_proxy"].split(",") == ["example.org", "127.0.0.1"]
