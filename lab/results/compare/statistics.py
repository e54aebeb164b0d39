"""What samples can tell: a mean with its interval, and whether two sets of samples differ.

Times and rates are positive and skewed, so they are looked at on a logarithmic scale: the mean is the
geometric one, a change is a ratio, and the ratio of B to A is exactly the inverse of that of A to B.
Counts keep their scale. The test is Welch's, which does not take the scatter of both for equal. Quantiles
of Student's t come from scipy. Of many comparisons at once some would differ by luck: ``decide`` keeps the
share of such false alarms below `ALPHA` (Benjamini-Hochberg).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE


@dataclass(frozen=True, slots=True)
class Summary:
    """``n`` samples: their mean (geometric where ``logarithmic``) and the interval that holds the true one.

    ``low`` and ``high`` are None where one sample cannot tell.
    """

    n: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """From one set of samples to another.

    ``size``: ratio of the means where ``logarithmic``, else their difference, with its interval.
    ``p``: how likely samples are that far apart where nothing changed; None: too few samples to say.
    ``shown``: whether a difference is shown. ``samples``: how many of each.
    """

    size: float
    low: float | None
    high: float | None
    p: float | None
    samples: tuple[int, int]
    logarithmic: bool
    shown: bool = False

    @property
    def inverse(self) -> Change:
        """The same change seen from the other side."""

        def turn(value: float | None) -> float | None:
            if value is None:
                return None
            if not self.logarithmic:
                return -value
            return 1 / value if value else math.inf

        return replace(
            self,
            size=turn(self.size) or 0.0,
            low=turn(self.high),
            high=turn(self.low),
            samples=(self.samples[1], self.samples[0]),
        )


def summary(values: Sequence[float], *, logarithmic: bool) -> Summary | None:
    """The mean of ``values`` and its interval; None without values."""
    if not values:
        return None
    logarithmic = logarithmic and min(values) > 0
    scaled = [math.log(value) for value in values] if logarithmic else list(values)
    mean, variance = _moments(scaled)
    low = high = None
    if len(scaled) > 1:
        reach = _quantile(len(scaled) - 1) * math.sqrt(variance / len(scaled)) if variance else 0.0
        low, high = mean - reach, mean + reach
    return Summary(len(values), _back(mean, logarithmic), _maybe(low, logarithmic), _maybe(high, logarithmic))


def change(before: Sequence[float], after: Sequence[float], *, logarithmic: bool) -> Change | None:
    """From ``before`` to ``after`` by Welch's test; None where one of them is empty.

    Not yet decided: see `decide`.
    """
    if not before or not after:
        return None
    logarithmic = logarithmic and min(*before, *after) > 0
    a, b = ([math.log(v) for v in side] if logarithmic else list(side) for side in (before, after))
    (mean_a, var_a), (mean_b, var_b) = _moments(a), _moments(b)
    size = mean_b - mean_a
    counts = (len(a), len(b))
    if min(counts) < 2:
        return Change(_back(size, logarithmic), None, None, None, counts, logarithmic)
    share_a, share_b = var_a / len(a), var_b / len(b)
    freedom = _welch(share_a, len(a) - 1, share_b, len(b) - 1)
    return _judged(size, share_a + share_b, freedom, counts, logarithmic)


def mean_of(rows: Sequence[Sequence[float]]) -> Summary | None:
    """The geometric mean over ``rows``, each of which counts alike, whatever its number of samples.

    Its interval is about these rows, not about others that might have been measured. ``n``: all samples.
    """
    if not rows or any(not row for row in rows):
        return None
    mean, variance, freedom = _stratified(rows)
    low = high = None
    if freedom:
        reach = _quantile(freedom) * math.sqrt(variance) if variance else 0.0
        low, high = _back(mean - reach, True), _back(mean + reach, True)
    return Summary(sum(map(len, rows)), _back(mean, True), low, high)


def change_of(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> Change | None:
    """The change that rows have in common, from ``before`` to ``after``: their mean ratio.

    Where every row has one sample only, the rows themselves are the samples, paired: then a change that only
    some rows show is not shown for all.
    """
    if not before or not after or any(not row for row in (*before, *after)):
        return None
    counts = (sum(map(len, before)), sum(map(len, after)))
    (mean_a, var_a, free_a), (mean_b, var_b, free_b) = _stratified(before), _stratified(after)
    if free_a and free_b:
        freedom = _welch(var_a, free_a, var_b, free_b)
        return _judged(mean_b - mean_a, var_a + var_b, freedom, counts, True)
    effects = [_log_mean(b) - _log_mean(a) for a, b in zip(before, after, strict=True)]
    mean, variance = _moments(effects)
    if len(effects) < 2:
        return Change(_back(mean, True), None, None, None, counts, True)
    return _judged(mean, variance / len(effects), len(effects) - 1, counts, True)


def decide(changes: Sequence[Change]) -> list[Change]:
    """``changes`` with ``shown`` set, so that of those shown at most `ALPHA` are expected to be luck."""
    ranked = sorted((item.p, at) for at, item in enumerate(changes) if item.p is not None)
    passed = 0
    for rank, (p, _) in enumerate(ranked, start=1):
        if p <= ALPHA * rank / len(ranked):
            passed = rank
    shown = {at for _, at in ranked[:passed]}
    return [replace(item, shown=at in shown and not _same(item)) for at, item in enumerate(changes)]


def _log_mean(values: Sequence[float]) -> float:
    return math.fsum(math.log(value) for value in values) / len(values)


def _stratified(rows: Sequence[Sequence[float]]) -> tuple[float, float, int]:
    """The mean of the rows' means, its variance from the scatter within rows, and degrees of freedom."""
    means = [_log_mean(row) for row in rows]
    squares = math.fsum(
        (math.log(value) - mean) ** 2 for row, mean in zip(rows, means, strict=True) for value in row
    )
    freedom = sum(map(len, rows)) - len(rows)
    pooled = squares / freedom if freedom else 0.0
    return (
        math.fsum(means) / len(means),
        pooled * math.fsum(1 / len(row) for row in rows) / len(rows) ** 2,
        freedom,
    )


