"""The host's I/O scheduler: which of the operations that wait for a disk is handed to it next.

`Fifo` is "none". `Deadline` follows block/deadline-iosched.c of Linux 3.10 (deadline_dispatch_requests), without
merging. `CScan` is the circular scan of the textbooks. A flush has no address: it goes past the scheduler, as in
block/blk-flush.c.
"""

from bisect import bisect_right, insort
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, Protocol

from iosim.model.records import FLUSH, READ


class Waiting:
    """An operation that waits: what it is (*job*: op, sector, sectors), and the thread that waits for it."""

    __slots__ = ("expires_ns", "job", "order", "taken", "thread")

    def __init__(self, thread: Any, job: Any, order: int = 0) -> None:
        self.thread = thread
        self.job = job
        self.order = order
        self.expires_ns = 0
        self.taken = False

    def __lt__(self, other: "Waiting") -> bool:
        """Order by address, equal ones by arrival."""
        return (self.job.sector, self.order) < (other.job.sector, other.order)


class Scheduler(Protocol):
    """Holds what waits; `order` of the entries is unique and rises with their arrival."""

    def add(self, entry: Waiting, now_ns: int) -> None:
        """An operation comes."""

    def next(self, now_ns: int) -> Waiting | None:
        """Take the operation that the disk gets next, None if none waits."""


class Fifo:
    """First come, first served."""

    def __init__(self) -> None:
        self._entries: deque[Waiting] = deque()

    def add(self, entry: Waiting, now_ns: int) -> None:
        """To the end."""
        self._entries.append(entry)

    def next(self, now_ns: int) -> Waiting | None:
        """From the front."""
        return self._entries.popleft() if self._entries else None


class CScan:
    """Rising addresses from where the last operation ended; behind the last one, from the lowest again.

    `_ahead` holds what this sweep still reaches, `_behind` what the next one will; both are heaps.
    """

    def __init__(self) -> None:
        self._flushes: deque[Waiting] = deque()
        self._ahead: list[Waiting] = []
        self._behind: list[Waiting] = []
        self._position = 0

    def add(self, entry: Waiting, now_ns: int) -> None:
        """Into this sweep if it is still to come there, else into the next one."""
        if entry.job.op == FLUSH:
            self._flushes.append(entry)
        else:
            heappush(self._ahead if entry.job.sector >= self._position else self._behind, entry)

    def next(self, now_ns: int) -> Waiting | None:
        """Return a flush, else the next one of the sweep."""
        if self._flushes:
            return self._flushes.popleft()
        while self._ahead and self._ahead[0].job.sector < self._position:
            heappush(self._behind, heappop(self._ahead))
        if not self._ahead:
            self._ahead, self._behind = self._behind, self._ahead
        if not self._ahead:
            return None
        entry = heappop(self._ahead)
        self._position = entry.job.sector + entry.job.sectors
        return entry


@dataclass(frozen=True)
class DeadlineConfig:
    """The settings of Linux's deadline scheduler (docs/scenario.md lists the keys)."""

    read_expire_ns: int
    write_expire_ns: int
    fifo_batch: int
    writes_starved: int


class _Direction:
    """The reads or the writes that wait: `fifo` by arrival, `by_sector` by address, `following` the batch's next."""

    def __init__(self, expire_ns: int) -> None:
        self.expire_ns = expire_ns
        self.following: Waiting | None = None
        self._by_sector: list[Waiting] = []
        self._fifo: deque[Waiting] = deque()

    def waits(self) -> bool:
        """Tell whether there are any."""
        return bool(self._by_sector)

    def add(self, entry: Waiting, now_ns: int) -> None:
        """deadline_add_request."""
        entry.expires_ns = now_ns + self.expire_ns
        insort(self._by_sector, entry)
        self._fifo.append(entry)

    def oldest(self) -> Waiting:
        """The entry that expires first."""
        while self._fifo[0].taken:
            self._fifo.popleft()
        return self._fifo[0]

    def take(self, entry: Waiting) -> None:
        """Take *entry* out; the batch's next is the one behind it."""
        entry.taken = True
        at = bisect_right(self._by_sector, entry)
        self.following = self._by_sector[at] if at < len(self._by_sector) else None
        del self._by_sector[at - 1]


class Deadline:
    """Batches of rising addresses, reads first, until an operation has waited too long.

    A batch goes on while it finds a next address in its direction and has not reached fifo_batch. Then reads are
    chosen, unless that has held up writes writes_starved times. The new batch begins with the oldest operation if that
    has expired or the last batch left no next one.
    """

    def __init__(self, config: DeadlineConfig) -> None:
        self._fifo_batch = config.fifo_batch
        self._writes_starved = config.writes_starved
        self._reads = _Direction(config.read_expire_ns)
        self._writes = _Direction(config.write_expire_ns)
        self._flushes: deque[Waiting] = deque()
        self._batching = 0
        self._starved = 0

    def add(self, entry: Waiting, now_ns: int) -> None:
        """Into the list of its direction, with the time at which it expires."""
        if entry.job.op == FLUSH:
            self._flushes.append(entry)
        else:
            (self._reads if entry.job.op == READ else self._writes).add(entry, now_ns)

    def next(self, now_ns: int) -> Waiting | None:
        """deadline_dispatch_requests."""
        if self._flushes:
            return self._flushes.popleft()
        direction = self._writes if self._writes.following is not None else self._reads
        if direction.following is None or self._batching >= self._fifo_batch:
            chosen = self._choose()
            if chosen is None:
                return None
            direction = chosen
            self._batching = 0
            oldest = direction.oldest()
            entry = oldest if direction.following is None or now_ns > oldest.expires_ns else direction.following
        else:
            entry = direction.following
        self._batching += 1
        self._reads.following = self._writes.following = None
        direction.take(entry)
        return entry

    def _choose(self) -> _Direction | None:
        """Return the direction of a new batch, None if nothing waits."""
        if self._reads.waits():
            if self._writes.waits():
                starved = self._starved >= self._writes_starved
                self._starved += 1
                if starved:
                    self._starved = 0
                    return self._writes
            return self._reads
        if self._writes.waits():
            self._starved = 0
            return self._writes
        return None
