"""The ledger of requests: when a run is over, and whose logs are kept; logs of requests that are merged."""

from dataclasses import dataclass
from types import SimpleNamespace as Namespace
from typing import Any

from iosim.model.ledger import Ledger
from iosim.model.records import OK, READ, UNFINISHED, Request, Spent
from iosim.model.stages import Stage

DRIVE: Any = Namespace(vm="a", index=0, vcpu_of=lambda number: 0)


@dataclass(eq=False)
class Part:
    """What a path or a run says of itself."""

    by_stage: list[tuple[Stage, int]]
    exits: int = 0
    userspace_exits: int = 0
    irq_lines: int = 0


class Rows(Ledger):
    """Takes what it is given; requests with an even identity are sampled."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.first["a", 0] = 100
        self.total = total
        self.rows: list[tuple[int, str, bool]] = []
        self.samples: list[int] = []
        self.stopped = 0
        self.stop = self._stop

    def _stop(self) -> None:
        self.stopped += 1

    def _add_row(self, request: Request, warmup: bool) -> None:
        self.rows.append((request.number, request.status, warmup))

    def _add_sample(self, request: Request) -> None:
        self.samples.append(request.number)

    def _is_sampled(self, request: Request) -> bool:
        return request.identity % 2 == 0

    def _flush(self) -> None:
        self.rows.append((-1, "end", False))


def arrive(ledger: Ledger, number: int, at_ns: int = 0) -> Request:
    request = Request(number, DRIVE, number, READ, 8 * number, 8, at_ns)
    ledger.request_arrived(request)
    return request


def end(ledger: Ledger, request: Request, at_ns: int) -> None:
    request.charge(Stage.DISK_SERVICE, at_ns, "disk")
    request.status, request.done_ns = OK, at_ns
    ledger.request_ended(request)


def test_a_run_ends_with_the_last_request_that_can_end() -> None:
    ledger = Rows(4)
    requests = [arrive(ledger, number) for number in range(3)]
    end(ledger, requests[1], 50)
    ledger.never_arrive(1)
    assert ledger.stopped == 0
    ledger.never_end(2)
    assert ledger.stopped == 1
    ledger.finish(80)
    assert ledger.rows == [(1, OK, False), (0, UNFINISHED, False), (2, UNFINISHED, False), (-1, "end", False)]
    assert [request.done_ns for request in requests] == [80, 50, 80]
    assert [sum(request.stages) for request in requests] == [80, 50, 80]


def test_only_wanted_requests_have_logs() -> None:
    """Without slowest ones and a window those that are sampled; in the warm-up nothing is sampled or slowest."""
    ledger = Rows(3)
    ledger.warmup_ns = 10
    requests = [arrive(ledger, number, at) for number, at in ((0, 5), (1, 20), (2, 20))]
    assert [request.log is None for request in requests] == [False, True, False]
    for request in requests:
        end(ledger, request, 60)
    assert ledger.samples == [2]
    assert [warmup for _, _, warmup in ledger.rows] == [True, False, False]


def test_the_slowest_and_those_in_the_window_are_kept() -> None:
    """Latencies 30, 40, 40, 20; of two that are alike the first one counts as slower. The window is 65..70."""
    ledger = Rows(4)
    ledger.n_slowest, ledger.window_begin_ns, ledger.window_end_ns = 2, 65, 70
    requests = [arrive(ledger, number, at) for number, at in ((0, 0), (1, 10), (2, 30), (3, 70))]
    for request, at in zip(requests, (30, 50, 70, 90), strict=True):
        end(ledger, request, at)
    assert sorted((latency, place, log[2]) for latency, place, log in ledger.slowest) == [(40, -102, 2), (40, -101, 1)]
    assert [(place, log[2], len(log[3])) for place, log in ledger.in_window] == [(102, 2, 1)]


def test_a_merged_request_has_what_its_leader_did_since() -> None:
    """The leader is not sampled itself: it logs from the moment on from which another wants to know."""
    ledger = Rows(2)
    leader, follower = arrive(ledger, 1), arrive(ledger, 2)
    for request in (leader, follower):
        request.charge(Stage.GUEST_QUEUE, 10, "vcpu0")
    follower.follow(leader)
    leader.charge(Stage.DISK_SERVICE, 25, "disk")
    follower.part()
    assert follower.log is not None
    assert [(entry[0], entry[2], entry[3]) for entry in follower.log] == [
        (0, Stage.GUEST_QUEUE, 10),
        (10, Stage.DISK_SERVICE, 25),
    ]
    assert (follower.stages, follower.mark_ns) == (leader.stages, 25)


def test_requests_that_spend_the_same_share_its_sums() -> None:
    """Two parts, the second one with an exit; a full tree is begun anew and forgets nothing that is under way."""
    path = Part([(Stage.GUEST_RUN, 5)])
    run = Part([(Stage.GUEST_RUN, 2), (Stage.VM_EXIT, 3)], exits=4, userspace_exits=1, irq_lines=2)
    nothing = Spent()
    spent = nothing.then(path).then(run)
    assert nothing.then(path).then(run) is spent
    assert nothing.then(run) is not nothing.then(path)
    for _ in range(Spent._MOST):
        nothing.then(Part([]))
    again = nothing.then(path).then(run)
    assert again is not spent
    for each in (spent, again):
        assert (each.stages[Stage.GUEST_RUN], each.stages[Stage.VM_EXIT]) == (7, 3)
        assert (each.exits, each.userspace_exits, each.irq_lines) == (4, 1, 2)
    request = Request(1, DRIVE, 1, READ, 0, 8, 0)
    request.spent = again
    request.settle()
    request.settle()
    assert (sum(request.stages), request.exits, request.userspace_exits, request.irq_line_ioctls) == (10, 4, 1, 2)
