"""Comparisons: rows matched, differences explained, what nobody can explain standing out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base.words import IommuMode, Status, Verdict
from lab.results import LogContents, Result
from lab.results.compare import Comparison, compare
from lab.results.compare.constraints import constraint_of
from lab.results.compare.decoders import plain_test, slots
from lab.results.compare.gather import Request, comparison
from lab.results.compare.model import Line
from lab.results.compare.words import headline
from lab.results.look import Standing
from lab.results.store import Store
from lab.sharing import expected
from tests.results.sample import SCATTERED, other, result
from tests.sharing import test_expect as model

REAL = Path(__file__).parent / "data" / "three-socs.jsonl"
"""Real runs of the three virtual SoCs, without evidence: three of the board's suite, one of the VM's."""

SOCS = ("virt-smmu", "virt-cma", "virt-dma32")
OFF, TRANSLATED = IommuMode.OFF, IommuMode.TRANSLATED


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Store]:
    with Store(tmp_path_factory.mktemp("store") / "store.sqlite") as store:
        store.ingest(REAL)
        yield store


def line_of(found: Comparison, name: str, decoder: str = "") -> Line:
    (line,) = [line for line in found.lines if (line.name, line.decoder) == (name, decoder)]
    return line


def why(line: Line, column: int) -> str:
    return " ".join(reason.text for reason in line.reasons if column in reason.columns)


# Checked by hand against docs/targets.md and the model: what makes each column come out as it does.
MAPS = "IOMMU maps the pages to one range"
RUN = "no IOMMU: one physical run within the decoder's 32 address bits"
SCATTER = "no IOMMU: needs contiguous memory; 2 pages are scattered (EFAULT)"
IN_GUEST = "no IOMMU: needs contiguous memory; 2 pages are scattered in the guest (EFAULT)"
LOST = "no IOMMU: reaches 32 address bits; pages beyond are bounced (swiotlb) and never copied back"
GUEST_LOST = "no IOMMU: reaches 32 address bits; guest pages beyond are bounced (swiotlb) and never copied"
SAVED = "no IOMMU: reaches 32 address bits; pages beyond are bounced, and the exporter copies them back"
GROUP = "no IOMMU: VFIO needs the decoder in an IOMMU group"
EXPLAINED = {
    "udmabuf-4k": (MAPS, SCATTER, LOST),
    "udmabuf-2m": (MAPS, RUN, LOST),
    "virtio-gpu-dumb": (MAPS, SCATTER, LOST),
    "vgem": (MAPS, SCATTER, LOST),
    "heap-system": (MAPS, SCATTER, SAVED),
    "guest-blob": (MAPS, IN_GUEST, GUEST_LOST),
    "guest-blob-contig": (MAPS, RUN, GUEST_LOST),
    "virgl-texture": (MAPS, SCATTER, LOST),
    "usb-pages": (MAPS, SCATTER, LOST),
    "vfio-decoder": ("IOMMU maps all guest RAM for the decoder", GROUP, GROUP),
    "untraced": ("nobody listens to the VMM's transfers", IN_GUEST, GUEST_LOST),
    "identity": (MAPS, SCATTER, LOST),
}
ALIKE = {
    "decoder-mmap", "heap-cma", "copied", "gpu-import", "wrong-buffer", "resource-uuid", "usb-dmabuf",
    "guest-copied", "host-blob", "compliance",
}  # fmt: skip


def test_real_runs_of_three_socs_differ_for_the_right_reasons(real: Store) -> None:
    found = comparison(real, Request(names=SOCS))
    assert [column.name for column in found.columns] == [
        "virt-smmu translated",
        "virt-cma off",
        "virt-dma32 off",
    ]
    by_standing = {
        standing: {line.name for line in found.lines if line.standing is standing} for standing in Standing
    }
    assert by_standing == {
        Standing.UNEXPLAINED: set(),
        Standing.EXPLAINED: set(EXPLAINED),
        Standing.INCOMPLETE: {"host3d-blob"},
        Standing.SAME: ALIKE,
    }
    for name, reasons in EXPLAINED.items():
        line = line_of(found, name)
        for column, wanted in enumerate(reasons):
            assert why(line, column).startswith(wanted), (name, column)


def test_a_planned_cell_without_a_result_is_missing(real: Store) -> None:
    line = line_of(comparison(real, Request(names=SOCS)), "host3d-blob")
    assert [entry.missing if entry else None for entry in line.entries] == [False, False, True]
    assert why(line, 2).startswith("missing: no result")


def test_without_an_iommu_only_the_memory_tells_the_socs_apart(real: Store) -> None:
    found = comparison(real, Request(names=SOCS, iommu="off", suites=("board",)))
    assert {column.note for column in found.columns} == {"off"}
    line = line_of(found, "udmabuf-4k", "wide")
    assert line.entries[0] is not None
    assert line.entries[0].shown.verdict is Verdict.REFUSED
    assert why(line, 2).startswith("reaches 32 address bits")  # no IOMMU anywhere: no part of the reason
    assert line_of(found, "udmabuf-4k", "narrow").standing is Standing.SAME  # one column alone has it


def test_modes_of_one_soc_and_its_decoders(real: Store) -> None:
    found = comparison(real, Request(by="iommu", targets=("virt-smmu",), suites=("board",)))
    assert [column.label for column in found.columns] == ["translated", "passthrough", "off"]
    assert line_of(found, "udmabuf-2m", "wide").standing is Standing.SAME
    narrow = line_of(found, "udmabuf-2m", "narrow")
    assert narrow.standing is Standing.EXPLAINED
    assert why(narrow, 2) == "no IOMMU: cannot probe: 28 address bits do not serve RAM at 1 GiB to 4 GiB"
    assert why(narrow, 1).startswith("IOMMU passes through: cannot probe")


def test_two_runs_are_compared_like_with_like(real: Store) -> None:
    found = comparison(real, Request(names=("2026-11-23T02-09", "2026-11-23T02-11")))
    assert found.by == "run"
    assert {section.title for section in found.sections} == {
        "virt-smmu translated", "virt-smmu off", "virt-cma off", "virt-dma32 off",
    }  # fmt: skip
    assert set(found.counts) == {Standing.SAME}


def test_every_reason_of_the_model_is_a_constraint_with_a_name() -> None:
    @settings(max_examples=300)
    @given(model.allocators, model.decoders, model.boards, model.modes, model.sizes, model.layouts)
    def known(allocator, decoder, board, mode, size, layout):  # type: ignore[no-untyped-def]
        found = expected(allocator, decoder, board, mode, size=size, layout=layout)
        constraint, words = constraint_of(found.reason)
        # A missing allocator and the copying control are no demand of the decoder's.
        assert constraint is not None or "/dev/dma_heap" in found.reason or "the CPU copies" in found.reason
        assert words

    known()


def share(target: str, mode: IommuMode = OFF, allocator: str = "udmabuf-4k", **changes: object) -> Result:
    return result(target, mode, allocator, **changes)


def test_what_no_constraint_explains_stands_out() -> None:
    unexpected = share(
        "b", verdict=Verdict.CORRUPT, status=Status.FAIL, errno=None, reason="6 of 9 bytes differ"
    )
    line = line_of(compare([share("a"), unexpected], by="target"), "udmabuf-4k")
    assert line.standing is Standing.UNEXPLAINED
    assert line.reasons[0].columns == (1,)
    assert "corrupt, expected refused (EFAULT)" in line.reasons[0].text
    assert "6 of 9 bytes differ" in line.reasons[0].text


def test_one_reason_for_two_outcomes_explains_neither() -> None:
    other_end = share(
        "b", verdict=Verdict.CORRUPT, expected=Verdict.CORRUPT, errno=None, expected_reason=SCATTERED
    )
    line = line_of(compare([share("a", expected_reason=SCATTERED), other_end], by="target"), "udmabuf-4k")
    assert line.standing is Standing.UNEXPLAINED or line.reasons[0].text != line.reasons[1].text


def test_a_verdict_without_a_model_is_unexplained() -> None:
    line = line_of(
        compare(
            [share("a"), share("b", verdict=Verdict.ZERO_COPY, expected=None, expected_reason="")],
            by="target",
        ),
        "udmabuf-4k",
    )
    assert line.standing is Standing.UNEXPLAINED
    assert "no constraint is recorded" in why(line, 1)


def test_a_known_failure_is_explained_by_its_expectation() -> None:
    known = {"kind": "fail", "state": "corrupt", "reason": "errata 814", "link": "https://example.org/814"}
    failed = share("b", verdict=Verdict.CORRUPT, status=Status.FAIL, errno=None, expectation=known)
    line = line_of(compare([share("a"), failed], by="target"), "udmabuf-4k")
    assert line.standing is Standing.EXPLAINED
    assert why(line, 1) == "errata 814 (https://example.org/814)"


def test_what_the_lab_lost_is_not_compared() -> None:
    lost = share("b", status=Status.MISS, verdict=None, reason="serial silent")
    line = line_of(compare([share("a"), lost], by="target"), "udmabuf-4k")
    assert line.standing is Standing.INCOMPLETE
    assert why(line, 1) == "missing: serial silent"


def test_the_last_attempt_that_the_lab_let_through_counts() -> None:
    first = share("a")
    lost = replace(
        first, run="later", started=first.started + timedelta(hours=1), status=Status.MISS, verdict=None
    )
    line = line_of(compare([first, lost, share("b")], by="target"), "udmabuf-4k")
    assert line.standing is Standing.SAME


def test_a_cell_that_is_not_always_the_same_says_so() -> None:
    runs = [
        share("a", run=f"run-{day}", started=share("a").started + timedelta(days=day), verdict=verdict)
        for day, verdict in enumerate([Verdict.CORRUPT, Verdict.REFUSED, Verdict.REFUSED])
    ]
    older = replace(runs[0], run="run-x", image="another", started=runs[0].started - timedelta(days=1))
    entry = line_of(compare([*runs, older, share("b")], by="target"), "udmabuf-4k").entries[0]
    assert entry is not None
    assert entry.flaky == (2, 3)  # the one of another image is no sample


def test_decoders_of_other_names_share_a_row() -> None:
    assert slots([["rkvdec", "hantro"], ["g1", "hantro"], ["g1", "g2"]]) == [
        {"rkvdec": "rkvdec, g2", "hantro": "hantro"},
        {"g1": "g1", "hantro": "hantro"},
        {"g1": "g1", "g2": "rkvdec, g2"},
    ]
    found = compare(
        [
            share("rk3399", decoder="rkvdec", test="t.py::test_x[rkvdec-udmabuf-4k]"),
            share("imx8mq", decoder="g1", test="t.py::test_x[g1-udmabuf-4k]"),
        ],
        by="target",
    )
    (line,) = found.lines
    assert all(line.entries)
    assert plain_test("t.py::test_x[udmabuf-4k-g1]", "g1") == "t.py::test_x[udmabuf-4k]"


def test_decoders_that_differ_have_rows_of_their_own() -> None:
    found = compare(
        [
            share("a", decoder="one", test="t[one]"),
            share("a", decoder="two", test="t[two]", verdict=Verdict.UNSUPPORTED, errno=None),
            share("b", decoder="one", test="t[one]"),
        ],
        by="target",
    )
    assert [line.title.rpartition(" · ")[2] for line in found.lines] == ["one", "two"]


def test_other_tests_are_compared_one_by_one() -> None:
    def tests(target: str, failing: int) -> list[Result]:
        return [
            other(
                target,
                OFF,
                f"test_fluster.py::test_vector[{n}]",
                status=Status.FAIL if n < failing else Status.PASS,
            )
            for n in range(9)
        ]

    (line,) = compare([*tests("a", 0), *tests("b", 5)], by="target").lines
    assert line.standing is Standing.UNEXPLAINED
    assert line.entries[1] is not None
    assert line.entries[1].word == "5/9 FAIL"
    assert "test_vector[0], test_vector[1] and 3 more" in why(line, 1)
    (line,) = compare([*tests("a", 5), *tests("b", 5)], by="target").lines
    assert line.standing is Standing.SAME


def test_names_that_nothing_has_are_answered_by_near_ones(real: Store) -> None:
    from lab.base.errors import ConfigError

    with pytest.raises(ConfigError, match="did you mean virt-smmu"):
        comparison(real, Request(names=("virt-smu", "virt-cma")))
    with pytest.raises(ConfigError, match="nothing was measured"):
        comparison(real, Request(names=("virt-cma",), iommu="lazy"))


VERDICTS = st.sampled_from([(Verdict.ZERO_COPY, None), (Verdict.REFUSED, 14), (Verdict.CORRUPT, None)])


@st.composite
def outcomes(draw: st.DrawFn, target: str) -> list[Result]:
    """Some results of a board: a few paths, a few runs."""
    found = []
    for allocator in draw(st.sets(st.sampled_from(["udmabuf-4k", "udmabuf-2m", "vgem"]), min_size=1)):
        for run in range(draw(st.integers(1, 3))):
            verdict, errno = draw(VERDICTS)
            reason = draw(st.sampled_from(["", SCATTERED, "EFAULT: 2 pages, not contiguous"]))
            status = draw(st.sampled_from([Status.PASS, Status.PASS, Status.FAIL, Status.MISS]))
            seconds = draw(st.floats(0.001, 10))
            found.append(
                share(
                    target,
                    draw(st.sampled_from([OFF, TRANSLATED])) if run else OFF,
                    allocator,
                    run=f"run-{run}",
                    started=share(target).started + timedelta(hours=run),
                    verdict=verdict,
                    errno=errno,
                    status=status,
                    expected_reason=reason,
                    metrics={"import_seconds": seconds},
                )
            )
    return found


@settings(max_examples=100, deadline=None)
@given(outcomes("a"), outcomes("b"))
def test_comparing_is_antisymmetric(one: list[Result], two: list[Result]) -> None:
    there = compare([*one, *two], by="target", names=("a", "b"), iommu="off")
    back = compare([*two, *one], by="target", names=("b", "a"), iommu="off")
    assert there.columns == back.columns[::-1]
    assert there.counts == back.counts
    mirrored = {line.name: line for line in back.lines}
    for line in there.lines:
        mirror = mirrored[line.name]
        assert line.standing is mirror.standing
        assert [e and e.signature for e in line.entries] == [e and e.signature for e in mirror.entries[::-1]]
        assert {
            (reason.text, reason.standing, column) for reason in line.reasons for column in reason.columns
        } == {
            (reason.text, reason.standing, 1 - column)
            for reason in mirror.reasons
            for column in reason.columns
        }
        for figure, turned in zip(line.figures, mirror.figures, strict=True):
            assert figure.values == turned.values[::-1]
            assert figure.shown == turned.shown
            (size,) = [change.size for change in figure.changes if change] or [1.0]
            (inverse,) = [change.size for change in turned.changes if change] or [1.0]
            assert size == pytest.approx(1 / inverse)


@settings(max_examples=50, deadline=None)
@given(outcomes("a"))
def test_nothing_differs_from_itself(one: list[Result]) -> None:
    twin = [replace(item, target="b") for item in one]
    found = compare([*one, *twin], by="target", iommu="off")
    assert set(found.counts) <= {Standing.SAME, Standing.INCOMPLETE}
    assert not any(figure.shown for line in found.lines for figure in line.figures)


def test_one_column_has_nothing_to_be_compared_with() -> None:
    assert headline(compare([share("a")], by="target")).startswith("nothing to compare with: only a off")
    assert headline(compare([], by="target", names=("a", "b"))) == "nothing to compare"


def test_what_only_one_column_has_comes_last_and_is_not_counted() -> None:
    wide = [result("virt-smmu", OFF, "vgem"), result("virt-cma", OFF, "vgem")]
    narrow = result("virt-smmu", OFF, "udmabuf-4k")
    found = compare([narrow, *wide], by="target")
    assert [line.alone for line in found.lines] == [False, True]
    assert headline(found) == "1 row, all alike; 1 in one column only"
    assert headline(compare([narrow, wide[1]], by="target")) == "no row in common; 2 in one column only"


def test_it_is_said_what_ran_and_once_where_it_is_the_same() -> None:
    a, b = (
        replace(result(target, OFF, "vgem"), image=f"{3 * '3f2a91c'}", kernel=f"6.12.{number}")
        for number, target in enumerate(("virt-smmu", "virt-cma"))
    )
    day = f"{a.started:%Y-%m-%d}"
    found = compare([a, b], by="target")
    same, kernels = found.notes
    assert same == f"image 3f2a91c, measured {day}"
    assert kernels == "kernel 6.12.1 (virt-cma); 6.12.0 (virt-smmu)"
    assert compare([a, replace(a, kernel="6.19.1")], by="kernel").notes == (same,)


def test_boards_of_one_kind_that_were_measured_in_different_modes_do_not_hide_each_other(
    tmp_path: Path,
) -> None:
    first = result("virt-smmu", IommuMode.TRANSLATED, "vgem", place="a")
    items = [
        first,
        replace(first, place="a", iommu_asked=OFF, attempt=2),
        replace(first, place="b", iommu_asked=OFF, attempt=3, started=first.started - timedelta(days=1)),
    ]
    with Store(tmp_path / "store.sqlite") as store:
        store.ingest(LogContents(runs=(), results=tuple(items), problems=()))
        assert store.modes() == [("virt-smmu", OFF), ("virt-smmu", IommuMode.TRANSLATED)]
        found = comparison(store, Request(names=("a", "b"), by="board"))
    assert [column.name for column in found.columns] == ["a translated", "b off"]
    assert all(entry is not None for line in found.lines for entry in line.entries)
    assert found.notes[-1].startswith("also measured: a off ")
