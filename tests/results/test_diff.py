"""What changed from one run to another."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base.words import IommuMode, Status, Verdict
from lab.results import Outcome, Result
from lab.results.diff import Change, diff
from tests.results.sample import bad_run, good_run, result
from tests.results.strategies import results

MODE = IommuMode.OFF
GOOD = result("virt-cma", MODE, "vgem")
BAD = replace(GOOD, status=Status.FAIL, verdict=Verdict.COPIED)


def change(before: Result | None, after: Result | None, *, flaky: bool = False) -> Change:
    other = result("virt-cma", MODE, "decoder-mmap")  # both runs touch the target
    sides = [Outcome.of([*([cell] if cell else []), other]) for cell in (before, after)]
    found = diff(*sides, [GOOD.key] if flaky else [])
    return next(item.change for item in found if item.cell.key == GOOD.key)


def test_every_way_a_cell_can_go() -> None:
    lost = replace(GOOD, status=Status.MISS, verdict=None)
    changed = replace(GOOD, verdict=Verdict.ZERO_COPY, expected=Verdict.ZERO_COPY)
    assert change(GOOD, GOOD) is Change.SAME
    assert change(GOOD, BAD) is Change.NEW
    assert change(None, BAD) is Change.NEW
    assert change(None, GOOD) is Change.ADDED
    assert change(BAD, BAD) is Change.STILL
    assert change(BAD, GOOD) is Change.FIXED
    assert change(GOOD, changed) is Change.CHANGED
    assert change(GOOD, None) is Change.MISSING
    assert change(GOOD, lost) is Change.MISSING
    assert change(lost, GOOD) is Change.ADDED
    assert change(GOOD, BAD, flaky=True) is Change.FLAKY
    assert change(BAD, BAD, flaky=True) is Change.STILL


def test_a_target_that_the_later_run_did_not_touch_is_not_missing() -> None:
    found = diff(Outcome.of(good_run()), Outcome.of(good_run(["virt-cma"])))
    assert {item.change for item in found} == {Change.SAME}


def test_the_bad_run_against_the_good_one() -> None:
    counts = Counter(item.change for item in diff(Outcome.of(good_run()), Outcome.of(bad_run())))
    assert (counts[Change.NEW], counts[Change.MISSING], counts[Change.CHANGED]) == (2, 1, 1)
    back = Counter(item.change for item in diff(Outcome.of(bad_run()), Outcome.of(good_run())))
    assert (back[Change.FIXED], back[Change.ADDED], back[Change.CHANGED]) == (2, 1, 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(results(run="r"), max_size=4), st.lists(results(run="r"), max_size=4))
def test_no_cell_is_told_twice_and_none_changes_against_itself(a: list[Result], b: list[Result]) -> None:
    one, other = Outcome.of(a), Outcome.of(b)
    keys = [item.cell.key for item in diff(one, other)]
    assert len(keys) == len(set(keys))
    quiet = {Change.SAME, Change.STILL, Change.MISSING}
    assert {item.change for item in diff(one, one)} <= quiet
