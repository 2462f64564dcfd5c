"""Queues and mutexes of coroutines (qemu-coroutine-lock.c of 1.6, util/qemu-coroutine-lock.c of 7.2)."""

from collections import deque

from iosim.host import Host, Level
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Steps
from iosim.qemu.coroutine import QEMU_COROUTINE_YIELD, Coroutine


class CoQueue:
    """Coroutines that wait in *function*, first in, first out. The time of their requests is that of *stage*."""

    def __init__(
        self,
        host: Host,
        stage: Stage,
        carrier: str,
        waiting: Level | None = None,
        function: str = "qemu_co_queue_wait",
    ) -> None:
        self._host = host
        self._stage = stage
        self._carrier = carrier
        self._function = function
        self._entries: deque[tuple[Coroutine, Request]] = deque()
        self._waiting = waiting

    def __len__(self) -> int:
        return len(self._entries)

    def wait(self, coroutine: Coroutine, request: Request, at_head: bool = False) -> Steps[None]:
        """qemu_co_queue_wait (qemu_co_queue_wait_insert_head): yield until somebody wakes *coroutine*."""
        yield SYNC
        assert coroutine.thread is not None
        coroutine.thread.request = None
        if at_head:
            self._entries.appendleft((coroutine, request))
        else:
            self._entries.append((coroutine, request))
        self._change(1)
        request.wait_in(self._stage, self._carrier, self._function)
        yield QEMU_COROUTINE_YIELD

    def next(self, by: Coroutine) -> bool:
        """qemu_co_queue_next, behind a SYNC: *by* wakes the first, which runs when *by* yields; False if none waits."""
        if not self._entries:
            return False
        by.co_queue_wakeup.append(self.pop())
        return True

    def restart_all(self, by: Coroutine) -> None:
        """qemu_co_queue_restart_all."""
        while self.next(by):
            pass

    def pop(self) -> tuple[Coroutine, Request]:
        """Take the first out of the queue: it is entered now."""
        self._change(-1)
        return self._entries.popleft()

    def _change(self, by: int) -> None:
        if self._waiting is not None:
            self._waiting.change(self._host.now_ns, by)


class CoMutex:
    """A lock between coroutines.

    *hands_over* (2.9 and later): whoever unlocks gives it to the first that waits. Before, the first that waits is
    woken and looks again, and the one that unlocked may have taken the lock a second time by then.
    """

    def __init__(self, host: Host, carrier: str, hands_over: bool, held: Level, waiting: Level) -> None:
        self._host = host
        self._hands_over = hands_over
        self._locked = False
        self._queue = CoQueue(host, Stage.QEMU_SUBMIT, carrier, waiting, "qemu_co_mutex_lock")
        self._held = held

    def lock(self, coroutine: Coroutine, request: Request) -> Steps[None]:
        """qemu_co_mutex_lock."""
        yield SYNC
        if self._hands_over:
            if self._locked:
                yield from self._queue.wait(coroutine, request)
                return
        else:
            while self._locked:
                yield from self._queue.wait(coroutine, request)
        self._set(True)

    def unlock(self, coroutine: Coroutine) -> Steps[None]:
        """qemu_co_mutex_unlock."""
        yield SYNC
        woken = self._queue.next(coroutine)
        if not (woken and self._hands_over):
            self._set(False)

    def _set(self, locked: bool) -> None:
        self._locked = locked
        self._held.set(self._host.now_ns, int(locked))
