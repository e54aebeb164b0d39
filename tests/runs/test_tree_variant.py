"""IOMMU off by U-Boot's commands and by a tree that libfdt edited: one mode, one matrix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.boards import load_target
from tests.command import lab

pytestmark = [pytest.mark.board, pytest.mark.timeout(300)]

CELLS = "import and (udmabuf or heap or copied)"


def measured(folder: Path, target: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """Decoder and allocator -> verdict, and the mode that the board said it was in."""
    words = ["--target", target, "--iommu", "off", "-k", CELLS, "--json", "cells.json"]
    done = lab("run", "board", *words, cwd=folder, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified: no group" in done.stderr
    cells = json.loads((folder / "cells.json").read_text())["cells"]
    return {
        (cell["decoder"], cell["allocator"]): (cell["verdict"], cell["iommu"]["verified"])
        for cell in cells
        if cell["allocator"]
    }


def test_both_ways_give_the_same_mode_and_the_same_matrix(tmp_path):
    text = load_target("virt-smmu").path.read_text()
    assert "by: u-boot" in text
    found = {}
    for way in ("u-boot", "device-tree"):
        folder = tmp_path / way
        folder.mkdir()
        target = folder / "virt-smmu.yaml"
        # QEMU's U-Boot has no ${fdt_addr_r}; the address is behind kernel and initrd
        changed = text.replace("by: u-boot", f"by: {way}").replace(
            "  line: 1024\n", '  line: 1024\n  tree: "0x4f000000"\n'
        )
        target.write_text(changed)
        assert load_target(target).edits_tree == (way == "device-tree")
        found[way] = measured(folder, target)
    assert found["u-boot"] == found["device-tree"]
    assert found["u-boot"]["wide", "udmabuf-4k"] == ("refused", "off")
    assert found["u-boot"]["wide", "heap-cma"] == ("zero-copy", "off")
