"""Twins of who makes requests (`iosim.model.trace`) and who keeps the account of them (`iosim.run`)."""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any

from iosim.compiled.native import is_below
from iosim.model.draws import Number64
from iosim.model.records import ERRORS, NO_ERROR, OK, STATUSES, UNFINISHED, PartSums, Request
from iosim.model.trace import OPS


def rows(times_ns: Any, ops: Any, first: Any, count: Any, offset_ns: int) -> Iterator[tuple[int, str, int, int]]:
    """Yield (arrival in ns, op, sector, sectors) of each request."""
    for at in range(len(times_ns)):
        yield times_ns[at] + offset_ns, OPS[ops[at]], first[at], count[at]


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
        self.slots: list[int] = []
        self.rows: list[int] = []
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

    def _row(self, request: Request) -> None:
        request.settle(self.sums)
        drive: Any = request.drive
        self.slots.append(self.first[drive.vm, drive.index] + request.number)
        rows = self.rows
        rows.append(self.vm_number[drive.vm])
        rows.append(drive.index)
        rows.append(request.number)
        rows.append(OPS.index(request.op))
        rows.append(request.sector)
        rows.append(request.sectors)
        rows.append(request.arrival_ns)
        rows.append(request.issue_ns)
        rows.append(request.done_ns)
        rows.append(STATUSES.index(request.status))
        rows.append(ERRORS.index(request.error))
        rows.append(1 if request.arrival_ns < self.warmup_ns else 0)
        rows.append(request.exits)
        rows.append(request.userspace_exits)
        rows.append(request.irqs)
        rows.append(request.irq_line_ioctls)
        rows.extend(request.stages)
        if request.log is not None:
            self._keep_log(request)
            request.log = None

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
