"""`lab run vm` on the virtual board: what was measured across the VM boundary, typed in by hand.

The constraint model is not asked: most of the table was measured on this machine before it existed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lab.base import dirs

pytestmark = [pytest.mark.board, pytest.mark.timeout(1500)]

ZERO, REFUSED, COPIED, CORRUPT, NONE, OPEN = (
    "zero-copy",
    "refused",
    "copied",
    "corrupt",
    "unsupported",
    "inconclusive",
)
MODES = ("translated", "off")
TABLE = {
    "gpu-import": (ZERO, ZERO),
    "guest-blob": (ZERO, REFUSED),
    "guest-blob-contig": (ZERO, ZERO),
    "virgl-texture": (ZERO, REFUSED),
    "host-blob": (ZERO, ZERO),
    "vfio-decoder": (ZERO, NONE),
    "usb-pages": (ZERO, REFUSED),
    "usb-dmabuf": (REFUSED, REFUSED),
    "resource-uuid": (NONE, NONE),
    "host3d-blob": (NONE, NONE),
    "guest-copied": (COPIED, COPIED),
    "wrong-buffer": (CORRUPT, CORRUPT),
    "untraced": (OPEN, REFUSED),
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict]:
    """(path, mode) -> cell of one run."""
    folder = tmp_path_factory.mktemp("run")
    command = [sys.executable, "-m", "lab.cli", "run", "vm", "--target", "virt-smmu"]
    done = subprocess.run(
        [*command, "--iommu", ",".join(MODES), "--json", "cells.json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(dirs.root())},
        capture_output=True,
        text=True,
        timeout=1480,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((folder / "cells.json").read_text())["cells"]
    return {(cell["allocator"], cell["iommu"]["asked"]): cell for cell in found}


@pytest.mark.parametrize("mode", MODES)
def test_the_measured_table(cells, mode):
    found = {path: cell["verdict"] for (path, asked), cell in cells.items() if asked == mode}
    assert found == {path: verdicts[MODES.index(mode)] for path, verdicts in TABLE.items()}


def test_zero_copy_across_the_boundary_rests_on_both_sides(cells):
    for (path, _), cell in cells.items():
        if cell["verdict"] != ZERO or path in ("gpu-import", "usb-pages"):
            continue
        assert cell["evidence"]["copies"] == [], path
        assert cell["evidence"]["canaries"] == {"host_to_guest": True, "guest_to_host": True}, path


def test_what_is_unsupported_says_why_in_others_words(cells):
    for (path, _), cell in cells.items():
        if cell["verdict"] == NONE:
            assert cell["reason"], path
    assert "VIRTIO_GPU_F_RESOURCE_UUID" in cells["resource-uuid", "translated"]["reason"]
    assert "IOMMU group" in cells["vfio-decoder", "off"]["reason"]


def test_the_copying_vmm_was_caught_at_it(cells):
    for mode in MODES:
        assert any("res_xfer_toh" in line for line in cells["guest-copied", mode]["evidence"]["copies"])
