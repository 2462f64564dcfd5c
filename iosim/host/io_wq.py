"""Kernel workers of io_uring (io_uring/io-wq.c): they run what would block the thread that submits."""

from collections import deque
from collections.abc import Callable

from iosim.host.thread import HostThread
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Block, Path, Steps

MAX_WORKERS = 64


class Work:
    """One piece of work: *func* is run by a worker, *done* called with its result.

    Works of one *serial* exclude each other (buffered writes of one file: io_wq_hash_work).
    """

    __slots__ = ("done", "func", "request", "serial")

    def __init__(
        self,
        request: Request,
        func: Callable[[HostThread], Steps[int]],
        done: Callable[[int], None],
        serial: object | None = None,
    ) -> None:
        self.request = request
        self.func = func
        self.done = done
        self.serial = serial


class IoWq:
    """Workers of one ring: started when work comes and none is idle, up to `MAX_WORKERS`; they stay."""

    def __init__(self, binder: Binder, new_thread: Callable[[int], HostThread]) -> None:
        self._new_thread = new_thread
        self._work: deque[Work] = deque()
        self._idle: deque[HostThread] = deque()
        self._n_workers = 0
        self._serials: set[object] = set()
        self._woken_for: dict[HostThread, Request] = {}
        self._wake = binder.path("worker.io_wq_wake")

    def io_wq_enqueue(self, work: Work) -> None:
        """Queue *work*; its request waits for a worker."""
        work.request.wait_in(Stage.AIO_WAIT, "iou-wrk", "io_wq_enqueue")
        self._work.append(work)
        if self._idle:
            thread = self._idle.popleft()
            self._woken_for[thread] = work.request
            thread.wake()
        elif self._n_workers < MAX_WORKERS:
            thread = self._new_thread(self._n_workers)
            self._n_workers += 1
            self._woken_for[thread] = work.request
            thread.start(self.io_wqe_worker(thread))

    def io_wqe_worker(self, thread: HostThread) -> Steps[None]:
        """The body of a worker."""
        idle = Block(then=lambda: self._woken(thread))
        yield SYNC
        yield self._woken(thread)
        while True:
            yield SYNC
            work = self._next()
            if work is None:
                thread.subject = thread.own_subject
                self._idle.append(thread)
                yield idle
                continue
            request = work.request
            request.stop_waiting(thread.host.now_ns)
            thread.request = thread.owner = request
            thread.subject = request
            ret = yield from work.func(thread)
            yield SYNC
            thread.request = thread.owner = None
            thread.subject = thread.own_subject
            self._serials.discard(work.serial)
            work.done(ret)

    def _woken(self, thread: HostThread) -> Path:
        thread.subject = self._woken_for.pop(thread)
        return self._wake

    def _next(self) -> Work | None:
        """Take the first work that nobody else's excludes."""
        for work in self._work:
            if work.serial is None or work.serial not in self._serials:
                self._work.remove(work)
                if work.serial is not None:
                    self._serials.add(work.serial)
                return work
        return None
