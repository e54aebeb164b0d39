"""Which attempt counts, what is missing, and the exit code that follows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base.errors import ExitCode
from lab.base.words import IommuMode, Status
from lab.results import Outcome, Result, exit_code
from lab.results.exits import outcome_code
from lab.results.outcome import NO_RESULT
from tests.results.sample import bad_run, good_run, plan, result, run


def attempt(number: int, status: Status, test: str = "t") -> Result:
    return result(test=test, attempt=number, status=status, verdict=None, expected=None)


@pytest.mark.parametrize(
    ("tries", "counts"),
    [
        ([Status.PASS], 1),
        ([Status.MISS, Status.PASS], 2),
        ([Status.MISS, Status.MISS], 2),
        ([Status.FAIL, Status.MISS], 1),
        ([Status.FAIL, Status.PASS], 2),
        ([Status.MISS, Status.FAIL, Status.MISS], 2),
    ],
)
def test_the_last_attempt_that_the_lab_let_through_counts(tries: list[Status], counts: int) -> None:
    found = [attempt(number, status) for number, status in enumerate(tries, 1)]
    for order in (found, found[::-1]):
        (cell,) = Outcome.of(order).cells
        assert cell.attempt == counts


def test_a_planned_cell_without_a_result_is_missing_and_keeps_its_place() -> None:
    items = good_run(["virt-smmu"])
    outcome = Outcome.of(items[1:], run(plan(items)))
    assert [cell.test for cell in outcome.cells] == [item.test for item in items]
    lost = outcome.cells[0]
    assert (lost.status, lost.reason, lost.path) == (Status.MISS, NO_RESULT, items[0].path)
    assert outcome.attempts[lost.key] == 0
    assert (lost.run, lost.started) == (outcome.run.id, outcome.run.started)
    (alone,) = Outcome.of([], planned=plan(items[:1])).cells
    assert (alone.run, alone.started) == ("", datetime.fromtimestamp(0, UTC))


def test_the_unexpected_begins_with_what_was_measured() -> None:
    outcome = Outcome.of(bad_run(), run(plan(good_run())))
    assert [cell.status for cell in outcome.unexpected] == [Status.FAIL, Status.ERROR, Status.MISS]
    assert sum(outcome.counts.values()) == len(good_run())
    assert all(outcome.counts.values())
    good_now = result(test="known", status=Status.PASS, expectation=KNOWN)
    outcome = Outcome.of([good_now, *bad_run()], run(plan(good_run())))
    assert [cell.status for cell in outcome.unexpected] == [
        Status.FAIL,
        Status.ERROR,
        Status.MISS,
        Status.PASS,
    ]


CODES = [
    ([], 2, 125),
    ([Status.PASS], 0, 0),
    ([Status.SKIP], 0, 0),
    ([Status.DONE, Status.PASS], 0, 0),
    ([Status.PASS, Status.FAIL], 1, 1),
    ([Status.PASS, Status.ERROR], 1, 125),
    ([Status.PASS, Status.MISS], 3, 125),
    ([Status.FAIL, Status.MISS], 1, 1),
    ([Status.ERROR, Status.MISS], 1, 125),
]


@pytest.mark.parametrize(("statuses", "code", "bisect"), CODES)
def test_exit_codes(statuses: list[Status], code: int, bisect: int) -> None:
    found = [attempt(1, status, str(number)) for number, status in enumerate(statuses)]
    assert exit_code(found) == code
    assert exit_code(found, bisect=True) == bisect
    assert outcome_code(Outcome.of(found)) == code


KNOWN = {"kind": "fail", "state": "corrupt", "reason": "x", "link": "https://x", "where": "all.txt:1"}


@pytest.mark.parametrize(
    ("beside", "code", "bisect"),
    [
        (None, 1, 0),
        (Status.PASS, 1, 0),
        (Status.FAIL, 1, 1),
        (Status.ERROR, 1, 125),
        (Status.MISS, 1, 125),
    ],
)
@pytest.mark.parametrize("status", [Status.PASS, Status.DONE])
def test_a_known_failure_that_passes_is_news_but_no_bad_revision(
    status: Status, beside: Status | None, code: int, bisect: int
) -> None:
    found = [result(test="known", status=status, verdict=None, expected=None, expectation=KNOWN)]
    if beside is not None:
        found.append(attempt(1, beside))
    assert exit_code(found) == code
    assert exit_code(found, bisect=True) == bisect


def test_a_missing_cell_is_the_lab_s_fault() -> None:
    items = good_run(["virt-cma"])
    assert exit_code(items, plan(items)) == ExitCode.OK
    assert exit_code(items[:-1], plan(items)) == ExitCode.LAB
    assert exit_code([], plan(items)) == ExitCode.LAB


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.sampled_from(Status))))
def test_repeated_lines_change_nothing(tries: list[tuple[str, int, Status]]) -> None:
    found = [attempt(number, status, test) for test, number, status in tries]
    once, twice = Outcome.of(found), Outcome.of(found + found)
    assert once == twice
    assert len(once.cells) == len({test for test, _, _ in tries})


def test_modes_and_targets_make_cells_of_their_own() -> None:
    items = [result(target=target, iommu_asked=mode) for target in ("a", "b") for mode in IommuMode]
    assert len(Outcome.of(items).cells) == 8
