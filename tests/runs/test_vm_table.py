"""`lab run vm` on the virtual board: what was measured across the VM boundary, typed in by hand.

The constraint model is not asked: most of the table was measured on this machine before it existed.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.boards import load_target
from tests.command import lab

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
    "guest-import": (ZERO, ZERO),
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


WANTED = {"translated": (3, 2), "off": (1, 1)}
"""CAPTURE buffers that the decoder wants, of which it fills the last, and dma-bufs of each (NV12M)."""

GOING_ON = "guest_memory or host_memory or usb"
"""Tests (``-k``) that one guest serves with nothing but itself, and one with a process beside its VMM."""
IN_SNAPSHOTS = 8
"""How many those are."""


def cells_of(folder: Path, mode: str, *words: str, target: str | Path = "virt-smmu") -> list[dict]:
    """The cells of a `lab run vm` in a folder of its own; it has to come out as it should."""
    folder.mkdir()
    asked = ["--target", target, "--iommu", mode, "--json", "cells.json", *words]
    done = lab("run", "vm", *asked, cwd=folder, timeout=700)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict] = json.loads((folder / "cells.json").read_text())["cells"]
    return found


def as_meson(folder: Path) -> Path:
    """The same target but that its decoders want three CAPTURE buffers, each of several dma-bufs."""
    text = load_target("virt-smmu").path.read_text()
    for had, count, has in (
        ("address_bits: [32, 28]}", 1, "address_bits: [32, 28], min_buffers: [3, 3], multiplanar: [2, 2]}"),
        ("raw: [NV12, YU12]", 2, "raw: [NV12M, YUV420M]"),
    ):
        assert text.count(had) == count
        text = text.replace(had, has)
    path = folder / "as-meson.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict]:
    """(path, mode) -> cell. A board a mode: one that boots, one that goes on from a snapshot where it can."""
    folder = tmp_path_factory.mktemp("cells")
    on, off = (folder / mode for mode in MODES)
    found = (
        cells_of(on, "translated", "--no-snapshot", target=as_meson(folder)),
        cells_of(off, "off", "--snapshot"),
    )
    return {(cell["allocator"], cell["iommu"]["asked"]): cell for run in found for cell in run}


@pytest.fixture(scope="module")
def again(cells: dict, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Cells of a board and a guest that went on from a snapshot: those above, else of one more run."""
    off = [cell for (_, mode), cell in cells.items() if mode == "off"]
    found = [cell for cell in off if went_on(cell)]
    if len(found) < IN_SNAPSHOTS:
        words = ("--snapshot", "-k", GOING_ON)
        found = cells_of(tmp_path_factory.mktemp("later") / "again", "off", *words)
    return found


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


def test_of_several_buffers_the_consumer_reads_the_one_that_the_frame_is_in(cells):
    """Zero-copy cells say that it was the right one: here, that it was not the first; and has all planes."""
    decoded = set()
    for (path, mode), cell in cells.items():
        evidence = cell["evidence"]
        for frame in evidence["frames"]:
            decoded.add((path, mode))
            buffers = evidence["buffers"]
            count, planes = WANTED[mode]
            assert (frame["buffer"], len(frame["sizes"])) == (count - 1, planes), path
            assert evidence["buffer"] == buffers[frame["buffer"] * planes], path
            assert len({buffer["inode"] for buffer in buffers}) == len(buffers) == count * planes, path
    for mode in MODES:
        ran = {path for (path, asked), cell in cells.items() if asked == mode and decodes(cell)}
        assert {path for path, asked in decoded if asked == mode} == ran


def decodes(cell: dict) -> bool:
    """Whether a cell's verdict is about a frame."""
    return cell["verdict"] not in (REFUSED, NONE)


def test_what_is_unsupported_says_why_in_others_words(cells):
    for (path, _), cell in cells.items():
        if cell["verdict"] == NONE:
            assert cell["reason"], path
    assert "VIRTIO_GPU_F_RESOURCE_UUID" in cells["resource-uuid", "translated"]["reason"]
    assert "IOMMU group" in cells["vfio-decoder", "off"]["reason"]


def test_the_copying_vmm_was_caught_at_it(cells):
    for mode in MODES:
        assert any("res_xfer_toh" in line for line in cells["guest-copied", mode]["evidence"]["copies"])


def went_on(cell: dict) -> bool:
    """Whether neither its board nor its guest was booted for it."""
    said: str = cell["environment"]["snapshot"]
    return said.startswith("restored ") and said.endswith(" with a guest")


def test_boards_that_go_on_from_a_snapshot_give_the_same(cells, again):
    """The verdict of the table, and the errno of the mode's first cell of that path."""
    assert len(again) >= IN_SNAPSHOTS
    assert "host-blob" in {cell["allocator"] for cell in again}
    for cell in again:
        path = cell["allocator"]
        assert went_on(cell), path
        assert cell["verdict"] == TABLE[path][MODES.index("off")], path
        assert cell["errno"] == cells[path, "off"]["errno"], path


def test_the_host_finds_memory_below_the_mask(tmp_path):
    """Although Linux gives the memory above it first, and the guest's RAM lies there."""
    [cell] = cells_of(tmp_path / "above", "off", "--snapshot", "-k", "host_allocates", target="virt-dma32")
    assert (cell["allocator"], cell["target"], cell["verdict"]) == ("host-blob", "virt-dma32", ZERO)
    assert all(page < 1 << 32 for page in cell["evidence"]["pages"])
