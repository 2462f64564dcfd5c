"""An iothread: an event loop without the BQL, with adaptive polling (iothread.c, util/aio-posix.c of 7.2)."""

from iosim.host import HostThread, Mutex
from iosim.model.costs import Cost
from iosim.model.draws import Subject
from iosim.model.stages import Stage
from iosim.model.steps import RESCHED, SYNC, Binder, Item, Mode, Op, Path, Steps
from iosim.qemu.main_loop import AioHandler, EventHandler, MainLoop
from iosim.qemu.versions import QemuVersion

POLL_START_NS = 4000
"""The first time that aio_poll polls for, once it has seen that polling would have helped."""
POLL_GROW = 2


class IOThread(MainLoop):
    """Turns of aio_poll for ever: poll for a while, then wait in epoll; run what is ready.

    `poll_ns` is how long it polls: 0 at first, 4 us once a wait was shorter than *poll_max_ns*, then doubled up to
    that; back to 0 by a longer wait. The rings want no kicks while it polls, and as long as polling is what finds
    something (`_poll_started`): an eventfd that is signalled then is found by the next wait.

    Any bottom half that is scheduled (`_notified`) ends that, also the one that every completion schedules and then
    cancels: the next turn neither polls nor waits, and kicks are wanted again. (8.0 and later leave the rings alone
    until the loop waits, 816a430c51.)
    """

    def __init__(self, thread: HostThread, binder: Binder, bql: Mutex, version: QemuVersion, poll_max_ns: int) -> None:
        super().__init__(thread, binder, bql, version)
        self.poll_ns = 0
        self._poll_max_ns = poll_max_ns
        self._poll_started = False
        self._polling = False
        self._notified = False
        self._handlers: list[AioHandler] = []
        self._signalled: list[EventHandler] = []
        self._poll_round = binder.path("iothread.run_poll_handlers_once")

    # What others do to the loop

    def add_aio_handler(self, handler: AioHandler) -> None:
        """Look at *handler* while polling."""
        self._handlers.append(handler)

    def aio_notify(self, subject: Subject | None = None) -> None:
        """Behind a SYNC: a loop that waits or polls goes on, and one that does neither will not in its next turn."""
        self._notified = True
        super().aio_notify(subject)
        self._end_polling(subject)

    def event_notifier_set(self, handler: EventHandler, subject: Subject | None = None) -> None:
        """An eventfd becomes readable; only a waiting loop notices."""
        if self._polls:
            super().event_notifier_set(handler, subject)
        elif handler not in self._signalled:
            self._signalled.append(handler)

    def event_notifier_clear(self, handler: EventHandler) -> None:
        """Behind a SYNC: what *handler* would be called for is no longer readable."""
        super().event_notifier_clear(handler)
        if handler in self._signalled:
            self._signalled.remove(handler)

    # The thread

    def main_loop(self) -> Steps[None]:
        """iothread_run."""
        while True:
            yield from self.aio_poll()

    def aio_poll(self) -> Steps[None]:
        """One turn: poll, wait, adapt the time of polling, run what is ready."""
        host = self.thread.host
        start = host.now_ns
        timeout = self._timers[0][0] - start if self._timers else self.poll_ns
        poll_ns = 0 if self._ready else min(self.poll_ns, timeout)
        if poll_ns > 0:
            yield from self._run_poll_handlers(poll_ns)
        if not self._readable:
            self._poll_set_started(False)
        due = self._timers and self._timers[0][0] <= host.now_ns
        if not (self._has_work or due or self._notified):
            yield from self._wait()
        self._notified = False
        self._adjust_polling(host.now_ns - start)
        yield from self._run_ready()
        self.thread.subject = self.thread.own_subject

    def _run_poll_handlers(self, poll_ns: int) -> Steps[None]:
        """run_poll_handlers: look at the handlers again and again, for *poll_ns* at most or until a bottom half comes.

        What is found is put into `_readable`.
        """
        self._poll_set_started(True)
        if not self._look_at_handlers() and not self._notified:
            self._polling = True
            for handler in self._handlers:
                handler.watch = self._end_polling
            yield self._poll_path(poll_ns)
            yield SYNC
            self._polling = False
            self.thread.kicked = False
            for handler in self._handlers:
                handler.watch = None
            if self.thread.need_resched:
                yield RESCHED
            self._look_at_handlers()
        if self._has_work or self._notified:
            self.thread.subject = self._waker
            self._waker = self.thread.own_subject
            yield self._poll_round
            yield SYNC

    def _poll_set_started(self, started: bool) -> None:
        """Begin or end poll mode; at its end every handler is looked at once more."""
        if started is self._poll_started:
            return
        self._poll_started = started
        for handler in self._handlers:
            if started:
                handler.io_poll_begin()
            else:
                handler.io_poll_end()
        if not started:
            self._look_at_handlers()

    def _wait(self) -> Steps[None]:
        """The wait of fdmon-epoll: eventfds that were signalled meanwhile are readable."""
        self._readable.extend(self._signalled)
        self._signalled.clear()
        yield from self.os_host_main_loop_wait()
        yield SYNC

    def _end_polling(self, subject: Subject | None) -> None:
        """Something is ready, on behalf of *subject*."""
        if self._polling:
            self._waker = subject or self.thread.own_subject
            self.thread.kick()

    def _look_at_handlers(self) -> bool:
        """run_poll_handlers_once: make those ready that have something to do; tell whether there are any."""
        for handler in self._handlers:
            if handler.io_poll() and handler.poll_ready not in self._readable:
                self._readable.append(handler.poll_ready)
        return bool(self._readable)

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
        elif self.poll_ns < self._poll_max_ns and block_ns < self._poll_max_ns:
            self.poll_ns = min(self.poll_ns * POLL_GROW or POLL_START_NS, self._poll_max_ns)
