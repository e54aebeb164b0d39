"""How figures and reasons of a comparison are put into words, alike in every form of output."""

from __future__ import annotations

from collections.abc import Sequence

from lab.results.compare.model import Column, Comparison, Entry, FigureLine, Line
from lab.results.compare.statistics import Change, Summary
from lab.results.figures import Figure, Kind, digits, scale_of
from lab.results.look import Standing
from lab.results.terminal import MARKS

NOTHING = "no difference shown"
UNEXPECTED, FLAKY = "≠", "~"
WHY = "why they differ"
DASH = "–"  # noqa: RUF001
OPEN = 10
"""An interval whose ends are this many times apart says nothing."""


def figure_title(line: FigureLine) -> str:
    """``import latency, ms``."""
    unit = _scale(line)[1]
    return f"{line.figure.title}, {unit}" if unit and unit != line.figure.unit else line.figure.title


def cell_figure(line: FigureLine, number: int) -> str:
    """``import 0.31 ± 0.04 ms``, ``2.45 ± 0.02 /s``; empty where there is none, or nothing happened."""
    found = line.values[number]
    if found is None or not found.mean:
        return ""
    parts = (line.figure.short, value(line, number), _scale(line)[1])
    return " ".join(part for part in parts if part)


def value(line: FigureLine, number: int) -> str:
    """``2.45 ± 0.02``, ``0.21-0.45``, ``2``; empty where there is none. In the unit of the title.

    Where the interval is wide, its middle would say more than is known; where it is so wide that it says
    nothing (two samples can do that), its ends would: ``890 ± ?``.
    """
    found = line.values[number]
    if found is None:
        return ""
    divisor = _scale(line)[0]
    mean = found.mean / divisor
    if found.low is None or found.high is None or found.low == found.high:
        return digits(mean)
    low, high = found.low / divisor, found.high / divisor
    reach = (high - low) / 2
    if mean and reach <= abs(mean) / 4:
        places = len(digits(mean).partition(".")[2])
        return f"{digits(mean)} ± {_rounded_up(reach, places)}"
    if high > OPEN * low:
        return f"{digits(mean)} ± ?"
    return f"{digits(low, 2)}{DASH}{digits(high, 2)}"


def entry_text(entry: Entry) -> str:
    """``copied 8 KiB ≠ ~``: word, bytes copied, not the expected one, not always so."""
    copied = entry.copied_bytes
    size = f"{digits(copied / 1024)} KiB" if copied >= 1024 else f"{digits(copied)} B" if copied else ""
    marks = [
        entry.word,
        size,
        "" if entry.as_expected or entry.missing else UNEXPECTED,
        FLAKY if entry.flaky else "",
    ]
    return " ".join(mark for mark in marks if mark)


def rate(line: Line, number: int) -> str:
    """``2.45/s``: frames a second, where the row has them; the shortest that is to be said of speed."""
    for figure in line.figures:
        found = figure.values[number]
        if figure.figure.kind is Kind.RATE and found is not None:
            return f"{digits(found.mean)}{figure.figure.unit}"
    return ""


def flaky_note(comparison: Comparison) -> str:
    """Which cells did not always come out as shown, and how often they did; empty where all did."""
    found = [
        f"{line.title} on {names(comparison.columns, [number])[0]} ({entry.flaky[0]} of {entry.flaky[1]})"
        for line in comparison.lines
        for number, entry in enumerate(line.entries)
        if entry is not None and entry.flaky
    ]
    return f"{FLAKY} not always so: {', '.join(found)}" if found else ""


def samples(values: Sequence[Summary | None]) -> str:
    """``n = 9``, ``n = 1-9``."""
    counts = sorted({found.n for found in values if found is not None})
    if not counts:
        return ""
    return f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]}{DASH}{counts[-1]}"


