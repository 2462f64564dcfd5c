"""aio=native and aio=io_uring: timelines worked out by hand, queue limits, fallback rules. Every cost 100 ns."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from iosim.disk import ConstantDisk, Disk, HostFile
from iosim.disk.bio import BioQueue
from iosim.host import Host, HostThread, IoWq, Level, Mutex
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Block, Lock, Steps, Unlock
from iosim.qemu.coroutine import Coroutine
from iosim.qemu.io_uring import IoUring
from iosim.qemu.linux_aio import LinuxAio
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.versions import VERSIONS
from iosim.results.result import Result
from tests.support import Row, constant_profile, scenario, simulate
from tests.test_timelines import (
    COMPLETION_NEW,
    COMPLETION_OLD,
    COMPLETION_WAIT,
    DISK,
    DISK_FLUSH,
    DMA_GUEST,
    EOI_BY_APIC_ACCESS,
    INTERRUPT_TO_HALTED,
    NS,
    WAKE_FOR_ARRIVAL,
    stages,
)

pytestmark = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])

MS = 1_000_000
OLD: dict[str, Any] = {"qemu": "1.6", "kernel": "3.10"}


def run(aio: str, rows: list[Row], exact: bool, cache: str = "none", service: str = "90us", **vm: Any) -> Result:
    described = scenario(
        drives=[{"aio": aio, "cache": cache, "size": "1MiB"}],
        disks=[{"model": "constant", "service": service, "flush": "500us"}],
        run={"exact_exits": exact},
        **vm,
    )
    return simulate(described, rows, constant_profile(NS))


def of_functions(result: Result, request: int, *names: str) -> list[tuple[str, str]]:
    """(function, thread) of the request's spans of these functions, in order of time."""
    spans = result.spans
    chosen = spans[(spans["request"] == request) & spans["function"].isin(names)]
    return list(chosen[["function", "thread"]].itertuples(index=False, name=None))


SUBMIT = DMA_GUEST["qemu_submit"] + 2 * NS
"""Instead of thread_pool_submit_aio: laio_do_submit, io_submit, one page pinned (or the same of io_uring)."""
DIRECT_WRITE = {
    **DMA_GUEST,
    "qemu_submit": SUBMIT,
    "disk_service": DISK,
    "completion_wait": COMPLETION_WAIT,
    "completion": COMPLETION_NEW,  # its first part is the event's instead of thread_pool_completion
    "irq_delivery": WAKE_FOR_ARRIVAL + INTERRUPT_TO_HALTED,
}


@pytest.mark.parametrize(("aio", "call"), [("native", "io_submit"), ("io_uring", "io_uring_enter")])
def test_submitting_thread_gives_a_write_to_the_disk_itself(aio: str, call: str, exact: bool) -> None:
    result = run(aio, [(MS, "W", 0, 8)], exact)
    assert stages(result.requests.iloc[0]) == DIRECT_WRITE
    assert of_functions(result, 0, call) == [(call, "vcpu0")]
    pool = result.resources.set_index("resource").loc["web/pool"]
    assert pool["busy_ns"] == 0


def test_native_write_of_qemu_1_6(exact: bool) -> None:
    result = run("native", [(MS, "W", 0, 8)], exact, **OLD)
    write = stages(result.requests.iloc[0])
    assert (write["qemu_submit"], write["disk_service"]) == (SUBMIT, DISK)
    # bdrv_co_em_bh needs one more turn of the main loop.
    assert (write["completion_wait"], write["completion"]) == (COMPLETION_WAIT, COMPLETION_OLD)
    assert write["irq_delivery"] == WAKE_FOR_ARRIVAL + INTERRUPT_TO_HALTED + EOI_BY_APIC_ACCESS
    assert of_functions(result, 0, "laio_submit", "bdrv_co_em_bh") == [
        ("laio_submit", "vcpu0"),
        ("bdrv_co_em_bh", "main"),
    ]


