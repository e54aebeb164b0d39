"""Which cells the suites plan on a target: pytest only collects, nothing boots."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from lab.base import dirs
from lab.boards import load_target
from lab.runs import streams

WRONG_MASK = re.compile(r"test_wrong_mask_is_contained_and_recovered_from\[(\w+)-(\w+)\]")
WRITES_INTO = re.compile(r"test_decoder_writes_into\[(\w+)-(\w+)-vgem\]")


def collect(target: str, *suites: str) -> str:
    """What pytest collects of ``suites`` for a target file."""
    command = [sys.executable, "-m", "pytest", *suites, "--collect-only", "-q", "--lg-env", target]
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
    return done.stdout


@pytest.mark.parametrize("target", ["virt-smmu", "virt-cma"])
def test_a_decoder_that_a_test_is_not_about_is_no_cell(target):
    """32 address lines are all that the driver of the wide decoder claims: nothing to be wrong about."""
    suites = [f"suites/board/test_{name}.py" for name in ("faults", "import")]
    said = collect(f"targets/{target}.yaml", *suites)
    known = load_target(target)
    modes = {str(mode) for mode in known.default_modes}
    every = {(mode, decoder.name) for mode in modes for decoder in known.decoders}
    narrow = {(mode, decoder) for mode, decoder in every if decoder == "narrow"}
    assert set(WRITES_INTO.findall(said)) == every
    assert set(WRONG_MASK.findall(said)) == narrow
    assert "skip" not in said


def test_a_board_without_a_vmm_has_no_paths_through_one(tmp_path):
    """What lies in the board's own kernel is planned all the same."""
    text = load_target("virt-cma").path.read_text()
    section = re.search(r"^vmm:.*\n(?:  .*\n)*", text, re.MULTILINE)
    assert section
    (tmp_path / "mine.yaml").write_text(text.replace(section[0], ""))
    assert "test_scattered_guest_blob" in collect("targets/virt-cma.yaml", "suites/vm")
    said = collect(str(tmp_path / "mine.yaml"), "suites/vm")
    assert "test_scattered_guest_blob" not in said
    assert "test_virgl" not in said
    assert "test_gpu_samples_what_the_decoder_wrote" in said
    assert "test_usb_controller_reads_the_pages" in said


def test_decoding_is_tried_with_each_driver_of_a_board():
    """With the streams that each can decode; two decoders of one driver and the same codecs once."""
    said = collect(
        "targets/virt-smmu.yaml", *(f"suites/board/test_{name}.py" for name in ("decode", "compliance"))
    )
    assert set(re.findall(r"\[\w+-(wide|narrow)\b", said)) == {"wide"}
    said = collect("targets/rk3399-rockpro64.yaml", "suites/board/test_decode.py", "--iommu", "translated")
    known = {decoder.name: decoder for decoder in load_target("rk3399-rockpro64").decoders}
    kinds = {"test_size": streams.named, "test_key_frame_and_what_builds_on_it": streams.raw_formats}
    for test, of in kinds.items():
        found = set(re.findall(rf"{test}\[translated-([^\]]+)\]", said))
        assert found == {f"{name}-{one}" for name, it in known.items() for one in of(it) or ["none"]}


def test_both_suites_are_one_run():
    """`lab run` without a suite, and `pytest suites`: two test files of one name would break both."""
    said = collect("targets/virt-smmu.yaml", "suites/board", "suites/vm")
    files = list(dict.fromkeys(line.partition("::")[0] for line in said.splitlines()))
    assert "suites/board/test_import.py" in files
    needing_newest = ["host_memory", "imported_memory", "usb", "vfio"]
    at = files.index(f"suites/vm/test_{needing_newest[0]}.py")
    assert files[at : at + 4] == [f"suites/vm/test_{name}.py" for name in needing_newest], (
        "the newest guest serves these in one boot, and usb needs none"
    )
