"""From what pytest and a test say about one attempt at a cell to one ``Result``."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab.base.errors import BoardError, LabError
from lab.base.words import IommuMode, Status, Verdict


@dataclass
class Attempt:
    """What is known so far about one attempt at a cell; hooks and fixtures fill it in."""

    number: int = 1
    before: int = 0  # attempts of the same cell on other boards of this run
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    begun: float = field(default_factory=time.monotonic)
    iommu_verified: IommuMode | None = None
    kernel: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    importer: str = ""
    verdict: Verdict | None = None
    expected: Verdict | None = None
    expected_errno: int | None = None
    expected_reason: str = ""
    errno: int | None = None
    reasons: tuple[str, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    log: str = ""
    failure: tuple[Status, str] | None = None
    detail: str = ""  # what an error says beyond its one line: console, rack's log, remote traceback

    @property
    def duration(self) -> float:
        """Seconds since it began, whatever the machine's clock was set to meanwhile."""
        return time.monotonic() - self.begun

    @property
    def status(self) -> Status:
        """PASS unless something was noted."""
        return self.failure[0] if self.failure else Status.PASS

    @property
    def reason(self) -> str:
        """The one line that matters."""
        if self.failure:
            return self.failure[1]
        return self.reasons[0] if self.reasons else ""


ATTEMPT = pytest.StashKey[Attempt]()

RETRIES = 1
"""How often a cell is tried again, on a freshly booted board. Only after the lab broke under it."""

_RANK = {Status.MISS: 3, Status.ERROR: 2, Status.FAIL: 1, Status.SKIP: 0}


def params(item: pytest.Item) -> dict[str, Any]:
    """What ``item`` is parametrized with; empty for a plain test."""
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def status_of_exception(error: BaseException, phase: str) -> Status:
    """The status that an exception in ``phase`` (setup, call, teardown) of a test means.

    A fault of the lab is MISS wherever it shows, also as the cause of another exception; a failed
    assertion, or a refusal of the board that the test did not expect, is FAIL; anything else means
    that the test itself broke.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LabError):
            return Status.MISS
        cause = cause.__cause__
    if isinstance(error, pytest.skip.Exception):
        return Status.SKIP
    if phase == "call" and isinstance(error, (AssertionError, BoardError, pytest.fail.Exception)):
        return Status.FAIL
    return Status.ERROR


def note_phase(attempt: Attempt, call: pytest.CallInfo[None]) -> None:
    """Take the outcome of one phase into ``attempt``; the gravest one stays."""
    if call.excinfo is None:
        return
    status = status_of_exception(call.excinfo.value, call.when)
    if attempt.failure is None or _RANK[status] > _RANK[attempt.failure[0]]:
        attempt.failure = (status, _one_line(call.excinfo))
        attempt.detail = getattr(call.excinfo.value, "detail", "")


def _one_line(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(excinfo.value).strip() or excinfo.typename
    if not isinstance(excinfo.value, (AssertionError, LabError, BoardError, pytest.skip.Exception)):
        entry = excinfo.traceback[-1]
        text = f"{excinfo.typename}: {text} ({Path(entry.path).name}:{entry.lineno + 1})"
    return text.split("\nassert ")[0].removeprefix("assert ").strip()
