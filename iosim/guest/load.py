"""The guest's own load on one vCPU: bursts of computing with pauses behind their ends."""

from iosim.guest.kernel import Guest, GuestKernel
from iosim.host import HostThread
from iosim.model.costs import Cost, exponential
from iosim.model.scenario import LoadTable
from iosim.model.steps import Block, Steps


class GuestLoad:
    """A pause, a burst, a pause behind its end, and so on; a guest that has booted again begins with a pause."""

    def __init__(self, thread: HostThread, guest: Guest, kernel: GuestKernel, table: LoadTable) -> None:
        self._thread = thread
        self._guest = guest
        self._kernel = kernel
        pause_ns = table.burst * (1 / table.share - 1)
        drawn = table.lengths == "exponential"
        self._burst = exponential("burst", table.burst) if drawn else Cost("burst", table.burst)
        self._pause = exponential("pause", pause_ns) if drawn else Cost("pause", round(pause_ns))
        self._pauses = table.share < 1
        self._booted = False

    def start(self) -> None:
        """The guest runs from now on."""
        self._thread.start(self._steps())

    def guest_booted(self) -> None:
        """The guest has booted again: what was under way has ended with it."""
        self._booted = True
        self._thread.wake()

    def _steps(self) -> Steps[None]:
        while True:
            self._booted = False
            yield Block(self._pause_end())
            while not (self._booted or self._guest.dead):
                burst = self._burst.sample(self._thread.own_subject)
                self._kernel.compute(max(1, burst), self._burst_over)
                yield Block()
            while not self._booted:
                yield Block()

    def _burst_over(self) -> None:
        if self._pauses:
            self._thread.wake_at(self._pause_end())
        else:
            self._thread.wake()

    def _pause_end(self) -> int:
        pause = self._pause.sample(self._thread.own_subject)
        return self._thread.host.now_ns + max(1, pause)
