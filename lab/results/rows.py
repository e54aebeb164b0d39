"""What the store gives back: runs, whole results, and light rows for lists and comparisons."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

import msgspec

from lab.base.words import IommuMode, Status, Verdict
from lab.results.model import Cell, CellKey, LineError, Result, Run, as_expected, parse_line
from lab.results.records import CellIs, DetailIs, Planned, SetupIs, moment, planned_cells

_MODES = {str(mode): mode for mode in IommuMode}
_STATUSES = {str(status): status for status in Status}
_VERDICTS = {str(verdict): verdict for verdict in Verdict}
_VERDICTS_OR_NONE: dict[str | None, Verdict | None] = dict(_VERDICTS) | {None: None}
_figures = msgspec.json.Decoder(dict[str, float]).decode
_result = msgspec.json.Decoder(Result).decode
_planned = msgspec.json.Decoder(tuple[Cell, ...]).decode


class Narrow(NamedTuple):
    """A row of ``result`` as it is read, with the name of its run."""

    id: int
    run: str
    cell_id: int
    detail_id: int
    setup_id: int
    attempt: int
    started: int
    duration: float
    status: str
    verdict: str | None
    errno: int | None
    iommu_verified: str | None
    reason: str
    metrics: str


class Plan(NamedTuple):
    """What a run set out to measure."""

    run: str
    started: datetime
    cells: list[Planned]

    @classmethod
    def of(cls, run: str, started: int, planned: str) -> Self:
        """From columns of ``run``."""
        return cls(run, moment(started), planned_cells(planned))


class Row:
    """A result without its heavy parts (reasons, evidence, log), which ``Store.result(row.id)`` has.

    Its attributes are called as those of `Result`. Rows of one run of the lab share all but what was
    measured, so many of them are cheap: a comparison makes tens of thousands.
    """

    __slots__ = ("_cell", "_detail", "_narrow", "_setup", "metrics", "started", "status", "verdict")

    def __init__(self, narrow: Narrow, cell: CellIs, detail: DetailIs, setup: SetupIs) -> None:
        self._narrow = narrow
        self._cell = cell
        self._detail = detail
        self._setup = setup
        self.started = moment(narrow.started)
        self.status = _STATUSES[narrow.status]
        self.verdict = _VERDICTS_OR_NONE[narrow.verdict]
        self.metrics: dict[str, float] = _figures(narrow.metrics)

    @property
    def id(self) -> int:
        """Its number in this store."""
        return self._narrow.id

    @property
    def cell_id(self) -> int:
        """The number of its cell: equal for the same test, target and mode in any run."""
        return self._narrow.cell_id

    @property
    def run(self) -> str:
        """Name of the run."""
        return self._narrow.run

    @property
    def test(self) -> str:
        """pytest node id."""
        return self._cell.test

    @property
    def target(self) -> str:
        """Kind of board."""
        return self._cell.target

    @property
    def iommu_asked(self) -> IommuMode:
        """The mode that was asked for."""
        return _MODES[self._cell.iommu]

    @property
    def iommu_verified(self) -> IommuMode | None:
        """The mode read on the board."""
        mode = self._narrow.iommu_verified
        return None if mode is None else _MODES[mode]

    @property
    def key(self) -> CellKey:
        """The cell this is an attempt at."""
        return CellKey(self.target, self.iommu_asked, self.test)

    @property
    def attempt(self) -> int:
        """Which attempt, from 1."""
        return self._narrow.attempt

    @property
    def ended(self) -> datetime:
        """When it ended, UTC."""
        return self.started + timedelta(seconds=self.duration)

    @property
    def duration(self) -> float:
        """Seconds."""
        return self._narrow.duration

    @property
    def errno(self) -> int | None:
        """The error that the board's kernel answered."""
        return self._narrow.errno

    @property
    def reason(self) -> str:
        """The one line that matters."""
        return self._narrow.reason

    @property
    def soc(self) -> str:
        """The SoC."""
        return self._detail.soc

    @property
    def suite(self) -> str:
        """Suite, or the tool that a conformance result came from."""
        return self._detail.suite

    @property
    def allocator(self) -> str:
        """Name of the sharing path's allocator."""
        return self._detail.allocator

    @property
    def importer(self) -> str:
        """Who imported the buffer."""
        return self._detail.importer

    @property
    def path(self) -> str:
        """Title of the sharing path."""
        return self._detail.path

    @property
    def decoder(self) -> str:
        """The decoder."""
        return self._detail.decoder

    @property
    def expected(self) -> Verdict | None:
        """Verdict of the constraint model."""
        return None if self._detail.expected is None else _VERDICTS[self._detail.expected]

    @property
    def expected_errno(self) -> int | None:
        """The errno that the model expects."""
        return self._detail.expected_errno

    @property
    def expected_reason(self) -> str:
        """Why the model expects it."""
        return self._detail.expected_reason

    @property
    def repeat(self) -> str:
        """The command that does it again."""
        return self._detail.repeat

    @property
    def expectation(self) -> dict[str, str]:
        """What the expectation files said of it."""
        found: dict[str, str] = json.loads(self._detail.expectation)
        return found

    @property
    def place(self) -> str:
        """The board."""
        return self._setup.place

    @property
    def image(self) -> str:
        """Digest of the image."""
        return self._setup.image

    @property
    def kernel(self) -> str:
        """Kernel release."""
        return self._setup.kernel

    @property
    def vmm(self) -> str:
        """VMM and version; empty where none ran or it is not known."""
        return self._setup.vmm

    @property
    def environment(self) -> dict[str, str]:
        """The rest of what ran."""
        found: dict[str, str] = json.loads(self._setup.environment)
        return found

    @property
    def judged(self) -> bool:
        """Whether it says anything about the board."""
        return self.status is not Status.MISS

    @property
    def as_expected(self) -> bool:
        """Whether nobody needs to look at it."""
        return as_expected(self)


def run_of(row: Any) -> Run:
    """A run from its row."""
    return Run(
        id=row.name,
        started=moment(row.started),
        command=row.command,
        planned=_planned(row.planned),
        environment=json.loads(row.environment),
    )


def result_of(line: bytes) -> Result:
    """A whole result from its line, which was checked when it was taken in. Raises LineError."""
    with suppress(msgspec.MsgspecError, RecursionError):
        return _result(line)
    record = parse_line(line)  # what msgspec makes nothing of
    if not isinstance(record, Result):
        raise LineError("no result")
    return record


def light_result(row: Row) -> Result:
    """A row as a `Result` without its heavy parts."""
    return Result(**{name: getattr(row, name) for name in _LIGHT})


_LIGHT = (
    "run",
    "test",
    "target",
    "iommu_asked",
    "status",
    "started",
    "attempt",
    "place",
    "soc",
    "suite",
    "allocator",
    "importer",
    "path",
    "decoder",
    "iommu_verified",
    "verdict",
    "expected",
    "expected_errno",
    "expected_reason",
    "errno",
    "reason",
    "duration",
    "metrics",
    "repeat",
    "image",
    "kernel",
    "vmm",
    "expectation",
)
