"""A comparison on a terminal, as Markdown, HTML, CSV and JSON: everything in its place, and nothing runs."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from lab.base.words import IommuMode, Status, Verdict
from lab.cli.app import app
from lab.results.compare import Comparison, compare
from lab.results.compare.gather import Request, comparison
from lab.results.compare.model import FigureLine
from lab.results.compare.page import page
from lab.results.compare.statistics import summary
from lab.results.compare.terminal import ComparisonView
from lab.results.compare.words import value
from lab.results.compare.write import as_csv, as_json, markdown
from lab.results.figures import FIGURES, Kind
from lab.results.store import Store
from tests.browser import DESKTOP, PHONE, Open, browse, chromium, fits  # noqa: F401
from tests.results.sample import result
from tests.results.test_compare import REAL, SOCS

OFF = IommuMode.OFF
HOSTILE = "</td><script>document.title='broken'</script>|`*_[x](javascript:alert(1))"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    with Store(path) as made:
        made.ingest(REAL)
    return path


@pytest.fixture(scope="module")
def three(store: Path) -> Comparison:
    with Store(store) as kept:
        return comparison(kept, Request(names=SOCS))


@pytest.fixture(scope="module")
def bad() -> Comparison:
    """One difference that nothing explains, with hostile names and logs."""
    wrong = {
        "verdict": Verdict.CORRUPT,
        "status": Status.FAIL,
        "errno": None,
        "reason": f"bytes differ {HOSTILE}",
    }
    return compare(
        [
            result("a", OFF, "udmabuf-4k", path=f"=cmd {HOSTILE}"),
            result("b", OFF, "udmabuf-4k", path=f"=cmd {HOSTILE}", **wrong),
        ],
        by="target",
    )


def drawn(found: Comparison, width: int, *, plain: bool = False, **options: bool) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii" if plain else "utf-8", newline="\n")
    console = Console(file=file, width=width, highlight=False, color_system=None)
    console.print(ComparisonView(found, **options), crop=False)
    file.flush()
    return file.buffer.getvalue().decode("utf-8")


@pytest.mark.parametrize("width", [60, 80, 100, 160, 240])
def test_no_line_is_wider_than_the_terminal(three: Comparison, width: int) -> None:
    lines = drawn(three, width, every_figure=True).splitlines()
    assert max(cell_len(line) for line in lines) <= width
    assert not any(line.endswith(" ") for line in lines)


def test_a_wide_terminal_has_the_reasons_beside_the_rows(three: Comparison) -> None:
    text = drawn(three, 170)
    row = next(line for line in text.splitlines() if "udmabuf, 4K pages, scattered" in line)
    assert re.search(
        r"Δ1 +udmabuf.*● zero-copy 2\.\d+/s +○ refused +✗ corrupt +virt-cma  no IOMMU: needs contiguous",
        row,
    )
    assert re.search(r"Δ1 +vgem buffer .* as 1", text)
    assert "12 of 22 rows differ, each explained by a constraint; 1 incomplete; 1 in one column only" in text


def test_a_narrow_one_has_them_below(three: Comparison) -> None:
    text = drawn(three, 80)
    head, _, reasons = text.partition("why they differ\n")
    assert re.search(r"Δ1 +vgem buffer +● zero-copy +○ refused +✗ corrupt\n", head)
    assert "  1  virt-cma  no IOMMU: needs contiguous memory; 2 pages are scattered" in reasons


def test_plain_terminals_and_only_differences(three: Comparison) -> None:
    text = drawn(three, 100, plain=True, only_differences=True)
    assert text.isascii()
    assert re.search(r"d1 +udmabuf, 4K pages.*\* zero-copy( [\d.]+/s)? +o refused +x corrupt", text)
    assert "dma-heap, contiguous" not in text


def test_figures_say_what_samples_can_tell(three: Comparison) -> None:
    text = drawn(three, 170, every_figure=True)
    assert re.search(r"frames/s +2\.4\d ± 0\.\d+ .*no difference shown \(\d+ paths, n = \d+", text)
    assert re.search(r"  import latency, (ms|µs) ", text)


def test_markdown_is_a_table_that_can_be_read_as_it_is(three: Comparison) -> None:
    lines = markdown(three).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert "**12 of 22 rows differ" in lines[0]
    width = cell_len(table[0])
    rows = [line for line in table if line.count("|") == 7]
    assert {cell_len(line) for line in rows if line in table[: table.index(rows[-1]) + 1]} == {width}
    assert any(
        re.search(r"\| Δ +\| udmabuf, 4K pages, scattered .*\| ○ refused .*\| 1 ", line) for line in rows
    )
    assert "1. - **virt-cma** no IOMMU: needs contiguous memory; 2 pages are scattered (EFAULT)" in lines


def test_nothing_in_markdown_is_more_than_text(bad: Comparison) -> None:
    text = markdown(bad)
    assert "**UNEXPLAINED**" in text
    assert "<script" not in text
    assert "](javascript" not in text.replace("\\](", "")
    unescaped = [line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| ")]
    assert len(set(unescaped[:3])) == 1


def test_csv_has_a_line_per_cell_and_no_formula(three: Comparison, bad: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(three))))
    assert len(rows) == sum(entry is not None for line in three.lines for entry in line.entries)
    (cell,) = [row for row in rows if (row["path"], row["column"]) == ("heap-system", "virt-dma32")]
    assert (cell["verdict"], cell["copied_bytes_mean"], cell["samples"]) == ("copied", "8192.0", "3")
    assert cell["why"].startswith("no IOMMU: reaches 32 address bits")
    assert float(cell["frames_per_second_low"]) < float(cell["frames_per_second_high"])
    assert all(row["title"].startswith("'=cmd") for row in csv.DictReader(io.StringIO(as_csv(bad))))


def test_json_has_everything(three: Comparison) -> None:
    found = json.loads(json.dumps(as_json(three), allow_nan=False))
    assert found["counts"] == {"explained": 12, "incomplete": 1, "same": 10} | found["counts"]
    (section,) = found["sections"]
    (row,) = [row for row in section["rows"] if row["path"] == "udmabuf-4k"]
    assert [cell["verdict"] for cell in row["cells"]] == ["zero-copy", "refused", "corrupt"]
    assert {reason["standing"] for reason in row["reasons"]} == {"explained"}
    assert {figure["figure"] for figure in section["figures"]} >= {"frames_per_second", "import_seconds"}


@pytest.fixture(scope="module")
def pages(three: Comparison, bad: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "three.html").write_text(page(three), encoding="utf-8")
    (folder / "bad.html").write_text(page(bad), encoding="utf-8")
    return folder


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page(browse: Open, pages: Path, size: tuple[int, int]) -> None:  # noqa: F811
    shown = browse(pages / "three.html", size)
    expect(shown.get_by_role("heading", level=1)).to_have_text(
        "12 of 22 rows differ, each explained by a constraint; 1 incomplete; 1 in one column only"
    )
    row = shown.locator("tr", has_text="udmabuf, 4K pages, scattered")
    expect(row.locator("td.cell")).to_contain_text(["zero-copy", "refused", "corrupt"])
    expect(row.locator(".why")).to_contain_text("no IOMMU: needs contiguous memory; 2 pages are scattered")
    expect(row.locator("td.cell").first).to_contain_text("n = 3")
    assert fits(shown)


def test_the_page_by_keyboard(browse: Open, pages: Path) -> None:  # noqa: F811
    shown = browse(pages / "three.html")
    same = shown.locator("tr", has_text="dma-heap, contiguous")
    expect(same).to_be_visible()
    shown.keyboard.press("Tab")
    shown.keyboard.press("Space")
    expect(same).to_be_hidden()
    figure = shown.locator("tr", has_text="udmabuf, 4K pages, scattered").locator(".figure").first
    expect(figure).to_be_visible()
    shown.keyboard.press("Tab")
    shown.keyboard.press("Space")
    expect(figure).to_be_hidden()


def test_what_is_unexplained_comes_first_and_nothing_runs(browse: Open, pages: Path) -> None:  # noqa: F811
    shown = browse(pages / "bad.html")
    expect(shown.get_by_role("heading", level=1)).to_contain_text("1 row differ")
    expect(shown.locator(".card").first).to_contain_text("corrupt, expected refused (EFAULT)")
    assert shown.title() != "broken"
    assert shown.locator("script").count() == 0


def lab(store: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["compare", *words, "--store", str(store)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_lab_compare(store: Path, tmp_path: Path) -> None:
    assert "each explained by a constraint" in lab(store, *SOCS)
    assert "each explained by a constraint" in lab(store)  # all there are
    assert "virt-smmu" in lab(store, "--by", "iommu", "-t", "virt-smmu")
    assert "6.12.107+deb13-arm64" in lab(store, "--by", "kernel", "-t", "virt-cma")
    assert json.loads(lab(store, *SOCS, "-f", "json"))["by"] == "target"
    for name, start in (
        ("c.md", "**12 of"),
        ("c.html", "<!DOCTYPE html>"),
        ("c.csv", "section,"),
        ("c.json", "{"),
        ("c.txt", "     sharing path"),
    ):
        lab(store, *SOCS, "-o", str(tmp_path / name))
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(start), name


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ([2.0, 2.01, 2.02], "2.01 ± 0.02"),
        ([1.0, 2.0, 3.0, 2.0, 1.5], "1.1–3.0"),  # noqa: RUF001
        ([0.5, 2.0], "1 ± ?"),
        ([2.0], "2"),
    ],
)
def test_an_interval_says_no_more_than_is_known(samples: list[float], text: str) -> None:
    (figure,) = (figure for figure in FIGURES if figure.kind is Kind.RATE)
    line = FigureLine(figure, (summary(samples, logarithmic=True),), (None,), 0)
    assert value(line, 0) == text
