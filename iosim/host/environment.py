"""The host's clock: a SimPy environment in which simultaneous events have a documented order.

Of the pending events the one with the smallest (time, thread) runs next, wake-ups included; a thread never has two.
The numbers of the threads are given when a machine is wired (`iosim.machine`).
"""

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.events import NORMAL

from iosim.host.clock import Clock
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


class Host(Clock, simpy.Environment):
    """The clock in a SimPy environment."""

    def __init__(self, exact: bool = False) -> None:
        simpy.Environment.__init__(self, initial_time=0)
        Clock.__init__(self, exact, Timeline(), self._queue)  # type: ignore[arg-type]

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
