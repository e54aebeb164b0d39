"""The report is one safe file, whatever a board, a name or a log brings into it."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base.words import IommuMode, Status, Verdict
from lab.results import Outcome, Result, Run
from lab.results.diff import Change
from lab.results.evidence import clean, view
from lab.results.report import report
from lab.results.trends import Trends
from tests.results.sample import STARTED, bad_run, crossing, good_run, picture, plan, result, run, vm_run
from tests.results.strategies import plain_json, results

TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "h1",
    "h2",
    "h3",
    "h4",
    "p",
    "span",
    "code",
    "div",
}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td", "a", "ul", "li", "label", "input", "section", "details"}
TAGS |= {"summary", "figure", "img", "figcaption", "svg", "g", "text", "line", "rect", "pre", "strong", "br"}
TAGS |= {"b", "i", "button", "fieldset", "form", "kbd", "legend", "link", "nav", "script"}
ATTRIBUTES = {
    "class",
    "id",
    "href",
    "src",
    "alt",
    "width",
    "height",
    "scope",
    "colspan",
    "lang",
    "charset",
    "name",
    "content",
}
ATTRIBUTES |= {
    "http-equiv",
    "role",
    "aria-hidden",
    "aria-label",
    "type",
    "checked",
    "open",
    "viewbox",
    "transform",
}
ATTRIBUTES |= {"x", "y", "x1", "y1", "x2", "y2", "text-anchor"}
ATTRIBUTES |= {"autocomplete", "hidden", "placeholder", "rel", "style", "tabindex", "title", "value"}
ATTRIBUTES |= {"data-is", "data-look", "data-mode", "data-share", "data-words", "data-wrong"}
EMPTY = {"meta", "br", "img", "input", "link"}


class Page(HTMLParser):
    """Reads a page and refuses whatever the template has not."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.images: list[str] = []
        self.opened: list[str] = []
        self.scripts = 0
        self.feed(text)
        self.close()
        assert self.opened == []
        assert self.scripts == 1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert tag in TAGS, tag
        assert set(found) <= ATTRIBUTES, found
        if tag not in EMPTY and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.opened.append(tag)
        if tag == "a":
            self.links.append(str(found["href"]))
        if tag == "img":
            self.images.append(str(found["src"]))
        if "id" in found:
            self.anchors.add(str(found["id"]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        opened = self.opened.pop()
        assert opened == tag
        self.scripts += tag == "script"

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(items: list[Result]) -> Page:
    found = Page(report(Outcome.of(items)))
    assert all(link.startswith("#") and link[1:] in found.anchors for link in found.links)
    assert all(image.startswith("data:image/png;base64,") for image in found.images)
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(results(), max_size=3))
def test_nothing_in_a_result_becomes_markup(items: list[Result]) -> None:
    page(items)


@pytest.mark.parametrize(
    "where", ["test", "target", "place", "path", "reason", "log", "repeat", "soc", "kernel"]
)
def test_hostile_text_is_shown_as_text(where: str) -> None:
    hostile = "</pre><script>alert('1')</script>{{ 7 * 7 }}"
    changes = {where: hostile} | ({"path": "", "allocator": ""} if where == "test" else {})
    assert hostile in page([result(**changes)]).text


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(
    st.sampled_from(["frames", "format", "maps", "pages", "buffer", "attachments", "errno", "times", "faults",
                     "swiotlb_hiwater", "copies", "canary", "missing", "kmsg", "fault_lines", "stage", "x"]),
    plain_json | st.lists(st.fixed_dictionaries({"data": plain_json, "phys": plain_json, "dma": plain_json})),
))  # fmt: skip
def test_evidence_of_any_shape_is_shown_somehow(evidence: dict[str, Any]) -> None:
    page([result(evidence=evidence)])


def test_the_bad_run_tells_everything() -> None:
    outcome = Outcome.of(bad_run(), run(plan(good_run())))
    found = Page(report(outcome))
    for words in (
        "65 cells: 1 not as expected, 1 broken test, 1 missing because the lab failed",
        "virt-dma32 off udmabuf, 4K pages, scattered: corrupt, expected refused (EFAULT)",
        "lab run board --target virt-dma32 --iommu off -k udmabuf-4k",
        "dma-buf of udmabuf, inode 4711, 40960 bytes",
        "10 pieces in 10 runs of memory, 1 range for the device",
        "swiotlb high-water mark 0 before, 40 after",
        "6.12.107+deb13-arm64",
        "contiguous chunk is too small 4096/40960",
    ):
        assert words in found.text, words
    # Two frames of four corrupt cells, each as read, as it should be, and the difference.
    assert len(found.images) == 4 * 2 * 3
    assert len([link for link in found.links if link.startswith("#cell-")]) == 3 + 6 * 3 + 2 * 3 + 2 * 8 + 8


def test_pictures_are_of_wrong_frames_only() -> None:
    form = {"width": 176, "height": 144, "fourcc": "NV12"}
    good, wrong = picture(0), picture(0)[:-1] + b"\x01"
    frames = [{"index": n, "data": data, "reference": good} for n, data in enumerate((good, wrong))]
    (shown,) = view(result(evidence={"format": form, "frames": frames})).pictures
    assert (shown.index, shown.note) == ("1", "1 of 38016 bytes differ")
    bare = [{"index": 0, "data": wrong}]
    (shown,) = view(result(evidence={"format": form, "frames": bare})).pictures
    assert (shown.reference, shown.difference, shown.note) == ("", "", "")
    assert base64.b64decode(shown.actual.partition(",")[2]).startswith(b"\x89PNG")


