"""Requests of a replayed sequence of port accesses: they arrive when the guest begins them."""

from collections.abc import Callable

from iosim.guest.replay import ReplayedDrive
from iosim.lifecycle import Lifecycle, RequestAccount
from iosim.model import draws
from iosim.model.records import Request
from iosim.model.steps import Block, Steps
from iosim.model.trace import AnyTrace


class PortFeed:
    """The requests of one drive's sequence. The run goes on until the sequence is over, also behind its last request.

    *start_ns* is when the guest begins. A guest that ends does not go on with the sequence when it has booted again.
    """

    drive: ReplayedDrive
    life: Lifecycle

    def __init__(
        self, trace: AnyTrace, source: draws.Number64, start_ns: int, account: RequestAccount, now_ns: Callable[[], int]
    ) -> None:
        self._trace = trace
        self._n_requests = len(trace)
        self._source = source
        self._start_ns = start_ns
        self._account = account
        self._now_ns = now_ns
        self._n_begun = 0
        self._goes_on = True
        account.never_end(-1)

    def steps(self, guest: Callable[[], Steps[None]]) -> Steps[None]:
        """The stream as a thread: it waits until the guest begins, and goes on as *guest* (`PortReplay.begin`)."""
        if self._start_ns > self._now_ns():
            yield Block(self._start_ns)
        self.life.stream_begun(self)
        yield from guest()

    def arrive(self, number: int) -> Request:
        """The guest begins request *number*."""
        trace = self._trace
        self._n_begun = number + 1
        op, sector, sectors = trace.request(number)
        request = Request(
            draws.identity(self._source, number), self.drive, number, op, sector, sectors, self._now_ns()
        )  # fmt: skip
        self.life.arrive(request)
        return request

    def completed(self, request: Request) -> None:
        """A request is done."""
        self.life.ended(request)

    def over(self) -> None:
        """The sequence has come to its end: the run need not wait for it any more."""
        if self._goes_on:
            self._goes_on = False
            self._account.never_end(1)

    def never_arrive(self) -> int:
        """The VM is no more: return how many requests will not come."""
        self.over()
        n, self._n_begun = self._n_requests - self._n_begun, self._n_requests
        return n

    def guest_booted(self) -> None:
        """The guest has booted again, and does something else."""
        self._account.never_arrive(self.never_arrive())
