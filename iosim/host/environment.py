"""The host's clock: a SimPy environment in which simultaneous events have a documented order.

Of the pending events the one with the smallest (time, thread) runs next, wake-ups included; a thread never has two.
The numbers of the threads are given when a machine is wired (`iosim.machine`).
"""

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.events import NORMAL

from iosim.host.levels import Timeline


class Alarm(simpy.Event):
    """What a thread sleeps on. It may be set again for an earlier time; the later entry is then skipped."""

    def __init__(self, host: "Host") -> None:
        self.env = host
        self.callbacks = []
        self._value = None
        self._ok = True
        self._defused = False

    def renew(self) -> None:
        """It has gone off, and is to be slept on again."""
        self.callbacks = []

    def call(self, function: Callable[[Any], None]) -> None:
        """Have *function* called, with the alarm, when it goes off."""
        self.callbacks.append(function)

    def successor(self) -> "Alarm":
        """Return a new alarm for who sleeps on this one, which is void from here on."""
        alarm = Alarm(self.env)  # type: ignore[arg-type]
        alarm.callbacks, self.callbacks = self.callbacks, None  # type: ignore[assignment]
        return alarm


class Host(simpy.Environment):
    """Time in int nanoseconds, the order of events, and whether exits are executed one by one (*exact*).

    `turn` says how far the present instant has been worked off: events of threads up to this number have run at
    `now_ns`. That is what decides whether a step that ends at this very instant has ended. A thread that finds no
    event in `queue` before the end of what it spends may move `now_ns` itself (`advance`): the same as sleeping until
    then, without a trip through the queue. `cpus` are the physical CPUs (`iosim.host.cpus.Cpus`), None if every thread
    has one whenever it wants it.
    """

    def __init__(self, exact: bool = False) -> None:
        super().__init__(initial_time=0)
        self.exact = exact
        self.timeline = Timeline()
        self.now_ns = 0
        self.turn = -1
        self.stopped = False
        self.cpus: Any = None
        self.queue: Any = self._queue

    def start(self, process: Generator[simpy.Event, Any, Any]) -> None:
        """Make *process* a SimPy process that begins at the present instant."""
        self.process(process)

    def schedule(self, event: simpy.Event, priority: Any = NORMAL, delay: float = 0) -> None:
        """Schedule what SimPy schedules itself, the begin and the end of processes, at the present instant."""
        self._now = self.now_ns
        super().schedule(event, priority, delay)

    def set_alarm(self, alarm: Alarm, at_ns: int, thread: int) -> None:
        """Let *alarm* go off at *at_ns* in the turn of *thread*."""
        heappush(self._queue, (at_ns, thread, next(self._eid), alarm))  # type: ignore[misc]

    def advance(self, to_ns: int, thread: int) -> bool:
        """Move the clock to *to_ns* if no event comes before *thread*'s at that time; tell whether it was done."""
        queue = self._queue
        while queue and queue[0][0] <= to_ns:
            head = queue[0]
            if head[3].callbacks is not None:
                if head[0] < to_ns or head[1] < thread:
                    return False
                break
            heappop(queue)
        self.now_ns = to_ns
        self.turn = thread
        return True

    def stop(self) -> None:
        """End the run at the present instant: no further event runs, no thread moves the clock."""
        self.stopped = True
        barrier = Alarm(self)
        self.set_alarm(barrier, -1, -1)

    def run(self, until: Any = None) -> None:
        """Run events in order until none is left, or until `stop`.

        NOTE: SimPy's step is written out here, with turns and past alarms that were set again for an earlier time.
        """
        queue = self._queue
        while queue:
            at, thread, _, event = heappop(queue)
            callbacks = event.callbacks
            if callbacks is None:
                continue
            if self.stopped:
                return
            if at != self.now_ns:
                self.now_ns = at  # type: ignore[assignment]
                self.turn = thread
            elif thread > self.turn:
                self.turn = thread
            event.callbacks = None  # type: ignore[assignment]
            for callback in callbacks:
                callback(event)
            if not event._ok and not event.defused:
                raise event._value
