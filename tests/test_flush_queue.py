"""Flushes of one image that come at once. Every cost 100 ns, the disk 90 us, a flush 500 us; 1000 servers."""

import pytest

from iosim.disk import ConstantDisk, Disk, HostFile
from iosim.host import Host, HostThread, Mutex
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Block, Lock, Steps, Unlock
from iosim.qemu.block import BlockBackend, CompletionFunc, RawFormat
from iosim.qemu.file_posix import FilePosix
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.thread_pool import ThreadPool
from iosim.qemu.versions import VERSIONS
from tests.support import constant_profile

pytestmark = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])

FLUSH = 500_000


class Bench:
    """A drive without device: requests go straight to its backend. `done`: (number of the request, ns)."""

    def __init__(self, exact: bool, qemu: str) -> None:
        self.host = Host(exact=exact)
        binder = Binder(constant_profile())
        version = VERSIONS[qemu]
        self.bql = Mutex(self.host, "bql")
        main = HostThread(self.host, 1, "main", Subject(1))
        self.main_loop = MainLoop(main, binder, self.bql, version)
        pool = ThreadPool(self.host, binder, version, self.main_loop, "pool", self._worker)
        self.disk = Disk(self.host, "sda", ConstantDisk(90_000, FLUSH), 1000)
        node = RawFormat(binder, version, FilePosix(binder, version, pool, HostFile(binder, self.disk, 0), "none"))
        self.backend = BlockBackend(binder, version, self.main_loop, node, "none")
        self.thread = HostThread(self.host, 2, "submitter", Subject(2))
        self.requests: list[Request] = []
        self.done: list[tuple[int, int]] = []
        main.start(self.main_loop.main_loop())

    def _worker(self, number: int) -> HostThread:
        return HostThread(self.host, 10 + number, f"worker{number}", Subject(3))

    def run(self, *operations: tuple[int, str]) -> None:
        self.thread.start(self._submit(operations))
        self.host.run()

    def _submit(self, operations: tuple[tuple[int, str], ...]) -> Steps[None]:
        for at, op in operations:
            yield Block(at)
            yield Lock(self.bql)
            request = Request(len(self.requests), None, len(self.requests), op, 0, 8, self.host.now_ns)
            self.requests.append(request)
            self.thread.request = self.thread.subject = request
            yield from self.backend.blk_aio_prwv(self.thread, request, (op, 0, 8), self._completion(request))
            yield SYNC
            self.thread.request = None
            yield Unlock(self.bql)

    def _completion(self, request: Request) -> CompletionFunc:
        def complete(ret: int) -> Steps[None]:
            yield SYNC
            assert ret == 0
            self.done.append((request.number, self.host.now_ns))
            self.main_loop.put_down()

        return complete


OPERATIONS = [(1_000_000, "W"), (2_000_000, "F"), (2_100_000, "F"), (2_200_000, "W"), (2_300_000, "F")]


def test_a_flush_waits_for_the_one_under_way(exact: bool) -> None:
    bench = Bench(exact, "7.2")
    bench.run(*OPERATIONS)
    services = [request.stages[Stage.DISK_SERVICE] for request in bench.requests]
    # The second flush has nothing to do once the first is done; the third covers the second write.
    assert services == [90_000, FLUSH, 0, 90_000, FLUSH]
    times = dict(bench.done)
    assert [number for number, _ in bench.done] == [0, 3, 1, 2, 4]
    # The second runs on in the main loop at the instant at which the first has ended.
    assert times[2] == times[1]
    # It waits from its own bdrv_co_flush (blk_aio_prwv, coroutine, bdrv_co_flush: 300) until then.
    assert bench.requests[2].stages[Stage.AIO_WAIT] == times[1] - 2_100_300
    # The third begins then: thread_pool_submit_aio 100, worker 100, dequeue and fdatasync 200, the disk; after it
    # syscall_return, notify, main_loop.wake, dispatch, thread_pool_completion, coroutine_resume.
    assert times[4] == times[1] + 100 + 100 + 200 + FLUSH + 600


def test_flushes_go_side_by_side_in_1_6(exact: bool) -> None:
    bench = Bench(exact, "1.6")
    bench.run(*OPERATIONS)
    assert [request.stages[Stage.DISK_SERVICE] for request in bench.requests] == [90_000, FLUSH, FLUSH, 90_000, FLUSH]
    assert [number for number, _ in bench.done] == [0, 3, 1, 2, 4]
