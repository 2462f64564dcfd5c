"""Twin of `iosim.host.durations`: sums and the counts of an HdrHistogram's buckets, kept as durations come."""

LONGEST_NS = 1 << 50
_SUB_BUCKETS = 2048
"""For three significant digits: twice 10^3, up to a power of 2. Values below it have buckets of their own."""
_HALF_MAGNITUDE = 10
"""log2 of half of them."""
_PAGE_BITS = 8
_PAGE = 1 << _PAGE_BITS
_PAGES = 168


class Durations:
    """Durations in ns: `count`, `total_ns`, `min_ns`, `max_ns`, and `pages`: how many are in each bucket.

    There are at most 43008 buckets; 256 in a row are a page, None if nothing has come to any of them. What was added
    last is kept as it is, `_times` times `_last_ns`, until another duration comes; all is up to date after `finish`.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        self.min_ns = 0
        self.max_ns = 0
        self.pages: list[list[int] | None] = []
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
        bucket = bucket_of(min(ns, LONGEST_NS))
        if not self.pages:
            self.pages = [None] * _PAGES
        page = self.pages[bucket >> _PAGE_BITS]
        if page is None:
            page = self.pages[bucket >> _PAGE_BITS] = [0] * _PAGE
        page[bucket & (_PAGE - 1)] += n
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
