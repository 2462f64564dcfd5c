"""Intervals cover what they promise on correlated series, agree with scipy's on the blocks, or are withheld."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from scipy.signal import lfilter

from iosim.compare import intervals
from iosim.compare.intervals import Interval

Series = npt.NDArray[np.float64]
Given = tuple[float, float]
"""Share of the trials whose interval has the true value, and of those that have an interval."""


def autoregressive(chance: np.random.Generator, n: int, phi: float) -> Series:
    """An AR(1) series of *n* values of variance 1: each remembers *phi* of the one before."""
    noise = chance.normal(size=n + 200)
    series: Series = lfilter([1.0], [1.0, -phi], noise)[200:] * np.sqrt(1 - phi**2)
    return series


def latencies(chance: np.random.Generator, n: int, phi: float) -> tuple[Series, Series]:
    """Two lognormal runs, in whole ns, that share 0.8 of what moves them: medians 100 and 90 us, sigmas 0.5 and 0.6."""
    first, own = autoregressive(chance, n, phi), autoregressive(chance, n, phi)
    second = 0.8 * first + 0.6 * own
    return np.rint(100_000 * np.exp(0.5 * first)), np.rint(90_000 * np.exp(0.6 * second))


TRUE_MEAN = 90_000 * np.exp(0.6**2 / 2) - 100_000 * np.exp(0.5**2 / 2)


def true_percentile(percentile: float) -> float:
    z = float(stats.norm.ppf(percentile / 100))
    return float(90_000 * np.exp(0.6 * z) - 100_000 * np.exp(0.5 * z))


def coverage(trials: int, true: float, one: Callable[[np.random.Generator], Interval | None]) -> Given:
    found = [interval for trial in range(trials) if (interval := one(np.random.default_rng(trial))) is not None]
    return sum(true in interval for interval in found) / len(found), len(found) / trials


# Coverage. With 400 trials the share of a true 95 % interval has a standard deviation of 1.1 %, with 150 of 1.8 %.


@pytest.mark.parametrize(("n", "phi"), [(200, 0.0), (200, 0.5), (1000, 0.8), (4000, 0.9), (4000, 0.95)])
def test_the_mean_of_pairs_is_covered(n: int, phi: float) -> None:
    def one(chance: np.random.Generator) -> Interval | None:
        base, other = latencies(chance, n, phi)
        return intervals.mean_of_pairs(other - base)

    covered, given = coverage(400, TRUE_MEAN, one)
    assert 0.92 <= covered <= 0.98
    assert given >= 0.97


@pytest.mark.parametrize(("n", "phi"), [(200, 0.0), (1000, 0.8), (4000, 0.9)])
def test_the_mean_of_two_runs_without_pairs_is_covered(n: int, phi: float) -> None:
    def one(chance: np.random.Generator) -> Interval | None:
        base, _ = latencies(chance, n, phi)
        _, other = latencies(chance, n // 2, phi / 2)
        return intervals.mean_of_unpaired(base, other)

    covered, given = coverage(400, TRUE_MEAN, one)
    assert 0.92 <= covered <= 0.98
    assert given >= 0.97


@pytest.mark.parametrize(("n", "phi", "percentile"), [(400, 0.5, 50), (1000, 0.8, 90), (2500, 0.5, 99)])
def test_percentiles_of_pairs_are_covered(n: int, phi: float, percentile: float) -> None:
    def one(chance: np.random.Generator) -> Interval | None:
        return intervals.percentile_of_pairs(*latencies(chance, n, phi), percentile)

    covered, given = coverage(150, true_percentile(percentile), one)
    assert 0.91 <= covered <= 0.99
    assert given >= 0.97


def test_percentiles_of_two_runs_without_pairs_are_covered() -> None:
    def one(chance: np.random.Generator) -> Interval | None:
        base, _ = latencies(chance, 1000, 0.5)
        _, other = latencies(chance, 600, 0.5)
        return intervals.percentile_of_unpaired(base, other, 90)

    covered, given = coverage(150, true_percentile(90), one)
    assert 0.91 <= covered <= 0.99
    assert given >= 0.97


def test_formulas_for_independent_values_would_not_cover_it() -> None:
    """The series that the others pass are hard enough: Student's t of all 1000 values misses most of the time."""

    def one(chance: np.random.Generator) -> Interval:
        base, other = latencies(chance, 1000, 0.8)
        low, high = stats.ttest_1samp(other - base, 0).confidence_interval(0.95)
        return Interval(float(low), float(high))

    assert coverage(400, TRUE_MEAN, one)[0] < 0.6


# The same as scipy makes of the blocks


def blocks(values: Series, n: int = 30) -> Series:
    return values.reshape(n, -1)


def test_the_mean_of_pairs_is_students_t_of_the_blocks() -> None:
    values = np.random.default_rng(1).exponential(size=3000)
    expected = stats.ttest_1samp(blocks(values).mean(axis=1), 0).confidence_interval(0.95)
    assert intervals.mean_of_pairs(values) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_the_mean_without_pairs_is_welchs_t_of_the_blocks() -> None:
    chance = np.random.default_rng(1)
    base, other = chance.exponential(size=3000), chance.exponential(2.0, size=900)
    means = [blocks(values).mean(axis=1) for values in (other, base)]
    expected = stats.ttest_ind(*means, equal_var=False).confidence_interval(0.95)
    assert intervals.mean_of_unpaired(base, other) == pytest.approx((expected.low, expected.high), rel=1e-12)


