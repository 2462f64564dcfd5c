"""QEMU's coroutines: one body, run first by the thread that submits and later by the one that completes."""

from collections import deque

from iosim.host import HostThread
from iosim.model.records import Request
from iosim.model.steps import LEAVE, SYNC, Call, Steps

QEMU_COROUTINE_YIELD = LEAVE
"""Yielded by a body where the real one calls qemu_coroutine_yield: whoever entered it goes on."""


class Coroutine:
    """A body of steps that can be left in the middle and entered again, by another thread.

    `thread` is the one that runs it at present. `co_queue_wakeup` are coroutines that it has woken: they run when it
    yields or ends, in the same thread.
    """

    def __init__(self) -> None:
        self.thread: HostThread | None = None
        self.co_queue_wakeup: deque[tuple[Coroutine, Request]] = deque()
        self._body: Steps[None] | None = None

    def create(self, body: Steps[None]) -> "Coroutine":
        """qemu_coroutine_create: give the coroutine its body."""
        self._body = body
        return self

    def enter(self, thread: HostThread) -> Steps[bool]:
        """qemu_coroutine_enter: run until the body yields or ends, then what it has woken; tell whether it ended."""
        assert self._body is not None
        self.thread = thread
        ended: bool = (yield Call(self._body)) is not LEAVE
        while self.co_queue_wakeup:
            woken, request = self.co_queue_wakeup.popleft()
            yield from woken.enter_for(thread, request)
        return ended

    def enter_for(self, thread: HostThread, request: Request) -> Steps[None]:
        """Enter the coroutine for *request*, which waits, and then go on with what *thread* carried before."""
        yield SYNC
        carried = thread.request, thread.owner, thread.subject
        request.stop_waiting(thread.host.now_ns)
        thread.request = thread.owner = request
        thread.subject = request
        yield from self.enter(thread)
        yield SYNC
        thread.request, thread.owner, thread.subject = carried
