"""How often in a row a place gave nothing but MISS: kept on the place, for every machine to see."""

from __future__ import annotations

import contextlib

from lab.base.errors import LabError
from lab.places import Health, Session
from lab.places.model import MISSES

LIMIT = 3
"""Leases in a row under which the lab broke and no test could be judged: the place is quarantined."""


def note(session: Session, place: str, *, missed: bool, reason: str) -> str:
    """A lease of ``place`` has ended: was nothing judged under it? Why it is quarantined now; empty if not.

    A coordinator that is away is no reason to fail: it is counted next time.
    """
    with contextlib.suppress(LabError):
        before = session.place(place).tags.get(MISSES, "")
        count = (int(before) if before.isdigit() else 0) + 1 if missed else 0
        if str(count or "") != before:
            session.set_tags(place, {MISSES: str(count or "")})
        if count >= LIMIT and session.place(place).health is not Health.QUARANTINED:
            why = f"{reason} ({count} MISS in a row)"
            session.set_health(place, Health.QUARANTINED, why)
            return why
    return ""
