"""Twin of `iosim.host.thread`: most steps make nobody wait, and are done where they are yielded."""

from typing import TYPE_CHECKING, Any

from iosim.compiled.native import is_process, take_steps
from iosim.guest.cpu import More, Submit
from iosim.host import thread
from iosim.host.mutex import Mutex
from iosim.model.native_code import apart
from iosim.model.steps import Call, Check, Leave, Lock, Path, Run, Steps, Sync, Unlock

if TYPE_CHECKING:
    from iosim.compiled.twins.cpu import GuestCpu


class HostThread(thread.HostThread):
    """A thread that takes steps where they are yielded, if it can go on at once.

    `guest` is the vCPU that the thread runs, if it executes what the guest's code yields, too.
    """

    guest: "GuestCpu | None"
    _is_calling: bool

    def _sender(self, steps: Steps[Any]) -> Any:
        if is_process(steps):
            take_steps(steps, self)
        return steps.send

    def take_step(self, step: Any) -> Any:
        """Do *step* as `_run` does, if its steps can go on at once; return its result, else the thread itself."""
        kind = type(step)
        if self._ahead is None:
            if kind is Sync:
                return None
            if kind is Path and not step.in_guest:
                self._ahead = step
                return None
        return self._take_more(step)

    @apart
    def _take_more(self, step: Any) -> Any:
        """As `take_step`, for the steps that take longer."""
        kind = type(step)
        ahead = self._ahead
        if kind is Path:
            path: Path = step
            if path.in_guest and self.kicked:
                return self
            joined = path if ahead is None else ahead.followed.get(path) or ahead.then(path)
            if not path.in_guest:
                self._ahead = joined
                return None
            ahead = joined
        elif kind is More:
            assert self.guest is not None
            self.guest.collect(step.run)
            return None
        elif kind is Call:
            return self._call(step.steps)
        if ahead is not None and not self._spend_now(ahead):
            return self
        if kind is Sync or kind is Path:
            return None
        return self._take_other(step)

    def _take_other(self, step: Any) -> Any:
        """As `take_step`, for the steps before which all costs have been spent."""
        kind = type(step)
        if kind is Run:
            return self._take_run(step)
        if kind is Check:
            return step.vcpu.pending()
        if kind is Lock:
            mutex: Mutex = step.mutex
            if mutex.owner is None and mutex.runner is None:
                mutex.take(self)
                now = self.host.now_ns
                return now, now, now
        elif kind is Unlock:
            held: Mutex = step.mutex
            held.release()
            return None
        elif kind is Submit:
            assert self.guest is not None
            return None if self.guest.submit(step) else self
        return self

    def _call(self, steps: Steps[Any]) -> Any:
        """Run *steps*; if they cannot go on at once, `_run` has them called with the first step that it has to do."""
        if self._first is not None or self._is_calling:
            return self
        take_steps(steps, self)
        self._is_calling = True
        try:
            step: Any = steps.send(None)
        except StopIteration as stop:
            self._is_calling = False
            return stop.value
        self._is_calling = False
        if type(step) is Leave and self._ahead is None:
            return step
        self._first = step
        return self

    def _take_run(self, run: Run) -> Any:
        """Execute a run, its costs constant, if nobody notices and no event comes before its end."""
        guest = self.guest
        joined = run if guest is None else guest.with_collected(run)
        total = joined.total_ns
        if total is None or self.kicked or (joined.takes_lock and not self._is_private(joined)):
            return self
        if joined.starts_in_root and self._looks():
            return self
        host = self.host
        queue = host.queue
        start = host.now_ns
        if queue and queue[0][0] <= start + total:
            return self
        host.now_ns = start + total
        host.turn = self.index
        self._settle_whole(joined, start)
        if joined is not run:
            assert guest is not None
            guest.forget_collected()
        return None

    def _spend_now(self, path: Path) -> bool:
        """Spend what is collected, its costs constant, if no event comes before its end; tell whether it was done."""
        total = path.total_ns
        host = self.host
        queue = host.queue
        start = host.now_ns
        if total is None or (queue and queue[0][0] <= start + total):
            return False
        host.now_ns = start + total
        host.turn = self.index
        request = self.request
        if request is not None and total:
            part = path.delivered() if self.delivering else path
            request.spent = request.spent.then(part)
            request.mark_ns = start + total
            if request.log is not None:
                request.log.append((start, self.name, part))
        for op, offset in path.actions:
            self._trace(op, start + offset, None)
        self._ahead = None
        return True
