"""Many durations kept in bounded memory: exact count, sum and extremes, percentiles from a mergeable histogram."""

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram

SIGNIFICANT_DIGITS = 3
"""Precision of the percentiles: HdrHistogram's buckets are at most one part in a thousand wide."""
LONGEST_NS = 1 << 50
"""Thirteen days; what is longer is counted as this in the histogram (the sum and the maximum stay exact)."""
_FOLD_AT = 1 << 16


def counts_of(histogram: HdrHistogram) -> npt.NDArray[np.int64]:
    """Return the counts of a histogram's buckets as they lie in memory, not a copy."""
    return np.ctypeslib.as_array(histogram.counts).view(np.int64)


class Durations:
    """Durations in ns, collected as they come and folded into the sums and the histogram when there are many.

    `count`, `total_ns`, `min_ns` and `max_ns` are valid after `finish`.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        self.min_ns = 0
        self.max_ns = 0
        self._loose: dict[int, int] = {}
        self._arrays: list[npt.NDArray[np.int64]] = []
        self._array_size = 0
        self._histogram: HdrHistogram | None = None

    def add(self, ns: int, n: int) -> None:
        """Add *n* durations of *ns* each."""
        loose = self._loose
        loose[ns] = loose.get(ns, 0) + n
        if len(loose) > _FOLD_AT:
            self._fold()

    def add_array(self, ns: npt.NDArray[np.int64]) -> None:
        """Add each of *ns*."""
        self._arrays.append(ns)
        self._array_size += len(ns)
        if self._array_size > 16 * _FOLD_AT:
            self._fold()

    def finish(self) -> "Durations":
        """Bring count, sum and extremes up to date."""
        self._fold()
        return self

    def take_percentiles_ns(self, *percentiles: int) -> list[int]:
        """Return the values at *percentiles* (above 0, to 100), at most one part in a thousand above the exact ones.

        The histogram, which is large, is given back: nothing can be added any more.
        """
        self._fold()
        if self._histogram is None:
            return [0] * len(percentiles)
        histogram = self._histogram
        self._histogram = None
        up_to = counts_of(histogram).cumsum()
        values = []
        for percentile in percentiles:
            bucket = np.searchsorted(up_to, histogram.get_target_count_at_percentile(percentile))
            value = histogram.get_highest_equivalent_value(histogram.get_value_from_index(int(bucket)))
            values.append(min(max(value, self.min_ns), self.max_ns))
        return values

    def _fold(self) -> None:
        counts = self._loose
        self._loose = {}
        if self._arrays:
            values, times = np.unique(np.concatenate(self._arrays), return_counts=True)
            for value, n in zip(values.tolist(), times.tolist(), strict=True):
                counts[value] = counts.get(value, 0) + n
            self._arrays, self._array_size = [], 0
        if not counts:
            return
        if self._histogram is None:
            self._histogram = HdrHistogram(1, LONGEST_NS, SIGNIFICANT_DIGITS)
        self.min_ns = min(counts) if not self.count else min(self.min_ns, min(counts))
        self.max_ns = max(self.max_ns, max(counts))
        for value, n in counts.items():
            self.count += n
            self.total_ns += value * n
            self._histogram.record_value(min(value, LONGEST_NS), n)
