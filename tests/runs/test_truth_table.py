"""`lab run board` on the three virtual SoCs: the measured truth table, typed in by hand.

The constraint model is not asked: the table is what was measured on these machines before it existed.
"""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lab.results.log import read
from tests.command import lab

pytestmark = [pytest.mark.board, pytest.mark.timeout(600)]

ZERO, REFUSED, LOST, COPIED, NONE = "zero-copy", "refused", "corrupt", "copied", "unsupported"
ALLOCATORS = (
    "decoder-mmap",
    "udmabuf-4k",
    "udmabuf-2m",
    "virtio-gpu-dumb",
    "vgem",
    "heap-system",
    "heap-cma",
    "copied",
)
TABLE = {
    ("virt-smmu", "wide", "translated"): (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, COPIED),
    ("virt-smmu", "wide", "passthrough"): (ZERO, REFUSED, ZERO, REFUSED, REFUSED, REFUSED, ZERO, COPIED),
    ("virt-smmu", "wide", "off"): (ZERO, REFUSED, ZERO, REFUSED, REFUSED, REFUSED, ZERO, COPIED),
    ("virt-smmu", "narrow", "translated"): (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, COPIED),
    ("virt-smmu", "narrow", "passthrough"): (NONE,) * 8,
    ("virt-smmu", "narrow", "off"): (NONE,) * 8,
    ("virt-cma", "wide", "off"): (ZERO, REFUSED, ZERO, REFUSED, REFUSED, REFUSED, ZERO, COPIED),
    ("virt-dma32", "wide", "off"): (ZERO, LOST, LOST, LOST, LOST, COPIED, ZERO, COPIED),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which ``lab run`` ran; all three targets, the board's suites."""
    folder = tmp_path_factory.mktemp("run")
    words = ["--json", "cells.json", "--junit", "junit.xml", "--report", "report.html"]
    for target in dict.fromkeys(target for target, _, _ in TABLE):
        words += ["--target", target]
    done = lab("run", "board", *words, cwd=folder, timeout=580)
    (folder / "stdout").write_text(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def cells(run: Path) -> list[dict]:
    return json.loads((run / "cells.json").read_text())["cells"]


@pytest.mark.parametrize("column", TABLE, ids="-".join)
def test_the_measured_truth_table(cells, column):
    target, decoder, mode = column
    found = {
        cell["allocator"]: cell["verdict"]
        for cell in cells
        if (cell["target"], cell["decoder"], cell["iommu"]["asked"]) == column and cell["allocator"]
    }
    assert found == dict(zip(ALLOCATORS, TABLE[column], strict=True)), (target, decoder, mode)


def test_every_cell_says_what_it_rests_on(cells):
    keys = {"target", "place", "allocator", "importer", "iommu", "verdict", "expected", "status", "errno"}
    for cell in cells:
        assert keys <= set(cell), cell["test"]
        assert cell["iommu"]["verified"] == cell["iommu"]["asked"], cell["test"]
        if cell["allocator"]:
            assert cell["evidence"]["stage"], cell["test"]
            assert cell["reason"], cell["test"]
        if cell["verdict"] == REFUSED:
            assert cell["errno"] == 14, "EFAULT"
            assert "contiguous chunk is too small" in cell["reason"]


def test_the_silent_loss_is_seen_by_its_bounces(cells):
    lost = [cell for cell in cells if cell["target"] == "virt-dma32" and cell["verdict"] == LOST]
    assert lost
    for cell in lost:
        assert cell["evidence"]["bounced"] > 0
        assert cell["evidence"]["stage"] == "done", "the decoder reported success"


def test_junit_and_report_have_every_cell(run, cells):
    suites = ElementTree.parse(run / "junit.xml").getroot()
    assert len(list(suites.iter("testcase"))) == len(cells)
    report = (run / "report.html").read_text()
    assert "decoder&#39;s own (MMAP, EXPBUF)" in report
    assert "http://" not in report.replace("http://www.w3.org/", "")


def test_the_log_is_whole(run, cells):
    contents = read(run / "results" / "latest" / "results.jsonl")
    assert not contents.problems
    assert {result.key for result in contents.results} == {
        cell.key for header in contents.runs for cell in header.planned
    }
    assert len(contents.results) >= len(cells)


def test_the_matrix_is_printed_for_a_person(run):
    text = (run / "stdout").read_text()
    assert "zero-copy" in text
    assert "all as expected" in text
    assert "\x1b[" not in text, "no colour where there is no terminal"
