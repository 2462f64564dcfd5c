"""Twin of `iosim.host.durations`: sums and the counts of an HdrHistogram's buckets, kept as durations come."""

LONGEST_NS = 1 << 50
_SUB_BUCKETS = 2048
"""For three significant digits: twice 10^3, up to a power of 2. Values below it have buckets of their own."""
_HALF_MAGNITUDE = 10
"""log2 of half of them."""


class Durations:
    """Durations in ns: `count`, `total_ns`, `min_ns`, `max_ns`, and `counts`: how many are in each bucket.

    There are at most 43008 buckets. What was added last is kept as it is, `_times` times `_last_ns`, until another
    duration comes; all is up to date after `finish`.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        self.min_ns = 0
        self.max_ns = 0
        self.counts: list[int] = []
        self._last_ns = -1
        self._times = 0

    def add(self, ns: int, n: int) -> None:
        """Add *n* durations of *ns* each."""
        if ns != self._last_ns:
            self.finish()
            self._last_ns = ns
        self._times += n

    def finish(self) -> "Durations":
        """Bring everything up to date."""
        n = self._times
        if n == 0:
            return self
        self._times = 0
        ns = self._last_ns
        if not self.count or ns < self.min_ns:
            self.min_ns = ns
        if ns > self.max_ns:
            self.max_ns = ns
        self.count += n
        self.total_ns += ns * n
        index = bucket_of(min(ns, LONGEST_NS))
        counts = self.counts
        while index >= len(counts):
            counts.append(0)
        counts[index] += n
        return self

    def add_array(self, ns: list[int]) -> None:
        """Add each of *ns*."""
        for each in ns:
            self.add(each, 1)


def bucket_of(ns: int) -> int:
    """Return the index of the bucket that counts *ns*, 0 or more (counts_index_for of HdrHistogram, unit 1)."""
    exponent = 0
    while ns >> exponent >= _SUB_BUCKETS:
        exponent += 1
    return (exponent << _HALF_MAGNITUDE) + (ns >> exponent)
