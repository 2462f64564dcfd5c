"""A spinlock of the guest: whoever does not get it burns its vCPU until it does, first come, first served."""

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iosim.host.thread import HostThread


class SpinLock:
    """Free, or owned by one vCPU with others spinning in order of arrival (a ticket lock; qspinlock since 4.2).

    A vCPU that is taken out of the guest while it spins keeps its place.
    """

    def __init__(self) -> None:
        self.owner: HostThread | None = None
        self._spinning: deque[HostThread] = deque()

    def acquire(self, thread: "HostThread") -> bool:
        """Give the lock to *thread* if it is free or has been handed to it already; else it spins on."""
        if self.owner is None:
            self.owner = thread
        if self.owner is thread:
            return True
        if thread not in self._spinning:
            self._spinning.append(thread)
        return False

    def release(self) -> None:
        """Hand the lock to the first who spins, or leave it free."""
        self.owner = self._spinning.popleft() if self._spinning else None
        if self.owner is not None:
            self.owner.stop_spinning()

    def reset(self) -> None:
        """The guest has booted again: the lock is free."""
        self.owner = None
        self._spinning.clear()
