"""``lab expect update``: how the expectation files would have to change so that a run is as expected."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten

from lab.base.ui import printable
from lab.base.words import Status
from lab.results.expectations import Expectation, Expectations
from lab.results.model import CellKey, Result, state_of

NO_LINK = "LINK"
"""Stands where a link has to be put: a file with it is refused, so nobody commits it as it is."""

REASON = 160
"""Characters of a proposed reason: an exception may have whole objects in its message."""

_HEAD = """\
# What is known of single cells. Most specific wins: board/, soc/, all.txt (docs/expectations.md).
# KIND STATE       IOMMU       TEST -- REASON  LINK
"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """``files``: new text of every file that changes. ``notes``: what nobody but a person can decide."""

    files: Mapping[Path, str]
    notes: tuple[str, ...]

    def diff(self) -> str:
        """A unified diff as ``git apply`` takes it, from the folder that holds ``expectations/``."""
        parts: list[str] = []
        for path, new in self.files.items():
            shown = "/".join(path.parts[-3:] if path.parent.name in ("soc", "board") else path.parts[-2:])
            there = path.exists()
            old = path.read_text(encoding="utf-8").splitlines(keepends=True) if there else []
            before = f"a/{shown}" if there else "/dev/null"
            parts += difflib.unified_diff(old, new.splitlines(keepends=True), before, f"b/{shown}")
        return "".join(parts)

    def write(self) -> None:
        """Make the change."""
        for path, new in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(new, encoding="utf-8")


def propose(
    cells: Iterable[Result],
    expectations: Expectations,
    *,
    link: str = NO_LINK,
    flaky: Iterable[CellKey] = (),
) -> Proposal:
    """What to change for ``cells``, the counting results of a run; ``flaky``: cells that change their mind.

    A new failure is added: to its SoC's file, or to its board's where another board of that SoC does
    otherwise. A known one that passes is taken out, one that fails in another way is changed.
    """
    cells = list(cells)
    changed = _Files(expectations)
    notes: list[str] = []
    wavering = set(flaky)
    states = defaultdict(set)
    for cell in cells:
        states[cell.soc, cell.iommu_asked, cell.test].add(state_of(cell))
    for cell in cells:
        if cell.as_expected or cell.status is Status.MISS:
            continue
        known = expectations.of(
            soc=cell.soc,
            target=cell.target,
            place=cell.place,
            iommu=cell.iommu_asked,
            test=cell.test,
        )
        where = f"{known.file}:{known.line}" if known else ""
        passes = cell.status in (Status.PASS, Status.DONE)
        if known and known.kind == "fail" and not known.exact:
            notes.append(f"{where} speaks of more than {cell.target} {cell.iommu_asked} {cell.test}, "
                         f"which ended with {state_of(cell)}")  # fmt: skip
        elif known and known.kind == "fail" and (passes or cell.key not in wavering):
            changed.replace(known, None if passes else replace(known, state=state_of(cell)))
        elif not passes:
            shared = bool(cell.soc) and len(states[cell.soc, cell.iommu_asked, cell.test]) == 1
            path = (
                expectations.for_soc(cell.soc)
                if shared
                else expectations.for_board(cell.place or cell.target)
            )
            kind = "flake" if cell.key in wavering else "fail"
            said = printable(cell.reason or cell.expected_reason or "say why")
            reason = shorten(said, REASON, placeholder=" ...")
            changed.add(path, Expectation(
                kind, state_of(cell) if kind == "fail" else "", str(cell.iommu_asked), cell.test, reason, link
            ))  # fmt: skip
    return Proposal(changed.texts(), tuple(dict.fromkeys(notes)))


class _Files:
    """The lines of the files that change."""

    def __init__(self, expectations: Expectations) -> None:
        self._root = expectations.folder.parent
        self._lines: dict[Path, dict[int, str | None]] = defaultdict(dict)
        self._new: dict[Path, list[str]] = defaultdict(list)

    def replace(self, known: Expectation, by: Expectation | None) -> None:
        """Put another line in place of a known one, or none."""
        self._lines[self._root / known.file][known.line] = str(by) if by else None

    def add(self, path: Path, new: Expectation) -> None:
        """Put a line behind the others of its file."""
        if str(new) not in self._new[path]:
            self._new[path].append(str(new))

    def texts(self) -> dict[Path, str]:
        """New text of every file that changed."""
        found = {}
        for path in sorted({*self._lines, *self._new}):
            old = path.read_text(encoding="utf-8") if path.exists() else _HEAD
            lines = [self._lines[path].get(number, line) for number, line in enumerate(old.splitlines(), 1)]
            kept = [line for line in lines if line is not None] + self._new[path]
            found[path] = "".join(f"{line}\n" for line in kept)
        return found
