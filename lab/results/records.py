"""From a line of a result log to the rows that the store keeps of it, quickly.

A line of our own making is checked and taken apart by msgspec alone, its evidence unread, and kept as it
is. Any other line (another version's, another tool's, a broken one) takes the way through ``Result``,
which cleans what databases do not take or says what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from lab.base.words import IommuMode, Status, Verdict
from lab.results.model import Cell, LineError, Result, Run, parse_line
from lab.results.places import HealthRecord, LeaseRecord
from lab.results.tables import DIGEST

MAX_NAME = 500
"""Characters of a run's name: it is indexed as it is."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT32 = 1 << 31
_NOTHING = msgspec.Raw(b"{}")
_OURS = b'{"schema":1,"kind":"result",'
_OUR_RUN = b'{"schema":1,"kind":"run",'
# What ``Result`` would change, characters that no database takes: NUL and half surrogate pairs.
_UNCLEAN = (b"\\u0000", b"\\ud", b"\\uD")


class _Line(msgspec.Struct):
    """The fields of a result. ``Raw``: looked at by whoever needs it, or kept as it stands."""

    run: str
    test: str
    target: str
    iommu_asked: IommuMode
    status: Status
    started: datetime
    attempt: int = 1
    place: str = ""
    soc: str = ""
    suite: str = ""
    allocator: str = ""
    importer: str = ""
    path: str = ""
    decoder: str = ""
    iommu_verified: IommuMode | None = None
    verdict: Verdict | None = None
    expected: Verdict | None = None
    expected_errno: int | None = None
    expected_reason: str = ""
    errno: int | None = None
    reason: str = ""
    reasons: list[str] = []
    duration: float = 0.0
    evidence: msgspec.Raw = _NOTHING
    metrics: msgspec.Raw = _NOTHING
    log: str = ""
    repeat: str = ""
    image: str = ""
    kernel: str = ""
    vmm: str = ""
    environment: msgspec.Raw = _NOTHING
    expectation: msgspec.Raw = _NOTHING


class _RunLine(msgspec.Struct):
    id: str
    started: datetime
    command: str = ""
    planned: msgspec.Raw = msgspec.Raw(b"[]")
    environment: msgspec.Raw = _NOTHING


class Planned(msgspec.Struct):
    """A cell of a plan, as `Cell` has it, but unchecked and a good deal sooner made."""

    test: str
    target: str
    iommu: IommuMode
    suite: str = ""
    soc: str = ""
    allocator: str = ""
    importer: str = ""
    path: str = ""
    decoder: str = ""

    @property
    def cell(self) -> Cell:
        """The cell itself."""
        return Cell(**{name: getattr(self, name) for name in self.__struct_fields__})


_decode_run = msgspec.json.Decoder(_RunLine).decode
planned_cells = msgspec.json.Decoder(list[Planned]).decode
_decode = msgspec.json.Decoder(_Line).decode
_decode_figures = msgspec.json.Decoder(dict[str, float]).decode
_decode_words = msgspec.json.Decoder(dict[str, str]).decode


class CellIs(NamedTuple):
    """What tells a cell from others; the columns of ``cell`` after its digest."""

    target: str
    iommu: str
    test: str


class DetailIs(NamedTuple):
    """A row of ``detail``, its columns after ``cell_id``."""

    soc: str
    suite: str
    allocator: str
    importer: str
    path: str
    decoder: str
    expected: str | None
    expected_errno: int | None
    expected_reason: str
    repeat: str
    expectation: str


class SetupIs(NamedTuple):
    """A row of ``setup``, its columns after the digest."""

    place: str
    image: str
    kernel: str
    vmm: str
    environment: str


class Measured(NamedTuple):
    """What a row of ``result`` has of its own, its columns from ``attempt`` on."""

    attempt: int
    started: int
    duration: float
    status: str
    verdict: str | None
    errno: int | None
    iommu_verified: str | None
    reason: str
    metrics: str


@dataclass(slots=True)
class Record:
    """A result, taken apart."""

    run: str
    cell: CellIs
    detail: DetailIs
    setup: SetupIs
    measured: Measured
    line: bytes


