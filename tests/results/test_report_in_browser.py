"""The report as a person has it: in Chromium, at a desk and on a phone, by keyboard and on paper."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from lab.results import Outcome, Run
from lab.results.report import report
from lab.results.trends import Trends
from tests.browser import DESKTOP, PHONE, Open, browse, chromium, fits  # noqa: F401
from tests.results.sample import STARTED, bad_run, good_run, plan, result, run

HOSTILE = "</pre></script><script>document.title = 'broken into'</script><img src=x onerror=alert(1)>"


def earlier(days: int, *, bad: bool) -> Outcome:
    """The made-up run, ``days`` before."""
    name = f"{STARTED - timedelta(days=days):%Y-%m-%dT%H-%M-%S}-{days:04x}"
    items = [
        replace(item, run=name, started=item.started - timedelta(days=days))
        for item in (bad_run() if bad else good_run())
    ]
    return Outcome.of(items, Run(id=name, started=STARTED - timedelta(days=days)))


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the bad run, after six others of which two were bad."""
    outcome = Outcome.of(bad_run(), run(plan(good_run())))
    before = [earlier(days, bad=days in (2, 4)) for days in range(6, 0, -1)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report(outcome, Trends.of([*before, outcome])), encoding="utf-8")
    return path


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_what_matters_comes_first_and_fits(browse: Open, page_file: Path, size: tuple[int, int]) -> None:  # noqa: F811
    page = browse(page_file, size)
    expect(page.get_by_role("heading", level=1)).to_contain_text("65 cells: 1 not as expected")
    card = page.locator(".card").first
    expect(card).to_contain_text("corrupt, expected refused (EFAULT)")
    assert fits(page)
    assert all(picture.evaluate("p => p.naturalWidth") == 176 for picture in page.locator("img").all())


def test_filters(browse: Open, page_file: Path) -> None:  # noqa: F811
    page = browse(page_file)
    shown = page.locator(".every details:visible")
    assert shown.count() == 65
    page.get_by_role("checkbox", name="unexpected").check()
    assert shown.count() == 3
    expect(page.locator(".shown")).to_have_text("3 of 65 cells")
    page.get_by_text("show all").click()
    expect(page.locator(".shown")).to_have_text("65 cells")
    page.get_by_role("searchbox").fill("VIRT-CMA udmabuf")
    assert shown.count() == 2
    assert page.locator(".matrix:visible").count() == 1
    page.get_by_role("searchbox").fill("")
    page.get_by_role("checkbox", name="passthrough").check()
    page.get_by_role("checkbox", name="refused").check()
    assert shown.count() == 3
    faded = page.locator(".matrix tbody tr:visible td.cell.faded")
    assert faded.count() > 0
    assert not set(faded.evaluate_all("all => all.map(c => c.dataset.mode + c.dataset.look)")) & {
        "passthroughrefused"
    }


def test_a_cell_leads_to_its_evidence_by_keyboard(browse: Open, page_file: Path) -> None:  # noqa: F811
    page = browse(page_file)
    links = page.locator(".matrix").first.locator("td.cell a")
    links.first.focus()
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    focused = page.locator(":focus")
    expect(focused).to_have_text(re.compile("refused"))
    page.keyboard.press("Enter")
    cell = page.locator("details:target")
    expect(cell.locator("summary")).to_be_focused()
    for words in (
        "EFAULT",
        "inode 4711",
        "contiguous chunk is too small",
        "lab run board --target virt-smmu",
    ):
        expect(cell).to_contain_text(words)
    expect(cell.locator("svg")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("td.cell a:focus")).to_have_text(re.compile("refused"))
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_everything_can_be_reached_by_tab(browse: Open, page_file: Path) -> None:  # noqa: F811
    page = browse(page_file)
    page.keyboard.press("Tab")
    expect(page.get_by_text("to the matrix")).to_be_focused()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName + (document.activeElement.type || '')"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "hidden"
    assert {"A", "BUTTONbutton", "INPUTsearch", "INPUTcheckbox"} <= reached


def test_the_command_is_copied(browse: Open, page_file: Path) -> None:  # noqa: F811
    page = browse(page_file)
    page.locator(".card .command button").first.click()
    assert page.evaluate("getSelection().toString()") == (
        "lab run board --target virt-dma32 --iommu off -k udmabuf-4k"
    )


def test_trends_name_what_is_flaky(browse: Open, page_file: Path) -> None:  # noqa: F811
    page = browse(page_file)
    row = page.locator("#trends tr", has_text="udmabuf, 4K pages, scattered").first
    expect(row).to_contain_text("flaky")
    expect(row).to_contain_text("83 %")
    assert row.locator(".strip i").count() == 7
    assert row.locator(".strip .wrong").count() == 3


def test_paper_has_the_matrix_and_no_filters(browse: Open, page_file: Path) -> None:  # noqa: F811
    page = browse(page_file)
    page.emulate_media(media="print")
    expect(page.locator(".filters")).to_be_hidden()
    expect(page.locator(".matrix").first).to_be_visible()
    cell = page.locator("td.cell.refused").first
    assert cell.evaluate("c => getComputedStyle(c).printColorAdjust") == "exact"
    assert cell.evaluate("c => getComputedStyle(c).backgroundImage") != "none"  # told apart in grey, too


def test_it_is_whole_without_script(browse: Open, page_file: Path) -> None:  # noqa: F811
    page = browse(page_file, java_script_enabled=False)
    expect(page.locator(".filters")).to_be_hidden()
    assert page.locator(".every details").count() == 65
    page.locator(".card a").first.click()
    expect(page.locator("details:target")).to_contain_text("swiotlb high-water mark")


def test_hostile_text_runs_nothing(browse: Open, tmp_path: Path) -> None:  # noqa: F811
    changes = dict.fromkeys(("place", "path", "reason", "log", "repeat", "soc", "kernel", "target"), HOSTILE)
    path = tmp_path / "hostile.html"
    path.write_text(report(Outcome.of([result(**changes)])), encoding="utf-8")
    page = browse(path)
    page.get_by_role("searchbox").fill("script")
    assert page.title() != "broken into"
    assert page.locator("script").count() == 1
    expect(page.locator("details")).to_contain_text(HOSTILE)
