"""What a reader of another tool's file gives, and what its file cannot say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lab.base.words import IommuMode, Status

MAX_LOG = 64_000
"""Characters that are kept of a case's output: its end."""

MAX_CASES = 500_000
"""Cases in a file; one with more is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test as another tool reports it. ``properties``: what our own JUnit says of a cell."""

    name: str
    status: Status
    reason: str = ""
    log: str = ""
    seconds: float = 0.0
    started: datetime | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the results are from, as far as the file does not say it. ``tool`` becomes the suite."""

    tool: str
    target: str
    soc: str = ""
    place: str = ""
    kernel: str = ""
    iommu: IommuMode = IommuMode.TRANSLATED
    run: str = ""
