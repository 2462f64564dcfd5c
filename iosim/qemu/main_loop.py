"""QEMU's main-loop thread: main_loop_wait, bottom halves, eventfds, timers (main-loop.c, async.c)."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol, TypeAlias

from iosim.host import HostThread, Mutex
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Block, Lock, Path, Steps, Unlock
from iosim.qemu.versions import QemuVersion

BottomHalf: TypeAlias = Callable[[], Steps[None]]
EventHandler: TypeAlias = Callable[[], Steps[None]]
"""What runs when an eventfd is found readable."""


class AioHandler(Protocol):
    """AioHandler: what an event loop can look at instead of waiting for its eventfd.

    `watch`, set while the loop polls, is called when `io_poll` becomes true.
    """

    watch: Callable[[Request], None] | None

    def io_poll(self) -> bool:
        """Tell whether there is anything to do."""

    def io_poll_begin(self) -> None:
        """The loop polls: nobody has to signal the eventfd."""

    def io_poll_end(self) -> None:
        """The loop does not poll any more."""

    def poll_ready(self) -> Steps[None]:
        """Do what there is to do."""


class MainLoop:
    """Waits in ppoll without the BQL, then takes it and runs what is ready.

    First the bottom halves, the last scheduled first (aio_bh_poll), then the handlers of readable eventfds, then due
    timers. A bottom half that is scheduled twice before it runs, runs once. What becomes ready while one turn runs
    belongs to the next.
    """

    def __init__(self, thread: HostThread, binder: Binder, bql: Mutex, version: QemuVersion) -> None:
        self.thread = thread
        self.version = version
        self._keeps_bql = version.poll_keeps_bql
        self._alarm_timer = version.cpu_io
        self._ready: list[BottomHalf] = []
        self._slice: list[BottomHalf] = []
        self._readable: deque[EventHandler] = deque()
        self._timers: list[tuple[int, int, BottomHalf]] = []
        self._n_timers = 0
        self._polls = False
        self._waker: Subject = thread.own_subject
        self._lock_wait: tuple[int, int, int] = (0, 0, 0)
        self._wake = binder.path("main_loop.wake")
        self._poll = binder.path("main_loop.poll")
        self._dispatch = binder.path("main_loop.dispatch")
        self._sleep = Block(then=self._woken)
        self._lock = Lock(bql)
        self._unlock = Unlock(bql)

    def qemu_bh_schedule(self, bottom_half: BottomHalf, subject: Subject | None = None) -> None:
        """Make *bottom_half* ready and wake the thread; *subject* draws the cost of the wake-up."""
        if bottom_half not in self._ready and bottom_half not in self._slice:
            self._ready.append(bottom_half)
        self.aio_notify(subject)

    def qemu_bh_cancel(self, bottom_half: BottomHalf) -> None:
        """Behind a SYNC: *bottom_half* does not run, if it was scheduled."""
        if bottom_half in self._ready:
            self._ready.remove(bottom_half)

    def aio_notify(self, subject: Subject | None = None) -> None:
        """Behind a SYNC: a loop that waits wakes up, also for a bottom half that is cancelled at once."""
        self._wake_up(subject)

    def event_notifier_set(self, handler: EventHandler, subject: Subject | None = None) -> None:
        """An eventfd that the loop watches becomes readable: *handler* runs, once however often that happens."""
        if handler not in self._readable:
            self._readable.append(handler)
        self._wake_up(subject)

    def event_notifier_clear(self, handler: EventHandler) -> None:
        """Behind a SYNC: what *handler* would be called for is no longer readable."""
        if handler in self._readable:
            self._readable.remove(handler)

    def _wake_up(self, subject: Subject | None) -> None:
        if self._polls:
            self._waker = subject or self.thread.own_subject
            self.thread.wake()

    def add_aio_handler(self, handler: AioHandler) -> None:
        """aio_set_event_notifier: *handler* may be polled; a loop under glib never polls."""

    def timer_mod(self, at_ns: int, callback: BottomHalf) -> None:
        """Run *callback* at *at_ns* or soon after.

        A loop that sleeps is told if this is now its first timer: it wakes up to compute its deadline anew
        (timerlist_notify), up to 1.6 the alarm timer wakes it when the time comes.
        """
        self._n_timers += 1
        heappush(self._timers, (at_ns, self._n_timers, callback))
        if self._timers[0][1] != self._n_timers:
            return
        if not self._alarm_timer:
            self.aio_notify()
        elif self._polls:
            self.thread.wake_at(at_ns)

    def carry(self, request: Request) -> None:
        """Take *request* in hand: its wait for this turn ends, of which the wait for the BQL is bql_wait.

        With `host.cpus` the thread may have had to wait for a CPU when it got the BQL: cpu_wait.
        """
        now = self.thread.host.now_ns
        if request.waiting in (Stage.COMPLETION_WAIT, Stage.SUBMIT_WAIT, Stage.THROTTLE_WAIT):
            asked, got, running = self._lock_wait
            request.charge(request.waiting, min(asked, now), self.thread.name, request.waits_at)
            request.charge(Stage.BQL_WAIT, min(got, now), self.thread.name)
            request.charge(Stage.CPU_WAIT, min(running, now), self.thread.name)
        request.stop_waiting(now)
        self.thread.request = request
        self.thread.owner = request
        self.thread.subject = request

    def put_down(self) -> None:
        """Carry nothing: the request went on, or waits for something else."""
        self.thread.request = None
        self.thread.owner = None
        self.thread.subject = self.thread.own_subject

    def main_loop(self) -> Steps[None]:
        """The thread's body: turns of main_loop_wait for ever."""
        holds_bql = False
        while True:
            holds_bql = yield from self.main_loop_wait(holds_bql)

    def main_loop_wait(self, holds_bql: bool) -> Steps[bool]:
        """One turn: wait until something is ready, take the BQL, run it. Returns whether the BQL is held."""
        keeps = self._keeps_bql and self._has_work
        if holds_bql and not keeps:
            yield self._unlock
            holds_bql = False
        yield from self.os_host_main_loop_wait()
        if not holds_bql:
            self._lock_wait = yield self._lock
        yield from self._run_ready()
        return True

    @property
    def _has_work(self) -> bool:
        """Whether a wait would end at once, timers aside."""
        return bool(self._ready) or bool(self._readable)

    def _run_ready(self) -> Steps[None]:
        """aio_dispatch: bottom halves, then handlers, then timers."""
        yield self._dispatch
        yield SYNC
        readable = len(self._readable)
        self._slice, self._ready = self._ready, []
        while self._slice:
            yield from self._slice.pop()()
            yield SYNC
        for _ in range(readable):
            yield from self._readable.popleft()()
            yield SYNC
        yield from self._run_timers()

    def _run_timers(self) -> Steps[None]:
        while self._timers and self._timers[0][0] <= self.thread.host.now_ns:
            yield from heappop(self._timers)[2]()
            yield SYNC

    def os_host_main_loop_wait(self) -> Steps[None]:
        """ppoll: sleep until something is ready or a timer is due; finding that at once costs one poll."""
        if self._has_work:
            yield self._poll
            return
        if not self._timers:
            self._polls = True
            yield self._sleep
        elif self._timers[0][0] > self.thread.host.now_ns:
            self._polls = True
            yield Block(self._timers[0][0], self._woken)
        else:
            yield self._poll
        self.thread.subject = self.thread.own_subject

    def _woken(self) -> Path:
        """The thread is woken out of ppoll, on behalf of whoever scheduled something, or by a timer."""
        self._polls = False
        self.thread.subject = self._waker
        self._waker = self.thread.own_subject
        return self._wake
