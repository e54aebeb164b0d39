"""A comparison into a file or to standard output: Markdown, HTML, CSV, JSON, plain text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from lab.base.ui import Terminal
from lab.results.compare import words
from lab.results.compare.model import Column, Comparison, Entry, FigureLine, Line, Reason, Section
from lab.results.compare.statistics import Change, Summary
from lab.results.figures import FIGURES
from lab.results.folder import write_file
from lab.results.look import STANDINGS, Standing
from lab.results.matrix import ACROSS

SCHEMA = 1
TEXT_WIDTH = 120


def write(
    comparison: Comparison,
    form: str,
    path: Path,
    *,
    every_figure: bool = False,
    only_differences: bool = False,
) -> None:
    """Write ``comparison`` as ``form`` (text, markdown, html, csv, json) to ``path``; ``-``: standard output.

    CSV and JSON hold everything, whatever was chosen. Raises ConfigError where it cannot be written.
    """

    def made() -> str:
        if form == "markdown":
            return markdown(comparison, every_figure=every_figure, only_differences=only_differences)
        if form == "html":
            from lab.results.compare.page import page

            return page(comparison)
        if form == "csv":
            return as_csv(comparison)
        if form == "json":
            return json.dumps(as_json(comparison), indent=1, allow_nan=False) + "\n"
        from lab.results.compare.terminal import show

        file = io.StringIO()
        console = Terminal(file=file, width=TEXT_WIDTH, highlight=False)
        show(console, comparison, every_figure=every_figure, only_differences=only_differences)
        return file.getvalue()

    write_file(lambda: made().encode("utf-8"), path)


def markdown(comparison: Comparison, *, every_figure: bool = False, only_differences: bool = False) -> str:
    """Tables to paste into a mail or a merge request: aligned, so that they can be read as they are."""
    parts = [f"**{_escaped(words.headline(comparison))}**", ""]
    numbers: dict[tuple[Reason, ...], int] = {}
    for section in comparison.sections:
        parts += _table(comparison, section, numbers, every_figure, only_differences)
        if section.figures:
            head = ["figures over all paths in common", *(column.head for column in comparison.columns), ""]
            rows = [_figure_row(line, comparison.columns) for line in section.figures]
            parts += _aligned(head, rows)
    if numbers:
        parts += ["Why they differ:", ""]
    for reasons, number in numbers.items():
        for at, reason in enumerate(reasons):
            whose = ", ".join(words.names(comparison.columns, reason.columns))
            loud = "**UNEXPLAINED** " if reason.standing is Standing.UNEXPLAINED else ""
            start = f"{number}." if at == 0 else " " * len(f"{number}.")
            parts.append(f"{start} - {loud}**{_escaped(whose)}** {_escaped(reason.text)}")
    if numbers:
        parts.append("")
    flaky = words.flaky_note(comparison)
    parts += [f"{_escaped(note)}\n" for note in (*([flaky] if flaky else []), *comparison.notes)]
    return "\n".join(parts).rstrip() + "\n"


def _table(
    comparison: Comparison,
    section: Section,
    numbers: dict[tuple[Reason, ...], int],
    every_figure: bool,
    only_differences: bool,
) -> list[str]:
    head = ["", section.title or "sharing path", *(column.head for column in comparison.columns), "why"]
    rows: list[list[str]] = []
    across = False
    for line in section.lines:
        told = words.telling(line)
        if only_differences and line.standing is Standing.SAME and not told:
            continue
        if line.group.value == "across" and not across:
            across = True
            rows.append(["", f"*{ACROSS}*", *([""] * (len(comparison.columns) + 1))])
        why = ""
        if line.reasons:
            why = str(numbers.setdefault(line.reasons, len(numbers) + 1))
        loud = line.standing is Standing.UNEXPLAINED
        title = f"**{_escaped(line.title)}**" if loud else _escaped(line.title)
        mark = STANDINGS[line.standing].symbol.strip()
        cells = [_cell(line, number) for number in range(len(line.entries))]
        rows.append([mark, title, *cells, why])
        for figure in line.figures if every_figure else told:
            first, *rest = _figure_row(figure, comparison.columns)
            rows.append(["", f"&emsp;{first}", *rest])
    return _aligned(head, rows)


def _cell(line: Line, number: int) -> str:
    entry = line.entries[number]
    if entry is None:
        return ""
    text = f"{entry.look.symbol} {words.entry_text(entry)} {words.rate(line, number)}"
    return _escaped(text.rstrip())


def _figure_row(line: FigureLine, columns: Sequence[Column]) -> list[str]:
    values = [words.value(line, number) for number in range(len(columns))]
    return [words.figure_title(line), *values, _escaped(words.conclusion(line, columns))]


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    head = [_escaped(text) for text in head]
    widths = [max(3, *(cell_len(row[at]) for row in (head, *rows))) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = (text + " " * (width - cell_len(text)) for text, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    return [line(head), line(["-" * width for width in widths]), *map(line, rows), ""]


_SPECIAL = str.maketrans(
    {
        **{sign: "\\" + sign for sign in "\\`*_[]|~"},
        "<": "&lt;",
        ">": "&gt;",
        "&": "&amp;",
        "\n": " ",
        "\r": " ",
    }
)


def _escaped(text: str) -> str:
    """``text`` such that Markdown shows it as it is."""
    return text.translate(_SPECIAL)


CSV_COLUMNS = (
    "section", "group", "path", "title", "decoder", "standing", "column", "note", "status", "verdict",
    "errno", "as_expected", "expected", "constraint", "why", "test", "run", "place", "kernel", "vmm",
    "image", "samples", "steady",
)  # fmt: skip
"""Before the figures, of each of which come mean, low, high and number of samples."""


def as_csv(comparison: Comparison) -> str:
    """A line per row and column: what a spreadsheet or a data frame wants."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    figures = [f"{figure.key}_{part}" for figure in FIGURES for part in ("mean", "low", "high", "n")]
    writer.writerow([*CSV_COLUMNS, *figures])
    for section in comparison.sections:
        for line in section.lines:
            for number, column in enumerate(comparison.columns):
                entry = line.entries[number]
                if entry is not None:
                    cells = [*_csv_entry(section, line, column, number, entry), *_csv_figures(line, number)]
                    writer.writerow([_harmless(cell) for cell in cells])
    return file.getvalue()


