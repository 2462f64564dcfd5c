"""An iothread: an event loop without the BQL, with adaptive polling (iothread.c, util/aio-posix.c of 7.2)."""

from collections.abc import Callable
from typing import Protocol

from iosim.host import HostThread, Mutex
from iosim.model.costs import Cost
from iosim.model.draws import Subject
from iosim.model.stages import Stage
from iosim.model.steps import RESCHED, SYNC, Binder, Item, Mode, Op, Path, Steps
from iosim.model.virtio import Element, Vring
from iosim.qemu.main_loop import BottomHalf, MainLoop
from iosim.qemu.versions import QemuVersion

POLL_START_NS = 4000
"""The first time that aio_poll polls for, once it has seen that polling would have helped."""
POLL_GROW = 2


class PolledDevice(Protocol):
    """A device whose ring the loop can look at instead of waiting for its eventfd."""

    vring: Vring
    dead: bool

    def poll_ready(self) -> Steps[None]:
        """Handle the ring, which is not empty."""


class IOThread(MainLoop):
    """Turns of aio_poll for ever: poll for a while, then wait in epoll; run what is ready.

    `poll_ns` is how long it polls: 0 at first, 4 us once a wait was shorter than *poll_max_ns*, then doubled up to
    that; back to 0 by a longer wait. While it polls, and on until it has to wait, the rings want no kicks
    (`_poll_started`): an eventfd that is signalled then is found by the next wait.
    """

    def __init__(self, thread: HostThread, binder: Binder, bql: Mutex, version: QemuVersion, poll_max_ns: int) -> None:
        super().__init__(thread, binder, bql, version)
        self.poll_ns = 0
        self.devices: list[PolledDevice] = []
        self._poll_max_ns = poll_max_ns
        self._poll_started = False
        self._polling = False
        self._readable: list[BottomHalf] = []
        self._poll_round = binder.path("iothread.run_poll_handlers_once")

    # What others do to the loop

    def qemu_bh_schedule(self, bottom_half: BottomHalf, subject: Subject | None = None) -> None:
        """Make *bottom_half* ready; a polling loop sees it by itself (aio_notify)."""
        if not self._polling:
            super().qemu_bh_schedule(bottom_half, subject)
            return
        if bottom_half not in self._ready:
            self._ready.append(bottom_half)
        self._waker = subject or self.thread.own_subject
        self.thread.kick()

    def event_notifier_set(self, handler: BottomHalf, subject: Subject | None = None) -> None:
        """A doorbell's eventfd becomes readable; only a waiting loop notices."""
        if self._polls:
            self.qemu_bh_schedule(handler, subject)
        elif handler not in self._readable:
            self._readable.append(handler)

    # The thread

    def main_loop(self) -> Steps[None]:
        """iothread_run."""
        while True:
            yield from self.aio_poll()

    def aio_poll(self) -> Steps[None]:
        """One turn: poll, wait, adapt the time of polling, run what is ready."""
        host = self.thread.host
        start = host.now_ns
        poll_ns = min(self.poll_ns, self._timers[0][0] - start) if self._timers else self.poll_ns
        if not self._ready and poll_ns > 0:
            yield from self._run_poll_handlers(poll_ns)
        if not self._ready:
            yield from self._wait()
        self._adjust_polling(host.now_ns - start)
        yield self._dispatch
        yield SYNC
        for _ in range(len(self._ready)):
            yield from self._ready.popleft()()
            yield SYNC
        yield from self._run_timers()
        self.thread.subject = self.thread.own_subject

    def _run_poll_handlers(self, poll_ns: int) -> Steps[None]:
        """run_poll_handlers: look at the rings again and again, for *poll_ns* at most; nobody has to kick."""
        if not self._poll_started:
            self._poll_started = True
            self._set_notification(False)
        if not self._look_at_rings():
            self._polling = True
            for device in self.devices:
                device.vring.watch = self._becomes_ready(device)
            yield self._poll_path(poll_ns)
            yield SYNC
            self._polling = False
            self.thread.kicked = False
            for device in self.devices:
                device.vring.watch = None
            if self.thread.need_resched:
                yield RESCHED
            self._look_at_rings()
        if self._ready:
            self.thread.subject = self._waker
            self._waker = self.thread.own_subject
            yield self._poll_round
            yield SYNC

    def _wait(self) -> Steps[None]:
        """poll_set_started(false), then fdmon wait: kicks are wanted again, and a ring that is not empty is handled."""
        if self._poll_started:
            self._poll_started = False
            self._set_notification(True)
            self._look_at_rings()
        if self._readable:
            self._ready.extend(self._readable)
            self._readable.clear()
        yield from self.os_host_main_loop_wait()
        yield SYNC

    def _becomes_ready(self, device: PolledDevice) -> Callable[[Element], None]:
        return lambda element: self.qemu_bh_schedule(device.poll_ready, element.request)

    def _look_at_rings(self) -> bool:
        """Make the handlers of rings that are not empty ready; tell whether anything is."""
        for device in self.devices:
            if device.vring.avail and device.poll_ready not in self._ready:
                self._ready.append(device.poll_ready)
        return bool(self._ready)

    def _set_notification(self, enable: bool) -> None:
        for device in self.devices:
            device.vring.set_notification(enable)

    def _poll_path(self, poll_ns: int) -> Path:
        """Return a time of polling that others can end; its mode is what makes `HostThread.kick` do so."""
        return Path(
            [Item(Op.SPEND, Stage.SUBMIT_WAIT, "run_poll_handlers", Cost("poll_ns", poll_ns), Mode.GUEST)], Mode.GUEST
        )

    def _adjust_polling(self, block_ns: int) -> None:
        """The end of aio_poll: poll longer if that would have caught the event, not at all if it came too late."""
        if not self._poll_max_ns or block_ns <= self.poll_ns:
            return
        if block_ns > self._poll_max_ns:
            self.poll_ns = 0
        elif self.poll_ns < self._poll_max_ns:
            self.poll_ns = min(self.poll_ns * POLL_GROW or POLL_START_NS, self._poll_max_ns)