@dataclass(slots=True)
class RunRecord:
    """A run's line, taken apart; ``planned`` and ``environment`` are JSON."""

    name: str
    started: int
    command: str
    planned: str
    environment: str
    line: bytes

    @property
    def run(self) -> Run:
        """The run itself."""
        found = parse_line(self.line)
        assert isinstance(found, Run)
        return found


def digest(values: Hashable) -> str:
    """The digest of a row's values, the same on every machine."""
    text = json.dumps(values, separators=(",", ":"))
    return blake2b(text.encode("ascii"), digest_size=DIGEST // 2).hexdigest()


def microseconds(time: datetime) -> int:
    """A point in time as the tables have it."""
    return (time - _EPOCH) // _MICROSECOND


def moment(stamp: int) -> datetime:
    """The other way round."""
    return _EPOCH + stamp * _MICROSECOND


def parse(line: bytes) -> Record | RunRecord | LeaseRecord | HealthRecord | None:
    """The record in ``line``, None for a kind that is not known. Raises LineError."""
    if line.startswith((_OURS, _OUR_RUN)) and _clean(line):
        try:
            return _take_apart(line) if line.startswith(_OURS) else _run_record(line)
        except (msgspec.MsgspecError, RecursionError, _NotPlainError):
            pass  # `Result` and `Run` say what is wrong, in the words of every other line
    record: Run | Result | LeaseRecord | HealthRecord | None = parse_line(line)
    if isinstance(record, Result):
        return record_of(record)
    return run_record_of(record) if isinstance(record, Run) else record


def _clean(line: bytes) -> bool:
    return b"\\u" not in line or not any(sign in line for sign in _UNCLEAN)


def record_of(result: Result) -> Record:
    """A result that was not read from a line. Raises LineError."""
    if len(result.run) > MAX_NAME:
        raise LineError(f"run: longer than {MAX_NAME} characters")
    return _take_apart(result.to_json().encode("ascii"))


def run_record_of(run: Run) -> RunRecord:
    """A run that was not read from a line. Raises LineError."""
    if len(run.id) > MAX_NAME:
        raise LineError(f"id: longer than {MAX_NAME} characters")
    return _run_record(run.to_json().encode("ascii"))


class _NotPlainError(ValueError):
    """Well-formed, and yet no result of ours."""


def _run_record(line: bytes) -> RunRecord:
    read = _decode_run(line)
    if read.started.tzinfo is None or len(read.id) > MAX_NAME:
        raise _NotPlainError
    planned_cells(read.planned)
    planned, environment = bytes(read.planned).decode(), _words(bytes(read.environment))
    return RunRecord(read.id, microseconds(read.started), read.command, planned, environment, line)


def _take_apart(line: bytes) -> Record:
    read = _decode(line)
    plain = (
        read.started.tzinfo is not None
        and len(read.run) <= MAX_NAME
        and 1 <= read.attempt < _INT32
        and 0 <= read.duration < _INT32
        and (read.errno is None or -_INT32 < read.errno < _INT32)
        and (read.expected_errno is None or -_INT32 < read.expected_errno < _INT32)
        and bytes(memoryview(read.evidence)[:1]) == b"{"
    )
    if not plain:
        raise _NotPlainError
    _decode_figures(read.metrics)
    return Record(
        read.run,
        CellIs(read.target, read.iommu_asked._value_, read.test),
        DetailIs(
            read.soc,
            read.suite,
            read.allocator,
            read.importer,
            read.path,
            read.decoder,
            None if read.expected is None else read.expected._value_,
            read.expected_errno,
            read.expected_reason,
            read.repeat,
            _words(bytes(read.expectation)),
        ),
        SetupIs(read.place, read.image, read.kernel, read.vmm, _words(bytes(read.environment))),
        Measured(
            read.attempt,
            microseconds(read.started),
            read.duration,
            read.status._value_,
            None if read.verdict is None else read.verdict._value_,
            read.errno,
            None if read.iommu_verified is None else read.iommu_verified._value_,
            read.reason,
            bytes(read.metrics).decode(),
        ),
        line.strip(),
    )


@lru_cache(maxsize=4096)  # the same ones come over and over
def _words(raw: bytes) -> str:
    _decode_words(raw)
    return raw.decode()
