"""The protocol node: a file of the host (block/raw-posix.c of 1.6, block/file-posix.c of 7.2)."""

from functools import partial

from iosim.disk.file import BufferedFile, HostFile
from iosim.host import HostThread
from iosim.model.records import FLUSH, READ, WRITE, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Steps
from iosim.qemu.coroutine import QEMU_COROUTINE_YIELD, Coroutine
from iosim.qemu.coroutine_lock import CoQueue
from iosim.qemu.io_uring import IoUring
from iosim.qemu.linux_aio import LinuxAio
from iosim.qemu.thread_pool import PoolElement, ThreadPool, ThreadPoolFunc
from iosim.qemu.versions import QemuVersion

NODE = ("bdrv_co_preadv_part", "bdrv_co_pwritev_part")
"""What each node calls for a read and for a write since 2.x, whatever its driver."""


class FilePosix:
    """Reads, writes and flushes one file, through the thread pool or *aio*. Results are 0 or a negative errno.

    With cache=unsafe (BDRV_O_NO_FLUSH) a flush does nothing. `write_gen` and `flushed_gen` decide whether a flush has
    anything to do (QEMU 2.7 and later).
    """

    def __init__(
        self,
        binder: Binder,
        version: QemuVersion,
        pool: ThreadPool,
        file: HostFile,
        cache: str,
        aio: LinuxAio | None = None,
    ) -> None:
        self.file = file
        self.aio = aio
        self._no_flush = cache == "unsafe"
        self.write_gen = 0
        self.flushed_gen = 0
        self._page_cache_inconsistent = 0
        self._flushing = False
        self._flush_queue = CoQueue(pool.main_loop.thread.host, Stage.AIO_WAIT, "flush_queue")
        self._version = version
        self._pool = pool
        read, write = ("bdrv_co_readv_em", "bdrv_co_writev_em") if version.cpu_io else NODE
        old = "paio_submit" if aio is None else "raw_aio_submit"
        prepare = old if version.cpu_io else "raw_co_prw"
        resumed = "bdrv_co_io_em_complete" if version.cpu_io else "aio_co_wake"
        submit = "qemu.thread_pool_submit_aio"
        down: list[str | tuple[str, str]] = [("qemu.raw_co_prw", prepare)]
        if aio is None:
            down.append(submit)
        self._read = binder.path(("qemu.bdrv_co_pwritev", read), *down)
        self._write = binder.path(("qemu.bdrv_co_pwritev", write), *down)
        self._write_zeroes = binder.path(
            ("qemu.bdrv_co_pwritev", "bdrv_co_pwrite_zeroes"), ("qemu.raw_co_prw", "raw_do_pwrite_zeroes"), submit
        )
        self._submit = binder.path(submit)
        self._resume = binder.path(("main_loop.coroutine_resume", resumed))

    # What the node above calls

    def co_pwritev(self, coroutine: Coroutine, request: Request, sector: int, sectors: int) -> Steps[int]:
        """bdrv_co_pwritev of this node."""
        yield self._write
        ret = yield from self.raw_co_prw(coroutine, request, WRITE, sector, sectors)
        self.write_gen += 1
        return ret

    def co_pwrite_zeroes(self, coroutine: Coroutine, request: Request, sector: int, sectors: int) -> Steps[int]:
        """bdrv_co_pwrite_zeroes of this node: fallocate through the thread pool (raw_co_pwrite_zeroes)."""
        yield self._write_zeroes
        func = partial(self._handle_aiocb_write_zeroes, request, sector, sectors)
        ret = yield from self._thread_pool_submit_co(coroutine, request, func)
        self.write_gen += 1
        return ret

    def co_preadv(self, coroutine: Coroutine, request: Request, sector: int, sectors: int) -> Steps[int]:
        """bdrv_co_preadv of this node."""
        yield self._read
        return (yield from self.raw_co_prw(coroutine, request, READ, sector, sectors))

    def co_flush(self, coroutine: Coroutine, request: Request) -> Steps[int]:
        """bdrv_co_flush of this node.

        Since 2.7 one flush waits for the other, and nothing is done if nothing was written since the last one.
        """
        if self._no_flush:
            return 0
        if not self._version.elides_flush:
            return (yield from self.raw_co_flush_to_disk(coroutine, request))
        generation = self.write_gen
        while self._flushing:
            yield from self._flush_queue.wait(coroutine, request)
        ret = 0
        if self.flushed_gen != generation:
            self._flushing = True
            ret = yield from self.raw_co_flush_to_disk(coroutine, request)
            self._flushing = False
            if not ret:
                self.flushed_gen = generation
        self._flush_queue.next(coroutine)
        return ret

    # The driver

    def raw_co_prw(self, coroutine: Coroutine, request: Request, op: str, sector: int, sectors: int) -> Steps[int]:
        """Read or write: laio_co_submit, luring_co_submit, or the thread pool (paio_submit in 1.6), behind its path."""
        if self.aio is not None:
            return (yield from self.aio.co_submit(coroutine, request, self.file, (op, sector, sectors)))
        func = partial(self._handle_aiocb_rw, request, op, sector, sectors)
        return (yield from self._thread_pool_submit_co(coroutine, request, func))

    def raw_co_flush_to_disk(self, coroutine: Coroutine, request: Request) -> Steps[int]:
        """Call fdatasync: by io_uring if that is used, else, with aio=native too, through the thread pool."""
        if isinstance(self.aio, IoUring):
            return (yield from self.aio.co_submit(coroutine, request, self.file, (FLUSH, 0, 0)))
        func = partial(self._handle_aiocb_flush, request)
        yield self._submit
        return (yield from self._thread_pool_submit_co(coroutine, request, func))

    def _thread_pool_submit_co(self, coroutine: Coroutine, request: Request, func: ThreadPoolFunc) -> Steps[int]:
        """thread_pool_submit_aio has been spent: queue the job, yield, and go on in the main loop once it is done."""
        yield SYNC
        assert coroutine.thread is not None
        coroutine.thread.request = None
        element = PoolElement(request, func, coroutine)
        self._pool.thread_pool_submit_aio(element)
        yield QEMU_COROUTINE_YIELD
        yield self._resume
        return element.ret

    # In a worker

    def _handle_aiocb_rw(self, request: Request, op: str, sector: int, sectors: int, thread: HostThread) -> Steps[int]:
        call = self.file.pwrite if op == WRITE else self.file.pread
        return (yield from call(thread, request, sector, sectors))

    def _handle_aiocb_flush(self, request: Request, thread: HostThread) -> Steps[int]:
        if self._page_cache_inconsistent:
            return self._page_cache_inconsistent
        ret = yield from self.file.fdatasync(thread, request)
        if ret and self._version.failed_flush_stays and isinstance(self.file, BufferedFile):
            self._page_cache_inconsistent = ret
        return ret

    def _handle_aiocb_write_zeroes(self, request: Request, sector: int, sectors: int, thread: HostThread) -> Steps[int]:
        return (yield from self.file.fallocate(thread, request, sector, sectors))
