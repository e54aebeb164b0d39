"""One word, one symbol, one colour for each status and verdict, legible everywhere."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from lab.base.words import IommuMode, Status, Verdict
from lab.results.compare import compare, terminal
from lab.results.compare.page import page
from lab.results.look import STANDINGS, STATUSES, VERDICTS, Look, Standing, errno_name, look_of
from lab.results.outcome import Outcome
from lab.results.report import report
from lab.results.terminal import show
from tests.results.sample import result

LOOKS = [*VERDICTS.values(), *STATUSES.values(), *STANDINGS.values()]


def test_every_word_has_a_look_and_no_two_look_alike() -> None:
    assert set(VERDICTS) == set(Verdict)
    assert set(STATUSES) == set(Status)
    assert set(STANDINGS) == set(Standing)
    for part in ("word", "symbol", "ascii"):
        assert len({getattr(look, part) for look in LOOKS}) == len(LOOKS), part
    assert all(look.word == verdict for verdict, look in VERDICTS.items())


def test_symbols_are_one_column_wide_and_colours_are_colours() -> None:
    for look in LOOKS:
        assert cell_len(look.symbol) == 1
        assert len(look.ascii) == 1
        assert look.ascii.isascii()
        assert re.fullmatch("#[0-9a-f]{6}", look.colour)


def test_a_verdict_shows_only_where_lab_and_test_held() -> None:
    assert look_of(Status.PASS, Verdict.REFUSED) is VERDICTS[Verdict.REFUSED]
    assert look_of(Status.FAIL, Verdict.CORRUPT) is VERDICTS[Verdict.CORRUPT]
    assert look_of(Status.FAIL, None) is STATUSES[Status.FAIL]
    assert look_of(Status.MISS, Verdict.CORRUPT) is STATUSES[Status.MISS]


EVERYTHING = [*((Status.PASS, verdict) for verdict in Verdict), *((status, None) for status in Status)]


def shown(look: Look, text: str) -> set[str]:
    """The escapes right before its symbol, wherever an ANSI terminal gets that with its word."""
    ansi = r"\x1b\[[\d;]*m"
    return set(re.findall(rf"({ansi})?{re.escape(look.symbol)}(?:{ansi})* {look.word}\b", text))


@pytest.mark.parametrize(("status", "verdict"), EVERYTHING)
def test_it_looks_so_in_matrix_report_and_comparison(status: Status, verdict: Verdict | None) -> None:
    modes = (IommuMode.TRANSLATED, IommuMode.OFF)
    items = [result("virt-smmu", mode, status=status, verdict=verdict, expected=verdict) for mode in modes]
    outcome, side_by_side = Outcome.of(items), compare(items, by="iommu")
    look = look_of(status, verdict)
    colour = "\x1b[38;2;" + ";".join(str(int(look.colour[at : at + 2], 16)) for at in (1, 3, 5)) + "m"
    console = Console(width=120, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for write, what in ((show, outcome), (terminal.show, side_by_side)):
        with console.capture() as capture:
            write(console, what)
        assert shown(look, capture.get()) == {colour}, capture.get()
    for text in (report(outcome), page(side_by_side)):
        assert f".{look.word} {{ --hue: {look.colour}; }}" in text
        sign = rf'<span class="sign {look.word}" aria-hidden="true">{re.escape(look.symbol)}</span>'
        assert re.search(rf"class=\"cell {look.word}[ \"].*?{sign}\s*{look.word}", text, re.DOTALL)


def test_errno_names() -> None:
    assert [errno_name(number) for number in (14, -22, 4000, None, 0)] == [
        "EFAULT",
        "EINVAL",
        "errno 4000",
        "",
        "",
    ]
