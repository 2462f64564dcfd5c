"""Twins of who makes requests (`iosim.model.trace`) and who keeps the account of them (`iosim.run`)."""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any

from iosim.compiled.native import ask, get, is_below, put, put_all
from iosim.model.draws import Number64
from iosim.model.records import ERRORS, NO_ERROR, OK, STATUSES, UNFINISHED, PartSums, Request
from iosim.model.trace import OPS
from iosim.results.raw import INT_COLUMNS

TAKE_ROWS = 1
"""Asks Python to take the rows that are in the block, whose number it is given."""
TAKE_LOGS = 3
"""Asks Python to take the logs of sampled requests."""
LOGS = 64
"""So many logs are taken at once: what they have in common is copied once."""
FILL = 2
"""Asks Python for the next requests of the trace whose number it is given, and how many they are: 0 at the end."""
ROWS = 4096
"""Rows that the block holds."""
PIECE = 1024
"""Requests of a trace that its block holds."""
WIDTH = len(INT_COLUMNS)
"""Numbers of a row."""
STAGES_AT = INT_COLUMNS.index("irq_line_ioctls") + 1
"""Where the stages begin."""


def rows(trace: int, block: Any) -> Iterator[tuple[int, str, int, int]]:
    """Yield (arrival in ns, op, sector, sectors) of each request; Python fills *block* again and again."""
    n = ask(FILL, trace)
    while n > 0:
        for k in range(n):
            at = 4 * k
            yield get(block, at), OPS[get(block, at + 1)], get(block, at + 2), get(block, at + 3)
        n = ask(FILL, trace)


class Trace:
    """The requests of a trace by number."""

    def __init__(self, ops: Any, first: Any, count: Any) -> None:
        self.ops = ops
        self.sectors_first = first
        self.sectors_count = count

    def __len__(self) -> int:
        return len(self.ops)

    def request(self, number: int) -> tuple[str, int, int]:
        """Return (op, sector, sectors) of a request."""
        return OPS[self.ops[number]], self.sectors_first[number], self.sectors_count[number]


class Collector:
    """One row of integers per request, in the order in which they end, and the logs that are wanted.

    `rows` is a block of raw integers, which Python empties when it is full and at the end.

    `limits` say which requests are sampled, as in `iosim.results.sampling`; None for all. A kept log is (VM, drive,
    request, entries), a sampled one (VM, drive, operation, entries).
    """

    def __init__(self) -> None:
        self.first: dict[tuple[str, int], int] = {}
        self.vm_number: dict[str, int] = {}
        self.total = 0
        self.ended = 0
        self.hopeless = 0
        self.arrived = 0
        self.live: dict[tuple[str, int, int], Request] = {}
        self.stop: Any = None
        self.rows: Any = None
        self.n_rows = 0
        self.warmup_ns = 0
        self.sums = PartSums()
        self.n_slowest = 0
        self.window_begin_ns = 0
        self.window_end_ns = 0
        self.slowest: list[tuple[int, int, tuple[str, int, int, list[Any]]]] = []
        self.in_window: list[tuple[int, tuple[str, int, int, list[Any]]]] = []
        self.what: Number64 = 0
        self.limits: dict[tuple[str, int], dict[str, Any]] = {}
        self.merges: dict[str, bool] = {}
        self.sampled: list[tuple[str, int, str, list[Any]]] = []

    def request_arrived(self, request: Request) -> None:
        """A request has entered a guest."""
        drive: Any = request.drive
        self.arrived += 1
        self.live[drive.vm, drive.index, request.number] = request
        if self.n_slowest == 0 and self.window_end_ns == 0 and not self.merges[drive.vm] and not self._wants(request):
            request.log = None

    def request_ended(self, request: Request) -> None:
        """A request is done or has failed."""
        drive: Any = request.drive
        self.live.pop((drive.vm, drive.index, request.number))
        self._row(request)
        self.ended += 1
        self._stop_at_end()

    def _stop_at_end(self) -> None:
        if self.ended + self.hopeless == self.total and self.stop is not None:
            self.stop()

    def never_arrive(self, n: int) -> None:
        """*n* requests of the traces will not come."""
        self.total -= n
        self._stop_at_end()

    def never_end(self, n: int) -> None:
        """*n* more requests will not end, or fewer if negative."""
        self.hopeless += n
        if n > 0:
            self._stop_at_end()

    def finish(self, end_ns: int) -> None:
        """The run is over: what is still on its way is unfinished."""
        for request in list(self.live.values()):
            request.stop_waiting(end_ns)
            request.status = UNFINISHED
            request.error = NO_ERROR
            request.done_ns = end_ns
            if request.issue_ns < 0:
                request.issue_ns = end_ns
            self._row(request)
        self._hand_over()

    def _row(self, request: Request) -> None:
        request.settle(self.sums)
        drive: Any = request.drive
        rows = self.rows
        at = self.n_rows * WIDTH
        put(rows, at, self.vm_number[drive.vm])
        put(rows, at + 1, drive.index)
        put(rows, at + 2, request.number)
        put(rows, at + 3, OPS.index(request.op))
        put(rows, at + 4, request.sector)
        put(rows, at + 5, request.sectors)
        put(rows, at + 6, request.arrival_ns)
        put(rows, at + 7, request.issue_ns)
        put(rows, at + 8, request.done_ns)
        put(rows, at + 9, STATUSES.index(request.status))
        put(rows, at + 10, ERRORS.index(request.error))
        put(rows, at + 11, request.arrival_ns < self.warmup_ns)
        put(rows, at + 12, request.exits)
        put(rows, at + 13, request.userspace_exits)
        put(rows, at + 14, request.irqs)
        put(rows, at + 15, request.irq_line_ioctls)
        put_all(rows, at + STAGES_AT, request.stages)
        self.n_rows += 1
        if request.log is not None:
            self._keep_log(request)
            request.log = None
        if self.n_rows == ROWS:
            self._hand_over()

    def _hand_over(self) -> None:
        ask(TAKE_ROWS, self.n_rows)
        self.n_rows = 0
        if len(self.sampled) >= LOGS:
            ask(TAKE_LOGS, 0)
            self.sampled = []

    def _wants(self, request: Request) -> bool:
        """Tell whether the request is sampled, should it be counted."""
        drive: Any = request.drive
        limit: Any = self.limits[drive.vm, drive.index][request.op]
        return limit is None or is_below(request.identity, self.what, limit)

    def _keep_log(self, request: Request) -> None:
        drive: Any = request.drive
        entries: Any = request.log
        warmup = request.arrival_ns < self.warmup_ns
        if request.status == OK and not warmup and self._wants(request):
            self.sampled.append((drive.vm, drive.index, request.op, entries))
        slot: int = self.first[drive.vm, drive.index] + request.number
        latency: int = request.done_ns - request.arrival_ns
        inside = request.arrival_ns < self.window_end_ns and request.done_ns > self.window_begin_ns
        wanted = not warmup and self.n_slowest > 0
        full = len(self.slowest) >= self.n_slowest
        if wanted and full:
            head = self.slowest[0]
            least: int = head[0]
            if latency < least or (latency == least and -slot < head[1]):
                wanted = False
        if not wanted and not inside:
            return
        log = (drive.vm, drive.index, request.number, entries)
        if inside:
            self.in_window.append((slot, log))
        if wanted:
            if full:
                heappop(self.slowest)
            heappush(self.slowest, (latency, -slot, log))
