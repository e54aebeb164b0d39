"""The matrix on a terminal: aligned, the unexpected first, readable without colour and without Unicode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from lab.base.words import Status
from lab.results.look import STATUSES, Look, look_of
from lab.results.matrix import ACROSS, Block, Entry, Row, blocks, headline, summary
from lab.results.model import Result
from lab.results.outcome import Outcome

_GAP = 3  # columns between a mode and the next
_LABEL_AT_LEAST = 18
MARKS = {"≠": "!=", "×": "x", "→": "->", "─": "-", "…": "...", "·": "-", "″": '"', "±": "+-", "–": "-"}  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class MatrixView:
    """What ``lab run`` ends with: the unexpected, the matrix of each target, the summary.

    ``report`` is named in the last line. Print it by ``show``.
    """

    outcome: Outcome
    report: Path | None = None
    most_unexpected: int = 12

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pen = _Pen(console, options.max_width, plain=options.ascii_only)
        unexpected = _gathered(self.outcome.unexpected)
        for cells in unexpected[: self.most_unexpected]:
            yield from pen.unexpected(cells)
        if len(unexpected) > self.most_unexpected:
            yield Text(f" and {len(unexpected) - self.most_unexpected} more; the report has them all")
        if unexpected:
            yield Text()
        found = blocks(self.outcome)
        for block in found:
            yield from pen.block(block)
            yield Text()
        yield from pen.legend([entry for block in found for entry in _entries(block)])
        text = Text(f"{summary(self.outcome)}.", style="bold")
        where = Text(f"Report: {self.report}" if self.report else "", no_wrap=True, overflow="ignore")
        if len(text) + len(where) + 3 <= options.max_width:
            yield Text.assemble(" ", text, "  ", where)
        else:
            yield from pen.hang(" ", text)
            yield Text(" ", no_wrap=True, overflow="ignore").append_text(where)


def show(console: Console, outcome: Outcome, report: Path | None = None) -> None:
    """Print ``MatrixView``. Commands and paths are left to the terminal to fold: they can be copied."""
    console.print(MatrixView(outcome, report), crop=False)


class _Pen:
    """Writes lines for one width. ``plain``: no Unicode beyond what the results themselves bring."""

    def __init__(self, console: Console, width: int, *, plain: bool) -> None:
        self.console = console
        self.width = width
        self.plain = plain

    def say(self, text: str) -> str:
        """``text`` with our own signs replaced where the terminal cannot show them."""
        if self.plain:
            for sign, letters in MARKS.items():
                text = text.replace(sign, letters)
        return text

    def symbol(self, look: Look) -> str:
        """The symbol, or the letter that stands for it."""
        return look.ascii if self.plain else look.symbol

    def hang(self, before: str | Text, body: Text) -> Iterator[Text]:
        """``before`` and ``body``, whose further lines begin where its first one does."""
        indent = cell_len(str(before))
        for line in body.wrap(self.console, max(self.width - indent, 10)):
            line.rstrip()
            yield Text.assemble(before, line)
            before = " " * indent

    def unexpected(self, cells: list[Result]) -> Iterator[Text]:
        """Headline, the line that matters, and how to repeat it."""
        cell = cells[0]
        look = look_of(cell.status, cell.verdict)
        head = headline(cell)
        if len(cells) > 1:
            head = f"{cell.target} {cell.iommu_asked}  {len(cells)} cells: {look.word}"
        sign = Text.assemble(" ", (self.symbol(look), look.colour), " ")
        yield from self.hang(sign, Text(self.say(head), style="bold"))
        if cell.reason:
            yield from self.hang("   ", Text(cell.reason.partition("\n")[0]))
        if cell.repeat:
            # Never wrapped by us: it is there to be copied.
            yield Text(f"   repeat: {cell.repeat}", no_wrap=True, overflow="ignore", style="dim")

    def block(self, block: Block) -> Iterator[Text]:
        """The matrix of one target."""
        rows = block.rows
        columns = [
            max(len(mode), *(cell_len(self.entry(row.entries[at])) for row in rows)) + _GAP
            for at, mode in enumerate(block.modes)
        ]
        widest = max(cell_len(self.say(row.label)) for row in rows) + _GAP
        title = self.title(block)
        free = self.width - 1 - sum(columns)
        wanted = max(widest, len(title) + _GAP)
        notes = [row for row in (*block.shares, *block.across) if row.note]
        beside = all(cell_len(row.note) <= free - wanted for row in notes)
        if not beside:
            free += _GAP  # nothing stands behind the last column
        label = max(min(wanted, free), _LABEL_AT_LEAST)
        line = Text(" " + self.fit(title, label), style="bold")
        line.append("".join(mode.ljust(column) for mode, column in zip(block.modes, columns, strict=True)))
        yield _line(line)
        rule = label + sum(columns) - _GAP
        yield _line(Text(" " + self.say("─") * rule, style="dim"))
        yield from self.shares(block.shares, label, columns, beside=beside)
        if block.across:
            if block.shares:
                yield Text()
            yield _line(Text(" " + self.fit(ACROSS, label + sum(columns)), style="dim"))
            yield from self.shares(block.across, label, columns, beside=beside)
        if (block.shares or block.across) and block.others:
            yield Text()
        for row in block.others:
            yield from self.row(row, label, columns)
        if notes and not beside:
            yield Text()
            yield from self.reasons(block.shares)
            yield from self.reasons(block.across, named=True)

    def shares(self, rows: Iterable[Row], label: int, columns: list[int], *, beside: bool) -> Iterator[Text]:
        """Rows of sharing paths, with their notes where those stand beside; the same one is said once."""
        said = ""
        for row in rows:
            note = self.say("″") if row.note and row.note == said else self.say(row.note)
            said = row.note or said
            yield from self.row(row, label, columns, note if beside else "")

    def title(self, block: Block) -> str:
        """Target, decoder or SoC, and the boards where they are called otherwise."""
        parts = [block.target, block.decoder or (block.soc if block.soc != block.target else "")]
        parts += [place for place in block.places if place != block.target]
        return self.say(" · ".join(part for part in parts if part))

    def entry(self, entry: Entry | None) -> str:
        """``● zero-copy``, ``✗ corrupt ≠``, ``✓ 12 pass``; and how often it was tried."""
        if entry is None:
            return ""
        look, total = entry.look, len(entry.cells)
        shares = bool(entry.shown.path or entry.shown.allocator)
        count = ""
        if entry.alike != total:
            count = f"{entry.alike}/{total} "
        elif total > 1 and not shares:
            count = f"{total} "
        mark = "" if entry.as_expected else " ≠"
        tries = f" ×{entry.tries}" if entry.tries > 1 else ""  # noqa: RUF001
        return self.say(f"{self.symbol(look)} {count}{look.word}{mark}{tries}")

    def row(self, row: Row, label: int, columns: list[int], note: str = "") -> Iterator[Text]:
        """One row, with ``note`` at its end; a label that is too long goes on below it."""
        first, *more = Text(self.say(row.label)).wrap(self.console, label - 1)
        line = Text(" " + self.fit(first.plain.rstrip(), label))
        for entry, column in zip(row.entries, columns, strict=True):
            if entry is None:
                line.append(" " * column)
                continue
            text = self.entry(entry)
            line.append(text[:1], style=entry.look.colour)
            line.append(text[1:], style="" if entry.as_expected else f"bold {entry.look.colour}")
            line.append(" " * (column - cell_len(text)))
        line.append(note, style="dim")
        yield _line(line)
        for part in Text(" ".join(part.plain.strip() for part in more)).wrap(self.console, label - 3):
            if part.plain:
                yield _line(Text("   " + self.fit(part.plain.rstrip(), label - 2)))

    def reasons(self, rows: Iterable[Row], *, named: bool = False) -> Iterator[Text]:
        """The notes below the matrix, for a terminal that is too narrow for them beside it.

        What was expected instead stands in the list of the unexpected already. ``named``: each with its
        rows, where one verdict has many reasons.
        """
        notes: dict[tuple[Look | None, str], list[str]] = {}
        for row in rows:
            if row.note:
                notes.setdefault((row.note_look, row.note), []).append(row.label)
        for (look, note), labels in notes.items():
            if look is not None and look is not STATUSES[Status.FAIL]:
                sign = Text.assemble(" ", (self.symbol(look), look.colour), " ")
                whose = self.say(", ".join(labels)) + ": " if named else ""
                before = sign if named else Text.assemble(sign, f"{look.word}: ")
                yield from self.hang(before, Text.assemble(whose, (self.say(note), "dim")))

    def legend(self, entries: list[Entry]) -> Iterator[Text]:
        """What the marks mean that were used; nothing where none was."""
        parts = []
        if any(not entry.as_expected for entry in entries):
            parts.append("≠ not as expected")
        if any(entry.tries > 1 for entry in entries):
            parts.append("×2 tried twice, the lab broke the first time")  # noqa: RUF001
        if parts:
            yield from self.hang(" ", Text(self.say("   ".join(parts)), style="dim"))

    def fit(self, text: str, width: int, gap: int = 1) -> str:
        """``text`` in exactly ``width`` columns, cut with an ellipsis where it is longer."""
        if cell_len(text) > width - gap:
            dots = self.say("…")
            text = set_cell_size(text, max(width - gap - cell_len(dots), 0)).rstrip() + dots
        return set_cell_size(text, width)


def _gathered(cells: Iterable[Result]) -> list[list[Result]]:
    """One list per thing to tell: what the lab lost for one reason on one board is told once."""
    groups: dict[tuple[object, ...], list[Result]] = {}
    for cell in cells:
        lost = cell.status is Status.MISS
        key = (cell.target, cell.iommu_asked, cell.reason) if lost else cell.key
        groups.setdefault((cell.status, *key), []).append(cell)
    return list(groups.values())


def _entries(block: Block) -> Iterator[Entry]:
    for row in block.rows:
        yield from (entry for entry in row.entries if entry is not None)


def _line(text: Text) -> Text:
    """A line of the matrix is cut by the terminal's edge rather than folded."""
    text.rstrip()
    text.no_wrap = True
    text.overflow = "crop"
    return text
