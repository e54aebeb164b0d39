"""Generated files are run: by systemd's own check, and each command by hand against a real coordinator."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.admin.conftest import BIN, Bench, lab

LAB = """\
coordinator: {machine: server}
exporters:
  far:
    machine: shelf1
    isolated: true
    resources:
      rock-1:
        # braces, percent and hash would mean something to Jinja2 and to systemd
        NetworkPowerPort: {model: rest, host: "http://u:p%20#w@10.0.0.1/{{index}}/{% x %}", index: 1}
        TFTPProvider:
          internal: /srv/tftp/
          external: "## rock-1"
  near: {resources: {evk: {NetworkService: {address: 10.0.0.8, username: root}}}}
places: {rock-1: {}, evk: {}}
"""


def write(folder: Path, *words: str, text: str = LAB) -> Path:
    (folder / "lab.yaml").write_text(text)
    done = lab("units", "lab.yaml", "--bin", BIN, *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "units"


def command(unit: Path, **specifiers: str) -> list[str]:
    """A unit's command as systemd would start it (systemd.unit(5), "Specifiers")."""
    [line] = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    for letter, value in specifiers.items():
        line = line.replace(f"%{letter}", value)
    return shlex.split(line.removeprefix("ExecStart=").replace("%%", "%"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
@pytest.mark.parametrize("words", [[], ["--system"]], ids=["user", "system"])
def test_systemd_takes_the_units(tmp_path: Path, words: list[str]):
    units = sorted(write(tmp_path, *words).glob("*/*.service"))
    assert [unit.parent.name + "/" + unit.stem for unit in units] == [
        "server/sharelab-coordinator",
        "server/sharelab-exporter-near",
        "server/sharelab-janitor",
        "shelf1/sharelab-exporter-far",
        "shelf1/sharelab-tunnel",
    ]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for script in tmp_path.glob("units/*/install.sh"):
        subprocess.run(["sh", "-n", script], check=True, timeout=10)


def test_the_exporter_s_command_offers_what_the_file_says(tmp_path: Path, bench: Bench):
    folder = write(
        tmp_path, text=LAB.replace("{machine: server}", f"{{machine: server, listen: '{bench.address}'}}")
    )
    (tmp_path / "sharelab").mkdir()
    shutil.copy(folder / "shelf1" / "exporter-far.yaml", tmp_path / "sharelab")
    bench.run(command(folder / "shelf1" / "sharelab-exporter-far.service", E=str(tmp_path)))
    seen = bench.client("-v", "resources")
    assert "http://u:p%20#w@10.0.0.1/{{index}}/{% x %}" in seen
    assert "'external': '## rock-1'" in seen
    assert "far/rock-1/RemoteTFTPProvider" in seen
    assert "'proxy_required': True" in seen
    assert (folder / "shelf1" / "exporter-far.yaml").stat().st_mode & 0o077 == 0


def test_tunnels_only_where_they_are_needed(tmp_path: Path):
    units = write(tmp_path)
    exporters = [
        units / "server/sharelab-exporter-near.service",
        units / "shelf1/sharelab-exporter-far.service",
    ]
    tunnel = units / "shelf1/sharelab-tunnel.service"
    assert "-L 127.0.0.1:20408:127.0.0.1:20408 server" in tunnel.read_text()
    assert [command(unit)[2] for unit in exporters] == ["127.0.0.1:20408", "127.0.0.1:20408"]
    tunnel.unlink()
    write(tmp_path, text=LAB.replace("server}", "server, listen: '0.0.0.0:20408'}"))
    assert not tunnel.exists()
    assert [command(unit)[2] for unit in exporters] == ["127.0.0.1:20408", "server:20408"]


def test_the_commands_are_right_where_the_folder_has_a_blank(tmp_path: Path):
    (tmp_path / "lab.yaml").write_text(LAB)
    done = lab("units", "lab.yaml", "--bin", BIN, "--dir", "my units", cwd=tmp_path)
    [line] = [line for line in done.stdout.splitlines() if "scp -r" in line and "shelf1" in line]
    assert shlex.split(line)[:4] == ["scp", "-r", "my units/shelf1", "shelf1:"]
