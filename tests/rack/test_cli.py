"""``lab rack`` as a user types it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.base.errors import ConfigError, LabError
from lab.cli.rack import app
from tests.rack.conftest import Files, gone


def lab_rack(*words: str | Path) -> str:
    """Standard output of ``lab rack WORDS``; errors are raised, as lab.cli.app catches them."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.board
def test_up_status_down(bootable: Files, tmp_path: Path) -> None:
    folder = tmp_path / "rack"
    text = lab_rack("up", "virt-smmu", "virt-cma", "--dir", folder)
    try:
        assert re.search(r"virt-smmu +off", text)
        assert re.search(rf"ssh -i \S+ .*UserKnownHostsFile={folder}/known_hosts", text)
        status = json.loads(lab_rack("status", "--json", "--dir", folder))
        assert [*status["boards"]] == ["virt-smmu", "virt-cma"]
        board = status["boards"]["virt-cma"]
        assert board["power"] is False
        assert f"127.0.0.1:{board['serial']}" in lab_rack("status", "--dir", folder)
        assert (folder / "exporter.yaml").stat().st_mode & 0o077 == 0
        with pytest.raises(LabError, match="already"):
            lab_rack("up", "virt-smmu", "--dir", folder)
    finally:
        lab_rack("down", "--dir", folder)
    assert gone(status["pid"])
    with pytest.raises(LabError, match="no rack runs"):
        lab_rack("status", "--dir", folder)
    lab_rack("down", "--dir", folder)


def test_an_unknown_target_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-target"):
        lab_rack("up", "no-such-target", "--dir", tmp_path)