# The disk takes 50 ns: the request is complete before io_submit has returned (100). QEMU 7.2 looks and finds it, so the
# coroutine does not yield, and blk_aio_complete_bh tells the device. From the disk's end: 50 until that look, 50 until
# the main loop is awake (woken at the disk's end: 100), 150 until the vCPU gives the BQL back (submit_return,
# mutex_unlock from the look on), dispatch 100. em_bh, ide_dma_cb, ide_set_irq, irq_line, deliver_edge.
def test_request_that_is_complete_when_io_submit_returns(exact: bool) -> None:
    result = run("native", [(MS, "W", 0, 8)], exact, service="50ns")
    write = stages(result.requests.iloc[0])
    assert (write["disk_service"], write["completion_wait"]) == (50, 50 + 50 + 100)
    assert (write["bql_wait"], write["completion"]) == (150, 5 * NS)
    # QEMU 1.6 leaves it to the main loop.
    old = stages(run("native", [(MS, "W", 0, 8)], exact, service="50ns", **OLD).requests.iloc[0])
    assert old["completion"] == COMPLETION_OLD


def test_flush_with_native_goes_through_the_pool(exact: bool) -> None:
    for vm in ({}, OLD):
        result = run("native", [(MS, "W", 0, 8), (5 * MS, "F", 0, 0)], exact, **vm)
        flush = stages(result.requests.iloc[1])
        assert (flush["aio_worker"], flush["disk_service"]) == (4 * NS, DISK_FLUSH)
        assert ("thread_pool_submit_aio", "vcpu0") in of_functions(result, 1, "thread_pool_submit_aio")
        assert of_functions(result, 1, "io_submit") == []


def test_flush_with_io_uring_is_left_to_a_kernel_worker(exact: bool) -> None:
    result = run("io_uring", [(MS, "W", 0, 8), (5 * MS, "F", 0, 0)], exact)
    flush = stages(result.requests.iloc[1])
    # ide_flush_cache, blk_aio_prwv, coroutine, bdrv_co_flush, luring_do_submit, io_uring_enter
    assert flush["qemu_submit"] == 6 * NS
    # the kernel's worker wakes up; fdatasync in and out
    assert (flush["aio_wait"], flush["aio_worker"], flush["disk_service"]) == (NS, 2 * NS, DISK_FLUSH)
    assert of_functions(result, 1, "handle_aiocb_flush") == [("handle_aiocb_flush", "iou-wrk0")] * 2  # in and out
    assert result.resources.set_index("resource").loc["web/pool", "busy_ns"] == 0


def test_buffered_io_uring(exact: bool) -> None:
    rows: list[Row] = [(MS, "W", 0, 8), (5 * MS, "R", 0, 8), (9 * MS, "R", 64, 8)]
    result = run("io_uring", rows, exact, cache="writeback")
    write, hit, miss = (stages(result.requests.iloc[n]) for n in range(3))
    # The kernel's worker: pwrite, one page; pread, disk done, one page.
    assert (write["aio_wait"], write["aio_worker"]) == (NS, 2 * NS)
    assert (miss["aio_wait"], miss["aio_worker"], miss["disk_service"]) == (NS, 3 * NS, DISK)
    # A read that hits is done by the submitting thread, its page copied instead of pinned.
    assert hit["qemu_submit"] == SUBMIT
    assert not {"aio_wait", "aio_worker", "disk_service"} & set(hit)
    assert of_functions(result, 1, "blk_aio_complete_bh") == [("blk_aio_complete_bh", "main")]


def test_native_without_o_direct_means_threads_in_1_6(exact: bool) -> None:
    rows: list[Row] = [(MS, "W", 0, 8)]
    native, threads = (run(aio, rows, exact, cache="writeback", **OLD) for aio in ("native", "threads"))
    assert stages(native.requests.iloc[0]) == stages(threads.requests.iloc[0])
    assert native.requests["aio_worker_ns"].item() > 0


