"""Twins of who makes requests (`iosim.model.trace`) and who keeps the account of them (`iosim.run`)."""

from collections.abc import Iterator
from typing import Any

from iosim.model.records import ERRORS, NO_ERROR, STATUSES, UNFINISHED, PartSums, Request
from iosim.model.trace import OPS


def rows(times_ns: Any, ops: Any, first: Any, count: Any, offset_ns: int) -> Iterator[tuple[int, str, int, int]]:
    """Yield (arrival in ns, op, sector, sectors) of each request."""
    for at in range(len(times_ns)):
        yield times_ns[at] + offset_ns, OPS[ops[at]], first[at], count[at]


class Collector:
    """One row of integers per request, in the order in which they end."""

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

    def request_arrived(self, request: Request) -> None:
        """A request has entered a guest."""
        drive: Any = request.drive
        self.arrived += 1
        self.live[drive.vm, drive.index, request.number] = request
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