@pytest.mark.parametrize("percentile", [50, 90])
def test_percentiles_agree_with_scipys_bootstrap_of_the_blocks(percentile: float) -> None:
    base, other = latencies(np.random.default_rng(2), 3000, 0.0)

    def difference(chosen: npt.NDArray[Any]) -> float:
        rows = chosen.astype(np.int64)
        p = percentile / 100
        return float(np.quantile(blocks(other)[rows], p) - np.quantile(blocks(base)[rows], p))

    # Student's t with 29 degrees of freedom, and the standard error of 30 blocks, in the words of the normal one.
    wide = np.sqrt(30 / 29) * stats.t.ppf(0.975, 29)
    expected = stats.bootstrap(
        (np.arange(30),),
        difference,
        vectorized=False,
        method="percentile",
        n_resamples=2000,
        confidence_level=float(1 - 2 * stats.norm.cdf(-wide)),
        rng=np.random.default_rng(3),
    ).confidence_interval
    found = intervals.percentile_of_pairs(base, other, percentile)
    assert found is not None
    # Both are drawn: the bounds of two bootstraps of 2000 differ by some percent of the width.
    width = expected.high - expected.low
    assert abs(found.low - expected.low) < 0.1 * width
    assert abs(found.high - expected.high) < 0.1 * width


def test_many_different_values_are_counted_as_exactly_as_few() -> None:
    """A hundred times as many requests give an interval a tenth as wide, around the same difference."""
    few = intervals.percentile_of_pairs(*latencies(np.random.default_rng(4), 5_000, 0.0), 90)
    many = intervals.percentile_of_pairs(*latencies(np.random.default_rng(5), 500_000, 0.0), 90)
    assert few is not None
    assert many is not None
    assert 7 < (few.high - few.low) / (many.high - many.low) < 14
    assert true_percentile(90) in many
    assert 0 <= few.low < many.low < many.high < few.high or few.low < many.low < many.high < few.high


# The reach of the correlation


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, 0.95])
def test_the_correlation_length_of_an_autoregressive_series(phi: float) -> None:
    series = autoregressive(np.random.default_rng(6), 100_000, phi)
    long_run = (1 + phi) / (1 - phi)
    assert intervals.correlation_length(series[:4096]) == pytest.approx(long_run, rel=0.25)
    # Of 100,000 values c neighbours are averaged first; the variance of such an average is known.
    c = 100_000 / 4096
    variance = (long_run - 2 * phi * (1 - phi**c) / (c * (1 - phi) ** 2)) / c
    assert intervals.correlation_length(series) == pytest.approx(long_run / variance, rel=0.15)


def test_a_constant_series_has_no_correlation() -> None:
    assert intervals.correlation_length(np.full(500, 7)) == 1


# No interval rather than a wrong one


def test_below_a_hundred_requests_there_is_none() -> None:
    chance = np.random.default_rng(7)
    base, other = latencies(chance, 100, 0.0)
    assert intervals.mean_of_pairs(other - base) is not None
    assert intervals.mean_of_unpaired(base, other) is not None
    assert intervals.percentile_of_pairs(base, other, 50) is not None
    assert intervals.percentile_of_unpaired(base, other, 50) is not None
    base, other = base[:99], other[:99]
    assert intervals.mean_of_pairs(other - base) is None
    assert intervals.mean_of_unpaired(base, other) is None
    assert intervals.percentile_of_pairs(base, other, 50) is None
    assert intervals.percentile_of_unpaired(base, other, 50) is None


def test_a_correlation_that_reaches_through_the_run_gives_none() -> None:
    base, other = latencies(np.random.default_rng(8), 300, 0.99)
    walk = np.cumsum(np.random.default_rng(9).normal(size=300))
    assert intervals.mean_of_pairs(walk) is None
    assert intervals.mean_of_unpaired(base, other) is None
    assert intervals.mean_of_unpaired(np.random.default_rng(9).normal(size=300), walk) is None
    assert intervals.percentile_of_unpaired(base, other, 50) is None


@pytest.mark.parametrize(("percentile", "needed"), [(50, 100), (90, 200), (95, 400), (99, 2000), (99.9, 20_000)])
def test_twenty_requests_must_lie_beyond_a_percentile(percentile: float, needed: int) -> None:
    base, other = latencies(np.random.default_rng(10), needed, 0.0)
    assert intervals.percentile_of_pairs(base, other, percentile) is not None
    assert intervals.percentile_of_unpaired(base, other, percentile) is not None
    assert intervals.percentile_of_pairs(base[1:], other[1:], percentile) is None
    assert intervals.percentile_of_unpaired(base[1:], other, percentile) is None


@pytest.mark.parametrize(("deviants", "given"), [(0, True), (1, False), (4, False), (5, True)])
def test_a_few_that_differ_from_all_others_give_none(deviants: int, given: bool) -> None:
    differences = np.full(1000, 700)
    differences[np.arange(deviants) * 190 + 30] = 100
    found = intervals.mean_of_pairs(differences)
    assert (found is not None) == given
    if not deviants:
        assert found == (700, 700)


def test_pairs_that_all_differ_by_the_same_have_an_interval_of_one_value() -> None:
    base, _ = latencies(np.random.default_rng(11), 1000, 0.9)
    assert intervals.mean_of_pairs((base + 250) - base) == (250, 250)
    for percentile in (50, 90):
        assert intervals.percentile_of_pairs(base, base + 250, percentile) == pytest.approx((250, 250))


def test_the_same_tables_give_the_same_interval() -> None:
    base, other = latencies(np.random.default_rng(12), 1000, 0.5)
    first = intervals.percentile_of_pairs(base, other, 90)
    np.random.default_rng(13).normal(size=10)
    assert intervals.percentile_of_pairs(base, other, 90) == first
