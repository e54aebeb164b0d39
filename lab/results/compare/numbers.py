"""The figures of a comparison: for each row, and for all rows of a section together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lab.results.compare.measured import Attempts
from lab.results.compare.model import FigureLine, Line, Section
from lab.results.compare.statistics import (
    Change,
    Summary,
    change,
    change_of,
    decide,
    mean_of,
    summary,
)
from lab.results.figures import FIGURES, Figure, Kind

CONTROL = "control:"
"""How the titles of controls begin (`lab.sharing`): what they copy on purpose says nothing of the board."""

Samples = list[list[float]]
"""Samples of one figure, column by column."""


def line_figures(places: Sequence[Sequence[dict[str, Attempts]]]) -> tuple[FigureLine, ...]:
    """The figures of a row. ``places``: for each of its decoders, the tests of each column.

    Only one test's samples are of one population: the test that most columns have is taken, of the decoder
    that most columns have.
    """
    lines = []
    for figure in FIGURES:
        best: Samples | None = None
        for columns in places:
            for test in dict.fromkeys(test for tests in columns for test in tests):
                samples = [tests[test].figure(figure) if test in tests else [] for tests in columns]
                if best is None or _filled(samples) > _filled(best):
                    best = samples
        if best is not None and any(best):
            lines.append(_line(figure, best))
    return tuple(lines)


def section_figures(lines: Sequence[Line]) -> tuple[FigureLine, ...]:
    """The figures over all sharing paths that every column has; controls are no sharing paths.

    Counts are summed over the paths; whether they differ is for the rows to say.
    """
    wanted = [line for line in lines if not line.label.startswith(CONTROL)]
    return tuple(found for figure in FIGURES if (found := _overall(figure, wanted)) is not None)


def decided(sections: Sequence[Section]) -> list[Section]:
    """``sections`` with every change decided: rows among rows, summaries among summaries."""
    rows = iter(
        decide([item for section in sections for line in section.lines for item in _of(line.figures)])
    )
    totals = iter(decide([item for section in sections for item in _of(section.figures)]))
    return [
        replace(
            section,
            lines=tuple(replace(line, figures=_with(line.figures, rows)) for line in section.lines),
            figures=_with(section.figures, totals),
        )
        for section in sections
    ]


def _line(figure: Figure, samples: Samples) -> FigureLine:
    logarithmic = figure.kind is not Kind.COUNT
    base = next(number for number, values in enumerate(samples) if values)
    changes = tuple(
        None if number == base else change(samples[base], values, logarithmic=logarithmic)
        for number, values in enumerate(samples)
    )
    values = tuple(summary(values, logarithmic=logarithmic) for values in samples)
    return FigureLine(figure, values, changes, base, samples=tuple(map(tuple, samples)))


def _overall(figure: Figure, lines: Sequence[Line]) -> FigureLine | None:
    own = [found for line in lines for found in line.figures if found.figure == figure]
    columns = sorted({number for found in own for number, values in enumerate(found.samples) if values})
    common = [found for found in own if all(found.samples[number] for number in columns)]
    if len(columns) < 2 or not common:
        return None
    width, base = len(common[0].values), columns[0]
    rows = [
        [found.samples[number] for found in common] if number in columns else [] for number in range(width)
    ]
    if figure.kind is Kind.COUNT:
        values = tuple(_sum(part) for part in rows)
        return FigureLine(figure, values, (None,) * width, base, len(common))
    if any(value <= 0 for part in rows for row in part for value in row):
        return None
    changes = tuple(
        None if number == base else change_of(rows[base], part) for number, part in enumerate(rows)
    )
    return FigureLine(figure, tuple(mean_of(part) for part in rows), changes, base, len(common))


def _sum(rows: Sequence[Sequence[float]]) -> Summary | None:
    if not rows:
        return None
    return Summary(sum(map(len, rows)), sum(sum(row) / len(row) for row in rows), None, None)


def _filled(samples: Samples) -> tuple[int, int]:
    return sum(1 for values in samples if values), sum(map(len, samples))


def _of(lines: Sequence[FigureLine]) -> Iterator[Change]:
    for line in lines:
        yield from (item for item in line.changes if item is not None)


def _with(lines: Sequence[FigureLine], found: Iterator[Change]) -> tuple[FigureLine, ...]:
    return tuple(
        replace(line, changes=tuple(None if item is None else next(found) for item in line.changes))
        for line in lines
    )
