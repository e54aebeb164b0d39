"""Runs as a list: one line each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from lab.base.words import IommuMode, Status
from lab.results.exits import outcome_code
from lab.results.look import MODES, STATUSES, Look
from lab.results.model import Run, iso
from lab.results.outcome import Outcome


@dataclass(frozen=True, slots=True)
class RunLine:
    """What a list says of a run: ``counts`` are cells by status, ``seconds`` go to its last result."""

    id: str
    started: datetime
    seconds: float
    targets: tuple[str, ...]
    modes: tuple[IommuMode, ...]
    counts: dict[Status, int]
    exit_code: int

    @classmethod
    def of(cls, run: Run, outcome: Outcome) -> RunLine:
        """The line of ``run``, whose results are in ``outcome``."""
        modes = {cell.iommu_asked for cell in outcome.cells}
        ended = max((cell.ended for cell in outcome.cells), default=run.started)
        return cls(
            id=run.id,
            started=run.started,
            seconds=max((ended - run.started).total_seconds(), 0.0),
            targets=outcome.targets,
            modes=tuple(mode for mode in MODES if mode in modes),
            counts=outcome.counts,
            exit_code=int(outcome_code(outcome)),
        )

    @property
    def looks(self) -> list[tuple[Look, int]]:
        """The counts with how each status is shown."""
        return [(STATUSES[status], count) for status, count in self.counts.items()]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "run": self.id,
            "started": iso(self.started),
            "seconds": round(self.seconds, 3),
            "targets": list(self.targets),
            "modes": list(self.modes),
            "counts": {str(status): count for status, count in self.counts.items()},
            "exit_code": self.exit_code,
        }


def table(lines: list[RunLine], *, plain: bool = False) -> Table:
    """The list for a terminal; ``plain``: for one without Unicode."""
    found = Table(box=None, pad_edge=True, header_style="dim")
    for title in ("RUN", "TARGETS", "IOMMU", "CELLS", "TOOK", "EXIT"):
        found.add_column(
            title, justify="right" if title in ("TOOK", "EXIT") else "left", no_wrap=title == "RUN"
        )
    for line in lines:
        cells = Text("  ").join(
            Text(f"{count}{look.ascii if plain else look.symbol}", style=look.colour)
            for look, count in ((STATUSES[status], count) for status, count in line.counts.items())
        )
        found.add_row(
            Text(line.id),
            Text(", ".join(line.targets)),
            ", ".join(line.modes),
            cells,
            f"{line.seconds:.0f} s",
            str(line.exit_code),
        )
    return found
