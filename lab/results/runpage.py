"""What a page about one run shows: made of an outcome, drawn by ``templates/parts/run.html.j2``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from lab.base.words import IommuMode, Status
from lab.results.evidence import EvidenceView, view
from lab.results.exits import outcome_code
from lab.results.look import MODES, STATUSES, Look, look_of
from lab.results.matrix import ACROSS, Block, blocks, summary
from lab.results.model import CellKey, Result, Run
from lab.results.outcome import Outcome
from lab.results.page import LOOKS
from lab.results.trends import Trends

SLOWEST = 8
_OPEN = 12  # unexpected cells that are open when the page is; of more, none is a help


@dataclass(frozen=True, slots=True)
class Detail:
    """One cell with everything there is to say about it. ``anchor`` is its place in the page.

    ``evidence`` is None where the page has none yet: it is at the address ``source``.
    """

    anchor: str
    cell: Result
    look: Look
    attempts: int
    evidence: EvidenceView | None
    source: str = ""
    open: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """What ran on one board: ``facts`` are name and value, with all values that it had in the run."""

    target: str
    place: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RunPage:
    """All that the page shows. ``grave`` names the look of the headline's colour.

    ``code``: the exit code; None while the run goes on. ``links``: where the matrix leads from each cell.
    """

    run: Run | None
    summary: str
    code: int | None
    grave: str
    started: datetime | None
    seconds: float
    counted: tuple[tuple[Look, int], ...]
    unexpected: tuple[Detail, ...]
    blocks: tuple[Block, ...]
    legend: tuple[Look, ...]
    groups: tuple[tuple[str, list[Detail]], ...]
    anchors: dict[CellKey, str]
    links: dict[CellKey, str]
    slowest: tuple[Detail, ...]
    machines: tuple[Machine, ...]
    modes: tuple[IommuMode, ...]
    trends: Trends | None = None
    across: str = ACROSS


def run_page(
    outcome: Outcome,
    trends: Trends | None = None,
    source: Callable[[Result], str] | None = None,
    *,
    ended: bool = True,
) -> RunPage:
    """The page of ``outcome``. With ``source`` evidence is left out and linked to.

    While the run goes on (not ``ended``) there is no list of cells: its links lead to ``source``.
    """
    wrong = len(outcome.unexpected)
    details = [_detail(number, cell, outcome, source, wrong) for number, cell in enumerate(outcome.cells)]
    found = blocks(outcome)
    counted = Counter(detail.look for detail in details)
    shown = {entry.look for block in found for row in block.rows for entry in row.entries if entry}
    by_key = {detail.cell.key: detail for detail in details}
    started = started_of(outcome)
    present = {cell.iommu_asked for cell in outcome.cells}
    return RunPage(
        run=outcome.run,
        summary=summary(outcome),
        code=int(outcome_code(outcome)) if ended else None,
        grave=grave(outcome),
        started=started,
        seconds=_seconds(outcome, started),
        counted=tuple((look, counted[look]) for look in LOOKS if counted[look]),
        unexpected=tuple(by_key[cell.key] for cell in outcome.unexpected),
        blocks=found,
        legend=tuple(look for look in LOOKS if look in shown),
        groups=_groups(details),
        anchors={key: detail.anchor for key, detail in by_key.items()},
        links={key: f"#{detail.anchor}" if ended else detail.source for key, detail in by_key.items()},
        slowest=_slowest(details),
        machines=_machines(outcome.cells),
        modes=tuple(mode for mode in MODES if mode in present),
        trends=trends,
    )


def _detail(
    number: int, cell: Result, outcome: Outcome, source: Callable[[Result], str] | None, wrong: int
) -> Detail:
    attempts = outcome.attempts.get(cell.key, 0)
    address = source(cell) if source and attempts else ""  # what was never tried has nothing to fetch
    return Detail(
        anchor=f"cell-{number}",
        cell=cell,
        look=look_of(cell.status, cell.verdict),
        attempts=attempts,
        evidence=None if address else view(cell),
        source=address,
        open=not cell.as_expected and wrong <= _OPEN,
    )


def detail_of(cell: Result, attempts: int) -> Detail:
    """One cell alone, with its evidence."""
    return Detail("cell", cell, look_of(cell.status, cell.verdict), attempts, view(cell))


def grave(outcome: Outcome) -> str:
    """Which look the headline has: ``pass``, ``FAIL``, ``ERROR`` or ``MISS``."""
    for status in (Status.FAIL, Status.ERROR, Status.MISS):
        if status in outcome.counts:
            return STATUSES[status].word
    return STATUSES[Status.PASS].word


def started_of(outcome: Outcome) -> datetime | None:
    """When the run began, as far as anything tells."""
    if outcome.run is not None:
        return outcome.run.started
    return min((cell.started for cell in outcome.cells), default=None)


def _seconds(outcome: Outcome, started: datetime | None) -> float:
    if started is None or not outcome.cells:
        return 0.0
    return max((cell.ended - started).total_seconds() for cell in outcome.cells)


def _groups(details: list[Detail]) -> tuple[tuple[str, list[Detail]], ...]:
    """Details by target and mode."""
    groups: dict[str, list[Detail]] = {}
    for detail in details:
        groups.setdefault(f"{detail.cell.target} {detail.cell.iommu_asked}", []).append(detail)
    return tuple(groups.items())


def _slowest(details: list[Detail]) -> tuple[Detail, ...]:
    measured = [detail for detail in details if detail.attempts and detail.cell.duration > 0]
    if len(measured) < 2:
        return ()
    return tuple(sorted(measured, key=lambda detail: -detail.cell.duration)[:SLOWEST])


def _machines(cells: Iterable[Result]) -> tuple[Machine, ...]:
    found: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    for cell in cells:
        if cell.place:
            facts = found.setdefault((cell.target, cell.place), {})
            proof = cell.environment.get("iommu group type", "")
            if cell.iommu_verified:
                mode = f"{cell.iommu_verified} ({proof})" if proof else str(cell.iommu_verified)
                facts.setdefault("IOMMU modes verified", {})[mode] = None
            pairs = [
                ("SoC", cell.soc),
                ("kernel", cell.kernel),
                ("image", cell.image),
                *cell.environment.items(),
            ]
            for name, value in pairs:
                if value and name != "iommu group type":
                    facts.setdefault(name, {})[value] = None
    return tuple(
        Machine(target, place, tuple((name, ", ".join(values)) for name, values in facts.items()))
        for (target, place), facts in found.items()
    )
