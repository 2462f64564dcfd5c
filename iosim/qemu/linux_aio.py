"""aio=native: the submitting thread gives requests to the kernel itself (block/linux-aio.c).

No worker is involved: the kernel tells the event loop by an eventfd that something is complete.
"""

import errno
from collections import deque
from collections.abc import Callable, Sequence

from iosim.disk.file import HostFile, pages
from iosim.host import HostThread
from iosim.model.records import WRITE, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Path, Steps
from iosim.qemu.coroutine import QEMU_COROUTINE_YIELD, Coroutine
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.versions import QemuVersion

DEFAULT_MAX_BATCH = 32
"""So many requests are submitted together at most, also before the queue is unplugged (QEMU 6.1 and later)."""


class Aiocb:
    """qemu_laiocb, LuringAIOCB: one request; `ret` is None until who submitted it knows the result."""

    __slots__ = ("coroutine", "file", "op", "request", "result", "ret", "sector", "sectors")

    def __init__(self, coroutine: Coroutine, request: Request, file: HostFile, io: tuple[str, int, int]) -> None:
        self.coroutine = coroutine
        self.request = request
        self.file = file
        self.op, self.sector, self.sectors = io
        self.result = 0
        self.ret: int | None = None


class LinuxAio:
    """LinuxAioState: requests with O_DIRECT, by io_submit.

    In 7.2 one per AioContext: what is beyond *max_events* waits in `pending` and is submitted by the main loop when
    something completes, and a submission looks whether its own request is complete already. In 1.6 one per file, and
    the request beyond *max_events* fails with EIO.
    """

    prepare, enter, back = "qemu.laio_do_submit", "qemu.io_submit", "qemu.io_submit_return"
    completion = "main_loop.laio_completion"

    def __init__(self, binder: Binder, version: QemuVersion, main_loop: MainLoop) -> None:
        self.in_flight = 0
        self.watch: Callable[[Request], None] | None = None
        self.pending: deque[Aiocb] = deque()
        self.plugged = 0
        self._binder = binder
        self._main_loop = main_loop
        self._queues = version.laio_queues
        self._max_events = self._batch = version.laio_max_events
        self._completed: deque[Aiocb] = deque()
        main_loop.add_aio_handler(self)
        self._prepare = binder.path(("qemu.laio_do_submit", "laio_submit") if version.cpu_io else self.prepare)
        self._back = binder.path(self.back)
        completion = (self.completion, "qemu_laio_completion_cb") if version.cpu_io else self.completion
        self._completion = binder.path(completion)
        resumed = "bdrv_co_io_em_complete" if version.cpu_io else "aio_co_wake"
        self._resume = binder.path(("main_loop.coroutine_resume", resumed))
        self._enter_paths: dict[tuple[int, int], Path] = {}

    # The submitting thread

    def co_submit(self, coroutine: Coroutine, request: Request, file: HostFile, io: tuple[str, int, int]) -> Steps[int]:
        """laio_co_submit (laio_submit), luring_co_submit: submit *io* (op, sector, sectors) and yield until it is done.

        Returns 0 or a negative errno.
        """
        thread = coroutine.thread
        assert thread is not None
        yield self._prepare
        yield SYNC
        aiocb = Aiocb(coroutine, request, file, io)
        if not self._queues and self.in_flight >= self._max_events:
            return -errno.EIO
        self.pending.append(aiocb)
        if self.in_flight < self._max_events and (not self.plugged or self._is_batch()):
            yield from self._ioq_submit(thread)
            if self._queues and aiocb in self._completed:
                self._completed.remove(aiocb)
                self._seen()
                self.in_flight -= 1
                request.stop_waiting(thread.host.now_ns)
                thread.request = request
                return aiocb.result
        if thread.request is request:
            thread.request = None
            request.wait_in(Stage.AIO_WAIT, thread.name, "ioq_submit")
        yield QEMU_COROUTINE_YIELD
        yield self._resume
        assert aiocb.ret is not None
        return aiocb.ret

    def _is_batch(self) -> bool:
        """Whether what has been collected is submitted before the queue is unplugged (laio_max_batch)."""
        return len(self.pending) >= min(DEFAULT_MAX_BATCH, self._max_events - self.in_flight)

    def io_plug(self) -> None:
        """Collect what is submitted from here on (laio_io_plug, luring_io_plug)."""
        self.plugged += 1

    def io_unplug(self, thread: HostThread) -> Steps[None]:
        """Submit what has been collected (laio_io_unplug, luring_io_unplug)."""
        self.plugged -= 1
        if not self.plugged and self.pending and self.in_flight < self._max_events:
            yield from self._ioq_submit(thread)

    def _ioq_submit(self, thread: HostThread) -> Steps[None]:
        """One system call after the other until the queue is empty or *max_events* are in flight.

        7.2 then looks for completions (docs/limits.md: for those of these requests alone); for as long it has a bottom
        half scheduled, which wakes a loop that sleeps.
        """
        while self.pending and self.in_flight < self._max_events:
            n = min(len(self.pending), self._batch, self._max_events - self.in_flight)
            batch = [self.pending.popleft() for _ in range(n)]
            self.in_flight += n
            yield self._entering(batch)
            yield SYNC
            now = thread.host.now_ns
            for aiocb in batch:
                if thread.request is aiocb.request:
                    thread.request = None
                else:
                    aiocb.request.stop_waiting(now)
                self._start(aiocb)
            yield self._back
            yield SYNC
        if self._queues:
            self._main_loop.aio_notify(batch[-1].request)

    def _entering(self, batch: Sequence[Aiocb]) -> Path:
        """Return the path of the system call down to the disk's queue: it pins one page per 4 KiB."""
        return self._enter_path(sum(pages(aiocb.sectors) for aiocb in batch), 0)

    def _enter_path(self, pinned: int, copied: int) -> Path:
        key = (pinned, copied)
        if key not in self._enter_paths:
            keys = [self.enter, *["worker.page"] * pinned, *["cache.read_page"] * copied]
            self._enter_paths[key] = self._binder.path(*keys, stage=Stage.QEMU_SUBMIT)
        return self._enter_paths[key]

    def _start(self, aiocb: Aiocb) -> None:
        """The kernel has the request; a write that the file has no room for ends at once."""
        if aiocb.op == WRITE and (ret := aiocb.file.grow(aiocb.sector + aiocb.sectors)):
            self._complete(aiocb, ret)
            return
        job = aiocb.file.job(aiocb.request, aiocb.op, aiocb.sector, aiocb.sectors)
        assert aiocb.file.bios is not None
        aiocb.file.bios.submit_bio(job, lambda ret: self._complete(aiocb, ret))

    def _complete(self, aiocb: Aiocb, ret: int) -> None:
        """aio_complete and eventfd_signal, or a completion queue entry: the event loop is told."""
        aiocb.result = ret
        self._completed.append(aiocb)
        aiocb.request.wait_in(Stage.COMPLETION_WAIT, self._main_loop.thread.name)
        self._main_loop.event_notifier_set(self.process_completions, aiocb.request)
        if self.watch is not None:
            self.watch(aiocb.request)

    # The event loop

    def _seen(self) -> None:
        """Completions have been taken: the eventfd does not know."""

    def io_poll(self) -> bool:
        """qemu_laio_poll_cb, qemu_luring_poll_cb: tell whether anything is complete."""
        return bool(self._completed)

    def poll_ready(self) -> Steps[None]:
        """qemu_laio_poll_ready, qemu_luring_poll_ready."""
        yield from self.process_completions()

    def io_poll_begin(self) -> None:
        """The kernel cannot be told to leave the eventfd alone."""

    def io_poll_end(self) -> None:
        """Nothing has been changed by `io_poll_begin`."""

    def process_completions(self) -> Steps[None]:
        """qemu_laio_completion_cb, qemu_luring_completion_cb: resume the coroutines of complete requests in order."""
        main_loop = self._main_loop
        yield SYNC
        main_loop.aio_notify()
        while self._completed:
            aiocb = self._completed.popleft()
            self.in_flight -= 1
            aiocb.ret = aiocb.result
            main_loop.carry(aiocb.request)
            yield self._completion
            yield from aiocb.coroutine.enter(main_loop.thread)
            main_loop.put_down()
            yield SYNC
        self._seen()
        if self.pending and not self.plugged:
            yield from self._ioq_submit(main_loop.thread)
