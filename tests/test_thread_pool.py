"""The aio thread pool by itself: real main loop, workers and disk; every cost 100 ns, the disk 90 us."""

from collections.abc import Generator
from functools import partial
from typing import Any

import pytest

from iosim.disk import ConstantDisk, Disk, HostFile
from iosim.host import Host, HostThread, Level, Mutex
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Block, Lock, Steps, Unlock
from iosim.qemu.coroutine import Coroutine
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.thread_pool import PoolElement, ThreadPool
from iosim.qemu.versions import VERSIONS
from tests.support import constant_profile

pytestmark = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])

COLD = 400
"""main_loop.wake, main_loop.dispatch, do_spawn_thread, thread_start."""
WARM = 100
"""worker_wake."""
TO_DISK = 300
"""dequeue, pwrite_enter, one page."""
DISK = 90_000
AFTER = 300
"""syscall_return, notify, notify_return: then the worker looks at the list again."""
SERVED = TO_DISK + DISK + AFTER


class Bench:
    """A pool whose submissions come from a thread of their own; results are by number of the submission."""

    def __init__(self, exact: bool, thread_start_ns: int = 100, qemu: str = "7.2", callback_ns: int = 0) -> None:
        self.host = Host(exact=exact)
        binder = Binder(constant_profile(pool__thread_start=thread_start_ns, main_loop__timer=callback_ns))
        self.bql = Mutex(self.host, "bql")
        self.busy = Level(self.host.timeline, "main:busy")
        main = HostThread(self.host, 1, "main", Subject(1), self.busy)
        self.main_loop = MainLoop(main, binder, self.bql, VERSIONS[qemu])
        self.created: list[int] = []
        self.pool = ThreadPool(self.host, binder, VERSIONS[qemu], self.main_loop, "pool", self._worker)
        self._callback = binder.path("main_loop.timer")
        self.file = HostFile(binder, Disk(self.host, "sda", ConstantDisk(DISK, DISK), 1000), 0)
        self.requests: list[Request] = []
        self.completed: list[int] = []
        self.most_threads = 0
        main.start(self.main_loop.main_loop())

    def _worker(self, number: int) -> HostThread:
        self.created.append(number)
        return HostThread(self.host, 10 + number, f"worker{number}", Subject(2))

    def submit(self) -> None:
        number = len(self.requests)
        request = Request(number, None, number, "W", 0, 1, self.host.now_ns)
        self.requests.append(request)
        coroutine = Coroutine()
        coroutine.create(self._body(number))
        func = partial(self.file.pwrite, request=request, sector=0, sectors=1)
        self.pool.thread_pool_submit_aio(PoolElement(request, func, coroutine))
        self.most_threads = max(self.most_threads, self.pool.cur_threads)

    def _body(self, number: int) -> Steps[None]:
        yield SYNC
        self.completed.append(number)
        yield self._callback

    def run(self, *times_ns: int) -> "Bench":
        """Submit at these times, run until nothing happens any more."""

        def submitter() -> Generator[Any, Any, None]:
            for at in times_ns:
                if at > self.host.now_ns:
                    yield Block(at)
                yield SYNC
                self.submit()

        self.start(submitter())
        self.host.run()
        return self

    def start(self, steps: Steps[None]) -> None:
        HostThread(self.host, 2, "submitter", Subject(3)).start(steps)

    @property
    def waits(self) -> list[int]:
        return [request.stages[Stage.AIO_WAIT] for request in self.requests]


def test_first_submission_waits_for_the_main_loop_to_create_a_thread(exact: bool) -> None:
    bench = Bench(exact).run(1_000)
    assert bench.waits == [COLD]
    assert bench.created == [0]


def test_idle_worker_is_woken(exact: bool) -> None:
    bench = Bench(exact).run(1_000, 1_000_000)
    assert bench.waits == [COLD, WARM]
    assert bench.created == [0]


# Each new worker first creates the next one (100), which starts (100) and creates the next one (100) ...
def test_workers_are_created_in_a_chain(exact: bool) -> None:
    bench = Bench(exact).run(*[1_000] * 4)
    assert bench.created == [0, 1, 2, 3]
    first = COLD + 100  # started, and has created the second
    assert bench.waits == [first, first + 200, first + 400, first + 500]


# A new thread takes 10 us to run. The second submission comes before the first one does: no bottom half, the first
# worker creates the second one (100) when it runs.
def test_worker_that_is_being_created_takes_over_the_spawning(exact: bool) -> None:
    bench = Bench(exact, thread_start_ns=10_000).run(1_000, 1_400)
    assert bench.created == [0, 1]
    first = 300 + 10_000 + 100
    assert bench.waits == [first, first - 400 + 10_000]


# The second comes when the first worker runs: a bottom half again.
def test_submission_while_every_worker_is_busy_creates_one_by_a_bottom_half(exact: bool) -> None:
    bench = Bench(exact).run(1_000, 10_000)
    assert bench.created == [0, 1]
    assert bench.waits == [COLD, COLD]


