"""Percentiles of many times in bounded memory: counts in HdrHistogram's buckets, for several columns side by side.

A bucket of HdrHistogram (3 significant digits, http://hdrhistogram.org) holds the values that agree in their first 11
binary digits: it is at most 1/1024 of its values wide. Counts of runs are merged by adding them; the order in which
values come makes no difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Counts:
    """Times counted by bucket: *buckets* in order, how many times are in each, at least one; extremes are exact."""

    buckets: Int64Array
    times: Int64Array
    least: int
    most: int

    @classmethod
    def of(cls, values: Int64Array) -> "Counts":
        """Return the counts of *values*, at least one."""
        buckets, times = np.unique(bucket_of(values), return_counts=True)
        return cls(buckets, times.astype(np.int64), int(values.min()), int(values.max()))

    @property
    def n(self) -> int:
        """How many times in all."""
        return int(self.times.sum())

    @classmethod
    def merged(cls, parts: Sequence["Counts"]) -> "Counts":
        """Return the counts of all *parts*, at least one, together."""
        buckets, place = np.unique(np.concatenate([part.buckets for part in parts]), return_inverse=True)
        times = np.zeros(len(buckets), dtype=np.int64)
        np.add.at(times, place, np.concatenate([part.times for part in parts]))
        return cls(buckets, times, min(part.least for part in parts), max(part.most for part in parts))

    def by_bucket(self) -> Int64Array:
        """Return how many times are in each of the `N_BUCKETS` buckets."""
        counts = np.zeros(N_BUCKETS, dtype=np.int64)
        counts[self.buckets] = self.times
        return counts

    def percentiles(self, of: Sequence[float]) -> list[float]:
        """Return percentiles (0 to 100), linear between order statistics, each of these within `ERROR`."""
        until = np.cumsum(self.times)
        values = np.clip(middle_of(self.buckets), self.least, self.most).astype(np.float64)
        values[0] = self.least if until[0] == 1 else values[0]
        values[-1] = self.most if self.times[-1] == 1 else values[-1]
        places = np.array(of) / 100 * (until[-1] - 1)
        low = np.floor(places)
        before, behind = (
            values[np.searchsorted(until, np.minimum(at, until[-1] - 1), "right")] for at in (low, low + 1)
        )
        found: list[float] = (before + (behind - before) * (places - low)).tolist()
        return found


class Sketches:
    """Counts by bucket of *n* columns of times."""

    def __init__(self, n: int) -> None:
        self._counts = np.zeros((n, N_BUCKETS), dtype=np.int64)
        self._least = np.full(n, np.iinfo(np.int64).max)
        self._most = np.zeros(n, dtype=np.int64)

    def add(self, columns: Sequence[Int64Array]) -> None:
        """Add the values of each column, at least one."""
        keys = [bucket_of(column) + at * N_BUCKETS for at, column in enumerate(columns)]
        added = np.bincount(np.concatenate(keys), minlength=self._counts.size)
        self._counts += added.reshape(self._counts.shape)
        self._least = np.minimum(self._least, [column.min() for column in columns])
        self._most = np.maximum(self._most, [column.max() for column in columns])

    def column(self, at: int) -> Counts:
        """Return the counts of a column, which has values."""
        buckets = np.flatnonzero(self._counts[at])
        return Counts(buckets, self._counts[at][buckets], int(self._least[at]), int(self._most[at]))
