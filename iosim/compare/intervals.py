"""95 % confidence intervals of differences between two runs whose requests are correlated (docs/compare.md).

Requests that follow each other share queues, caches and bursts, so formulas for independent values do not hold. The
requests are cut, in the order of their arrival, into blocks that are long beside the reach of the correlation, and the
blocks are what counts as independent: batch means with Student's t for means (Schmeiser, "Batch size effects in the
analysis of simulation output", Operations Research 30(3), 1982), a bootstrap of whole blocks for percentiles. Where
there are too few blocks, there is no interval.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

CONFIDENCE = 0.95
LEAST_REQUESTS = 100
"""Fewer requests say too little of their own correlation."""
LEAST_INDEPENDENT = 30
"""As many independent requests must be worth as much as those that there are."""
LEAST_DEVIANTS = 5
"""As many values must differ from the median: the spread of fewer is a matter of luck."""
LEAST_BEYOND = 20
"""As many requests of each run must lie beyond a percentile, on either side."""
FEWEST_BLOCKS, MOST_BLOCKS = 10, 30
BLOCK_LENGTH = 5
"""Length of a block in correlation lengths, unless that makes too few or too many blocks."""
RESAMPLES = 2000
_CELLS = 4096
_WINDOW = 8
"""Standard errors around a percentile that resamples are looked for in."""


class Interval(NamedTuple):
    """The bounds of an interval, in the unit of the values."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        """Tell whether *value* lies within the bounds."""
        return isinstance(value, int | float) and self.low <= value <= self.high


class _Mean(NamedTuple):
    """A mean with its squared standard error and the degrees of freedom of that."""

    mean: float
    error2: float
    freedom: float


def correlation_length(values: npt.NDArray[Any]) -> float:
    """Return the integrated autocorrelation time of *values*, in requests: so many are worth an independent one.

    At least 1. The sum over lags ends at five times its value (Sokal, "Monte Carlo methods in statistical mechanics",
    1997). Of more than 4096 values neighbours are averaged first, which makes it longer rather than shorter.
    """
    n = len(values)
    cells = min(n, _CELLS)
    edges = _edges(n, cells)
    means = np.add.reduceat(values.astype(np.float64), edges[:-1]) / np.diff(edges)
    means -= means.mean()
    power = float(means @ means)
    if not power:
        return 1.0
    transformed = np.fft.rfft(means, 2 * cells)
    correlation = np.fft.irfft(transformed * np.conj(transformed))[:cells] / power
    times = 2 * np.cumsum(correlation) - 1
    enough = np.arange(cells) >= 5 * times
    return float(max(1.0, times[int(np.argmax(enough))]) * n / cells)


def mean_of_pairs(differences: npt.NDArray[Any]) -> Interval | None:
    """Return the interval of the mean of *differences*, one per pair in the order of arrival; None if they are too few.

    Batch means: the blocks' means with Student's t.
    """
    found = _batch_means(differences)
    return None if found is None else _student(found.mean, found.error2, found.freedom)


def mean_of_unpaired(base: npt.NDArray[Any], other: npt.NDArray[Any]) -> Interval | None:
    """Return the interval of mean(other) - mean(base), runs that have nothing to do with each other (Welch's t)."""
    a, b = _batch_means(base), _batch_means(other)
    if a is None or b is None:
        return None
    error2 = a.error2 + b.error2
    spread = a.error2**2 / a.freedom + b.error2**2 / b.freedom
    return _student(b.mean - a.mean, error2, error2**2 / spread if spread else a.freedom)


def _student(mean: float, error2: float, freedom: float) -> Interval:
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error2**0.5
    return Interval(mean - half, mean + half)


def _batch_means(values: npt.NDArray[Any]) -> _Mean | None:
    n = len(values)
    if n < LEAST_REQUESTS:
        return None
    values = values.astype(np.float64)
    deviants = int(np.count_nonzero(values != np.partition(values, n // 2)[n // 2]))
    if 0 < deviants < LEAST_DEVIANTS:
        return None
    blocks = _n_blocks(n, correlation_length(values))
    if blocks is None:
        return None
    edges = _edges(n, blocks)
    mean = float(values.mean())
    # Blocks may differ in length by one: sums about the mean of all weigh them as they should.
    about = np.add.reduceat(values, edges[:-1]) - np.diff(edges) * mean
    return _Mean(mean, float(about @ about) * blocks / (blocks - 1) / n**2, blocks - 1)


def percentile_of_pairs(base: npt.NDArray[Any], other: npt.NDArray[Any], percentile: float) -> Interval | None:
    """Return the interval of the difference of a percentile of paired values in the order of arrival.

    A bootstrap of blocks of pairs, each resample with the same blocks of both runs. None if the pairs are too few.
    """
    if not _enough_beyond(len(base), percentile):
        return None
    p = percentile / 100
    beyond = (other > np.quantile(other, p)).astype(np.float64) - (base > np.quantile(base, p))
    blocks = _n_blocks(len(base), correlation_length(beyond))
    if blocks is None:
        return None
    weights = _weights(blocks, 0)
    resampled = _percentiles(other, p, weights) - _percentiles(base, p, weights)
    return _expanded(resampled, float(np.quantile(other, p) - np.quantile(base, p)), blocks)


def percentile_of_unpaired(base: npt.NDArray[Any], other: npt.NDArray[Any], percentile: float) -> Interval | None:
    """Return the interval of the difference of a percentile of two runs that have nothing to do with each other."""
    p = percentile / 100
    resampled: list[Values] = []
    fewest = MOST_BLOCKS
    for stream, values in enumerate((base, other)):
        if not _enough_beyond(len(values), percentile):
            return None
        blocks = _n_blocks(len(values), correlation_length(values > np.quantile(values, p)))
        if blocks is None:
            return None
        fewest = min(fewest, blocks)
        resampled.append(_percentiles(values, p, _weights(blocks, stream)))
    difference = float(np.quantile(other, p) - np.quantile(base, p))
    return _expanded(resampled[1] - resampled[0], difference, fewest)


def _enough_beyond(n: int, percentile: float) -> bool:
    return n >= LEAST_REQUESTS and n * min(percentile, 100 - percentile) / 100 >= LEAST_BEYOND - 1e-9


def _n_blocks(n: int, length: float) -> int | None:
    """Return into how many blocks *n* requests of this correlation *length* are cut; None if that cannot be done."""
    if n < LEAST_REQUESTS or n < LEAST_INDEPENDENT * length:
        return None
    return min(MOST_BLOCKS, max(FEWEST_BLOCKS, int(n / (BLOCK_LENGTH * length))))


def _edges(n: int, blocks: int) -> Counts:
    """Return where the blocks begin, and where the last one ends."""
    return np.arange(blocks + 1, dtype=np.int64) * n // blocks


@lru_cache(maxsize=64)
def _weights(blocks: int, stream: int) -> Values:
    """Return how often each block is in each resample; the same ones every time."""
    chance = np.random.default_rng([stream, blocks])
    return chance.multinomial(blocks, np.full(blocks, 1 / blocks), size=RESAMPLES).astype(np.float64)


def _percentiles(values: npt.NDArray[Any], p: float, weights: Values) -> Values:
    """Return the percentile (linear between order statistics) of each resample of the blocks of *values*.

    Resamples are counted on the values around the percentile, at most 4096 of them.
    """
    n, blocks = len(values), weights.shape[1]
    edges = _edges(n, blocks)
    lengths = np.diff(edges)
    ordered = np.sort(values)
    below = np.add.reduceat((values <= np.quantile(ordered, p)).astype(np.float64), edges[:-1])
    about = below - lengths * below.sum() / n
    reach = _WINDOW * float(about @ about) ** 0.5 + 2
    first, last = max(0, int(n * p - reach)), min(n, int(n * p + reach) + 1)
    cells = np.unique(ordered[first:last])
    if len(cells) > _CELLS:
        cells = cells[np.linspace(0, len(cells) - 1, _CELLS).round().astype(np.int64)]
    place = np.searchsorted(cells, values)
    block = np.repeat(np.arange(blocks), lengths)
    size = len(cells) + 1
    counts = np.bincount(block * size + place, minlength=blocks * size).reshape(blocks, size)
    within = weights @ np.cumsum(counts, axis=1)[:, :-1].astype(np.float64)
    rank = (weights @ lengths - 1) * p
    low, high = (
        cells[np.minimum((within <= order[:, None]).sum(axis=1), len(cells) - 1)].astype(np.float64)
        for order in (np.floor(rank), np.ceil(rank))
    )
    return np.asarray(low + (rank - np.floor(rank)) * (high - low))


def _expanded(resampled: Values, difference: float, blocks: int) -> Interval:
    """Return the percentile interval of the bootstrap, expanded for few blocks.

    Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69(4), 2015, section 5.3.
    """
    wide = (blocks / (blocks - 1)) ** 0.5 * float(stats.t.ppf((1 + CONFIDENCE) / 2, blocks - 1))
    tail = float(stats.norm.cdf(-wide))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(min(float(low), difference), max(float(high), difference))
