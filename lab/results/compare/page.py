"""A comparison as HTML: one file that works offline, or a part of a live page. No script is needed."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import Environment

from lab.results.compare import words
from lab.results.compare.model import Comparison, Entry, FigureLine, Group, Line, Reason
from lab.results.look import STANDINGS, Look, Standing
from lab.results.matrix import ACROSS
from lab.results.page import LOOKS, default_environment


@dataclass(frozen=True, slots=True)
class ComparisonPage:
    """What ``parts/comparison.html.j2`` draws."""

    comparison: Comparison

    @property
    def headline(self) -> str:
        """How many rows differ."""
        return words.headline(self.comparison)

    @property
    def title(self) -> str:
        """What is compared."""
        return words.title(self.comparison)

    @property
    def grave(self) -> Standing:
        """The gravest standing of any row."""
        return next((standing for standing in Standing if standing in self.comparison.counts), Standing.SAME)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, and which cells are not always so."""
        flaky = words.flaky_note(self.comparison)
        return (*([flaky] if flaky else []), *self.comparison.notes)

    @property
    def unexplained(self) -> list[Line]:
        """The rows that nobody can explain."""
        return [line for line in self.comparison.lines if line.standing is Standing.UNEXPLAINED]

    @property
    def legend(self) -> list[Look]:
        """The looks that are used."""
        used = {entry.look for line in self.comparison.lines for entry in line.entries if entry}
        return [look for look in LOOKS if look in used]

    @property
    def standings(self) -> list[tuple[Look, int]]:
        """How many rows stand how."""
        return [(STANDINGS[standing], count) for standing, count in self.comparison.counts.items()]

    def groups(self, lines: tuple[Line, ...]) -> list[tuple[str, list[Line]]]:
        """The rows of a section under their headings."""
        headings = {Group.SHARES: "", Group.ACROSS: ACROSS, Group.OTHERS: "other tests"}
        found = [(headings[group], [line for line in lines if line.group is group]) for group in Group]
        return [(heading, part) for heading, part in found if part]

    def entry(self, entry: Entry) -> str:
        """The words of a cell."""
        return words.entry_text(entry)

    def cell_figures(self, line: Line, number: int) -> list[tuple[str, str]]:
        """Each figure of a cell, and what else there is to say of it."""
        return [
            (text, f"{figure.figure.title}, 95 % interval, {words.samples([figure.values[number]])}")
            for figure in line.figures
            if (text := words.cell_figure(figure, number))
        ]

    def told(self, line: Line) -> list[tuple[str, str]]:
        """Name and conclusion of the figures in which a difference is shown."""
        return [
            (figure.figure.title, words.conclusion(figure, self.comparison.columns))
            for figure in words.telling(line)
        ]

    def figure_title(self, line: FigureLine) -> str:
        """Name and unit."""
        return words.figure_title(line)

    def value(self, line: FigureLine, number: int) -> str:
        """The value with its interval."""
        return words.value(line, number)

    def conclusion(self, line: FigureLine) -> str:
        """What its samples can tell."""
        return words.conclusion(line, self.comparison.columns)

    def whose(self, reason: Reason) -> str:
        """The columns that a reason is about."""
        return ", ".join(words.names(self.comparison.columns, reason.columns))

    def look(self, standing: Standing) -> Look:
        """How a row's standing looks."""
        return STANDINGS[standing]


def page(comparison: Comparison, environment: Environment | None = None) -> str:
    """The whole page. Whatever the results hold, it is shown as text and nothing else."""
    template = (environment or default_environment()).get_template("compare.html.j2")
    return template.render(page=ComparisonPage(comparison))