@pytest.mark.parametrize(
    ("drive", "vm", "message"),
    [
        ({"aio": "native", "cache": "writeback"}, {}, "drive.0.aio native needs cache none or directsync"),
        ({"aio": "io_uring"}, OLD, "drive.0.aio io_uring needs qemu 7.2 and kernel 6.1, got 1.6 and 3.10"),
        ({"aio": "io_uring"}, {"kernel": "3.10"}, "needs qemu 7.2 and kernel 6.1, got 7.2 and 3.10"),
    ],
)
def test_what_qemu_refuses(drive: dict[str, Any], vm: dict[str, Any], message: str, exact: bool) -> None:
    with pytest.raises(ValidationError, match=message):
        scenario(drives=[drive], run={"exact_exits": exact}, **vm)


class Bench:
    """A queue of Linux AIO or io_uring by itself: real main loop, disk of 1000 servers; a thread of its own submits."""

    def __init__(self, exact: bool, qemu: str = "7.2", max_events: int = 2, ring: bool = False) -> None:
        self.host = Host(exact=exact)
        self.binder = Binder(constant_profile())
        self.version = replace(VERSIONS[qemu], laio_max_events=max_events)
        self.bql = Mutex(self.host, "bql")
        self.busy = Level(self.host.timeline, "main:busy")
        main = HostThread(self.host, 2049, "main", Subject(1), self.busy)
        self.main_loop = MainLoop(main, self.binder, self.bql, self.version)
        disk = Disk(self.host, "sda", ConstantDisk(DISK, DISK), 1000)
        self.file = HostFile(self.binder, disk, 0, bios=BioQueue(self.host, disk, 1024))
        if ring:
            self.aio: LinuxAio = IoUring(self.binder, self.version, self.main_loop, IoWq(self.binder, self._worker))
        else:
            self.aio = LinuxAio(self.binder, self.version, self.main_loop)
        self.thread = HostThread(self.host, 2050, "submitter", Subject(2))
        self.requests: list[Request] = []
        self.done: list[tuple[int, int, int]] = []
        main.start(self.main_loop.main_loop())

    def _worker(self, number: int) -> HostThread:
        return HostThread(self.host, 3000 + number, f"iou-wrk{number}", Subject(3))

    def submit(self, n: int, sectors: int = 8) -> Steps[None]:
        """Submit *n* requests one behind the other."""
        for _ in range(n):
            number = len(self.requests)
            yield SYNC
            request = Request(number, None, number, "W", 0, sectors, self.host.now_ns)
            self.requests.append(request)
            self.thread.request = self.thread.subject = request
            coroutine = Coroutine()
            coroutine.create(self._body(coroutine, number, sectors))
            yield from coroutine.enter(self.thread)
            yield SYNC
            self.thread.request = None

    def _body(self, coroutine: Coroutine, number: int, sectors: int) -> Steps[None]:
        ret = yield from self.aio.co_submit(coroutine, self.requests[number], self.file, ("W", 8 * number, sectors))
        yield SYNC
        self.done.append((number, ret, self.host.now_ns))

    def run(self, steps: Steps[None]) -> "Bench":
        def body() -> Generator[Any, Any, None]:
            yield Lock(self.bql)
            yield from steps
            yield Unlock(self.bql)

        self.thread.start(body())
        self.host.run()
        return self

    def waits(self, stage: Stage) -> list[int]:
        return [request.stages[stage] for request in self.requests]


def test_native_request_beyond_the_limit_waits_until_one_completes(exact: bool) -> None:
    bench = Bench(exact)
    bench.run(bench.submit(3))
    # Each submission: laio_do_submit, io_submit, one page, io_submit's way back: 400. Disk ends 300 + 90,000 and 400
    # later. Main loop: wake 100, dispatch 100, event and coroutine 200 for the first; the second has completed
    # meanwhile (at 90,700 = the end of that): 200 more. Then the third: io_submit and its page 200.
    assert [(number, ret) for number, ret, _ in bench.done] == [(0, 0), (1, 0), (2, 0)]
    assert bench.waits(Stage.DISK_SERVICE) == [DISK] * 3
    # laio_do_submit of the third ends at 900, when the queue is full.
    assert bench.waits(Stage.AIO_WAIT) == [0, 0, (300 + DISK + 200 + 200 + 200 + 200) - 900]


