"""The sharing matrix: which result stands where. Pure; ``terminal`` and ``report`` draw it.

One block per target, or per decoder where a target has several. A row is a sharing path, a column an
IOMMU mode. Paths that were measured with a VM come after the allocators, under a heading of their own.
Tests that share nothing are rows of their own below, one per test file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from lab.base.words import IommuMode, Status, Verdict
from lab.results.expectations import news
from lab.results.look import MODES, STATUSES, Look, errno_name, look_of
from lab.results.model import Result
from lab.results.outcome import Outcome

ACROSS = "across the VM boundary"
"""Heading of the paths that were measured with a VM."""

_VM_SUITE = "vm"


@dataclass(frozen=True, slots=True)
class Entry:
    """One place in the matrix: all cells of one row in one mode, shown by the gravest of them.

    ``tries``: attempts of the cell shown; above 1 only where the lab broke before.
    """

    shown: Result
    cells: tuple[Result, ...]
    tries: int

    @property
    def look(self) -> Look:
        """Word, symbol and colour."""
        return look_of(self.shown.status, self.shown.verdict)

    @property
    def as_expected(self) -> bool:
        """Whether every cell here came out as expected."""
        return all(cell.as_expected for cell in self.cells)

    @property
    def alike(self) -> int:
        """How many of the cells look like the one shown."""
        return sum(look_of(cell.status, cell.verdict) == self.look for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Row:
    """A row: ``entries`` has None where nothing was planned.

    ``note``: why its verdicts are what they are, or what was expected instead; ``note_look`` is
    the look of the cell that it speaks of.
    """

    label: str
    entries: tuple[Entry | None, ...]
    note: str = ""
    note_look: Look | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """One matrix: a target's, or that of one decoder where the target has several.

    ``shares``: sharing paths within the board's kernel; ``across``: those that were measured with a VM;
    ``others``: tests that share nothing.
    """

    target: str
    soc: str
    decoder: str
    places: tuple[str, ...]
    modes: tuple[IommuMode, ...]
    shares: tuple[Row, ...]
    across: tuple[Row, ...]
    others: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All of them, from top to bottom."""
        return (*self.shares, *self.across, *self.others)


def blocks(outcome: Outcome) -> tuple[Block, ...]:
    """The matrices of every target in ``outcome``, in order of appearance."""
    found: list[Block] = []
    for target in outcome.targets:
        cells = [cell for cell in outcome.cells if cell.target == target]
        present = {cell.iommu_asked for cell in cells}
        modes = tuple(mode for mode in MODES if mode in present)
        shares = [cell for cell in cells if cell.path or cell.allocator]
        others = [cell for cell in cells if not (cell.path or cell.allocator)]
        decoders = list(dict.fromkeys(cell.decoder for cell in shares))
        if len(decoders) > 1:
            for decoder in decoders:
                own = [cell for cell in shares if cell.decoder == decoder]
                found.append(_block(own, [], modes, outcome, decoder))
            shares = []
        if shares or others:
            found.append(_block(shares, others, modes, outcome))
    return tuple(found)


def headline(cell: Result) -> str:
    """``virt-dma32 off  udmabuf, 4K pages: corrupt, expected refused``: a cell in one line."""
    found = look_of(cell.status, cell.verdict).word
    if cell.verdict is not None and found == cell.verdict and cell.errno:
        found += f" ({errno_name(cell.errno)})"
    text = f"{cell.target} {cell.iommu_asked}  {label_of(cell)}: {found}"
    if told := news(cell):
        return f"{text}, {told}"
    if cell.expected is None or cell.status in (Status.MISS, Status.ERROR):
        return text
    return f"{text}, expected {_expected(cell)}"


def label_of(cell: Result) -> str:
    """What a person calls the cell: its sharing path, else the test's name without folders."""
    module, mark, name = cell.test.partition("::")
    return cell.path or cell.allocator or f"{module.rpartition('/')[2]}{mark}{name}"


def summary(outcome: Outcome) -> str:
    """``126 cells, all as expected`` or what is wrong with how many."""
    counts = Counter(cell.status for cell in outcome.unexpected)
    total = len(outcome.cells)
    cells = f"{total} cell" if total == 1 else f"{total} cells"
    parts = [
        (Status.FAIL, "not as expected"),
        (Status.ERROR, "broken tests" if counts[Status.ERROR] != 1 else "broken test"),
        (Status.MISS, "missing because the lab failed"),
        (Status.PASS, "known to fail and good now"),
    ]
    wrong = [f"{counts[status]} {words}" for status, words in parts if counts[status]]
    good = [cell for cell in outcome.cells if cell.as_expected]
    skipped = sum(cell.status is Status.SKIP for cell in good)
    known = sum(cell.status in (Status.FAIL, Status.ERROR) for cell in good)
    of_them = (f", {skipped} of them skipped" if skipped else "") + (
        f", {known} of them known to fail" if known else ""
    )
    if not wrong:
        return f"{cells}, all as expected{of_them}" if total else "nothing was measured"
    if good:
        wrong.append(f"{len(good)} as expected{of_them}")
    return f"{cells}: {', '.join(wrong)}"


