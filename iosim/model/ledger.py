"""The ledger of a run's requests: who is under way, who is still to come, whose logs are kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from iosim.model.records import NO_ERROR, OK, UNFINISHED, Request, Spent

Log = tuple[str, int, int, list[tuple[Any, ...]]]
"""The log of a request: (VM, drive, number of the request, entries)."""


class Ledger(ABC):
    """Takes requests as they arrive and end, says when the run is over, and chooses the logs that are kept.

    `total` requests are to come, `hopeless` of them will not end; `stop` ends the run with the last one. `first` is the
    place of each drive's first request among all of them. The slowest `n_slowest` requests behind the warm-up are in
    `slowest`, as a heap of (latency, - place, log); those under way in the window, which ends at 0 if there is none, in
    `in_window`, each with its place.
    """

    def __init__(self) -> None:
        self.first: dict[tuple[str, int], int] = {}
        self.vm_number: dict[str, int] = {}
        self.total = 0
        self.ended = 0
        self.hopeless = 0
        self.arrived = 0
        self.live: dict[Request, None] = {}
        self.stop: Callable[[], None] | None = None
        self.warmup_ns = 0
        self.nothing_spent = Spent()
        self.n_slowest = 0
        self.window_begin_ns = 0
        self.window_end_ns = 0
        self.slowest: list[tuple[int, int, Log]] = []
        self.in_window: list[tuple[int, Log]] = []

    @abstractmethod
    def _add_row(self, request: Request, warmup: bool) -> None:
        """Note what became of a request, which arrived in the warm-up or not."""

    @abstractmethod
    def _add_sample(self, request: Request) -> None:
        """Take the log of a sampled request."""

    @abstractmethod
    def _is_sampled(self, request: Request) -> bool:
        """Tell whether the request is sampled, should it be counted."""

    @abstractmethod
    def _flush(self) -> None:
        """All rows are there."""

    def request_arrived(self, request: Request) -> None:
        """A request has entered a guest."""
        self.arrived += 1
        self.live[request] = None
        request.spent = self.nothing_spent
        if self.n_slowest == 0 and self.window_end_ns == 0 and not self._is_sampled(request):
            request.log = None

    def request_ended(self, request: Request) -> None:
        """A request is done or has failed."""
        del self.live[request]
        self._row(request)
        self.ended += 1
        self._stop_at_end()

    def _stop_at_end(self) -> None:
        if self.ended + self.hopeless == self.total and self.stop is not None:
            self.stop()

    def never_arrive(self, n: int) -> None:
        """*n* requests of the traces will not come: with closed replay none follows one that is lost."""
        self.total -= n
        self._stop_at_end()

    def never_end(self, n: int) -> None:
        """*n* more requests will not end, or fewer if negative: their VM is stopped for good."""
        self.hopeless += n
        if n > 0:
            self._stop_at_end()

    def finish(self, end_ns: int) -> None:
        """The run is over: what is still on its way is unfinished."""
        for request in list(self.live):
            request.stop_waiting(end_ns)
            request.status = UNFINISHED
            request.error = NO_ERROR
            request.done_ns = end_ns
            if request.issue_ns < 0:
                request.issue_ns = end_ns
            self._row(request)
        self._flush()

    def _row(self, request: Request) -> None:
        request.settle()
        warmup = request.arrival_ns < self.warmup_ns
        self._add_row(request, warmup)
        if request.log is not None:
            if request.status == OK and not warmup and self._is_sampled(request):
                self._add_sample(request)
            self._keep_log(request, request.log, warmup)
            request.log = None

    def _keep_log(self, request: Request, entries: list[tuple[Any, ...]], warmup: bool) -> None:
        drive: Any = request.drive
        place: int = self.first[drive.vm, drive.index] + request.number
        latency = request.done_ns - request.arrival_ns
        inside = request.arrival_ns < self.window_end_ns and request.done_ns > self.window_begin_ns
        wanted = not warmup and self.n_slowest > 0
        full = len(self.slowest) >= self.n_slowest
        if wanted and full:
            least, before, _ = self.slowest[0]
            if latency < least or (latency == least and -place < before):
                wanted = False
        if not wanted and not inside:
            return
        log = (drive.vm, drive.index, request.number, entries)
        if inside:
            self.in_window.append((place, log))
        if wanted:
            if full:
                heappop(self.slowest)
            heappush(self.slowest, (latency, -place, log))