def test_a_frame_is_drawn_as_the_boards_agent_tells_of_it() -> None:
    v4l2 = {"pixelformat": "NV12", "width": 160, "height": 144, "bytesperline": 176, "sizeimage": 38016}
    frame = {"index": 0, "bytesused": 38016, "data": picture(0, broken=True), "reference": picture(0)}
    (shown,) = view(result(evidence={"format": v4l2, "frames": [frame]})).pictures
    assert (shown.width, shown.height) == (176, 144)
    assert shown.note.endswith("of 38016 bytes differ")


def test_evidence_that_nobody_knows_is_kept_without_its_blobs() -> None:
    rest = view(result(evidence={"novel": {"data": "A" * 400, "size": 3}})).rest
    assert '"size": 3' in rest
    assert '"data": "300 bytes"' in rest


def test_terminal_sequences_leave_no_trace() -> None:
    assert (
        clean("\x1b[1;31mred\x1b[0m \x1b]0;title\x07on\r\nnext\x08\x1b[2J\tend\x1b7\x1b(B\x1b")
        == "red on\nnext\tend"
    )


def test_a_report_of_nothing() -> None:
    assert "nothing was measured" in Page(report(Outcome.of([]))).text


def test_unexpected_cells_are_open() -> None:
    wrong = result("t", IommuMode.OFF, "vgem", status=Status.FAIL, verdict=Verdict.CORRUPT)
    text = report(Outcome.of([wrong, result("t", IommuMode.TRANSLATED, "vgem")]))
    opened = re.findall(r'<details id="cell-\d+" class="(\w+)"( open)?', text)
    assert opened == [("wrong", " open"), ("right", "")]


def test_paths_across_the_vm_boundary_have_their_heading_and_their_evidence() -> None:
    page = Page(report(Outcome.of(vm_run())))
    words = " ".join(page.words)
    assert "across the VM boundary" in words
    assert "virtio-gpu offers no RESOURCE_UUID" in words
    assert "across the VM boundary" not in " ".join(Page(report(Outcome.of(good_run()))).words)
    facts = dict(view(crossing(IommuMode.TRANSLATED, "guest-blob")).facts)
    assert facts["copy commands seen"] == "none"
    assert facts["held by the VMM"] == "dma-buf of udmabuf, inode 4711, 40960 bytes"
    assert facts["its pages in guest RAM"] == "10 pages of 4 KiB in 10 pieces"
    assert facts["words written across"] == "host to guest seen, guest to host not tried"
    assert facts["read by"] == "guest, CPU mapping"
    assert facts["VMM's screendump"] == "the frame"
    assert "tolerance a byte" not in facts


def test_path_evidence_that_is_not_there_is_not_made_up() -> None:
    odd = {"guest_pages": [None, 4096], "copies": None, "dmabuf": None, "screen": False, "consumer": 3}
    facts = dict(view(crossing(IommuMode.TRANSLATED, "guest-blob", evidence=odd)).facts)
    assert facts["its pages in guest RAM"] == "1 page of 4 KiB in 1 piece, 1 not found there"
    assert facts["VMM's screendump"] == "another picture"
    assert facts["read by"] == "3"
    assert {"copy commands seen", "held by the VMM"}.isdisjoint(facts)


def test_the_consumers_dma_is_drawn_beside_the_decoders() -> None:
    share = crossing(IommuMode.TRANSLATED, "guest-blob").evidence
    usb = {"name": "USB", "maps": [{**share["maps"][0], "device": "0000:00:05.0", "dma": [[4096, 40960]]}]}
    drawn = view(crossing(IommuMode.TRANSLATED, "guest-blob", evidence={**share, "consumer": usb})).maps
    assert [device for device, _ in drawn] == ["0000:00:01.0", "0000:00:05.0"]


P, F, M = Status.PASS, Status.FAIL, Status.MISS


@pytest.mark.parametrize(
    ("history", "state", "rate"),
    [
        ((P, P, P), Change.SAME, 0.0),
        ((P, P, F), Change.NEW, 0.5),
        ((F, F, P), Change.FIXED, 0.5),
        ((F, F, F), Change.STILL, 0.0),
        ((P, F, P), Change.FLAKY, 1.0),
        ((P, M, P), Change.SAME, 0.0),
        ((P, P, M), Change.MISSING, 0.0),
        ((None, None, P), Change.ADDED, 0.0),
    ],
)
def test_what_became_of_a_cell_over_the_runs(
    history: tuple[Status | None, ...], state: Change, rate: float
) -> None:
    outcomes = []
    for number, status in enumerate(history):
        about = Run(id=f"run-{number}", started=STARTED + timedelta(days=number))
        items = [result(run=about.id, test="t.py::other", started=about.started)]
        if status is not None:
            items.append(result(run=about.id, status=status, verdict=None, started=about.started))
        outcomes.append(Outcome.of(items, about))
    found = Trends.of(outcomes)
    assert found is not None
    assert found.counts[state] == (2 if state is Change.SAME else 1)
    for row in found.rows:
        assert (row.state, row.flake_rate) == (state, rate)
