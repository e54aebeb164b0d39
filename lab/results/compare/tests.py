"""Rows of tests that share nothing: what differs between the columns, test by test."""

from __future__ import annotations

from collections.abc import Sequence

from lab.results.compare.explain import explain
from lab.results.compare.model import Entry, Reason
from lab.results.look import Standing

NAMED = 3
"""This many tests that differ for the same reasons are named; of more, the number."""


def explain_tests(entries: Sequence[Entry | None]) -> tuple[Standing, tuple[Reason, ...]]:
    """How the row stands, and the reasons of every test that differs, those alike together.

    A test that only some columns have is none of the others' business.
    """
    names = dict.fromkeys(name for entry in entries if entry for name in entry.tests)
    told: dict[tuple[Reason, ...], list[str]] = {}
    standings = {Standing.SAME}
    for name in names:
        alone = [
            Entry({name: entry.tests[name]}) if entry and name in entry.tests else None for entry in entries
        ]
        standing, reasons = explain(alone)
        standings.add(standing)
        if reasons:
            told.setdefault(reasons, []).append(name)
    whole = len(told) == 1 and len(next(iter(told.values()))) == len(names)
    found = [
        Reason(reason.columns, reason.text if whole else f"{reason.text} [{_listed(tests)}]", reason.standing)
        for reasons, tests in told.items()
        for reason in reasons
    ]
    order = list(Standing)
    found.sort(key=lambda reason: order.index(reason.standing))
    return min(standings, key=order.index), tuple(found)


def _listed(tests: Sequence[str]) -> str:
    short = [test.rpartition("::")[2] for test in tests]
    if len(short) <= NAMED:
        return ", ".join(short)
    return f"{', '.join(short[: NAMED - 1])} and {len(short) - NAMED + 1} more"
