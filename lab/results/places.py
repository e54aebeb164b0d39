"""What a run had to do with the places of a lab: the leases that it held, the health that it found.

Lines of a result log beside runs and results. The physical board's name is on all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lab.results.model import OTHER_KINDS, make_plain


class Ended(StrEnum):
    """How a lease came to its end."""

    RELEASED = "released"  # the run gave it back
    LOST = "lost"  # kicked, run out, or taken over: ``reason`` says it


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """A place that a run held from ``since`` to ``until``. ``asked``: when it began to wait for it.

    ``holder``: labgrid's identity ``host/user``. ``cells``: how many attempts were made meanwhile.
    """

    run: str
    place: str
    target: str
    holder: str
    asked: datetime
    since: datetime
    until: datetime
    ended: Ended
    reason: str = ""
    soc: str = ""
    cells: int = 0

    def __post_init__(self) -> None:
        make_plain(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRecord:
    """What a health check, or too many MISS in a row, said of a place. ``health``: healthy, quarantined."""

    run: str
    place: str
    target: str
    started: datetime
    health: str
    reason: str = ""
    soc: str = ""
    duration: float = 0.0

    def __post_init__(self) -> None:
        make_plain(self)


OTHER_KINDS["lease"] = LeaseRecord
OTHER_KINDS["health"] = HealthRecord
