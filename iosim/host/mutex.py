"""A mutex with first come, first served hand-over: the BQL (qemu_global_mutex)."""

from collections import deque
from typing import TYPE_CHECKING

from iosim.host.environment import Host
from iosim.host.levels import Level

if TYPE_CHECKING:
    from iosim.host.thread import HostThread


class Mutex:
    """Free, or owned by one thread with others waiting in order of arrival.

    `runner` is a thread whose coalesced run takes and releases the mutex many times without anybody noticing; whoever
    comes makes it notice (`HostThread.split`). Only `HostThread` calls `acquire` and `release`.
    """

    def __init__(self, host: Host, name: str) -> None:
        self.name = name
        self.owner: HostThread | None = None
        self.runner: HostThread | None = None
        self.waiters: deque[HostThread] = deque()
        self._host = host
        self._since_ns = 0
        self.held = Level(host.timeline, f"{name}:busy")
        self.queue = Level(host.timeline, f"{name}:queue")

    def acquire(self, thread: "HostThread") -> bool:
        """Give the mutex to *thread*, or put it in the queue and return False: it will be woken as the owner."""
        if self.runner is not None and self.runner is not thread:
            self.runner.split()
        if self.owner is None:
            self.take(thread)
            return True
        self.waiters.append(thread)
        self.queue.set(self._host.now_ns, len(self.waiters))
        return False

    def take(self, thread: "HostThread", since_ns: int | None = None) -> None:
        """Make *thread* the owner of the free mutex, since *since_ns* (now, if not given)."""
        self.owner = thread
        self._since_ns = self._host.now_ns if since_ns is None else since_ns

    def release(self, at_ns: int | None = None) -> None:
        """Hand the mutex to the first waiter, or leave it free."""
        now = self._host.now_ns if at_ns is None else at_ns
        self.held.add(self._since_ns, now)
        self.owner = None
        if self.waiters:
            heir = self.waiters.popleft()
            self.queue.set(now, len(self.waiters))
            self.take(heir)
            heir.wake()

    def settle(self, now_ns: int) -> None:
        """Count the hold that is under way up to *now_ns* (end of the warm-up or of the run)."""
        if self.owner is not None:
            self.held.add(self._since_ns, now_ns)
            self._since_ns = now_ns
