"""Two runs beside each other: what fails newly, what was fixed, what still fails, what is missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lab.base.words import Status
from lab.results.look import look_of
from lab.results.model import CellKey, Result
from lab.results.outcome import Outcome


class Change(StrEnum):
    """What became of a cell from one run to another, in the order in which people want to know."""

    NEW = "new failure"
    MISSING = (
        "missing"  # planned or measured before; planned here and without a result, or not planned at all
    )
    STILL = "still failing"
    FLAKY = "flaky"  # it changed its mind before, so that it did says little
    CHANGED = "changed"  # as expected both times, and not the same
    FIXED = "fixed"
    ADDED = "added"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Difference:
    """A cell in both runs; None where a run does not have it."""

    change: Change
    before: Result | None
    after: Result | None

    @property
    def cell(self) -> Result:
        """The later one of both, to name it by."""
        found = self.after or self.before
        assert found is not None
        return found

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        sides = {"before": self.before, "after": self.after}
        return {
            "change": str(self.change),
            "target": self.cell.target,
            "iommu": str(self.cell.iommu_asked),
            "test": self.cell.test,
            "path": self.cell.path,
            **{name: _said(side) for name, side in sides.items()},
        }


def diff(before: Outcome, after: Outcome, flaky: Iterable[CellKey] = ()) -> list[Difference]:
    """What became of every cell, gravest first. ``flaky``: cells that are known to change their mind.

    Cells of targets, modes and suites that the later run did not touch at all are not missing from it.
    """
    old = {cell.key: cell for cell in before.cells}
    new = {cell.key: cell for cell in after.cells}
    wavering = set(flaky)
    scope = {(cell.target, cell.iommu_asked, cell.suite) for cell in after.cells}
    found = []
    for key in {**old, **new}:
        left, right = old.get(key), new.get(key)
        if right is None and left is not None and (left.target, left.iommu_asked, left.suite) not in scope:
            continue
        change = _change(left, right, key in wavering)
        found.append(Difference(change, left, right))
    order = list(Change)
    return sorted(found, key=lambda item: order.index(item.change))


def _change(before: Result | None, after: Result | None, wavering: bool) -> Change:
    if after is None or after.status is Status.MISS:
        return Change.MISSING
    if before is None or before.status is Status.MISS:
        return Change.ADDED if after.as_expected else Change.NEW
    same = look_of(before.status, before.verdict) == look_of(after.status, after.verdict)
    if wavering and not (same and before.as_expected == after.as_expected):
        return Change.FLAKY
    if before.as_expected != after.as_expected:
        return Change.FIXED if after.as_expected else Change.NEW
    if not after.as_expected:
        return Change.STILL
    return Change.SAME if same else Change.CHANGED


def _said(cell: Result | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    verdict = None if cell.verdict is None else str(cell.verdict)
    known = {"as_expected": cell.as_expected, "reason": cell.reason}
    return {"run": cell.run, "status": str(cell.status), "verdict": verdict, **known}