def conclusion(line: FigureLine, columns: Sequence[Column], only: Sequence[int] | None = None) -> str:
    """What the samples can tell: ``virt-dma32: 3.1x higher (2.0-4.8); n = 9``, or that they cannot.

    ``only``: the columns that are spoken of.
    """
    wanted = range(len(columns)) if only is None else only
    changes = [(number, item) for number in wanted if (item := line.changes[number]) is not None]
    number = samples([line.values[number] for number in wanted])
    if line.rows and number:
        number = f"{line.rows} {'path' if line.rows == 1 else 'paths'}, {number}"
    if not changes:
        return number
    told: dict[str, list[int]] = {}
    for at, item in changes:
        if item.shown:
            told.setdefault(change_text(line.figure, item), []).append(at)
    if told:
        said = "; ".join(f"{', '.join(names(columns, at))} {text}" for text, at in told.items())
        return f"{said} than {names(columns, [line.base])[0]}, {number}"
    if all(item.p is None for _, item in changes):
        return f"too few samples to tell ({number})"
    return f"{NOTHING} ({number})"


def change_text(figure: Figure, change: Change) -> str:
    """``12 % lower (3-20)``, ``3.1x higher (2.0-4.8)``, ``2 more``."""
    low, high = change.low, change.high
    if not change.logarithmic:
        word = "more" if change.size > 0 else "less"
        return f"{digits(abs(change.size))} {word}"
    up = change.size >= 1
    size = change.size if up else 1 / change.size
    if low is not None and high is not None and not up:
        low, high = 1 / high, 1 / low
    word = "higher" if up else "lower"
    if size >= 2:
        return f"{digits(size, 2)}x {word}{_span(low, high)}"
    percent = [None if item is None else _percent(item, up=up) for item in (size, low, high)]
    return f"{digits(percent[0] or 0, 2)} % {word}{_span(percent[1], percent[2])}"


def names(columns: Sequence[Column], numbers: Sequence[int]) -> list[str]:
    """The columns' labels, with their notes where a label alone is not enough."""
    labels = [column.label for column in columns]
    return [
        columns[number].name if labels.count(columns[number].label) > 1 else columns[number].label
        for number in numbers
    ]


def headline(comparison: Comparison) -> str:
    """``16 of 21 rows differ, all explained by constraints``."""
    counts = comparison.counts
    alone = sum(line.alone for line in comparison.lines)
    total = sum(counts.values()) - alone
    if not total + alone:
        return "nothing to compare"
    filled = {number for line in comparison.lines for number, entry in enumerate(line.entries) if entry}
    if len(filled) < 2:
        return f"nothing to compare with: only {comparison.columns[min(filled)].name} has results"
    unexplained = counts.get(Standing.UNEXPLAINED, 0)
    differ = unexplained + counts.get(Standing.EXPLAINED, 0)
    rows = f"{total} row" if total == 1 else f"{total} rows"
    text = f"{differ} of {rows} differ" if differ else f"{rows}, all alike" if total else "no row in common"
    if unexplained:
        text += f", {unexplained} UNEXPLAINED" if unexplained < differ else ", UNEXPLAINED"
    elif differ:
        text += ", each explained by a constraint"
    if incomplete := counts.get(Standing.INCOMPLETE, 0):
        text += f"; {incomplete} incomplete"
    if alone:
        text += f"; {alone} in one column only"
    return text


def title(comparison: Comparison) -> str:
    """``virt-smmu, virt-cma, virt-dma32 by target``."""
    return f"{', '.join(column.name for column in comparison.columns)}"


def telling(line: Line) -> list[FigureLine]:
    """The figures of a row in which a difference is shown, and that its verdicts do not imply."""
    return [
        figure
        for figure in line.figures
        if figure.shown and (figure.figure.kind is not Kind.COUNT or line.standing is Standing.SAME)
    ]


def said(text: str, *, plain: bool) -> str:
    """``text`` with our own signs replaced where a terminal cannot show them."""
    for sign, instead in MARKS.items() if plain else ():
        text = text.replace(sign, instead)
    return text


def _scale(line: FigureLine) -> tuple[float, str]:
    means = [found.mean for found in line.values if found is not None]
    return scale_of(line.figure, max(means, default=0.0))


def _span(low: float | None, high: float | None) -> str:
    if low is None or high is None or low == high:
        return ""
    return f" ({digits(low, 2)}{DASH}{digits(high, 2)})"


def _percent(ratio: float, *, up: bool) -> float:
    """Of the ratio to the better known side: 1.25 is 25 % higher, its inverse 20 % lower."""
    return (ratio - 1) * 100 if up else (1 - 1 / ratio) * 100


def _rounded_up(reach: float, places: int) -> str:
    """A reach that is not shown as 0 where there is one."""
    smallest = 10.0**-places
    return f"{max(reach, smallest):.{places}f}"
