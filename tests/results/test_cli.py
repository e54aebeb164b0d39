"""``lab results``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.base.errors import SharelabError
from lab.cli.results import app
from lab.results.folder import RunFolder
from tests.results.sample import run


def lab(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_lab_results(folder: RunFolder) -> None:
    folder.publish()
    assert run().id in lab("list")
    (line,) = json.loads(lab("list", "--json"))
    assert line["counts"] == {"PASS": 61, "FAIL": 1, "SKIP": 1, "ERROR": 1, "MISS": 1}
    assert (line["exit_code"], line["modes"]) == (1, ["translated", "passthrough", "off"])
    for name in ("last", "2026", run().id):
        assert "udmabuf, 2M huge pages" in lab("show", name)
    assert f"Report: results/{run().id}/report.html" in lab("show")
    assert json.loads(lab("show", "--json")) == json.loads(folder.json.read_text())


def test_lab_results_without_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SharelabError, match="no result store"):
        lab("list")