def test_request_beyond_the_limit_fails_in_1_6(exact: bool) -> None:
    bench = Bench(exact, qemu="1.6")
    bench.run(bench.submit(3))
    assert [(number, ret) for number, ret, _ in bench.done] == [(2, -5), (0, 0), (1, 0)]


@pytest.mark.parametrize(("qemu", "turns"), [("7.2", 2), ("1.6", 1)])
def test_a_submission_wakes_the_main_loop_for_nothing_in_7_2(qemu: str, turns: int, exact: bool) -> None:
    bench = Bench(exact, qemu=qemu)
    bench.run(bench.submit(1))
    bench.busy.set(bench.host.now_ns, 0)
    # wake, dispatch; once more for the completion, with event and coroutine
    assert bench.busy.area == turns * 200 + 200


def test_nothing_limits_what_a_ring_has_in_flight(exact: bool) -> None:
    bench = Bench(exact, ring=True)
    bench.run(bench.submit(300))
    assert bench.waits(Stage.AIO_WAIT) == [0] * 300
    assert len(bench.done) == 300


@pytest.mark.parametrize(
    ("ring", "first", "last"),
    [
        # Preparing takes 100 each, io_submit 100 and 100 for each page, its way back 100. The 32nd starts the first
        # 32: 3,200 + 100 + 3,200, its own request without a wait. Four such batches end at 26,400; the last two are
        # prepared at 26,500 and 26,600, and submitted by the unplugging: 100 + 200.
        (False, [6_500 - 100 * n for n in range(1, 32)] + [0], [400, 300]),
        # The 128th finds the ring full: 12,800 + 100 + 12,800. From then on each is submitted by itself.
        (True, [25_700 - 100 * n for n in range(1, 128)] + [0], [0, 0]),
    ],
    ids=["native", "ring"],
)
def test_plugged_requests_are_submitted_together(ring: bool, first: list[int], last: list[int], exact: bool) -> None:
    bench = Bench(exact, max_events=1024, ring=ring)

    def plugged() -> Steps[None]:
        bench.aio.io_plug()
        yield from bench.submit(130)
        yield from bench.aio.io_unplug(bench.thread)

    bench.run(plugged())
    assert bench.waits(Stage.AIO_WAIT)[: len(first)] == first
    assert bench.waits(Stage.AIO_WAIT)[128:] == last
    assert len(bench.done) == 130


def test_the_batch_is_smaller_when_few_events_are_left(exact: bool) -> None:
    bench = Bench(exact, max_events=3)

    def plugged() -> Steps[None]:
        bench.aio.io_plug()
        yield from bench.submit(5)
        yield from bench.aio.io_unplug(bench.thread)

    bench.run(plugged())
    # The third fills what the kernel takes: prepared at 300, submitted by 300 + 100 + 300. The others wait for it.
    assert bench.waits(Stage.AIO_WAIT)[:3] == [600, 500, 0]
    assert [ret for _, ret, _ in bench.done] == [0] * 5


def test_completions_are_taken_in_their_order_in_one_turn(exact: bool) -> None:
    bench = Bench(exact, max_events=10)

    def two() -> Steps[None]:
        yield from bench.submit(2)
        yield Block(200_000)  # the submitter keeps the BQL until both are complete

    bench.run(two())
    # At 200,000 the main loop has waited for the BQL since it was woken: dispatch 100, then 200 for each.
    assert [(number, at) for number, _, at in bench.done] == [(0, 200_300), (1, 200_500)]
