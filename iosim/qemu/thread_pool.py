"""The aio thread pool of a QEMU process (thread-pool.c of 1.6, util/thread-pool.c of 7.2)."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from iosim.host import Host, HostThread, Level
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Block, Path, Steps
from iosim.qemu.coroutine import Coroutine
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.versions import QemuVersion

MAX_THREADS = 64
IDLE_NS = 10_000_000_000
"""A worker that finds nothing to do for 10000 ms leaves."""

ThreadPoolFunc: TypeAlias = Callable[[HostThread], Steps[int]]
"""What a worker runs for an element: a system call and what surrounds it. Its result is 0 or a negative errno."""


class PoolElement:
    """ThreadPoolElement: one job, from thread_pool_submit_aio until its completion has run. `ret` is its result."""

    __slots__ = ("coroutine", "done", "func", "request", "ret")

    def __init__(self, request: Request, func: ThreadPoolFunc, coroutine: Coroutine) -> None:
        self.request = request
        self.func = func
        self.coroutine = coroutine
        self.done = False
        self.ret = 0


class Worker:
    """One worker thread and, while it is idle, since when."""

    __slots__ = ("exiting", "idle", "idle_since_ns", "number", "thread", "woken_for")

    def __init__(self, number: int, thread: HostThread) -> None:
        self.number = number
        self.thread = thread
        self.idle_since_ns = 0
        self.exiting = False
        self.woken_for: Request | None = None
        self.idle: Block


class ThreadPool:
    """Up to 64 workers that serve one first-in-first-out list.

    A submission starts a thread only if none is idle; a worker that has been woken but does not run yet counts as
    idle. Threads are started by a bottom half of the main loop and then in a chain, each new one starting the next.
    """

    def __init__(
        self,
        host: Host,
        binder: Binder,
        version: QemuVersion,
        main_loop: MainLoop,
        name: str,
        new_thread: Callable[[int], HostThread],
    ) -> None:
        self._host = host
        self.main_loop = main_loop
        self._by_eventfd = version.pool_completes_by_eventfd
        self._new_thread = new_thread
        self._head: deque[PoolElement] = deque()
        self.request_list: deque[PoolElement] = deque()
        self._waiting: deque[Worker] = deque()
        self._numbers: set[int] = set()
        self.idle_threads = 0
        self.cur_threads = 0
        self.new_threads = 0
        self.pending_threads = 0
        self.busy = Level(host.timeline, f"{name}:busy")
        self.queue = Level(host.timeline, f"{name}:queue")
        self._start_path = binder.path("pool.thread_start")
        self._spawn_path = binder.path("pool.do_spawn_thread")
        self._wake_path = binder.path("pool.worker_wake")
        self._dequeue = binder.path("worker.dequeue")
        old = main_loop.version.cpu_io
        self._notify = binder.path(("worker.notify", "event_notifier_set" if old else "qemu_bh_schedule"))
        self._notify_return = binder.path("worker.notify_return")
        completed = "event_notifier_ready" if old else "thread_pool_completion_bh"
        self._completion = binder.path(("main_loop.thread_pool_completion", completed))

    # The submitting thread

    def thread_pool_submit_aio(self, element: PoolElement) -> None:
        """Queue the element; start a thread if none is idle; wake one worker."""
        self._reap()
        self._head.appendleft(element)
        if self.idle_threads == 0 and self.cur_threads < MAX_THREADS:
            self.spawn_thread()
        self.request_list.append(element)
        self.queue.set(self._host.now_ns, len(self.request_list))
        element.request.wait_in(Stage.AIO_WAIT, "worker")
        if self._waiting:
            worker = self._waiting.popleft()
            worker.woken_for = element.request
            worker.thread.wake()

    def spawn_thread(self) -> None:
        """Note that a thread is wanted; a bottom half starts it unless a thread is being started already."""
        self.cur_threads += 1
        self.new_threads += 1
        if not self.pending_threads:
            self.main_loop.qemu_bh_schedule(self.spawn_thread_bh_fn)

    # The main loop

    def spawn_thread_bh_fn(self) -> Steps[None]:
        """new_thread_bh."""
        yield from self.do_spawn_thread()

    def thread_pool_completion_bh(self) -> Steps[None]:
        """Behind a SYNC: complete every element that is done, the most recent submission first, anew after each call.

        What is done while a callback runs is found as well; 7.2 cancels the bottom half that was scheduled for it.
        (event_notifier_ready in 1.6, an eventfd's handler.)
        """
        while True:
            for element in self._head:
                if element.done:
                    break
            else:
                return
            self._head.remove(element)
            self.main_loop.carry(element.request)
            yield self._completion
            yield from element.coroutine.enter(self.main_loop.thread)
            self.main_loop.put_down()
            yield SYNC
            self.main_loop.aio_notify()
            self.main_loop.qemu_bh_cancel(self.thread_pool_completion_bh)

    # The workers

    def do_spawn_thread(self) -> Steps[None]:
        """pthread_create of the next wanted thread, by the main loop or by the thread that was created before."""
        if not self.new_threads:
            return
        self.new_threads -= 1
        self.pending_threads += 1
        yield self._spawn_path
        yield SYNC
        number = next(n for n in range(MAX_THREADS) if n not in self._numbers)
        self._numbers.add(number)
        worker = Worker(number, self._new_thread(number))
        worker.idle = Block(then=partial(self._woken, worker))
        worker.thread.start(self.worker_thread(worker))

    def worker_thread(self, worker: Worker) -> Steps[None]:
        """The body of a worker: start the next thread if one is wanted, then serve the list; leave after 10 s idle."""
        yield self._start_path
        yield SYNC
        self.pending_threads -= 1
        yield from self.do_spawn_thread()
        while True:
            if self.request_list:
                yield from self._serve(worker.thread)
                continue
            self.idle_threads += 1
            worker.idle_since_ns = self._host.now_ns
            self._waiting.append(worker)
            yield worker.idle
            if worker.exiting:
                self._numbers.discard(worker.number)
                return
            worker.thread.subject = worker.thread.own_subject
            self.idle_threads -= 1

    def _woken(self, worker: Worker) -> Path | None:
        """The worker is woken for an element, or to leave."""
        if worker.exiting:
            return None
        worker.thread.subject = worker.woken_for or worker.thread.own_subject
        return self._wake_path

    def _serve(self, thread: HostThread) -> Steps[None]:
        """aio_worker: one element, from the list to the wake of the main loop."""
        now = self._host.now_ns
        element = self.request_list.popleft()
        self.queue.set(now, len(self.request_list))
        self.busy.change(now, 1)
        request = element.request
        request.stop_waiting(now)
        thread.request = thread.owner = request
        thread.subject = request
        yield self._dequeue
        element.ret = yield from element.func(thread)
        yield self._notify
        yield SYNC
        thread.request = thread.owner = None
        thread.subject = thread.own_subject
        request.wait_in(Stage.COMPLETION_WAIT, self.main_loop.thread.name)
        element.done = True
        if self._by_eventfd:
            self.main_loop.event_notifier_set(self.thread_pool_completion_bh, request)
        else:
            self.main_loop.qemu_bh_schedule(self.thread_pool_completion_bh, request)
        yield self._notify_return
        yield SYNC
        self.busy.change(self._host.now_ns, -1)

    def _reap(self) -> None:
        """Let the workers go that have been idle for 10 s by now; they are looked at only when it matters."""
        while self._waiting and self._waiting[0].idle_since_ns + IDLE_NS <= self._host.now_ns:
            worker = self._waiting.popleft()
            worker.exiting = True
            self.idle_threads -= 1
            self.cur_threads -= 1
            worker.thread.wake()
