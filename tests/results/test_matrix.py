"""The matrix as it stands on a terminal. The golden texts are there to be looked at."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from lab.base.words import IommuMode, Status, Verdict
from lab.results import Outcome, Result
from lab.results.matrix import blocks, gravity, headline, summary
from lab.results.terminal import MatrixView, show
from tests.results.sample import bad_run, crossing, good_run, other, plan, result, run, vm_run
from tests.results.strategies import results

REPORT = Path("results/2026-11-22T21-04-33-3f2a/report.html")


def shown(outcome: Outcome, width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    console = Console(file=file, width=width, highlight=False, color_system=None)
    show(console, outcome, REPORT)
    file.flush()
    return raw.getvalue().decode(encoding)


def outcome_of(kind: str) -> Outcome:
    if kind == "bad":
        return Outcome.of(bad_run(), run(plan(good_run())))
    return Outcome.of(vm_run() if kind == "vm" else good_run(["virt-smmu"]))


GOLDEN = {
    "good-80": (80, "utf-8"),
    "bad-120": (120, "utf-8"),
    "bad-80": (80, "utf-8"),
    "bad-80-ascii": (80, "ascii"),
    "good-60": (60, "utf-8"),
    "vm-150": (150, "utf-8"),
    "vm-80-ascii": (80, "ascii"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_matrix_looks_as_it_was_approved(name: str, tmp_path: Path) -> None:
    """After a wanted change: look at the new text, then copy it over the file in golden/."""
    width, encoding = GOLDEN[name]
    text = shown(outcome_of(name.partition("-")[0]), width, encoding)
    approved = Path(__file__).parent / "golden" / f"{name}.txt"
    (tmp_path / approved.name).write_text(text, encoding="utf-8")
    assert text == approved.read_text(encoding="utf-8"), f"new text: {tmp_path / approved.name}"


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_rows_are_aligned_and_no_line_is_too_long(width: int) -> None:
    outcome = Outcome.of(bad_run(), run(plan(good_run())))
    lines = shown(outcome, width).splitlines()
    for line in lines:
        assert len(line) <= width or line.lstrip().startswith(("repeat:", "Report:"))
        assert line == line.rstrip()
    header = next(number for number, line in enumerate(lines) if "translated" in line)
    column = lines[header].index("passthrough")
    block = lines[header + 2 : lines.index("", header)]
    rows = [line for line in block if not line.startswith("   ")]  # the others go on with a label
    assert len(rows) == 6
    assert (len(block) == len(rows)) == (width > 60)
    for line in rows:
        assert line[column] in "●○✗◐"
        assert line[column - 1] == " "


def test_colour_says_nothing_that_text_does_not() -> None:
    outcome = Outcome.of(bad_run(), run(plan(good_run())))
    coloured = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with coloured.capture() as capture:
        show(coloured, outcome, REPORT)
    assert "\x1b[" in capture.get()
    plain = "".join(
        part.partition("m")[2] if at else part for at, part in enumerate(capture.get().split("\x1b["))
    )
    assert plain == shown(outcome, 80)


def test_reasons_stand_beside_where_there_is_room() -> None:
    lines = shown(Outcome.of(good_run(["virt-dma32"])), 120).splitlines()
    assert lines[2:5] == [
        " decoder's own (MMAP, EXPBUF)   ● zero-copy",
        " udmabuf, 4K pages, scattered   ✗ corrupt     "
        "pages above the 32-bit mask are bounced and never copied back",
        " udmabuf, 2M huge pages         ✗ corrupt     ″",
    ]


def test_what_the_lab_lost_for_one_reason_is_told_once() -> None:
    lost = {"status": Status.MISS, "verdict": None, "reason": "QEMU is gone"}
    items = [result("virt-smmu", IommuMode.OFF, **lost, test=str(number)) for number in range(9)]
    text = shown(Outcome.of(items), 80)
    assert text.startswith(" ? virt-smmu off  9 cells: MISS\n   QEMU is gone\n")
    assert text.count("QEMU is gone") == 1


def test_several_results_in_one_place_show_the_gravest_and_how_many() -> None:
    wrong = {"status": Status.FAIL, "verdict": Verdict.CORRUPT, "expected": Verdict.ZERO_COPY}
    items = [result(test=str(n)) for n in range(3)] + [result(test="3", **wrong)]
    text = shown(Outcome.of(items), 100)
    assert "✗ 1/4 corrupt ≠   expected zero-copy" in text
    (entry,) = blocks(Outcome.of(items))[0].shares[0].entries
    assert entry is not None
    assert (entry.alike, len(entry.cells), entry.as_expected) == (1, 4, False)


def test_the_gravest_of_several_is_what_somebody_has_to_look_at() -> None:
    order = [
        (Status.FAIL, Verdict.ZERO_COPY),  # whatever it was: not what it had to be
        (Status.FAIL, None),
        (Status.ERROR, Verdict.ZERO_COPY),
        (Status.MISS, None),
        (Status.PASS, Verdict.CORRUPT),
        (Status.PASS, Verdict.COPIED),
        (Status.DONE, Verdict.REFUSED),
        (Status.PASS, Verdict.ZERO_COPY),
        (Status.PASS, None),
        (Status.DONE, None),
        (Status.SKIP, None),
    ]
    ranks = [gravity(*cell) for cell in order]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks) - 1, "only the two that failed are alike"


def test_several_decoders_have_a_block_each() -> None:
    items = [result(decoder=name, test=name) for name in ("hantro", "rkvdec")]
    found = blocks(Outcome.of(items))
    assert [block.decoder for block in found] == ["hantro", "rkvdec"]
    assert [row.label for block in found for row in block.shares] == ["udmabuf, 4K pages, scattered"] * 2


def test_paths_with_a_vm_come_after_the_allocators_under_their_own_heading() -> None:
    block = blocks(Outcome.of(vm_run()))[0]
    assert all("blob" not in row.label for row in block.shares)
    assert block.across[0].label == "scattered guest blob → decoder"
    lines = shown(Outcome.of(vm_run()), 80).splitlines()
    heading = lines.index(" across the VM boundary")
    assert lines[heading - 2].startswith(" control: copied on purpose")
    assert lines[heading + 1].startswith(" scattered guest blob → decoder")
    # A run of the VM's suite alone has the heading, too, and no gap above it.
    alone = shown(Outcome.of([crossing(IommuMode.OFF, "guest-blob")]), 80).splitlines()
    assert alone[2] == " across the VM boundary"
    assert "across the VM boundary" not in shown(Outcome.of(good_run(["virt-smmu"])), 80)


def test_why_something_is_unsupported_stands_beside_its_row() -> None:
    lines = shown(Outcome.of(vm_run()), 150).splitlines()
    (uuid,) = [line for line in lines if line.startswith(" resource by UUID")]
    assert uuid.endswith("◌ unsupported   virtio-gpu offers no RESOURCE_UUID (+resource_blob)")
    narrow = shown(Outcome.of(vm_run()), 80)
    assert " ◌ resource by UUID → decoder: virtio-gpu offers no RESOURCE_UUID" in narrow
    assert " ◌ guest's decoder → virtio-gpu: no iommu_group found\n" in narrow
    assert " ○ refused: EFAULT: " in narrow
    items = [
        crossing(IommuMode.PASSTHROUGH, "vfio-decoder", verdict=Verdict.REFUSED, expected_reason="scattered"),
        crossing(IommuMode.OFF, "vfio-decoder"),
    ]
    (row,) = blocks(Outcome.of(items))[0].across
    assert row.note == "no iommu_group found"
    assert row.note_look is not None
    assert row.note_look.word == "unsupported"


def test_a_mode_that_was_not_planned_leaves_a_gap() -> None:
    items = [result("t", IommuMode.OFF, "vgem"), result("t", IommuMode.TRANSLATED, "udmabuf-4k")]
    block = blocks(Outcome.of(items))[0]
    assert block.modes == (IommuMode.TRANSLATED, IommuMode.OFF)
    assert [[entry is not None for entry in row.entries] for row in block.shares] == [
        [False, True],
        [True, False],
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "virt-smmu off  vgem buffer: refused (EFAULT), expected refused (EFAULT)"),
        ({"errno": 22}, "virt-smmu off  vgem buffer: refused (EINVAL), expected refused (EFAULT)"),
        ({"verdict": Verdict.CORRUPT, "errno": None},
         "virt-smmu off  vgem buffer: corrupt, expected refused (EFAULT)"),
        ({"status": Status.MISS, "verdict": None}, "virt-smmu off  vgem buffer: MISS"),
        ({"path": "", "allocator": "", "expected": None, "verdict": None, "status": Status.FAIL},
         "virt-smmu off  test_import.py::test_decoder_writes_into_imported_buffer[vgem]: FAIL"),
    ],
)  # fmt: skip
def test_headlines(changes: dict[str, object], words: str) -> None:
    assert headline(result("virt-smmu", IommuMode.OFF, "vgem", **changes)) == words


def test_summaries() -> None:
    skipped = other("t", IommuMode.OFF, "test_a.py::test_a", status=Status.SKIP)
    assert summary(Outcome.of([])) == "nothing was measured"
    assert summary(Outcome.of([result()])) == "1 cell, all as expected"
    assert summary(Outcome.of([result(), skipped])) == "2 cells, all as expected, 1 of them skipped"
    assert summary(Outcome.of(bad_run(), run(plan(good_run())))) == (
        "65 cells: 1 not as expected, 1 broken test, 1 missing because the lab failed, "
        "62 as expected, 1 of them skipped"
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(results(), max_size=4), st.integers(40, 140), st.sampled_from(["utf-8", "ascii"]))
def test_any_result_can_be_shown(items: list[Result], width: int, encoding: str) -> None:
    console = Console(width=width, file=io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace"))
    console.print(MatrixView(Outcome.of(items)))
