"""Twin of `iosim.host.thread`: most steps make nobody wait, and are done where they are yielded."""

from typing import TYPE_CHECKING, Any

from iosim.compiled.native import is_process, take_steps, takes
from iosim.guest.cpu import More, Submit
from iosim.host import thread
from iosim.host.mutex import Mutex
from iosim.model.native_code import apart
from iosim.model.steps import Call, Check, Leave, Lock, Path, Run, Steps, Sync, Unlock

if TYPE_CHECKING:
    from iosim.compiled.twins.cpu import GuestCpu
    from iosim.kvm.vcpu import Vcpu


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

    # Taking steps: as `_run` does them, if those who yield them can go on at once; else the thread itself is returned.

    @takes
    def take_path(self, path: Path) -> Any:
        """Collect it, or spend it in guest mode."""
        if self._ahead is None and not path.in_guest:
            self._ahead = path
            return None
        return self._take_path(path)

    @apart
    def _take_path(self, path: Path) -> Any:
        if path.in_guest and self.kicked:
            return self
        ahead = self._ahead
        joined = path if ahead is None else ahead.after if ahead.last is path else ahead.then(path)
        if path.in_guest:
            return self._spend_now(joined)
        self._ahead = joined
        return None

    @takes
    def take_sync(self, step: Sync) -> Any:
        """Spend what has been collected."""
        return self if self._is_behind() else None

    @takes
    def take_run(self, run: Run) -> Any:
        """Execute it, if its costs are constant, nobody notices and no event comes before its end."""
        if self._is_behind():
            return self
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

    @takes
    def take_more(self, more: More) -> Any:
        """Keep the run until the one that it is executed with."""
        assert self.guest is not None
        self.guest.collect(more.run)
        return None

    @takes
    def take_check(self, check: Check) -> Any:
        """Look at what is pending."""
        vcpu: Vcpu = check.vcpu
        return self if self._is_behind() else vcpu.pending()

    @takes
    def take_lock(self, lock: Lock) -> Any:
        """Take the mutex, if it is free."""
        mutex: Mutex = lock.mutex
        if self._is_behind() or mutex.owner is not None or mutex.runner is not None:
            return self
        mutex.take(self)
        now = self.host.now_ns
        return now, now, now

    @takes
    def take_unlock(self, unlock: Unlock) -> Any:
        """Release the mutex."""
        if self._is_behind():
            return self
        mutex: Mutex = unlock.mutex
        mutex.release()
        return None

    @takes
    def take_submit(self, submit: Submit) -> Any:
        """Execute what an access begins."""
        assert self.guest is not None
        return None if self.guest.submit(submit) else self

    @takes
    def take_call(self, call: Call) -> Any:
        """Run the steps that are called; if they cannot go on at once, `_run` does so, from their `_first` step on."""
        return self if self._first is not None or self._is_calling else self._call(call.steps)

    def _call(self, steps: Steps[Any]) -> Any:
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

    def _is_behind(self) -> bool:
        """Tell whether something has been collected that cannot be spent at once."""
        ahead = self._ahead
        return ahead is not None and self._spend_now(ahead) is self

    @apart
    def _spend_now(self, path: Path) -> Any:
        """Spend what has been collected, if its costs are constant and no event comes before its end."""
        total = path.total_ns
        host = self.host
        queue = host.queue
        start = host.now_ns
        if total is None or (queue and queue[0][0] <= start + total):
            return self
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
        return None
