"""The scripts of benchmarks/ start: nothing that they take from the framework has gone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lab.base import dirs

SCRIPTS = sorted((dirs.root() / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_says_what_it_measures(script):
    command = [sys.executable, str(script), "--help"]
    done = subprocess.run(command, cwd=dirs.root(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