def _expected(cell: Result) -> str:
    name = errno_name(cell.expected_errno)
    return f"{cell.expected} ({name})" if name else str(cell.expected)


def _block(
    shares: list[Result],
    others: list[Result],
    modes: tuple[IommuMode, ...],
    outcome: Outcome,
    decoder: str = "",
) -> Block:
    cells = [*shares, *others]
    first = cells[0]
    return Block(
        target=first.target,
        soc=first.soc,
        decoder=decoder,
        places=tuple(dict.fromkeys(cell.place for cell in cells if cell.place)),
        modes=modes,
        shares=_rows((c for c in shares if c.suite != _VM_SUITE), modes, outcome, label_of),
        across=_rows((c for c in shares if c.suite == _VM_SUITE), modes, outcome, label_of),
        others=_rows(others, modes, outcome, _file_label),
    )


_GRAVITY: tuple[Verdict | Status, ...] = (
    Status.FAIL,
    Status.ERROR,
    Status.MISS,
    Verdict.CORRUPT,
    Verdict.FAULTED,
    Verdict.INCONCLUSIVE,
    Verdict.COPIED,
    Verdict.REFUSED,
    Verdict.UNSUPPORTED,
    Verdict.ZERO_COPY,
    Status.PASS,
    Status.DONE,
    Status.SKIP,
)


def _rows(
    cells: Iterable[Result],
    modes: Sequence[IommuMode],
    outcome: Outcome,
    label: Callable[[Result], str],
) -> tuple[Row, ...]:
    grouped: dict[str, dict[IommuMode, list[Result]]] = {}
    for cell in cells:
        grouped.setdefault(label(cell), {}).setdefault(cell.iommu_asked, []).append(cell)
    rows = []
    for name, found in grouped.items():
        entries = tuple(_entry(found[mode], outcome) if mode in found else None for mode in modes)
        rows.append(_row(name, entries))
    return tuple(rows)


def _entry(cells: list[Result], outcome: Outcome) -> Entry:
    shown = min(cells, key=lambda cell: gravity(cell.status, cell.verdict))
    return Entry(shown, tuple(cells), outcome.attempts.get(shown.key, 1))


def gravity(status: Status, verdict: Verdict | None) -> int:
    """Of several cells in one place the one with the least number is shown."""
    if status in (Status.PASS, Status.DONE) and verdict is not None:
        return _GRAVITY.index(verdict)
    return _GRAVITY.index(status)


def _row(label: str, entries: tuple[Entry | None, ...]) -> Row:
    """The row with its note: what was expected instead, else why the first odd cell is as it is.

    Of odd cells one that is unsupported comes first: its reason is what nobody could guess.
    """
    odd = [entry.shown for entry in entries if entry and entry.shown.verdict is not Verdict.ZERO_COPY]
    for cell in odd:
        if cell.as_expected and cell.status in (Status.FAIL, Status.ERROR):
            return Row(label, entries, f"{news(cell)}: {cell.expectation['reason']}", _look(cell))
        if cell.status is Status.FAIL and cell.expected is not None:
            return Row(label, entries, f"expected {_expected(cell)}", STATUSES[Status.FAIL])
    for cell in sorted(odd, key=lambda cell: cell.verdict is not Verdict.UNSUPPORTED):
        why = (cell.expected_reason or cell.reason).partition("\n")[0]
        name = errno_name(cell.errno)
        if name and name not in why and cell.verdict is not Verdict.UNSUPPORTED:
            why = f"{name}: {why}" if why else name
        if why and cell.as_expected:
            return Row(label, entries, why, _look(cell))
    return Row(label, entries)


def _look(cell: Result) -> Look:
    return look_of(cell.status, cell.verdict)


def _file_label(cell: Result) -> str:
    """``decode`` for ``suites/board/test_decode.py::test_frames[QCIF]``."""
    stem = PurePosixPath(cell.test.partition("::")[0]).stem
    return stem.removeprefix("test_").replace("_", " ") or cell.test
