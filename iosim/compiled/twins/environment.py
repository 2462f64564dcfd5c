"""Twin of `iosim.host.environment`: the clock and the order of events, without SimPy."""

from heapq import heappop, heappush
from typing import Any

from iosim.compiled.native import collect_garbage, is_process, resume
from iosim.compiled.twins.levels import Timeline
from iosim.host.clock import Clock

URGENT, NORMAL = 0, 1
"""Places in the order of simultaneous events that SimPy gives to the begin and the end of a process."""


class Alarm:
    """What a thread sleeps on. `sleeper`, a process or a function, is told when it goes off; it is then `processed`."""

    __slots__ = ("processed", "sleeper")

    def __init__(self, host: "Host | None") -> None:
        self.sleeper: Any = None
        self.processed = False

    def renew(self) -> None:
        """It has gone off, and is to be slept on again."""
        self.sleeper = None
        self.processed = False

    def call(self, function: Any) -> None:
        """Have *function* called, with the alarm, when it goes off."""
        self.sleeper = function

    def successor(self) -> "Alarm":
        """Return a new alarm for who sleeps on this one, which is void from here on."""
        alarm = Alarm(None)
        alarm.sleeper = self.sleeper
        self.processed = True
        return alarm


class Host(Clock):
    """The clock, and the events in its order."""

    def __init__(self, exact: bool = False) -> None:
        super().__init__(exact, Timeline(), [])
        self.n_events = 0

    def start(self, process: Any) -> None:
        """Have *process* begin at the present instant."""
        alarm = Alarm(self)
        alarm.sleeper = process
        self.set_alarm(alarm, self.now_ns, URGENT)

    def set_alarm(self, alarm: Alarm, at_ns: int, thread: int) -> None:
        """Let *alarm* go off at *at_ns* in the turn of *thread*."""
        self.n_events += 1
        heappush(self.queue, (at_ns, thread, self.n_events, alarm))

    def stop(self) -> None:
        """End the run at the present instant."""
        self.stopped = True
        self.set_alarm(Alarm(self), -1, -1)

    def run(self, n: int) -> bool:
        """Run up to *n* events in order; tell whether the run is over: none is left, or `stop` was called.

        A process goes on until it sleeps on another alarm.
        """
        queue = self.queue
        for _ in range(n):
            if not queue:
                return True
            collect_garbage()
            event: tuple[int, int, int, Alarm] = heappop(queue)
            at, thread, _, alarm = event
            if alarm.processed:
                continue
            if self.stopped:
                return True
            if at != self.now_ns:
                self.now_ns = at
                self.turn = thread
            elif thread > self.turn:
                self.turn = thread
            alarm.processed = True
            sleeper = alarm.sleeper
            if sleeper is None:
                continue
            if not is_process(sleeper):
                sleeper(alarm)
                continue
            following: Alarm | None = resume(sleeper)
            if following is None:
                self.set_alarm(Alarm(self), self.now_ns, NORMAL)
            else:
                following.sleeper = sleeper
        return False
