"""Which cells the suites plan on a target: pytest only collects, nothing boots."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from lab.base import dirs
from lab.boards import load_target

WRONG_MASK = re.compile(r"test_wrong_mask_is_contained_and_recovered_from\[(\w+)-(\w+)\]")
WRITES_INTO = re.compile(r"test_decoder_writes_into\[(\w+)-(\w+)-vgem\]")


@pytest.mark.parametrize("target", ["virt-smmu", "virt-cma"])
def test_a_decoder_that_a_test_is_not_about_is_no_cell(target):
    """32 address lines are all that the driver of the wide decoder claims: nothing to be wrong about."""
    suites = [f"suites/board/test_{name}.py" for name in ("faults", "import")]
    command = [sys.executable, "-m", "pytest", *suites, "--collect-only", "-q"]
    command += ["--lg-env", f"targets/{target}.yaml"]
    done = subprocess.run(
        command,
        cwd=dirs.root(),
        env={**os.environ, "PYTHONPATH": str(dirs.root()), "LG_PLACE": "nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    known = load_target(target)
    modes = {str(mode) for mode in known.default_modes}
    every = {(mode, decoder.name) for mode in modes for decoder in known.decoders}
    narrow = {(mode, decoder) for mode, decoder in every if decoder == "narrow"}
    assert set(WRITES_INTO.findall(done.stdout)) == every
    assert set(WRONG_MASK.findall(done.stdout)) == narrow
    assert "skip" not in done.stdout
