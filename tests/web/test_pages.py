"""``lab serve`` as people have it: in Chromium, at a desk and on a phone, live and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from lab.base.words import Verdict
from lab.results import Run
from tests.browser import DESKTOP, PHONE, Open, browse, chromium, fits  # noqa: F401
from tests.results.sample import bad_run, good_run, run
from tests.web.served import HOSTILE, MARKUP_RUN, RUNNING, TOKEN, Served, keep, served

RUN = run([]).id


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as found:
        yield found


def board(page: Page, name: str) -> object:
    return page.locator("article.board", has=page.get_by_role("heading", name=name))


def sign_in(page: Page) -> None:
    page.get_by_role("link", name="sign in").click()
    page.get_by_label("Your name").fill("alice")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="sign out")).to_be_visible()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_fits_and_has_its_heading(browse: Open, lab: Served, size: tuple[int, int]) -> None:  # noqa: F811
    page = browse(lab.url, size)
    expect(page.get_by_role("heading", name="rock5b")).to_be_visible()
    assert fits(page)
    for address, words in (
        ("/runs", "Runs"),
        ("/matrix", "The newest result of every cell"),
        (f"/runs/{RUN}", "1 not as expected"),
        (f"/runs/{RUNNING}", RUNNING),
        ("/compare?names=virt-smmu+virt-dma32&iommu=off", "differ"),
        ("/sign-in", "Sign in"),
    ):
        page.goto(lab.url + address)
        expect(page.get_by_role("heading", level=1)).to_contain_text(words)
        assert fits(page), address


def test_what_others_do_with_boards_is_seen_without_a_reload(browse: Open, lab: Served) -> None:  # noqa: F811
    page = browse(lab.url)
    expect(page.locator("[data-stream-state]")).to_have_text("live")
    card = page.locator("article.board", has_text="rock5b")
    expect(card).to_contain_text("free")
    lab.lab.lab_says("reserve", "name=rock5b", "--for", "1h", "--reason", "<b>bisect</b>", user="carol")
    expect(card).to_contain_text("carol@testhost until")
    expect(card).to_contain_text("<b>bisect</b>")
    lab.lab.lab_says("release", user="carol")
    expect(card).to_contain_text("free")
    assert page.get_by_role("button", name=re.compile("reserve|release|power")).count() == 0


def test_a_running_test_and_its_console_are_live(browse: Open, lab: Served) -> None:  # noqa: F811
    home, page = browse(lab.url), browse(f"{lab.url}/runs/{RUNNING}")
    lab.happens(event="begin", test="t.py::test_0", iommu="off", attempt=1)
    lab.console("[    0.000000] Booting Linux <img src=x>\r\n")
    expect(home.locator(".now")).to_contain_text("test_0")
    expect(page.locator(".now")).to_contain_text("0 of 4 cells")
    console = page.locator("pre.console")
    expect(console).to_contain_text("Booting Linux <img src=x>")
    lab.happens(event="result", test="t.py::test_0", iommu="off", status="PASS", attempt=1, retried=False)
    lab.console("\x1b[31mlab# \x1b[0mnext\r\n")
    expect(page.locator(".now")).to_contain_text("1 of 4 cells")
    expect(console).to_contain_text("lab# next")
    expect(home.locator(".now")).to_contain_text("1 pass")
    lab.happens(event="begin", test="t.py::test_1", iommu="off", attempt=1)
    lab.happens(event="boot", mode="off")
    expect(home.locator(".now")).to_contain_text("boots for test_1")
    lab.happens(event="booted", mode="off", times={}, verified="no group")
    expect(home.locator(".now")).to_contain_text("runs test_1")


def test_what_a_run_has_measured_so_far_is_live_and_leads_to_its_evidence(browse: Open, lab: Served) -> None:  # noqa: F811
    page = browse(f"{lab.url}/runs/{RUNNING}")
    expect(page.locator("[data-part=sofar]")).to_contain_text("No cell has its result yet")
    shared = next(item for item in bad_run() if item.verdict is Verdict.CORRUPT)
    with lab.running.log.open("a", encoding="utf-8") as log:
        log.write(replace(shared, run=RUNNING).to_json() + "\n")
    row = page.locator(".matrix tr", has_text=shared.path)
    expect(row).to_contain_text("corrupt")
    expect(page.locator("[data-part=sofar]")).to_contain_text("1 not as expected")
    assert fits(page)
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("corrupt, expected refused")
    page.get_by_role("link", name=f"run {RUNNING}").click()
    expect(page.locator(".matrix")).to_be_visible()


def test_a_run_that_ends_comes_into_the_list(browse: Open, lab: Served) -> None:  # noqa: F811
    page = browse(lab.url)
    first = next(item for item in good_run() if item.target == "virt-dma32")
    later = replace(first, run="2026-11-23T11-00-00-0002", started=first.started + timedelta(days=1))
    keep(lab.results, Run(id=later.run, started=later.started), [later]).publish()
    expect(page.get_by_role("link", name=later.run)).to_be_visible(timeout=30_000)


def test_the_run_page_fetches_evidence_and_trends(browse: Open, lab: Served) -> None:  # noqa: F811
    page = browse(f"{lab.url}/runs/{RUN}")
    page.locator(".card a").first.click()
    cell = page.locator("details:target")
    expect(cell).to_contain_text("swiotlb high-water mark")
    expect(cell.locator("img").first).to_be_visible()
    assert cell.locator("img").first.evaluate("p => p.naturalWidth") == 176
    page.keyboard.press("Escape")
    page.get_by_role("checkbox", name="unexpected").check()
    expect(page.locator(".shown")).to_have_text("3 of 65 cells")


def test_a_comparison_is_asked_for_by_a_form(browse: Open, lab: Served) -> None:  # noqa: F811
    page = browse(f"{lab.url}/compare")
    page.get_by_label("Compare").fill("virt-smmu virt-dma32")
    page.get_by_label("IOMMU", exact=True).select_option("off")
    page.keyboard.press("Enter")
    row = page.locator("tr", has_text="vgem buffer")
    expect(row).to_contain_text("refused")
    expect(row).to_contain_text("corrupt")
    expect(row).to_contain_text("bounced")


def test_two_runs_are_compared_from_the_list(browse: Open, lab: Served) -> None:  # noqa: F811
    page = browse(f"{lab.url}/runs")
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="compare the chosen").click()
    assert page.url.count("names=") >= 2
    expect(page.get_by_role("main")).to_contain_text(RUN)


def test_evidence_has_a_page_of_its_own(browse: Open, lab: Served) -> None:  # noqa: F811
    page = browse(f"{lab.url}/runs/{RUN}", java_script_enabled=False)
    page.locator(".card a").first.click()
    page.locator("details:target").get_by_role("link", name="evidence").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("corrupt, expected refused")
    expect(page.get_by_role("main")).to_contain_text("swiotlb high-water mark")


def test_hostile_names_and_logs_stay_text(browse: Open, lab: Served) -> None:  # noqa: F811
    page = browse(lab.url)
    for address in ("/runs", "/matrix", f"/runs/{MARKUP_RUN}"):
        page.goto(lab.url + address)
        expect(page.get_by_role("main")).to_contain_text(HOSTILE)
        assert page.title() != "broken into"
    page.locator("summary").first.click()
    expect(page.locator("details[open] .facts")).to_be_visible()
    expect(page.locator("details[open]")).to_contain_text(HOSTILE)
    assert page.title() != "broken into"


def test_reserve_power_and_release_by_keyboard(browse: Open, lab: Served) -> None:  # noqa: F811
    page = browse(lab.url)
    sign_in(page)
    page.locator("#reserve-rock5b").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("rock5b is yours until")
    page.get_by_role("link", name="boards", exact=True).click()
    expect(page.locator("article.board", has_text="rock5b")).to_contain_text("alice@testhost")
    del lab.switched[:]
    page.locator("#power-cycle-rock5b").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("power cycle done", timeout=60_000)
    assert lab.switched == ["/1/0", "/1/1"]
    page.goto(lab.url)
    page.locator("#release-rock5b").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("rock5b is free")
    page.get_by_role("button", name="sign out").click()
    expect(page.get_by_role("link", name="sign in")).to_be_visible()


def test_the_phone_can_reach_every_page_by_tab(browse: Open, lab: Served) -> None:  # noqa: F811
    page = browse(lab.url, PHONE)
    page.keyboard.press("Tab")
    expect(page.get_by_text("to the content")).to_be_focused()
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
    assert reached == ["lab", "Boards", "Runs", "Matrix", "Compare"]
