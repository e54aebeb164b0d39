"""How a status or a verdict looks: one word, one symbol, one colour, on a terminal and in a report alike."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import StrEnum

from lab.base.words import IommuMode, Status, Verdict


@dataclass(frozen=True, slots=True)
class Look:
    """``symbol`` is one column wide; ``ascii`` stands for it where the terminal has no Unicode.

    ``colour`` is of the Okabe-Ito palette, whose members stay apart in the common kinds of
    colour blindness; the symbol says the same without any colour. ``meaning`` is for legends.
    """

    word: str
    symbol: str
    ascii: str
    colour: str
    meaning: str


_GREEN, _ORANGE, _SKY, _VERMILION = "#009e73", "#e69f00", "#56b4e9", "#d55e00"
_PURPLE, _GREY, _YELLOW, _BLUE = "#cc79a7", "#8a8a8a", "#b8a600", "#0072b2"

VERDICTS: dict[Verdict, Look] = {
    Verdict.ZERO_COPY: Look(
        "zero-copy", "●", "*", _GREEN, "the decoder wrote the pages that the reader reads"
    ),
    Verdict.COPIED: Look("copied", "◐", "%", _ORANGE, "the right picture, by way of a copy"),
    Verdict.REFUSED: Look("refused", "○", "o", _SKY, "the kernel did not take the buffer"),
    Verdict.CORRUPT: Look("corrupt", "✗", "x", _VERMILION, "taken without error, and the picture is wrong"),
    Verdict.FAULTED: Look("faulted", "▲", "^", _PURPLE, "the IOMMU stopped the access"),
    Verdict.UNSUPPORTED: Look("unsupported", "◌", "_", _GREY, "this board or its VMM cannot do it at all"),
    Verdict.INCONCLUSIVE: Look("inconclusive", "◇", "~", _YELLOW, "the evidence does not decide it"),
}

STATUSES: dict[Status, Look] = {
    Status.PASS: Look("pass", "✓", "+", _GREEN, "as expected"),
    Status.FAIL: Look("FAIL", "✘", "X", _VERMILION, "not as expected"),
    Status.SKIP: Look("skipped", "–", "-", _GREY, "does not apply here"),  # noqa: RUF001
    Status.ERROR: Look("ERROR", "!", "!", _PURPLE, "the test itself broke"),
    Status.MISS: Look("MISS", "?", "?", _YELLOW, "the lab failed, nothing was measured"),
    Status.DONE: Look("done", "·", "=", _SKY, "measured, nothing to judge"),
}


class Standing(StrEnum):
    """How the columns of a comparison stand to each other in one row."""

    UNEXPLAINED = "unexplained"
    EXPLAINED = "explained"
    INCOMPLETE = "incomplete"
    SAME = "same"


STANDINGS: dict[Standing, Look] = {
    Standing.UNEXPLAINED: Look(
        "UNEXPLAINED", "◆", "#", _VERMILION, "they differ, and the constraint model does not say why"
    ),
    Standing.EXPLAINED: Look("differs", "Δ", "d", _BLUE, "they differ, as the constraints demand"),
    Standing.INCOMPLETE: Look("incomplete", "…", ".", _GREY, "planned and not measured in every column"),
    Standing.SAME: Look("same", " ", " ", _GREY, "all columns came out alike"),
}

MODES: tuple[IommuMode, ...] = tuple(IommuMode)
"""Order of the columns: from the most to the least translation."""


def look_of(status: Status, verdict: Verdict | None) -> Look:
    """What to show for a cell: its verdict where lab and test held and it has one, else its status."""
    if verdict is None or status in (Status.MISS, Status.ERROR, Status.SKIP):
        return STATUSES[status]
    return VERDICTS[verdict]


def errno_name(number: int | None) -> str:
    """``EFAULT`` for 14, empty for none. The numbers are Linux's, alike on x86-64 and ARM64."""
    return "" if not number else errno.errorcode.get(abs(number), f"errno {abs(number)}")
