"""Percentiles of many times in bounded memory: counts in HdrHistogram's buckets, for several columns side by side.

A bucket of HdrHistogram (3 significant digits, http://hdrhistogram.org) holds the values that agree in their first 11
binary digits: it is at most 1/1024 of its values wide. Counts of runs are merged by adding them; the order in which
values come makes no difference.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

ERROR = 1 / 2048
"""Largest relative error of an order statistic: half a bucket."""
_DIGITS = 11
_HALF = 1 << (_DIGITS - 1)
N_BUCKETS = (64 - _DIGITS + 1) * _HALF
"""Buckets of all values up to 2^63."""


def bucket_of(values: Int64Array) -> Int64Array:
    """Return the number of the bucket of each value, which must not be negative."""
    # Without the bit below each set one, the float nearest to a number has its number of digits.
    digits = np.frexp((values & ~(values >> 1)).astype(np.float64))[1]
    shift = np.maximum(digits.astype(np.int64) - _DIGITS, 0)
    found: Int64Array = shift * _HALF + (values >> shift)
    return found


def middle_of(buckets: Int64Array) -> Int64Array:
    """Return the value in the middle of each bucket."""
    shift = np.maximum(buckets // _HALF - 1, 0)
    lowest = (buckets - shift * _HALF) << shift
    found: Int64Array = lowest + ((np.int64(1) << shift) >> 1)
    return found


class Sketches:
    """Counts by bucket of *n* columns of times."""

    def __init__(self, n: int) -> None:
        self.counts = np.zeros((n, N_BUCKETS), dtype=np.int64)

    def add(self, columns: Sequence[Int64Array]) -> None:
        """Add the values of each column."""
        keys = [bucket_of(column) + at * N_BUCKETS for at, column in enumerate(columns)]
        self.counts += np.bincount(np.concatenate(keys), minlength=self.counts.size).reshape(self.counts.shape)


def percentiles(counts: Int64Array, of: Sequence[float], least: int, most: int) -> list[float]:
    """Return percentiles (0 to 100), linear between order statistics, each of these within `ERROR`.

    *counts* are by bucket, not all 0; *least* and *most* are the extremes of the values.
    """
    filled = np.flatnonzero(counts)
    until = np.cumsum(counts[filled])
    values = np.clip(middle_of(filled), least, most).astype(np.float64)
    values[0] = least if until[0] == 1 else values[0]
    values[-1] = most if counts[filled[-1]] == 1 else values[-1]
    places = np.array(of) / 100 * (until[-1] - 1)
    low = np.floor(places)
    before, behind = (values[np.searchsorted(until, np.minimum(at, until[-1] - 1), "right")] for at in (low, low + 1))
    found: list[float] = (before + (behind - before) * (places - low)).tolist()
    return found
