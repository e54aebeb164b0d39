"""Expectation files: read, applied, kept up to date."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base.errors import ConfigError, ExitCode
from lab.base.words import IommuMode, Status, Verdict
from lab.results import Outcome, Result, exit_code
from lab.results.expectations import Expectations, news, parse
from lab.results.junit import junit
from lab.results.matrix import headline, summary
from lab.results.propose import NO_LINK, propose
from tests.results.sample import bad_run, good_run, result
from tests.results.strategies import results

LINK = "https://example.org/bug/7"
TEST = "suites/board/test_import.py::test_x[wide-vgem]"


def lines(*items: str) -> str:
    return "".join(f"{item} -- bounced, never copied back {LINK}\n" for item in items)


def known(folder: Path, cell: Result) -> Result:
    """``cell`` as a run with these files would have recorded it."""
    found = Expectations(folder).of(
        soc=cell.soc, target=cell.target, place=cell.place, iommu=cell.iommu_asked, test=cell.test
    )
    return replace(cell, expectation=found.as_dict() if found else {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "expectations" / "soc").mkdir(parents=True)
    (tmp_path / "expectations" / "board").mkdir()
    return tmp_path / "expectations"


def test_a_line_says_what_is_known_and_where_it_stands() -> None:
    text = "# comment\n\n" + lines(f"fail   corrupt  off  {TEST}")
    (item,) = parse(text, "soc/x.txt")
    assert (item.kind, item.state, item.iommu, item.test) == ("fail", "corrupt", "off", TEST)
    assert item.as_dict() == {
        "kind": "fail",
        "state": "corrupt",
        "reason": "bounced, never copied back",
        "link": LINK,
        "where": "soc/x.txt:3",
    }
    assert list(parse(str(item), "soc/x.txt")) == [replace(item, line=1)]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "not KIND STATE IOMMU TEST"),
        (lines(f"fails corrupt off {TEST}"), "'fails' is not a kind"),
        (lines(f"fail green off {TEST}"), "'green' is not a way to fail"),
        (lines(f"skip corrupt off {TEST}"), "a skip has no state"),
        (lines(f"flake - onn {TEST}"), "'onn' is not an IOMMU mode"),
        (f"skip - off {TEST} -- because", "no link"),
        (f"skip - off {TEST} -- because of {NO_LINK}", "no link"),
        (f"skip - off {TEST} --  {LINK}", "no reason"),
        (f"skip - off {TEST} --", "no link"),
    ],
)
def test_a_line_that_is_none_is_refused_with_its_place(folder: Path, line: str, problem: str) -> None:
    (folder / "all.txt").write_text(f"# x\n{line}\n")
    with pytest.raises(ConfigError, match=rf"all\.txt:2: .*{problem}"):
        known(folder, result())


def test_the_most_specific_file_speaks(folder: Path) -> None:
    cell = result("virt-smmu", IommuMode.OFF, "vgem", test=TEST, soc="rk3588", place="rock-1", target="rock")

    def says() -> str:
        return known(folder, cell).expectation.get("kind", "")

    assert says() == ""
    (folder / "all.txt").write_text(lines("skip - * *vgem]"))
    assert says() == "skip"
    (folder / "soc" / "rk3588.txt").write_text(lines("flake - * *vgem]"))
    assert says() == "flake"
    (folder / "board" / "rock.txt").write_text(lines("skip - off *"))
    assert says() == "skip"
    (folder / "board" / "rock-1.txt").write_text(
        lines("skip - off *", f"fail copied off {TEST}", f"flake - * {TEST}", "skip - * *")
    )
    assert says() == "fail"
    (folder / "board" / "rock-1.txt").write_text(lines(f"fail copied * {TEST}", "skip - off *"))
    assert says() == "fail", "an exact name goes before a pattern, also before a later one with its mode"
    (folder / "board" / "rock-1.txt").write_text(lines("fail copied translated *", "fail copied off *wide"))
    assert says() == "skip", "another mode, another test: the next file speaks"


@pytest.mark.parametrize("place", ["all.txt", "soc/rk3588.txt", "board/deep/er.txt"])
def test_every_file_is_checked(folder: Path, place: str) -> None:
    path = folder / place
    path.parent.mkdir(exist_ok=True)
    Expectations(folder).check()
    path.write_text(lines(f"fail corrupt off {TEST}"))
    assert [item.test for item in Expectations(folder).all] == [TEST]
    path.write_text("nonsense\n")
    with pytest.raises(ConfigError, match=rf"{place}:1: not KIND"):
        Expectations(folder).check()
    path.write_bytes(b"\xff\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        Expectations(folder).check()


@pytest.mark.parametrize(
    ("iommu", "test", "exact"), [("off", TEST, True), ("*", TEST, False), ("off", "*vgem]", False)]
)
def test_what_speaks_of_one_cell_only(iommu: str, test: str, exact: bool) -> None:
    (item,) = parse(lines(f"skip - {iommu} {test}"), "all.txt")
    assert item.exact == exact


def test_a_name_leads_out_of_no_folder(folder: Path) -> None:
    (folder.parent / "secret.txt").write_text(lines("skip - * *"))
    assert not known(folder, result(soc="../../secret", place="../secret")).expectation


FAIL = {"kind": "fail", "state": "corrupt", "reason": "r", "link": LINK}
CORRUPT = {"status": Status.FAIL, "verdict": Verdict.CORRUPT}


@pytest.mark.parametrize(
    ("expectation", "changes", "good", "words"),
    [
        (FAIL, CORRUPT, True, "known to fail (corrupt)"),
        (FAIL, {"status": Status.PASS}, False, "passes now, was known to fail (corrupt)"),
        (FAIL, {**CORRUPT, "verdict": Verdict.COPIED}, False, "in another way: copied, was known as corrupt"),
        (FAIL, {"status": Status.ERROR}, False, "in another way: error, was known as corrupt"),
        (FAIL, {"status": Status.MISS}, False, ""),
        ({**FAIL, "kind": "flake", "state": ""}, CORRUPT, True, "known to be flaky"),
        ({**FAIL, "kind": "flake", "state": ""}, {"status": Status.PASS}, True, "known to be flaky"),
        ({**FAIL, "kind": "flake", "state": ""}, {"status": Status.ERROR}, False, ""),
        ({}, CORRUPT, False, ""),
    ],
)  # fmt: skip
def test_what_is_known_is_no_news_and_what_changed_is(
    expectation: dict[str, str], changes: dict[str, object], good: bool, words: str
) -> None:
    cell = result("virt-dma32", IommuMode.OFF, "vgem", expectation=expectation, **changes)
    outcome = Outcome.of([cell])
    assert (cell.as_expected, news(cell).removeprefix("fails ")) == (good, words)
    assert (exit_code([cell]) is ExitCode.OK) == good
    assert words in headline(cell)
    assert ("all as expected" in summary(outcome)) == good
    (case,) = Xml.fromstring(junit(outcome)).iter("testcase")
    assert (case.find("failure") is None and case.find("error") is None) == good
    assert (case.find("skipped") is not None) == (good and cell.status is Status.FAIL)


def test_the_bad_run_with_its_proposal_applied_is_as_expected(folder: Path) -> None:
    proposal = propose(Outcome.of(bad_run()).cells, Expectations(folder), link=LINK)
    assert {path.relative_to(folder).as_posix() for path in proposal.files} == {
        "board/virt-dma32.txt",  # the same cells pass on the other boards of that SoC
        "board/virt-smmu.txt",
    }
    proposal.write()
    cells = [known(folder, cell) for cell in Outcome.of(bad_run()).cells]
    assert [cell.status for cell in Outcome.of(cells).unexpected] == []
    assert not propose(cells, Expectations(folder)).files
    mended = [replace(known(folder, cell), status=Status.PASS) for cell in cells]
    assert {cell.status for cell in Outcome.of(mended).unexpected} == {Status.PASS}
    again = propose(mended, Expectations(folder))
    assert all(LINK not in text for text in again.files.values()), "what passes is taken out"


def test_a_known_failure_that_fails_otherwise_is_changed_in_its_place(folder: Path) -> None:
    mode, path = IommuMode.OFF, folder / "soc" / "virtual.txt"
    path.write_text("# kept\n" + lines(f"fail copied off {TEST}", "fail copied off other"))
    cell = known(folder, result("virt-dma32", mode, "vgem", test=TEST, **CORRUPT))
    (text,) = propose([cell], Expectations(folder)).files.values()
    assert [line.split()[:2] for line in text.splitlines()] == [
        ["#", "kept"],
        ["fail", "corrupt"],
        ["fail", "copied"],
    ]
    path.write_text(lines("fail copied * *vgem]"))
    proposal = propose([known(folder, cell)], Expectations(folder))
    assert not proposal.files
    assert "soc/virtual.txt:1 speaks of more than" in proposal.notes[0]


def test_the_diff_applies(folder: Path) -> None:
    (folder / "soc" / "virtual.txt").write_text("# old\n" + lines("skip - off *"))
    proposal = propose(Outcome.of(bad_run()).cells, Expectations(folder), link=LINK)
    done = subprocess.run(
        ["git", "apply", "-"], cwd=folder.parent, input=proposal.diff().encode(), check=False, timeout=20
    )
    assert done.returncode == 0
    assert {path: path.read_text() for path in proposal.files} == dict(proposal.files)


@settings(max_examples=40, deadline=None)
@given(items=st.lists(results(run="r"), max_size=5))
def test_any_run_with_its_proposal_applied_has_no_unexpected_failure(
    items: list[Result], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("e") / "expectations"
    cells = [cell for cell in Outcome.of(items).cells if cell.test.strip() == cell.test != ""]
    cells = [
        cell for cell in cells if cell.test.isprintable() and "*" not in cell.test and " --" not in cell.test
    ]
    # Names that no file can have share one; boards and SoCs are called otherwise.
    cells = [
        replace(cell, expectation={}, target=f"t{at}", place="", soc=f"s{at % 2}")
        for at, cell in enumerate(cells)
    ]
    propose(cells, Expectations(folder), link=LINK).write()
    told = [known(folder, cell) for cell in cells]
    left = {cell.status for cell in Outcome.of(told).unexpected}
    assert left <= {Status.MISS}, json.dumps([cell.expectation for cell in told])


def test_a_good_run_needs_no_expectation(folder: Path) -> None:
    assert not propose(good_run(), Expectations(folder)).files
