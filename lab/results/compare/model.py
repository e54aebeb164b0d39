"""A comparison: columns that are compared, rows of sharing paths and tests, and what stands in each place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from lab.base.words import Status, Verdict
from lab.results.compare.measured import Attempts, Measured, look, shares
from lab.results.compare.statistics import Change, Summary
from lab.results.figures import Figure
from lab.results.look import Look, Standing
from lab.results.matrix import gravity


class Group(Enum):
    """The three kinds of rows, in the order in which they are shown."""

    SHARES = "shares"
    ACROSS = "across"
    OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Column:
    """``label`` of what is compared; ``note``: the IOMMU mode, where the label does not say it."""

    label: str
    note: str = ""

    @property
    def name(self) -> str:
        """Both in one, for lists."""
        return f"{self.label} {self.note}" if self.note else self.label

    @property
    def head(self) -> str:
        """Both, as a table's head says them in one line."""
        return f"{self.label}, IOMMU {self.note}" if self.note else self.label


@dataclass(frozen=True)
class Entry:
    """One place: every test of the row in one column, by its name without the decoder's."""

    tests: dict[str, Attempts]

    @cached_property
    def shown(self) -> Measured:
        """The gravest."""
        return min(
            (attempts.shown for attempts in self.tests.values()),
            key=lambda item: gravity(item.status, item.verdict),
        )

    @cached_property
    def look(self) -> Look:
        """Word, symbol and colour of the one shown."""
        return look(self.shown)

    @property
    def alike(self) -> int:
        """How many of its tests look like the one shown."""
        return sum(attempts.look == self.look for attempts in self.tests.values())

    @property
    def as_expected(self) -> bool:
        """Whether all of them came out as the model has it."""
        return all(attempts.shown.as_expected for attempts in self.tests.values())

    @property
    def samples(self) -> int:
        """Attempts at the test that has most of them."""
        return max(len(attempts.samples) for attempts in self.tests.values())

    @property
    def flaky(self) -> tuple[int, int] | None:
        """``(8, 9)``: eight of nine attempts with the same software came out as shown; None: all did."""
        odd = [a for a in self.tests.values() if a.steady < len(a.samples)]
        if not odd:
            return None
        worst = min(odd, key=lambda attempts: attempts.steady / len(attempts.samples))
        return worst.steady, len(worst.samples)

    @property
    def copied_bytes(self) -> float:
        """Bytes that were copied in the one shown; 0 where none were, or nobody knows."""
        return self.shown.metrics.get("copied_bytes", 0.0)

    @property
    def word(self) -> str:
        """``refused``, ``12 pass``, ``2/12 FAIL``."""
        total, shown = len(self.tests), self.shown
        count = ""
        if self.alike != total:
            count = f"{self.alike}/{total} "
        elif total > 1 and not shares(shown):
            count = f"{total} "
        return f"{count}{self.look.word}"

    @property
    def missing(self) -> bool:
        """Whether nothing was measured here, though it was planned."""
        return self.shown.status is Status.MISS

    @property
    def signature(self) -> frozenset[tuple[str, int | None]]:
        """What it came out as, to be held against other columns: words, and of refusals the errno."""
        return frozenset(
            (attempts.look.word, attempts.shown.errno if attempts.shown.verdict is Verdict.REFUSED else None)
            for attempts in self.tests.values()
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why ``columns`` (their numbers) came out as they did. ``standing``: how well that explains it."""

    columns: tuple[int, ...]
    text: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class FigureLine:
    """A figure in every column; ``changes`` from column ``base`` to each, None at itself and where it lacks.

    ``rows``: over how many rows it goes; 0 where it belongs to one. ``samples``: of a row's, by column.
    """

    figure: Figure
    values: tuple[Summary | None, ...]
    changes: tuple[Change | None, ...]
    base: int
    rows: int = 0
    samples: tuple[tuple[float, ...], ...] = ()

    @property
    def shown(self) -> bool:
        """Whether any difference is shown."""
        return any(item is not None and item.shown for item in self.changes)


@dataclass(frozen=True, slots=True)
class Line:
    """A row. ``entries`` has None where nothing was planned. ``name``: of the path, alike in every version.

    ``decoder``: which decoder where they differ, else empty. ``figures`` are its own.
    """

    group: Group
    name: str
    label: str
    decoder: str
    entries: tuple[Entry | None, ...]
    standing: Standing
    reasons: tuple[Reason, ...] = ()
    figures: tuple[FigureLine, ...] = ()

    @property
    def title(self) -> str:
        """Label and decoder."""
        return f"{self.label} · {self.decoder}" if self.decoder else self.label

    @property
    def alone(self) -> bool:
        """Whether there is nothing to compare it with: no other column has it."""
        return sum(entry is not None for entry in self.entries) < 2


@dataclass(frozen=True, slots=True)
class Section:
    """All rows of one context, named by ``title``: where kernels are compared, one target in one mode."""

    title: str
    lines: tuple[Line, ...]
    figures: tuple[FigureLine, ...] = ()

    def of(self, group: Group) -> list[Line]:
        """The rows of one kind."""
        return [line for line in self.lines if line.group is group]


@dataclass(frozen=True, slots=True)
class Comparison:
    """``by``: what the columns are. ``notes``: what was left out, and how to see it."""

    by: str
    columns: tuple[Column, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def lines(self) -> Iterator[Line]:
        """All rows of all sections."""
        for section in self.sections:
            yield from section.lines

    @property
    def counts(self) -> dict[Standing, int]:
        """How many rows stand how."""
        found = [line.standing for line in self.lines]
        return {standing: found.count(standing) for standing in Standing if standing in found}
