"""What replications say: confidence intervals, paired differences, and where the warm-up ends.

Replications are independent by their seeds; requests of one run are not, so nothing here takes them as a sample. The
exception is MSER-5, which looks at one run.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

BATCH = 5
"""Observations of a batch in MSER-5."""


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
    """Return the mean of independent *values* and Student's interval for it; no interval with fewer than two."""
    mean, low, high = mean_intervals(np.atleast_2d(np.asarray(values, dtype=np.float64)), confidence)[0]
    return Interval(float(mean), float(low), float(high))


def mean_intervals(rows: Floats, confidence: float = 0.95) -> Floats:
    """Return mean, low and high of each row of *rows* (rows x replications), as rows x 3.

    Student's t, which holds for a normal distribution and for others as replications become many.
    """
    n = rows.shape[1]
    mean = rows.mean(axis=1)
    if n < 2:
        return np.column_stack([mean, np.full((len(rows), 2), np.nan)])
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * rows.std(axis=1, ddof=1) / np.sqrt(n)
    return np.column_stack([mean, mean - half, mean + half])


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


def quantile_ranks(n: int, p: float, confidence: float = 0.95) -> Ranks | None:
    """Return the order statistics of *n* independent values that enclose the *p*-quantile, None if *n* is too small.

    Exact for any continuous distribution: the number of values below the quantile is binomial (Conover, Practical
    Nonparametric Statistics, 3rd ed., section 3.2). Each side errs with at most half of 1 - *confidence*, so the
    interval covers at least as often as asked for.
    """
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
        return Interval(estimate, float("nan"), float("nan"))
    return Interval(estimate, float(ordered[ranks.low - 1]), float(ordered[ranks.high - 1]))


def is_within(values: npt.ArrayLike, within: float, confidence: float = 0.95) -> bool:
    """Tell whether Student's interval of the mean of *values* is at most *within* times the mean to either side."""
    interval = mean_interval(values, confidence)
    return bool(interval.half_width <= within * abs(interval.estimate))


class Truncation(NamedTuple):
    """Where a warm-up ends: so many observations are left out at the beginning of *n*.

    *settled* is false if the best cut lies in the second half: the run is too short to tell, or never becomes steady.
    """

    cut: int
    n: int
    settled: bool


def mser5(values: npt.ArrayLike) -> Truncation:
    """Return the truncation by MSER-5 of the observations *values*, in their order.

    White, "An effective truncation heuristic for bias reduction in simulation output", Simulation 69(6), 1997, with
    batches of 5 (White, Cobb and Spratt, WSC 2000): the number of batches d left out minimises the squared standard
    error of the mean of the rest, S(d) / (k - d)^2, with S(d) the sum of squares around the mean of the k - d batches
    behind d. At most the first half is left out; the last 5 batches are no candidates, as few of them may be equal by
    chance.
    """
    observations = np.asarray(values, dtype=np.float64)
    k = len(observations) // BATCH
    if k < 2 * BATCH:
        return Truncation(0, len(observations), False)
    batches = observations[: k * BATCH].reshape(k, BATCH).mean(axis=1)
    centred = (batches - batches.mean())[::-1]
    left = np.arange(1, k + 1)
    squares = np.cumsum(centred**2) - np.cumsum(centred) ** 2 / left
    error = (squares / left**2)[::-1][: k - BATCH + 1]
    best = int(np.argmin(error))
    cut = int(np.argmin(error[: k // 2 + 1]))
    return Truncation(cut * BATCH, len(observations), best <= k // 2)
