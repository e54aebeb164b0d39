"""From results to a comparison. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePosixPath

from lab.results.compare.columns import WIDEST, Layout, Mode, contexts, lay_out
from lab.results.compare.decoders import plain_test, slots
from lab.results.compare.explain import explain
from lab.results.compare.measured import Attempts, Measured, by_test, shares
from lab.results.compare.model import Comparison, Entry, Group, Line, Section
from lab.results.compare.numbers import decided, line_figures, section_figures
from lab.results.compare.ran import ran
from lab.results.compare.tests import explain_tests

_VM_SUITE = "vm"


def compare(
    found: Iterable[Measured],
    *,
    by: str,
    names: Sequence[str] = (),
    iommu: str = WIDEST,
    besides: Collection[Mode] = (),
) -> Comparison:
    """Compare ``found``: a column for each of ``names``, in that order; without any, for all that there are.

    ``by``: one of `columns.DIMENSIONS`. ``iommu``, ``besides``: of boards, which modes, and which there are
    besides (`columns.lay_out`).
    """
    layout = lay_out(_ordered(found), by, names, iommu, besides)
    titles = dict.fromkeys(contexts(by, item) for part in layout.results for item in part)
    sections = [
        _section(title, [[item for item in part if contexts(by, item) == title] for part in layout.results])
        for title in titles
    ]
    sections = decided(sections)
    notes = (*ran(by, layout.columns, sections), *_notes(layout, sections))
    comparable = [section for section in sections if _columns_with_results(section) > 1]
    return Comparison(by, layout.columns, tuple(comparable or sections), notes)


def _ordered(found: Iterable[Measured]) -> list[Measured]:
    """As the largest run has them, then the next: rows stand as in the matrix of a whole run."""
    items = list(found)
    size = Counter(item.run for item in items)
    return sorted(items, key=lambda item: (-size[item.run], item.run, item.started))


def _section(title: str, columns: Sequence[Sequence[Measured]]) -> Section:
    sharing = [[item for item in column if shares(item)] for column in columns]
    lines = [
        *_sharing(sharing),
        *_tests([[item for item in column if not shares(item)] for column in columns]),
    ]
    groups = list(Group)
    lines.sort(key=lambda line: (groups.index(line.group), line.alone))
    return Section(title, tuple(lines), section_figures(lines))


def _sharing(columns: Sequence[Sequence[Measured]]) -> list[Line]:
    """Rows of sharing paths, one for each decoder where the decoders of a column differ."""
    names = slots([list(dict.fromkeys(item.decoder for item in column)) for column in columns])
    cells: dict[tuple[Group, str], dict[str, list[dict[str, Attempts]]]] = {}
    labels: dict[str, tuple[object, str]] = {}
    for number, column in enumerate(columns):
        for test, attempts in by_test(column).items():
            shown = attempts.shown
            name = shown.allocator or shown.path
            group = Group.ACROSS if shown.suite == _VM_SUITE else Group.SHARES
            slot = names[number][shown.decoder]
            places = cells.setdefault((group, name), {}).setdefault(slot, [{} for _ in columns])
            places[number][plain_test(test, shown.decoder)] = attempts
            labels[name] = max(labels.get(name, (shown.started, "")), (shown.started, shown.path or name))
    lines = []
    for (group, name), rows in cells.items():
        label = labels[name][1]
        for decoder, row in _merged(rows).items():
            entries = tuple(Entry(part) if part else None for part in row)
            standing, reasons = explain(entries)
            figures = line_figures([rows[slot] for slot in rows if decoder in ("", slot)])
            lines.append(Line(group, name, label, decoder, entries, standing, reasons, figures))
    return lines


def _merged(
    places: dict[str, list[dict[str, Attempts]]],
) -> dict[str, list[dict[str, Attempts]]]:
    """The rows of one path: one, called "", where every column's decoders came out alike."""
    columns = range(len(next(iter(places.values()))))
    signatures = (
        {Entry(tests[number]).signature for tests in places.values() if tests[number]} for number in columns
    )
    if any(len(found) > 1 for found in signatures):
        return places
    merged: list[dict[str, Attempts]] = [{} for _ in columns]
    for slot, row in places.items():
        for number in columns:
            merged[number].update({f"{slot}\n{test}": found for test, found in row[number].items()})
    return {"": merged}


def _tests(columns: Sequence[Sequence[Measured]]) -> list[Line]:
    """Rows of tests that share nothing, one for each file."""
    cells: dict[str, list[dict[str, Attempts]]] = {}
    for number, column in enumerate(columns):
        for test, attempts in by_test(column).items():
            places = cells.setdefault(_file(test), [{} for _ in columns])
            places[number][plain_test(test, attempts.shown.decoder)] = attempts
    lines = []
    for file, row in cells.items():
        entries = tuple(Entry(part) if part else None for part in row)
        standing, reasons = explain_tests(entries)
        lines.append(Line(Group.OTHERS, file, file, "", entries, standing, reasons))
    return lines


def _file(test: str) -> str:
    """``decode`` for ``suites/board/test_decode.py::test_frames[QCIF]``."""
    stem = PurePosixPath(test.partition("::")[0]).stem
    return stem.removeprefix("test_").replace("_", " ") or test


def _columns_with_results(section: Section) -> int:
    found = {number for line in section.lines for number, entry in enumerate(line.entries) if entry}
    return len(found)


def _notes(layout: Layout, sections: Sequence[Section]) -> tuple[str, ...]:
    notes = []
    if layout.left_out:
        boards: dict[str, list[str]] = {}
        for board, modes in layout.left_out.items():
            boards.setdefault(", ".join(modes), []).append(board)
        also = "; ".join(f"{', '.join(names)} {modes}" for modes, names in boards.items())
        notes.append(f"also measured: {also} (--iommu MODE for one mode, --iommu all for a column each)")
    alone = [section.title for section in sections if _columns_with_results(section) == 1]
    if alone and len(alone) < len(sections):
        notes.append(f"in one column only, left out: {', '.join(alone)}")
    empty = [column.name for column, part in zip(layout.columns, layout.results, strict=True) if not part]
    if empty:
        notes.append(f"nothing was measured for {', '.join(empty)}")
    return tuple(notes)
