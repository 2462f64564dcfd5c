"""QEMU's main-loop thread: main_loop_wait, bottom halves, timers (main-loop.c, async.c)."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TypeAlias

from iosim.host import HostThread, Mutex
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Block, Lock, Path, Steps, Unlock
from iosim.qemu.versions import QemuVersion

BottomHalf: TypeAlias = Callable[[], Steps[None]]


class MainLoop:
    """Waits in ppoll without the BQL, then takes it and runs what is ready: bottom halves in order, due timers.

    A bottom half that is scheduled twice before it runs, runs once. What becomes ready while one turn runs belongs to
    the next turn.
    """

    def __init__(self, thread: HostThread, binder: Binder, bql: Mutex, version: QemuVersion) -> None:
        self.thread = thread
        self.version = version
        self._keeps_bql = version.poll_keeps_bql
        self._alarm_timer = version.cpu_io
        self._ready: deque[BottomHalf] = deque()
        self._timers: list[tuple[int, int, BottomHalf]] = []
        self._n_timers = 0
        self._polls = False
        self._waker: Subject = thread.own_subject
        self._lock_wait = (0, 0, 0)
        self._wake = binder.path("main_loop.wake")
        self._poll = binder.path("main_loop.poll")
        self._dispatch = binder.path("main_loop.dispatch")
        self._sleep = Block(then=self._woken)
        self._lock = Lock(bql)
        self._unlock = Unlock(bql)

    def qemu_bh_schedule(self, bottom_half: BottomHalf, subject: Subject | None = None) -> None:
        """Make *bottom_half* ready and wake the thread (aio_notify); *subject* draws the cost of the wake-up."""
        if bottom_half not in self._ready:
            self._ready.append(bottom_half)
        if self._polls:
            self._waker = subject or self.thread.own_subject
            self.thread.wake()

    def event_notifier_set(self, handler: BottomHalf, subject: Subject | None = None) -> None:
        """An eventfd that the loop watches becomes readable: *handler* runs, once however often that happens."""
        self.qemu_bh_schedule(handler, subject)

    def timer_mod(self, at_ns: int, callback: BottomHalf) -> None:
        """Run *callback* at *at_ns* or soon after.

        A loop that sleeps is told if this is now its first timer: it wakes up to compute its deadline anew
        (timerlist_notify), up to 1.6 the alarm timer wakes it when the time comes.
        """
        self._n_timers += 1
        heappush(self._timers, (at_ns, self._n_timers, callback))
        if self._polls and self._timers[0][1] == self._n_timers:
            if self._alarm_timer:
                self.thread.wake_at(at_ns)
            else:
                self.thread.wake()

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
        keeps = self._keeps_bql and bool(self._ready)
        if holds_bql and not keeps:
            yield self._unlock
            holds_bql = False
        yield from self.os_host_main_loop_wait()
        if not holds_bql:
            self._lock_wait = yield self._lock
        yield self._dispatch
        yield SYNC
        for _ in range(len(self._ready)):
            yield from self._ready.popleft()()
            yield SYNC
        yield from self._run_timers()
        return True

    def _run_timers(self) -> Steps[None]:
        while self._timers and self._timers[0][0] <= self.thread.host.now_ns:
            yield from heappop(self._timers)[2]()
            yield SYNC

    def os_host_main_loop_wait(self) -> Steps[None]:
        """ppoll: sleep until a bottom half is scheduled or a timer is due; finding one at once costs one poll."""
        if self._ready:
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
