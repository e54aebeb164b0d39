"""The result of one attempt at one cell, the run it belongs to, and their form as a JSON line.

A ``Result`` holds only what JSON can hold: whatever is put in is made plain when the object is
made, so that writing it and reading it back gives an equal object. Times are UTC.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeVar

from lab.base.words import IommuMode, Status, Verdict

SCHEMA = 1
"""Version of the JSON lines. A reader takes its own version and older ones; new fields with a
default do not change it."""

T = TypeVar("T")

_INT32 = 1 << 31  # what every database takes as an integer


class LineError(ValueError):
    """A line is no record that this version can read. The message says why, in a few words."""


class CellKey(NamedTuple):
    """What makes a cell of a run unique. Everything else about a cell describes it."""

    target: str
    iommu: IommuMode
    test: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell that a run plans: one test on one target in one IOMMU mode.

    ``test`` is the pytest node id. ``path`` is the title of the sharing path and makes the row
    of the matrix; a test that shares nothing leaves ``path`` and ``allocator`` empty.
    """

    test: str
    target: str
    iommu: IommuMode
    suite: str = ""
    soc: str = ""
    allocator: str = ""
    importer: str = ""
    path: str = ""
    decoder: str = ""

    def __post_init__(self) -> None:
        make_plain(self)

    @property
    def key(self) -> CellKey:
        """What the cell's results are found by."""
        return CellKey(self.target, self.iommu, self.test)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run: what was asked for. It is the first line of a result log.

    ``planned``: all cells that the run set out to measure; one without a result is missing. What
    is planned later (each target's pytest process collects its own tests) comes as further lines
    of the same run, which ``joined`` puts together.
    ``environment``: what holds for the whole run (host, versions, command line settings).
    """

    id: str
    started: datetime
    command: str = ""
    planned: tuple[Cell, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        make_plain(self)

    def joined(self, other: Run) -> Run:
        """This run with what ``other``, the same run, adds to it. Joining again changes nothing."""
        planned = {cell.key: cell for cell in (*other.planned, *self.planned)}
        order = dict.fromkeys(cell.key for cell in (*self.planned, *other.planned))
        return Run(
            id=self.id,
            started=min(self.started, other.started),
            command=self.command or other.command,
            planned=tuple(planned[key] for key in order),
            environment={**other.environment, **self.environment},
        )

    def to_json(self) -> str:
        """One line without its newline."""
        return to_line("run", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One attempt at one cell, measured and judged. Durations in seconds.

    ``test``       pytest node id
    ``place``      the board that it ran on; ``soc`` and ``target`` say what kind that is
    ``path``       title of the sharing path (the matrix's row); ``decoder`` its decoder
    ``iommu_verified``  the mode read on the board after boot; None: never got that far
    ``expected``   verdict of the constraint model, with its errno and reason; None: not judged by verdict
    ``reason``     the one line that matters; ``reasons`` all that the verdict rests on
    ``evidence``   what was recorded around the share (docs/results.md lists the keys)
    ``metrics``    figures in base units, the unit at the end of the name: ``decode_seconds``
    ``log``        the board's console during the attempt
    ``repeat``     the command that does this attempt again
    ``image``, ``kernel``, ``vmm``, ``environment``  what ran: digest of the image's manifest, kernel
        release, the VMM with its version, the rest
    ``expectation``  what the expectation files say of the cell (`lab.results.expectations`): ``kind``,
        ``state``, ``reason``, ``link``, ``where``; empty: nothing
    """

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
    reasons: tuple[str, ...] = ()
    duration: float = 0.0
    evidence: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    log: str = ""
    repeat: str = ""
    image: str = ""
    kernel: str = ""
    vmm: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    expectation: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        make_plain(self)
        if not 1 <= self.attempt < _INT32:
            raise ValueError(f"attempt {self.attempt}: attempts count from 1")
        if any(number is not None and abs(number) >= _INT32 for number in (self.errno, self.expected_errno)):
            raise ValueError("errno: out of range")
        if not 0 <= self.duration < _INT32:
            raise ValueError(f"duration {self.duration}: out of range")

    @property
    def key(self) -> CellKey:
        """The cell this is an attempt at."""
        return CellKey(self.target, self.iommu_asked, self.test)

    @property
    def ended(self) -> datetime:
        """When the attempt ended."""
        return self.started + timedelta(seconds=self.duration)

    @property
    def judged(self) -> bool:
        """Whether the attempt says anything about the board: the lab did not break under it."""
        return self.status is not Status.MISS

    @property
    def as_expected(self) -> bool:
        """Whether nobody needs to look at it."""
        return as_expected(self)

    def to_json(self) -> str:
        """One line without its newline."""
        return to_line("result", self)


class Judged(Protocol):
    """What `as_expected` looks at."""

    @property
    def status(self) -> Status:
        """Its status."""

    @property
    def verdict(self) -> Verdict | None:
        """What was measured."""

    @property
    def expectation(self) -> dict[str, str]:
        """What the expectation files say."""


def as_expected(result: Judged) -> bool:
    """Whether nobody needs to look at it: it passed, or failed in just the way that is known of it.

    A known failure that passes, or fails in another way, is news; a known flake is none, however it ends.
    """
    known = result.expectation
    good = result.status in (Status.PASS, Status.SKIP, Status.DONE)
    if not known or result.status is Status.MISS:
        return good
    if known.get("kind") == "fail":
        return result.status is Status.SKIP or known.get("state") == state_of(result)
    return good or (known.get("kind") == "flake" and result.status is Status.FAIL)


def state_of(result: Judged) -> str:
    """How it ended, in one word: ``pass``, ``error``, ...; of a failure the verdict where it has one."""
    if result.status is Status.FAIL and result.verdict is not None:
        return str(result.verdict)
    return str(result.status).lower()


OTHER_KINDS: dict[str, type] = {}
"""Kinds of record that other modules add (`lab.results.places`)."""


def parse_line(line: bytes | str) -> Any:
    """The record in ``line``; None for a kind of record that a newer version added.

    That is a Run, a Result or one of OTHER_KINDS.

    Raises LineError.
    """
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LineError(f"no JSON ({error})") from None
    if not isinstance(data, dict):
        raise LineError("no JSON object")
    schema, kind = data.pop("schema", None), data.pop("kind", None)
    if not isinstance(schema, int) or schema < 1:
        raise LineError("no schema version")
    if schema > SCHEMA:
        raise LineError(f"schema {schema} is newer than this sharelab, which reads up to {SCHEMA}")
    known = {"run": Run, "result": Result, **OTHER_KINDS}.get(str(kind))
    return _load(known, data) if known is not None else None


def as_dict(record: Any) -> dict[str, Any]:
    """Fields and values as JSON has them. Unlike ``dataclasses.asdict`` it copies no evidence."""
    return {item.name: _json_value(getattr(record, item.name)) for item in fields(record)}


def from_dict(kind: type[T], data: Mapping[str, Any]) -> T:
    """A record from what ``as_dict`` gave; unknown keys are dropped. Raises LineError."""
    return _load(kind, dict(data))


def iso(time: datetime) -> str:
    """``2026-11-22T21:04:33.120000Z``: sorts as text."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_line(kind: str, record: Any) -> str:
    """The JSON line of a record, without its newline."""
    data = {"schema": SCHEMA, "kind": kind, **as_dict(record)}
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


_VALIDATORS: dict[Any, Callable[[Any], Any]] = {}


def _validator(kind: Any) -> Callable[[Any], Any]:
    from pydantic import TypeAdapter

    return _VALIDATORS.get(kind) or _VALIDATORS.setdefault(kind, TypeAdapter(kind).validate_python)


def _load(kind: type[T], data: dict[str, Any]) -> T:
    from pydantic import ValidationError  # late: a tenth of a second, which who only compares does not need

    try:
        record: T = _validator(kind)(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LineError(f"{where}: {first['msg']}" if where else first["msg"]) from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise LineError(str(error)) from None
    return record


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, tuple):
        return [as_dict(item) if isinstance(item, Cell) else item for item in value]
    return value


def make_plain(record: Any) -> None:
    """Make the fields of a frozen record what JSON can hold; for ``__post_init__``."""
    for item in fields(record):
        value = getattr(record, item.name)
        if value is None or isinstance(value, Enum):
            continue
        if type(value) is str and value.isascii() and "\0" not in value:
            continue  # nearly every field of nearly every record
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise ValueError(f"{item.name}: a time without a zone")
            plain: Any = value.astimezone(UTC)
        elif isinstance(value, tuple):
            plain = tuple(part if isinstance(part, Cell) else _plain(part) for part in value)
        elif item.name == "duration":
            plain = float(value)
        elif item.name == "metrics":
            plain = {
                _text(str(name)): float(number) for name, number in value.items() if math.isfinite(number)
            }
        else:
            plain = _plain(value)
        if plain is not value:
            object.__setattr__(record, item.name, plain)


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it: bytes in base64, tuples and sets as lists, no infinities."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(part) for part in value), key=repr)
    return _text(str(value))


def _text(value: str) -> str:
    """``value`` without what no database and no UTF-8 file takes: NUL and half surrogate pairs."""
    if value.isascii():
        return value.replace("\0", "\N{SYMBOL FOR NULL}") if "\0" in value else str(value)
    cleaned = value.replace("\0", "\N{SYMBOL FOR NULL}")
    return cleaned.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