def _same(item: Change) -> bool:
    return item.size == (1.0 if item.logarithmic else 0.0)


def _judged(
    size: float, variance: float, freedom: float, counts: tuple[int, int], logarithmic: bool
) -> Change:
    error = math.sqrt(variance)
    if error <= 1e-12 * max(abs(size), 1e-300):  # no scatter at all: counters that always say the same
        p = 1.0 if size == 0 else 0.0
        reach = 0.0
    else:
        p = _two_sided(size / error, freedom)
        reach = _quantile(freedom) * error
    return Change(
        _back(size, logarithmic),
        _back(size - reach, logarithmic),
        _back(size + reach, logarithmic),
        p,
        counts,
        logarithmic,
    )


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and variance of the sample. Order does not matter to the last bit."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2 or min(values) == max(values):
        return (values[0] if min(values) == max(values) else mean), 0.0
    return mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _welch(share_a: float, free_a: int, share_b: float, free_b: int) -> float:
    """Degrees of freedom after Welch and Satterthwaite; a side without scatter adds nothing."""
    total = share_a + share_b
    if total == 0:
        return float(free_a + free_b)
    # Ratios first: squares of tiny variances would vanish.
    a, b = share_a / total, share_b / total
    return 1 / (a * a / free_a + b * b / free_b)


def _quantile(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))


def _two_sided(t: float, freedom: float) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))


def _back(value: float, logarithmic: bool) -> float:
    if not logarithmic:
        return value
    return math.exp(min(value, 700.0))


def _maybe(value: float | None, logarithmic: bool) -> float | None:
    return None if value is None else _back(value, logarithmic)
