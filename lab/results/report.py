"""The HTML report of a run: one file that works offline, without script, on a screen and on paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from lab.base.words import Status
from lab.results.evidence import EvidenceView, view
from lab.results.exits import outcome_code
from lab.results.look import STATUSES, VERDICTS, Look, errno_name, look_of
from lab.results.matrix import ACROSS, Entry, blocks, headline, label_of, summary
from lab.results.model import CellKey, Result
from lab.results.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Detail:
    """One cell with everything there is to say about it. ``anchor`` is its place in the page."""

    anchor: str
    cell: Result
    look: Look
    attempts: int
    evidence: EvidenceView


@dataclass(frozen=True, slots=True)
class Machine:
    """What ran on one board: ``facts`` are name and value, with all values that it had in the run."""

    target: str
    place: str
    facts: tuple[tuple[str, str], ...]


def report(outcome: Outcome) -> str:
    """The page. Whatever the results hold, it is shown as text and nothing else."""
    environment = Environment(
        loader=PackageLoader("lab.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"errno": errno_name, "clock": _clock, "headline": headline, "label": label_of}
    details = [_detail(number, cell, outcome) for number, cell in enumerate(outcome.cells)]
    anchors = {detail.cell.key: detail.anchor for detail in details}
    found = blocks(outcome)
    shown = {entry.look for block in found for row in block.rows for entry in _of(row.entries)}
    return environment.get_template("report.html.j2").render(
        run=outcome.run,
        summary=summary(outcome),
        code=int(outcome_code(outcome)),
        grave=_grave(outcome),
        started=_started(outcome),
        seconds=_seconds(outcome),
        unexpected=[detail for detail in _ordered(outcome, details) if not detail.cell.as_expected],
        blocks=found,
        across=ACROSS,
        legend=[look for look in (*VERDICTS.values(), *STATUSES.values()) if look in shown],
        details=details,
        groups=_groups(details),
        anchors=anchors,
        machines=_machines(outcome.cells),
        looks=[*VERDICTS.values(), *STATUSES.values()],
    )


def _detail(number: int, cell: Result, outcome: Outcome) -> Detail:
    look = look_of(cell.status, cell.verdict)
    return Detail(f"cell-{number}", cell, look, outcome.attempts.get(cell.key, 0), view(cell))


def _of(entries: Iterable[Entry | None]) -> list[Entry]:
    return [entry for entry in entries if entry is not None]


def _ordered(outcome: Outcome, details: list[Detail]) -> list[Detail]:
    rank: dict[CellKey, int] = {cell.key: number for number, cell in enumerate(outcome.unexpected)}
    return sorted(details, key=lambda detail: rank.get(detail.cell.key, len(rank)))


def _groups(details: list[Detail]) -> list[tuple[str, list[Detail]]]:
    """Details by target and mode."""
    groups: dict[str, list[Detail]] = {}
    for detail in details:
        groups.setdefault(f"{detail.cell.target} {detail.cell.iommu_asked}", []).append(detail)
    return list(groups.items())


def _machines(cells: Iterable[Result]) -> list[Machine]:
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
    return [
        Machine(target, place, tuple((name, ", ".join(values)) for name, values in facts.items()))
        for (target, place), facts in found.items()
    ]


def _grave(outcome: Outcome) -> str:
    """Which colour the summary has: ``pass``, ``FAIL``, ``ERROR`` or ``MISS``."""
    for status in (Status.FAIL, Status.ERROR, Status.MISS):
        if status in outcome.counts:
            return STATUSES[status].word
    return STATUSES[Status.PASS].word


def _started(outcome: Outcome) -> datetime | None:
    if outcome.run is not None:
        return outcome.run.started
    return min((cell.started for cell in outcome.cells), default=None)


def _seconds(outcome: Outcome) -> float:
    started = _started(outcome)
    if started is None:
        return 0.0
    return max((cell.ended - started).total_seconds() for cell in outcome.cells) if outcome.cells else 0.0


def _clock(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC")
