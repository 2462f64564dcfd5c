"""QEMU's coroutines: one body, run first by the thread that submits and later by the one that completes."""

from collections import deque
from collections.abc import Callable

from iosim.host import HostThread
from iosim.model.steps import LEAVE, Call, Steps

QEMU_COROUTINE_YIELD = LEAVE
"""Yielded by a body where the real one calls qemu_coroutine_yield: whoever entered it goes on."""


class Coroutine:
    """A body of steps that can be left in the middle and entered again, by another thread.

    `thread` is the one that runs it at present. `co_queue_wakeup` are those that it has woken: they run when it has
    yielded or ended.
    """

    def __init__(self) -> None:
        self.thread: HostThread | None = None
        self.co_queue_wakeup: deque[Callable[[], Steps[None]]] = deque()
        self._body: Steps[None] | None = None

    def create(self, body: Steps[None]) -> "Coroutine":
        """qemu_coroutine_create: give the coroutine its body."""
        self._body = body
        return self

    def enter(self, thread: HostThread) -> Steps[bool]:
        """qemu_coroutine_enter: run until the body yields or ends; tell whether it ended."""
        assert self._body is not None
        self.thread = thread
        ended: bool = (yield Call(self._body)) is not LEAVE
        while self.co_queue_wakeup:
            yield from self.co_queue_wakeup.popleft()()
        return ended
