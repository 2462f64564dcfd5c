"""The block layer over the raw format: blk_aio_prwv, coroutines, both nodes, down to the thread pool.

The coroutine runs in the submitting thread, under the BQL, up to its first yield, and goes on in the main loop when
its job is done. (bdrv_aio_writev, bdrv_co_do_rw, bdrv_co_do_writev in 1.6; blk_aio_pwritev, blk_aio_write_entry,
bdrv_co_pwritev_part in 7.2; docs/path.md has the pairs.)
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from iosim.disk.queue import Disk, DiskJob
from iosim.host import HostThread
from iosim.model.records import FLUSH, WRITE, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Steps
from iosim.qemu.coroutine import QEMU_COROUTINE_YIELD, Coroutine
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.thread_pool import PoolElement, ThreadPool
from iosim.qemu.versions import QemuVersion

CompletionFunc: TypeAlias = Callable[[], Steps[None]]
"""BlockCompletionFunc: the device's callback, run by the main loop."""


class BlockBackend:
    """One drive's backend: raw over a file that lies from sector *first* on on one disk of the host.

    *fua* (cache=directsync): each write is followed by a flush before it is done, as a second job of the pool.
    `write_gen` and `flushed_gen` decide whether a flush has anything to do (QEMU 2.7 and later).
    """

    def __init__(
        self,
        binder: Binder,
        version: QemuVersion,
        pool: ThreadPool,
        main_loop: MainLoop,
        disk: Disk,
        first: int,
        fua: bool,
    ) -> None:
        self._version = version
        self._pool = pool
        self._main_loop = main_loop
        self._disk = disk
        self._first = first
        self._fua = fua
        self._write_gen = 0
        self._flushed_gen = 0
        node, submit = "qemu.bdrv_co_pwritev", "qemu.thread_pool_submit_aio"
        names = ("bdrv_co_do_writev", "bdrv_co_writev_em") if version.cpu_io else ("bdrv_co_pwritev_part",) * 2
        entry = "bdrv_aio_writev" if version.cpu_io else "blk_aio_prwv"
        prepare = "paio_submit" if version.cpu_io else "raw_co_prw"
        self._accept = binder.path(("qemu.blk_aio_prwv", entry), "qemu.coroutine_create")
        self._rw = binder.path((node, names[0]), (node, names[1]), ("qemu.raw_co_prw", prepare), submit)
        self._flush = binder.path("qemu.bdrv_co_flush", submit)
        self._elided = binder.path("qemu.bdrv_co_flush")
        self._return = binder.path("qemu.submit_return")
        resumed = "bdrv_co_io_em_complete" if version.cpu_io else "aio_co_wake"
        self._resume = binder.path(("main_loop.coroutine_resume", resumed))
        self._em_bh = binder.path("main_loop.bdrv_co_em_bh")

    def blk_aio_prwv(
        self, thread: HostThread, request: Request, io: tuple[str, int, int], complete: CompletionFunc
    ) -> Steps[None]:
        """Submit *io* (op, sector, sectors) for *request*; *complete* is called when it is done.

        Comes back when the coroutine has yielded for the first time; the thread then carries nothing any more.
        """
        yield self._accept
        coroutine = Coroutine()
        coroutine.create(self._aio_entry(coroutine, request, io, complete))
        yield from coroutine.enter(thread)
        yield self._return

    def _aio_entry(
        self, coroutine: Coroutine, request: Request, io: tuple[str, int, int], complete: CompletionFunc
    ) -> Steps[None]:
        """blk_aio_write_entry, blk_aio_read_entry, blk_aio_flush_entry (bdrv_co_do_rw in 1.6)."""
        op, sector, sectors = io
        submitter = coroutine.thread
        if op == FLUSH:
            yield from self._bdrv_co_flush(coroutine, request)
        else:
            yield self._rw
            yield from self._thread_pool_submit_co(coroutine, request, op, sector, sectors)
            if op == WRITE:
                self._write_gen += 1
                if self._fua:
                    yield from self._bdrv_co_flush(coroutine, request)
        thread = coroutine.thread
        assert thread is not None
        if self._version.completion_bottom_half or thread is submitter:
            yield SYNC
            self._let_go(thread)
            request.wait_in(Stage.COMPLETION_WAIT if thread is submitter else Stage.COMPLETION, "main")
            self._main_loop.qemu_bh_schedule(partial(self._bdrv_co_em_bh, request, complete), request)
        else:
            yield from complete()

    def _bdrv_co_flush(self, coroutine: Coroutine, request: Request) -> Steps[None]:
        """Call fdatasync through the pool; since 2.7 not if nothing was written since the last one."""
        if self._version.elides_flush and self._flushed_gen == self._write_gen:
            yield self._elided
            return
        generation = self._write_gen
        yield self._flush
        yield from self._thread_pool_submit_co(coroutine, request, FLUSH, 0, 0)
        self._flushed_gen = generation

    def _thread_pool_submit_co(
        self, coroutine: Coroutine, request: Request, op: str, sector: int, sectors: int
    ) -> Steps[None]:
        """Queue the job, yield, and go on in the main loop once it is done."""
        assert coroutine.thread is not None
        yield SYNC
        self._let_go(coroutine.thread)
        job = DiskJob(self._disk, request, op, self._first + sector, sectors)
        self._pool.thread_pool_submit_aio(PoolElement(request, job, coroutine))
        yield QEMU_COROUTINE_YIELD
        yield self._resume

    def _bdrv_co_em_bh(self, request: Request, complete: CompletionFunc) -> Steps[None]:
        """bdrv_co_em_bh (1.6), blk_aio_complete_bh (7.2, only if the request ended within its submission)."""
        self._main_loop.carry(request)
        yield self._em_bh
        yield from complete()
        self._main_loop.put_down()

    @staticmethod
    def _let_go(thread: HostThread) -> None:
        """From here on somebody else carries the request; the thread's exits still count for it."""
        thread.request = None
