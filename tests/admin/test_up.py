"""``lab up --lab``: real boards on one machine, without systemd."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.admin.conftest import lab

LAB = """\
exporters: {bench: {resources: {rock: {NetworkService: {address: 10.0.0.7, username: root}}}}}
places: {rock: {tags: {soc: rk3588}}}
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Folders of the user's own, so that no lab of this machine is met."""
    found = {}
    for kind in ("RUNTIME_DIR", "CACHE_HOME", "STATE_HOME"):
        folder = tmp_path / kind
        folder.mkdir(mode=0o700)
        found[f"XDG_{kind}"] = str(folder)
    return found


def test_a_file_s_boards_are_there_after_one_command(tmp_path: Path, home: dict[str, str]):
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        done = lab(*words, cwd=tmp_path, **home)
        assert done.returncode == 0, done.stderr
        return done

    (tmp_path / "lab.yaml").write_text(LAB)
    try:
        first = run("up", "--lab", "lab.yaml", "--listen", "127.0.0.1:0")
        assert "+ rock             new" in first.stdout
        assert "lab heal rock" in first.stderr
        run("heal", "rock")
        [place] = json.loads(run("boards", "--json").stdout)["places"]
        assert (place["name"], place["soc"], place["health"]) == ("rock", "rk3588", "healthy")
        assert place["live"]
    finally:
        run("down")


def test_a_file_for_other_machines_says_what_else_to_do(tmp_path: Path, home: dict[str, str]):
    (tmp_path / "lab.yaml").write_text("coordinator: {machine: server}\n" + LAB)
    done = lab("up", "--lab", "lab.yaml", cwd=tmp_path, **home)
    assert done.returncode == 2
    assert done.stderr == (
        "lab: its coordinator runs on server, by lab.yaml: lab units lab.yaml, or no machine: in the file\n"
    )
