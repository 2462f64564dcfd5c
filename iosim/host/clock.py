"""The clock, as whoever moves it sees it."""

from heapq import heappop
from typing import Any


class Clock:
    """Time in int nanoseconds, the order of events, and whether exits are executed one by one (*exact*).

    `turn` says how far the present instant has been worked off: events of threads up to this number have run at
    `now_ns`. That is what decides whether a step that ends at this very instant has ended. A thread that finds no
    event in `queue` before the end of what it spends may move `now_ns` itself (`advance`): the same as sleeping until
    then, without a trip through the queue. `cpus` are the physical CPUs (`iosim.host.cpus.Cpus`), None if every thread
    has one whenever it wants it. The queue's entries are (ns, thread, number, event), as a heap; an event that is
    `processed` has gone off, or has been set again for an earlier time.
    """

    def __init__(self, exact: bool, timeline: Any, queue: list[tuple[int, int, int, Any]]) -> None:
        self.exact = exact
        self.timeline = timeline
        self.now_ns = 0
        self.turn = -1
        self.stopped = False
        self.cpus: Any = None
        self.queue = queue

    def advance(self, to_ns: int, thread: int) -> bool:
        """Move the clock to *to_ns* if no event comes before *thread*'s at that time; tell whether it was done."""
        queue = self.queue
        while queue and queue[0][0] <= to_ns:
            at, before, _, event = queue[0]
            processed: bool = event.processed
            if not processed:
                if at < to_ns or before < thread:
                    return False
                break
            heappop(queue)
        self.now_ns = to_ns
        self.turn = thread
        return True
