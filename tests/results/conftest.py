"""Fixtures of the results' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.results.folder import RunFolder
from tests.results.sample import bad_run, good_run, plan, run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    made, log = RunFolder.create(run(plan(good_run())))
    with log:
        for item in bad_run():
            log.write(item)
    return made
