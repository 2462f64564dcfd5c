"""The distribution of a typical run, out of several runs; and the two modes of a sample."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PROBABILITIES = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1)
TOO_FEW = 10
"""Fewer values are no measurement."""
FEWEST = 20
"""A run with fewer values has no say of its own beside runs that have more."""
MOST = 1000
"""More values than these give a run no more weight."""


class Typical(NamedTuple):
    """Quantiles at PROBABILITIES of a typical run, in us; how many values and runs; medians of slowest and fastest."""

    values: Floats
    n: int
    runs: int
    low: float
    high: float

    @property
    def mean(self) -> float:
        """The mean of the piecewise linear distribution through the quantiles."""
        return _mean(self.values)

    @property
    def median(self) -> float:
        """The median."""
        return float(self.values[PROBABILITIES.index(0.5)])


def typical(samples: Sequence[npt.ArrayLike]) -> Typical | None:
    """Return the distribution of a typical one of several runs, None if they have fewer than 10 values in all.

    At each probability the weighted median of the runs' quantiles, and that of their means. The values of one run share
    the run's circumstances (the speed of the host's clock at the time, which CPU its threads are on), so a run is one
    observation: pooling would mix a run under other circumstances into each operation. A run weighs as many values as
    it has, up to 1,000: more do not tell more about runs.

    A straight line from the 0.999 quantile to one outlier would raise the mean: the last value is lowered until the
    mean of the piecewise linear distribution is that of the runs, but not below the value before it. It is never
    raised: where the mean stays below that of the runs, nothing longer than in a typical run is made up for it.
    """
    runs = [values for values in (np.asarray(sample, dtype=np.float64) for sample in samples) if len(values)]
    if sum(map(len, runs)) < TOO_FEW:
        return None
    enough = [values for values in runs if len(values) >= FEWEST] or [np.concatenate(runs)]
    weights = np.minimum([len(values) for values in enough], MOST).astype(np.float64)
    quantiles = np.array([np.quantile(values, PROBABILITIES) for values in enough])
    # Weighted medians of rising columns rise but for the interpolation between two runs of different weight.
    values = np.maximum.accumulate([_median(column, weights) for column in quantiles.T])
    mean = _median(np.array([values.mean() for values in enough]), weights)
    excess = 2 * (_mean(values) - mean) / (PROBABILITIES[-1] - PROBABILITIES[-2])
    values[-1] = max(values[-2], values[-1] - max(0.0, excess))
    medians = quantiles[:, PROBABILITIES.index(0.5)]
    return Typical(values, sum(map(len, enough)), len(enough), float(medians.min()), float(medians.max()))


def _median(values: Floats, weights: Floats) -> float:
    """Return the weighted median: where the weights below and above are equal, linear between the values' middles."""
    order = np.argsort(values, kind="stable")
    middles = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(weights.sum() / 2, middles, values[order]))


def _mean(values: Floats) -> float:
    return float((np.diff(PROBABILITIES) * (values[1:] + values[:-1]) / 2).sum())


class Modes(NamedTuple):
    """Two modes of a sample: the values up to *limit* and those beyond it."""

    limit: float
    short: Floats
    long: Floats


_APART = 2.0
"""Two modes are apart if their means are this many standard deviations apart (Ashman, Bird and Zepf 1994)."""
_FEWEST_OF_MODE = 5


def modes(sample: npt.ArrayLike) -> Modes | None:
    """Return the two modes of *sample*, found on the logarithm of its values; None if it has only one.

    The limit is that of Otsu (1979): between it the two halves' variances are least. The halves count as modes if
    their means differ by more than 2 pooled standard deviations and there is a gap between them: fewer values lie in
    the middle third between the two means than in either outer third.
    """
    values = np.sort(np.asarray(sample, dtype=np.float64))
    values = values[values > 0]
    n = len(values)
    if n < 2 * _FEWEST_OF_MODE:
        return None
    logs = np.log(values)
    counts = np.arange(1, n)
    sums = np.cumsum(logs)[:-1]
    between = (sums / counts - (logs.sum() - sums) / (n - counts)) ** 2 * counts * (n - counts)
    between[: _FEWEST_OF_MODE - 1] = between[n - _FEWEST_OF_MODE :] = -1
    at = int(between.argmax()) + 1
    low, high = logs[:at], logs[at:]
    if high.mean() - low.mean() <= _APART * np.sqrt((low.var() + high.var()) / 2):
        return None
    thirds = np.histogram(logs, np.linspace(low.mean(), high.mean(), 4))[0]
    if thirds[1] >= min(thirds[0], thirds[2]):
        return None
    return Modes(float(np.exp((logs[at - 1] + logs[at]) / 2)), values[:at], values[at:])
