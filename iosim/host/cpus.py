"""The host's physical CPUs: one run queue in front of all of them, served in turn with a time slice."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from iosim.host.environment import Alarm, Host
from iosim.host.levels import Level

if TYPE_CHECKING:
    from iosim.host.thread import HostThread

SCHEDULER_THREAD = 1 << 40
"""The scheduler's number in the order of simultaneous events: it looks when all threads have had their turn."""


class Cpus:
    """Who runs on which CPU, and who waits for one in order of arrival.

    * A thread that becomes runnable gets its last CPU if that is free, else a free one (one that a halted vCPU polls
      on only if there is no other), else it queues.
    * A thread that has had its CPU for a slice or longer is preempted as soon as somebody queues who may run there:
      it goes to the end of the queue. In guest mode it leaves by an exit first (`HostThread.preempt`).
    * A CPU that becomes free goes to the first in the queue who may run on it.

    A halted vCPU that polls keeps its CPU busy, but gives it up at once to anybody who wants it.
    """

    def __init__(self, host: Host, n: int, slice_ns: int) -> None:
        self.n = n
        self.slice_ns = slice_ns
        self.migrations = 0
        self.busy = [Level(host.timeline, f"cpu{cpu}:busy") for cpu in range(n)]
        self.running_level = Level(host.timeline, "cpus:busy")
        self.queue_level = Level(host.timeline, "cpus:queue")
        self._host = host
        self._running: list[HostThread | None] = [None] * n
        self._pollers: list[tuple[HostThread, int] | None] = [None] * n
        self._n_pollers = 0
        self._queue: deque[HostThread] = deque()
        self._armed_ns: int | None = None
        host.cpus = self

    # What a thread asks

    def acquire(self, thread: "HostThread") -> bool:
        """Give *thread* a CPU, or put it in the queue and return False: `granted` will be called."""
        self.settle(self._host.now_ns)
        cpu = self._free_for(thread)
        if cpu is not None:
            self._place(thread, cpu)
            return True
        self._queue.append(thread)
        self.queue_level.set(self._host.now_ns, len(self._queue))
        self._arm()
        return False

    def release(self, thread: "HostThread", poll_ns: int = 0) -> None:
        """*thread* does not run any more; it may poll for *poll_ns* on the CPU that it leaves."""
        now = self._host.now_ns
        self.settle(now)
        cpu = thread.cpu
        self._running[cpu] = None
        heir = self._first_for(cpu)
        if heir is not None:
            self._queue.remove(heir)
            self.queue_level.set(now, len(self._queue))
            self._place(heir, cpu)
            heir.granted()
        elif poll_ns:
            self._pollers[cpu] = (thread, now + poll_ns)
            self._n_pollers += 1
        else:
            self._idle(cpu, now)

    def rotate(self, thread: "HostThread") -> bool:
        """Give *thread*'s CPU to the first who waits for it, and queue *thread*; False if nobody does."""
        if self._first_for(thread.cpu) is None:
            thread.slice_ns = self._host.now_ns
            return False
        self.release(thread)
        self._queue.append(thread)
        self.queue_level.set(self._host.now_ns, len(self._queue))
        self._arm()
        return True

    def polls(self, thread: "HostThread") -> bool:
        """Tell whether *thread*, halted, still polls on the CPU that it left."""
        poller = self._pollers[thread.cpu]
        return poller is not None and poller[0] is thread and self._host.now_ns <= poller[1]

    def settle(self, now_ns: int) -> None:
        """Count the polling that has ended before *now_ns*, in order of its ends: levels know no way back in time."""
        if not self._n_pollers:
            return
        ends = [
            (poller[1], cpu) for cpu, poller in enumerate(self._pollers) if poller is not None and poller[1] < now_ns
        ]
        for end_ns, cpu in sorted(ends):
            self._no_poller(cpu)
            self._idle(cpu, end_ns)

    # The run queue

    def _free_for(self, thread: "HostThread") -> int | None:
        polled = None
        last = thread.cpu
        for cpu in [last, *range(self.n)] if last >= 0 else range(self.n):
            if self._running[cpu] is not None or not thread.may_run_on(cpu):
                continue
            poller = self._pollers[cpu]
            if poller is None or poller[0] is thread:
                return cpu
            if polled is None:
                polled = cpu
        return polled

    def _first_for(self, cpu: int) -> "HostThread | None":
        for thread in self._queue:
            if thread.may_run_on(cpu):
                return thread
        return None

    def _place(self, thread: "HostThread", cpu: int) -> None:
        now = self._host.now_ns
        self._no_poller(cpu)
        self._running[cpu] = thread
        if not self.busy[cpu].value:
            self.busy[cpu].set(now, 1)
            self.running_level.change(now, 1)
        if thread.cpu != cpu:
            self.migrations += thread.cpu >= 0
            thread.cpu = cpu
        thread.slice_ns = now
        if self._queue:
            self._arm()

    def _idle(self, cpu: int, at_ns: int) -> None:
        self.busy[cpu].set(at_ns, 0)
        self.running_level.change(at_ns, -1)

    def _no_poller(self, cpu: int) -> None:
        if self._pollers[cpu] is not None:
            self._pollers[cpu] = None
            self._n_pollers -= 1

    # Time slices

    def _arm(self) -> None:
        """See to it that the scheduler looks when the next slice ends of a thread that somebody waits for."""
        now = self._host.now_ns
        waiting = self._without_a_promise()
        ends = [
            max(now, running.slice_ns + self.slice_ns)
            for cpu, running in enumerate(self._running)
            if running is not None and not running.need_resched and any(thread.may_run_on(cpu) for thread in waiting)
        ]
        if not ends:
            return
        at = min(ends)
        if self._armed_ns is not None and now <= self._armed_ns <= at:
            return
        self._armed_ns = at
        alarm = Alarm(self._host)
        alarm.call(self._tick)
        self._host.set_alarm(alarm, at, SCHEDULER_THREAD)

    def _without_a_promise(self) -> "Iterable[HostThread]":
        """Return who waits and is not about to get the CPU of a vCPU that is on its way out of the guest."""
        promised = [cpu for cpu, thread in enumerate(self._running) if thread is not None and thread.need_resched]
        if not promised:
            return self._queue
        return [thread for thread in self._queue if _take(promised, thread) is None]

    def _tick(self, _: object) -> None:
        """Preempt for each who waits the thread whose slice has ended first, if it may run there."""
        now = self._host.now_ns
        self._armed_ns = None
        running = [(thread.slice_ns, cpu, thread) for cpu, thread in enumerate(self._running) if thread is not None]
        ended = sorted(
            (begun, cpu)
            for begun, cpu, thread in running
            if not thread.need_resched and begun + self.slice_ns <= now and thread.preemptible
        )
        for waiter in tuple(self._without_a_promise()):
            if not ended:
                break
            if not waiter.waits_for_cpu:
                continue
            cpu = _take([cpu for _, cpu in ended], waiter)
            if cpu is None:
                continue
            ended = [place for place in ended if place[1] != cpu]
            thread = self._running[cpu]
            assert thread is not None
            if thread.preempt():
                self.rotate(thread)
        if self._queue:
            self._arm()


def _take(cpus: list[int], thread: "HostThread") -> int | None:
    """Remove the first CPU on which *thread* may run, and return it."""
    for at, cpu in enumerate(cpus):
        if thread.may_run_on(cpu):
            return cpus.pop(at)
    return None
