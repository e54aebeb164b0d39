"""`lab run --switch`: what was measured by hand after boots, without the second boot."""

from __future__ import annotations

import json

import pytest

from tests.command import lab
from tests.runs.test_truth_table import ALLOCATORS, TABLE

pytestmark = [pytest.mark.board, pytest.mark.timeout(300)]


def test_the_truth_table_holds_after_a_switch(tmp_path):
    words = ["--iommu", "translated,passthrough", "--switch", "-k", "import", "--json", "cells.json"]
    done = lab("run", "board", *words, cwd=tmp_path, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified: identity, switched while it ran" in done.stderr
    assert done.stderr.count("U-Boot") == 1
    cells = json.loads((tmp_path / "cells.json").read_text())["cells"]
    for mode in ("translated", "passthrough"):
        for decoder in ("wide", "narrow"):
            found = {
                cell["allocator"]: cell["verdict"]
                for cell in cells
                if (cell["decoder"], cell["iommu"]["verified"]) == (decoder, mode) and cell["allocator"]
            }
            assert found == dict(zip(ALLOCATORS, TABLE["virt-smmu", decoder, mode], strict=True))
