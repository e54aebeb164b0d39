"""What samples can tell, held against scipy's own tests."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lab.results.compare.statistics import ALPHA, Change, change, change_of, decide, mean_of, summary

positive = st.floats(1e-6, 1e6)
samples = st.lists(positive, min_size=2, max_size=12)
counts = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=6)


def varied(values: list[float]) -> bool:
    """Whether they differ by more than rounding does."""
    return max(values) / min(values) > 1 + 1e-6


@given(samples.filter(varied), samples.filter(varied))
def test_welch_is_that_of_scipy(before: list[float], after: list[float]) -> None:
    found = change(before, after, logarithmic=True)
    logs = [[math.log(value) for value in side] for side in (before, after)]
    wanted = stats.ttest_ind(logs[1], logs[0], equal_var=False)
    low, high = wanted.confidence_interval(0.95)
    assert found is not None
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-6, abs=1e-12)
    assert found.low is not None
    assert found.high is not None
    if max(abs(low), abs(high)) < 600:  # beyond, no float holds the ratio
        assert math.log(found.low) == pytest.approx(low, rel=1e-6, abs=1e-6)
        assert math.log(found.high) == pytest.approx(high, rel=1e-6, abs=1e-6)


@given(samples.filter(varied))
def test_the_interval_of_a_mean_is_that_of_scipy(values: list[float]) -> None:
    found = summary(values, logarithmic=True)
    logs = [math.log(value) for value in values]
    low, high = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert math.log(found.mean) == pytest.approx(math.fsum(logs) / len(logs), abs=1e-9)
    if max(abs(low), abs(high)) < 600:
        assert math.log(found.low) == pytest.approx(low, rel=1e-6, abs=1e-6)
        assert math.log(found.high) == pytest.approx(high, rel=1e-6, abs=1e-6)


def alike(found: Change, other: Change) -> bool:
    def near(a: float | None, b: float | None) -> bool:
        return a is b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12))

    pairs = [(found.size, other.size), (found.low, other.low), (found.high, other.high), (found.p, other.p)]
    return all(near(a, b) for a, b in pairs) and found.samples == other.samples


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=6),
    st.lists(st.floats(0.01, 100), min_size=1, max_size=6),
)
def test_a_change_is_antisymmetric(before: list[float], after: list[float]) -> None:
    there, back = change(before, after, logarithmic=True), change(after, before, logarithmic=True)
    assert there is not None
    assert back is not None
    assert alike(there.inverse, back) or max(there.high or 0, back.high or 0) > 1e300


@given(counts, counts)
def test_so_is_a_change_of_counts(before: list[float], after: list[float]) -> None:
    there, back = change(before, after, logarithmic=False), change(after, before, logarithmic=False)
    assert there is not None
    assert back is not None
    assert alike(there.inverse, back)


@given(counts)
def test_nothing_is_shown_where_nothing_changed(values: list[float]) -> None:
    found = change(values, values, logarithmic=False)
    assert found is not None
    assert not decide([found])[0].shown


def test_one_sample_cannot_tell() -> None:
    found = change([2.0], [9.0, 9.1], logarithmic=True)
    assert found is not None
    assert found.p is None
    assert not decide([found])[0].shown
    assert change([], [1.0], logarithmic=True) is None


def test_counters_that_always_say_the_same_need_no_scatter() -> None:
    found = change([0, 0, 0], [2, 2], logarithmic=False)
    assert found is not None
    (shown,) = decide([found])
    assert (shown.shown, shown.size, shown.low, shown.high) == (True, 2, 2, 2)


def test_of_many_comparisons_few_are_shown_by_luck() -> None:
    """Benjamini-Hochberg, as scipy has it."""
    chances = [0.001, 0.008, 0.012, 0.041, 0.06, 0.2, 0.7]
    changes = [Change(2.0, 1.5, 2.5, p, (5, 5), True) for p in chances]
    adjusted = stats.false_discovery_control(chances)
    assert [item.shown for item in decide(changes)] == [bool(p <= ALPHA) for p in adjusted]


def test_a_mean_over_rows_weighs_rows_alike() -> None:
    found = mean_of([[1.0] * 9, [100.0]])
    assert found is not None
    assert found.mean == pytest.approx(10)
    assert found.n == 10


def test_a_common_change_is_found_among_rows_that_differ() -> None:
    before = [[10.0, 10.2, 9.9], [100.0, 101.0, 99.0]]
    after = [[20.0, 20.4, 19.8], [200.0, 203.0, 199.0]]
    found = change_of(before, after)
    assert found is not None
    assert found.size == pytest.approx(2, rel=0.02)
    assert decide([found])[0].shown
    single = change_of([[10.0], [100.0], [7.0]], [[20.0], [199.0], [14.2]])
    assert single is not None
    assert decide([single])[0].shown
    mixed = change_of([[10.0], [100.0], [7.0]], [[20.0], [50.0], [7.0]])
    assert mixed is not None
    assert not decide([mixed])[0].shown


def test_a_column_that_has_no_row_in_common_has_no_change() -> None:
    assert change_of([[1.0, 2.0]], []) is None
    assert change_of([], [[1.0, 2.0]]) is None
    assert mean_of([]) is None