def test_woken_worker_counts_as_idle_until_it_runs(exact: bool) -> None:
    bench = Bench(exact).run(1_000, 1_000_000, 1_000_000, 1_000_050)
    assert bench.created == [0]
    assert bench.waits == [COLD, WARM, WARM + SERVED, WARM - 50 + 2 * SERVED]
    # From the moment that it runs, it does not.
    bench = Bench(exact).run(1_000, 1_000_000, 1_000_000 + WARM + 1)
    assert bench.created == [0, 1]
    assert bench.waits == [COLD, WARM, COLD]


def test_64_workers_at_most_and_the_rest_waits_for_one(exact: bool) -> None:
    bench = Bench(exact).run(*[1_000] * 70)
    assert bench.most_threads == 64
    assert bench.created == list(range(64))
    chain = [COLD + 100 + 200 * n for n in range(63)] + [COLD + 200 * 63]
    # The others are taken first come, first served, by the workers in the order in which they become free.
    assert bench.waits == chain + [ns + SERVED for ns in chain[:6]]
    assert sorted(bench.completed) == list(range(70))


def test_list_is_first_in_first_out(exact: bool) -> None:
    bench = Bench(exact).run(1_000, *[1_000_000 + n for n in range(5)])
    assert bench.created == [0]
    assert bench.completed == [0, 1, 2, 3, 4, 5]
    assert bench.waits == [COLD] + [WARM - n + n * SERVED for n in range(5)]


IDLE_SINCE = 1_000 + COLD + SERVED


@pytest.mark.parametrize(("later", "wait", "created"), [(-1, WARM, [0]), (0, COLD, [0, 0]), (5_000, COLD, [0, 0])])
def test_worker_leaves_after_10_s_without_work(later: int, wait: int, created: list[int], exact: bool) -> None:
    bench = Bench(exact).run(1_000, IDLE_SINCE + 10_000_000_000 + later)
    assert bench.waits == [COLD, wait]
    assert bench.created == created


# Two workers become idle 100 ns apart; 10 s later the first has left, the second is still there.
def test_each_worker_has_its_own_10_s(exact: bool) -> None:
    second_idle = IDLE_SINCE + 200
    bench = Bench(exact).run(1_000, 1_000, second_idle + 10_000_000_000 - 1)
    assert bench.created == [0, 1]
    assert bench.waits[2] == WARM
    assert (bench.pool.cur_threads, bench.pool.idle_threads) == (1, 1)


# The first is done 90 us behind its begin and wakes the main loop, which then waits for the BQL. The worker goes on
# with the second, which is done while the main loop still waits.
def test_main_loop_that_waits_for_the_bql_is_not_woken_by_a_completion(exact: bool) -> None:
    bench = Bench(exact)

    def steps() -> Generator[Any, Any, None]:
        bench.submit()
        yield Block(1_000)  # the thread is created under the BQL
        yield Lock(bench.bql)
        yield Block(20_000)
        bench.submit()
        yield Block(1_000_000)
        yield SYNC
        assert bench.completed == []
        yield Unlock(bench.bql)

    bench.start(steps())
    bench.host.run()
    assert bench.completed == [1, 0]


# The first two are done 100 ns apart, before the main loop has woken up; the others while another thread has the BQL.
def test_one_turn_completes_every_done_element_the_most_recent_submission_first(exact: bool) -> None:
    bench = Bench(exact)

    def steps() -> Generator[Any, Any, None]:
        for _ in range(2):
            bench.submit()
        yield Block(1_000_000)
        yield Lock(bench.bql)
        for _ in range(2):
            bench.submit()
        yield Block(2_000_000)
        yield SYNC
        assert bench.completed == [1, 0]
        yield Unlock(bench.bql)

    bench.start(steps())
    bench.host.run()
    assert bench.completed == [1, 0, 3, 2]


@pytest.mark.parametrize(("qemu", "turns"), [("7.2", 1), ("1.6", 2)])
def test_what_completes_within_a_callback_needs_no_turn_of_its_own_in_7_2(exact: bool, qemu: str, turns: int) -> None:
    # One worker serves the first, one the second, 5 us later: done within the first's callback of 10 us, behind which
    # it is found. 7.2 has cancelled the bottom half by then, 1.6 finds its eventfd readable once more.
    bench = Bench(exact, qemu=qemu, callback_ns=10_000)
    bench.run(1_000, 6_000)
    assert bench.completed == [0, 1]
    bench.busy.set(bench.host.now_ns, 0)
    wake, other, spawn, complete = 100, 100, 100, 10_100
    spawning = 2 * (wake + other + spawn)
    assert bench.busy.area == spawning + wake + other + 2 * complete + (turns - 1) * (other + other)
