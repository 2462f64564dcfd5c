"""What replications say: confidence intervals, paired differences, and where the warm-up ends.

Replications are independent by their seeds; requests of one run are not, so nothing here takes them for a sample.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from iosim.study.metrics import BATCH

Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate and its confidence interval; the ends are NaN where there is none."""

    estimate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the length."""
        return (self.high - self.low) / 2


def mean_interval(values: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the mean of independent *values* and Student's interval for it; no interval with fewer than two.

    Student's t holds for a normal distribution, and for others as values become many.
    """
    sample = np.asarray(values, dtype=np.float64)
    mean = math.fsum(sample) / len(sample)
    return _interval(sample, mean, confidence)


def _interval(sample: Floats, centre: float, confidence: float) -> Interval:
    """Return Student's interval around *centre*, from the spread of *sample* around it."""
    n = len(sample)
    if n < 2:
        return Interval(centre, math.nan, math.nan)
    deviation = math.sqrt(math.fsum((sample - centre) ** 2) / (n - 1))
    half = _student((1 + confidence) / 2, n - 1) * deviation / math.sqrt(n)
    return Interval(centre, centre - half, centre + half)


@lru_cache
def _student(p: float, freedom: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(p, freedom))


def paired_interval(values: npt.ArrayLike, reference: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the mean of *values* - *reference*, pair by pair, and Student's interval for it.

    Element k of both must come from the same random numbers: what both have in common drops out.
    """
    return mean_interval(np.asarray(values, dtype=np.float64) - np.asarray(reference, dtype=np.float64), confidence)


class Ranks(NamedTuple):
    """Which order statistics, counted from 1, enclose a quantile, and with what confidence."""

    low: int
    high: int
    confidence: float


@lru_cache
def quantile_ranks(n: int, p: float, confidence: float = 0.95) -> Ranks | None:
    """Return the order statistics of *n* independent values that enclose the *p*-quantile, None if *n* is too small.

    Exact for any continuous distribution: the number of values below the quantile is binomial (Conover, Practical
    Nonparametric Statistics, 3rd ed., section 3.2). Each side errs with at most half of 1 - *confidence*, so the
    interval covers at least as often as asked for.
    """
    from scipy import stats

    tail = (1 - confidence) / 2
    low = int(stats.binom.ppf(tail, n, p))
    high = int(stats.binom.isf(tail, n, p)) + 1
    if low < 1 or high > n:
        return None
    return Ranks(low, high, float(stats.binom.cdf(high - 1, n, p) - stats.binom.cdf(low - 1, n, p)))


def quantile_interval(values: npt.ArrayLike, p: float, confidence: float = 0.95) -> Interval:
    """Return the *p*-quantile of independent *values* and the exact interval for it from their order statistics."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    estimate = float(np.quantile(ordered, p))
    ranks = quantile_ranks(len(ordered), p, confidence)
    if ranks is None:
        return Interval(estimate, math.nan, math.nan)
    return Interval(estimate, float(ordered[ranks.low - 1]), float(ordered[ranks.high - 1]))


def section_interval(sections: npt.ArrayLike, pooled: float, confidence: float = 0.95) -> Interval:
    """Return *pooled*, a quantile of all observations of all replications, and an interval for it by sectioning.

    *sections* are the same quantile of each replication by itself. They are Student's sample as in `mean_interval`, but
    spread around *pooled*: the quantile of a short run errs to one side, and its mean over many runs as well, while the
    bias of *pooled* shrinks with their number (Asmussen and Glynn, Stochastic Simulation, 2007, section III.5;
    Nakayama, ACM TOMACS 24(4), 2014). No interval with fewer than two.
    """
    return _interval(np.asarray(sections, dtype=np.float64), pooled, confidence)


def is_within(interval: Interval, within: float) -> bool:
    """Tell whether *interval* reaches at most *within* times its estimate to either side."""
    return bool(interval.half_width <= within * abs(interval.estimate))


class Truncation(NamedTuple):
    """Where a warm-up ends: so many batches are left out at the beginning.

    *settled* is false if the best cut lies in the second half: the runs are too short to tell, or never become steady.
    """

    batches: int
    settled: bool


def mser(batches: npt.ArrayLike) -> Truncation:
    """Return the truncation of a series of batch means by the marginal standard error rule.

    White, "An effective truncation heuristic for bias reduction in simulation output", Simulation 69(6), 1997; with
    batches of 5 it is MSER-5 (White, Cobb and Spratt, WSC 2000). The number of batches d left out minimises the squared
    standard error of the mean of the rest, S(d) / (k - d)^2, with S(d) the sum of squares around the mean of the k - d
    batches behind d. At most the first half is left out; the last 5 batches are no candidates, as so few may be equal
    by chance.
    """
    values = np.asarray(batches, dtype=np.float64)
    k = len(values)
    if k < 2 * BATCH:
        return Truncation(0, False)
    backwards = (values - values.mean())[::-1]
    left = np.arange(1, k + 1)
    squares = np.cumsum(backwards**2) - np.cumsum(backwards) ** 2 / left
    error = (squares / left**2)[::-1][: k - BATCH + 1]
    best = int(np.argmin(error))
    return Truncation(int(np.argmin(error[: k // 2 + 1])), best <= k // 2)


def batch_means(series: npt.ArrayLike) -> Floats:
    """Return the means of batches of 5 of *series*, an incomplete one left out; along the last axis."""
    values = np.asarray(series, dtype=np.float64)
    k = values.shape[-1] // BATCH
    means: Floats = values[..., : k * BATCH].reshape(*values.shape[:-1], k, BATCH).mean(axis=-1)
    return means