def _csv_entry(section: Section, line: Line, column: Column, number: int, entry: Entry) -> list[Any]:
    shown = entry.shown
    why = "; ".join(reason.text for reason in line.reasons if number in reason.columns)
    return [
        section.title, line.group.value, line.name, line.label, line.decoder, line.standing, column.label,
        column.note, shown.status, shown.verdict or "", shown.errno or "", int(entry.as_expected),
        shown.expected or "", shown.expected_reason, why, shown.test, shown.run, shown.place, shown.kernel,
        shown.vmm, shown.image, entry.samples, entry.flaky[0] if entry.flaky else entry.samples,
    ]  # fmt: skip


def _csv_figures(line: Line, number: int) -> list[Any]:
    own = {found.figure.key: found.values[number] for found in line.figures}
    cells: list[Any] = []
    for figure in FIGURES:
        found = own.get(figure.key)
        cells += ["", "", "", ""] if found is None else [found.mean, _or(found.low), _or(found.high), found.n]
    return cells


def _or(value: float | None) -> Any:
    return "" if value is None else value


def _harmless(cell: Any) -> Any:
    """Text that a spreadsheet would take for a formula is marked as text."""
    text = cell if isinstance(cell, str) else None
    return f"'{text}" if text and text[0] in "=+-@\t\r" else cell


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything, for programs (docs/compare.md has the keys)."""
    return {
        "schema": SCHEMA,
        "by": comparison.by,
        "headline": words.headline(comparison),
        "columns": [{"label": column.label, "note": column.note} for column in comparison.columns],
        "counts": {str(standing): count for standing, count in comparison.counts.items()},
        "notes": list(comparison.notes),
        "sections": [
            {
                "title": section.title,
                "rows": [_json_line(line) for line in section.lines],
                "figures": [_json_figure(line) for line in section.figures],
            }
            for section in comparison.sections
        ],
    }


def _json_line(line: Line) -> dict[str, Any]:
    return {
        "group": line.group.value,
        "path": line.name,
        "title": line.label,
        "decoder": line.decoder,
        "standing": line.standing,
        "reasons": [
            {"columns": list(reason.columns), "text": reason.text, "standing": reason.standing}
            for reason in line.reasons
        ],
        "cells": [None if entry is None else _json_entry(entry) for entry in line.entries],
        "figures": [_json_figure(figure) for figure in line.figures],
    }


def _json_entry(entry: Entry) -> dict[str, Any]:
    shown = entry.shown
    return {
        "status": shown.status,
        "verdict": shown.verdict,
        "errno": shown.errno,
        "as_expected": entry.as_expected,
        "expected": shown.expected,
        "expected_reason": shown.expected_reason,
        "test": shown.test,
        "tests": len(entry.tests),
        "alike": entry.alike,
        "run": shown.run,
        "place": shown.place,
        "iommu": shown.iommu_asked,
        "kernel": shown.kernel,
        "vmm": shown.vmm,
        "image": shown.image,
        "samples": entry.samples,
        "steady": entry.flaky[0] if entry.flaky else entry.samples,
    }


def _json_figure(line: FigureLine) -> dict[str, Any]:
    return {
        "figure": line.figure.key,
        "rows": line.rows,
        "base": line.base,
        "values": [None if found is None else _json_summary(found) for found in line.values],
        "changes": [None if found is None else _json_change(found) for found in line.changes],
    }


def _json_summary(found: Summary) -> dict[str, Any]:
    return {"n": found.n, "mean": found.mean, "low": found.low, "high": found.high}


def _json_change(found: Change) -> dict[str, Any]:
    return {
        "kind": "ratio" if found.logarithmic else "difference",
        "size": found.size,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "shown": found.shown,
        "n": list(found.samples),
    }
