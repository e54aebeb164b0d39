"""A comparison on a terminal: aligned, what is unexplained first to the eye, readable without colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from lab.results.compare import words
from lab.results.compare.model import Comparison, Entry, FigureLine, Group, Line, Reason, Section
from lab.results.look import STANDINGS, Look, Standing
from lab.results.matrix import ACROSS

_GAP = 2
_MARGIN = 5  # for the mark and the number of the reasons
_LABEL_MOST, _LABEL_LEAST = 32, 23
_WHY_AT_LEAST = 44


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """Print it by a rich console. ``every_figure``: also those of rows in which no difference is shown.

    ``only_differences``: without the rows in which all is alike.
    """

    comparison: Comparison
    every_figure: bool = False
    only_differences: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pen = Console(width=options.max_width)
        alike = []
        for section in self.comparison.sections:
            table = _Table(self, section, options, pen)
            if self.only_differences and not table.shown and not any(line.shown for line in section.figures):
                alike.append(section.title or "all rows")
            else:
                yield from table.lines()
        plain = options.ascii_only
        counts = self.comparison.counts
        style = f"bold {STANDINGS[Standing.UNEXPLAINED].colour}" if Standing.UNEXPLAINED in counts else "bold"
        head = Text(words.said(words.headline(self.comparison), plain=plain), style=style)
        for part in head.wrap(pen, options.max_width - 2):
            yield _row(Text.assemble(" ", part))
        flaky = words.flaky_note(self.comparison)
        told = [f"all alike: {', '.join(alike)}"] if alike else []
        for note in (*told, *([flaky] if flaky else []), *self.comparison.notes):
            for part in Text(words.said(note, plain=plain), style="dim").wrap(pen, options.max_width - 2):
                yield _row(Text.assemble(" ", part))


def show(
    console: Console, comparison: Comparison, *, every_figure: bool = False, only_differences: bool = False
) -> None:
    """Print ``comparison``."""
    console.print(ComparisonView(comparison, every_figure, only_differences), crop=False)


class _Table:
    """One section, in as many tables as the width demands: the first column stands in each of them.

    Where that saves tables, cells are symbols alone, with a legend.
    """

    def __init__(self, view: ComparisonView, section: Section, options: ConsoleOptions, pen: Console) -> None:
        self.view = view
        self.section = section
        self.columns = view.comparison.columns
        self.plain = options.ascii_only
        self.width = options.max_width
        self.pen = pen
        self.shown = [
            line
            for line in section.lines
            if not (view.only_differences and line.standing is Standing.SAME and not words.telling(line))
        ]
        labels = [line.title for line in self.shown] + [section.title]
        labels += [f"  {words.figure_title(line)}" for line in self._figures()]
        longest = max((cell_len(text) for text in labels), default=0)
        self.label = min(longest, max(_LABEL_MOST, self.width // 4)) + _GAP
        self.room = self.width - _MARGIN - self.label
        self.numbers: dict[tuple[Reason, ...], int] = {}
        self.legend: dict[Look, None] = {}
        self.symbols, self.rates = False, True
        chunks, widths = self._chunks()
        if len(chunks) > 1 or self.room - sum(widths) < _WHY_AT_LEAST:
            self.rates = False
            without = self._chunks()
            self.rates = len(chunks) == 1 and self.room - sum(without[1]) < _WHY_AT_LEAST
            chunks, widths = (chunks, widths) if self.rates else without
        if len(chunks) > 1 and self.label > _LABEL_LEAST:
            chunks, widths = self._narrowed(chunks, widths)
        if len(chunks) > 1:
            self.symbols = True
            fewer, narrow = self._chunks()
            self.symbols = len(fewer) < len(chunks)
            chunks, widths = (fewer, narrow) if self.symbols else (chunks, widths)
        widest = max(sum(widths[number] for number in chunk) for chunk in chunks) - _GAP
        if widest > self.room:
            self.label = max(self.width - _MARGIN - widest, _LABEL_LEAST // 2)
            self.room = self.width - _MARGIN - self.label
        self.chunks, self.widths, self.beside = chunks, widths, False

    def lines(self) -> Iterator[Text]:
        """All of it."""
        for chunk in self.chunks:
            why = self.room - sum(self.widths[number] for number in chunk)
            self.beside = why >= _WHY_AT_LEAST and len(self.chunks) == 1
            why = why if self.beside else 0
            yield from self._head(chunk, beside=bool(why))
            yield from self._body(chunk, why)
        if self.symbols and self.legend:
            listed = [f"{self._symbol(look)} {look.word}" for look in self.legend]
            yield from self._folded(" ", "   ".join(listed), "dim")
            yield Text()
        if self.numbers and not self.beside:
            yield from self._numbered()

    def _head(self, chunk: Sequence[int], *, beside: bool) -> Iterator[Text]:
        top = "".join(self._fit(self.columns[number].label, self.widths[number]) for number in chunk)
        notes = "".join(self._fit(self.columns[number].note, self.widths[number]) for number in chunk)
        title = self.section.title or "sharing path"
        line = Text(" " * _MARGIN + self._fit(title, self.label) + top, style="bold")
        yield _row(line.append(words.WHY if beside else ""))
        if notes.strip():
            yield _row(Text(" " * _MARGIN + self._fit("IOMMU", self.label) + notes, style="dim"))
        used = _MARGIN + self.label + sum(self.widths[number] for number in chunk)
        length = self.width - 2 if beside else min(used, self.width) - 2
        yield _row(Text(" " + self._say("─" * length), style="dim"))

    def _body(self, chunk: Sequence[int], why: int) -> Iterator[Text]:
        before: Group | None = None
        said: set[tuple[Reason, ...]] = set()
        for line in self.shown:
            if before is not None and line.group is not before:
                yield Text()
            if line.group is Group.ACROSS and before is not Group.ACROSS:
                yield _row(Text(" " * _MARGIN + ACROSS, style="dim"))
            before = line.group
            yield from self._line(line, chunk, why, repeated=line.reasons in said)
            said.add(line.reasons)
            for figure in line.figures if self.view.every_figure else words.telling(line):
                yield from self._figure(figure, chunk, why, indent="  ")
        if self.section.figures:
            yield Text()
            yield _row(Text(" " * _MARGIN + "figures over all paths in common", style="dim"))
            for figure in self.section.figures:
                yield from self._figure(figure, chunk, why)
        yield Text()

    def _line(self, line: Line, chunk: Sequence[int], why: int, *, repeated: bool) -> Iterator[Text]:
        look = STANDINGS[line.standing]
        loud = f"bold {look.colour}" if line.standing is Standing.UNEXPLAINED else ""
        number = ""
        if line.reasons:
            number = str(self.numbers.setdefault(line.reasons, len(self.numbers) + 1))
        text = Text.assemble(
            " ", (self._symbol(look), f"bold {look.colour}"), (f"{number:<3}", loud or "dim")
        )
        text.append(self._title(line), style=loud)
        for at in chunk:
            self._entry(text, line, at)
        if not line.reasons or not why:
            yield _row(text)
            return
        if repeated:
            yield _row(text.append(self._say(f"as {number}"), style="dim"))
            return
        margin = cell_len(text.plain)
        for at, part in enumerate(part for reason in line.reasons for part in self._reason(reason, why)):
            start = text if at == 0 else Text(" " * margin)
            yield _row(start.append_text(part))

    def _title(self, line: Line) -> str:
        """The label and, whole, which decoder."""
        if not line.decoder:
            return self._fit(line.title, self.label)
        decoder = self._say(f" · {line.decoder}")
        label = self._fit(line.label, max(self.label - cell_len(decoder), 8)).rstrip()
        return self._fit(label + decoder, self.label)

    def _entry(self, text: Text, line: Line, number: int) -> None:
        entry, width = line.entries[number], self.widths[number]
        if entry is None:
            text.append(" " * width)
            return
        self.legend.setdefault(entry.look)
        word = self._fit(self._word(line, entry, number), width)
        text.append(word[:1], style=entry.look.colour)
        text.append(word[1:], style="" if entry.as_expected else f"bold {entry.look.colour}")

    def _figure(
        self, line: FigureLine, chunk: Sequence[int], why: int, *, indent: str = ""
    ) -> Iterator[Text]:
        text = Text(" " * _MARGIN + self._fit(indent + words.figure_title(line), self.label), style="dim")
        for number in chunk:
            text.append(self._fit(words.value(line, number), self.widths[number]))
        told = self._say(words.conclusion(line, self.columns, chunk))
        if not why:
            yield _row(text)
            yield from self._folded(" " * (_MARGIN + 2 + len(indent)), told, "dim")
            return
        margin = cell_len(text.plain)
        for at, part in enumerate(Text(told, style="dim").wrap(self.pen, why)):
            start = text if at == 0 else Text(" " * margin, style="dim")
            yield _row(start.append_text(part))

    def _reason(self, reason: Reason, width: int) -> Iterator[Text]:
        """The columns and why, folded."""
        loud = f"bold {STANDINGS[reason.standing].colour}" if reason.standing is Standing.UNEXPLAINED else ""
        whose = ", ".join(words.names(self.columns, reason.columns))
        text = Text.assemble((self._say(whose), loud or "bold"), "  ", (self._say(reason.text), loud))
        for at, part in enumerate(text.wrap(self.pen, width - 2)):
            yield Text.assemble("  " if at else "", part)

    def _numbered(self) -> Iterator[Text]:
        yield _row(Text(f" {words.WHY}", style="bold"))
        for reasons, number in self.numbers.items():
            start = f"  {number:<3}"
            for reason in reasons:
                for part in self._reason(reason, self.width - _MARGIN - 1):
                    yield _row(Text.assemble(start, part))
                    start = " " * _MARGIN
        yield Text()

    def _folded(self, margin: str, text: str, style: str) -> Iterator[Text]:
        for part in Text(text, style=style).wrap(self.pen, self.width - len(margin) - 1):
            yield _row(Text.assemble(margin, part))

    def _chunks(self) -> tuple[list[list[int]], list[int]]:
        """The columns in groups that fit, and their widths."""
        widths = [self._column(number) for number in range(len(self.columns))]
        chunks: list[list[int]] = [[]]
        for number in range(len(widths)):
            full = sum(widths[at] for at in (*chunks[-1], number)) > self.room + _GAP
            if full and len(chunks[-1]) > 1:
                chunks.append([0])
            chunks[-1].append(number)
        return chunks, widths

    def _narrowed(self, chunks: list[list[int]], widths: list[int]) -> tuple[list[list[int]], list[int]]:
        """With shorter labels, where all columns fit then."""
        if sum(widths) - _GAP > self.room + self.label - _LABEL_LEAST:
            return chunks, widths
        self.label = self.width - _MARGIN - sum(widths) + _GAP
        self.room = self.width - _MARGIN - self.label
        return self._chunks()

    def _column(self, number: int) -> int:
        texts = [self.columns[number].label, self.columns[number].note]
        texts += [self._word(line, entry, number) for line in self.shown if (entry := line.entries[number])]
        texts += [self._say(words.value(line, number)) for line in self._figures()]
        return max(cell_len(text) for text in texts) + _GAP

    def _figures(self) -> Iterator[FigureLine]:
        yield from self.section.figures
        for line in self.shown:
            yield from line.figures if self.view.every_figure else words.telling(line)

    def _word(self, line: Line, entry: Entry, number: int) -> str:
        text = words.entry_text(entry)
        if self.rates:
            text = f"{text} {words.rate(line, number)}".rstrip()
        if self.symbols:
            text = text[len(text.rstrip(words.UNEXPECTED + words.FLAKY + " ")) :].strip()
        return self._say(f"{self._symbol(entry.look)} {text}".rstrip())

    def _symbol(self, look: Look) -> str:
        return look.ascii if self.plain else look.symbol

    def _say(self, text: str) -> str:
        return words.said(text, plain=self.plain)

    def _fit(self, text: str, width: int) -> str:
        """``text`` in exactly ``width`` columns, with a gap; cut with an ellipsis where it is longer."""
        text = self._say(text)
        if cell_len(text) > width - 1:
            dots = self._say("…")
            text = set_cell_size(text, max(width - 1 - cell_len(dots), 0)).rstrip() + dots
        return set_cell_size(text, width)


def _row(text: Text) -> Text:
    text.rstrip()
    text.no_wrap = True
    text.overflow = "ignore"
    return text
