"""A host thread as one SimPy process: it runs the steps that the functions of the path yield."""

from collections.abc import Callable, Generator, Set
from typing import Any

from iosim.host.account import Account, rest_of
from iosim.host.cpus import Cpus
from iosim.host.environment import Alarm, Host
from iosim.host.levels import Level
from iosim.host.mutex import Mutex
from iosim.host.runs import End, Outcome, Progress
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import (
    Block,
    Call,
    Check,
    Item,
    Leave,
    Lock,
    Mode,
    Op,
    Path,
    Resched,
    Run,
    Spin,
    Steps,
    Sync,
    Unlock,
)

Process = Generator[Alarm, Any, Any]

SPINNING = Item(Op.SPEND, Stage.GUEST_RUN, "_raw_spin_lock_irqsave", None, Mode.GUEST)
_FOR_EVER = (1 << 62) - 1

_WAITS_FOR_A_THREAD = (Stage.AIO_WAIT, Stage.COMPLETION_WAIT, Stage.SUBMIT_WAIT)
"""Where a request waits until a thread that was woken for it runs."""


class HostThread(Account):
    """Runs steps, sleeps, waits.

    At any time the thread is in one of these states, each shown by what is set:

    * spending a path: `_path` (path, its costs, when it began);
    * spending one item: `_item` (item, when it began, when it ends);
    * in a coalesced run: `_progress` and `_run_start_ns`; `split` makes it spend one item instead;
    * waiting for a mutex: `_asked_ns`;
    * blocked: `blocked`; only `wake` or its deadline ends that;
    * waiting for a CPU: `waits_for_cpu`; on the way it was woken, or preempted (`_paused`: what is left of its step).

    `request` is the request that the thread carries: its costs are charged to it (`delivering` makes all of them
    irq_delivery). `owner` is the request that the thread's exits count for: the same, or, while a worker carries that
    request, alone. `subject` draws the thread's costs.

    With `host.cpus` a thread that *uses_cpu* spends nothing without one: it gives its CPU up where it blocks or waits
    for a mutex, and when it is preempted. The time that it waits for a CPU is cpu_wait of the request that it has in
    hand, or was woken for.

    Unless exits are exact, paths are collected in `_ahead` and spent together at the next step that is not a path:
    between two such steps nobody can tell. `_first` is the first step of the steps of a `Call`, if they have been
    begun already.
    """

    def __init__(
        self,
        host: Host,
        index: int,
        name: str,
        subject: Subject,
        busy: Level | None = None,
        uses_cpu: bool = True,
        allowed: Set[int] | None = None,
        waiting: Level | None = None,
    ) -> None:
        super().__init__(host, index, name)
        self.own_subject = subject
        self.subject = subject
        self.busy = busy
        self.blocked = False
        self.kicked = False
        self.mode = Mode.ROOT
        self.cpus: Cpus | None = host.cpus if uses_cpu else None
        self.cpu = -1
        self.slice_ns = 0
        self.need_resched = False
        self.waits_for_cpu = False
        self.waiting = waiting
        self._allowed = allowed
        self._paused: int | None = None
        self._woken_path: Path | None = None
        self._in_hand: tuple[Request, Stage, str, str] | None = None
        self._alarm = Alarm(host)
        self._alarm_twice = False
        self._waking: Path | None = None
        self._path: tuple[Path, list[int] | None, int] | None = None
        self._item: tuple[Item, int, int] | None = None
        self._progress: Progress | None = None
        self._run_start_ns = 0
        self._asked_ns: int | None = None
        self._got_ns = 0
        self._then: Callable[[], Path | None] | None = None
        self._ahead: Path | None = None
        self._first: Any = None

    def start(self, steps: Steps[None]) -> None:
        """Create the thread; it takes its first turn at the present instant."""
        self.host.start(self._run(steps))

    # What other threads do to this one

    def wake(self) -> None:
        """End the thread's `Block`; its turn comes at the present instant, or when its wake-up has been spent."""
        if not self.blocked:
            return
        self.blocked = False
        self._got_ns = self.host.now_ns
        path = None if self._then is None else self._then()
        self._then = None
        if self.cpus is not None and not self.cpus.acquire(self):
            self._woken_path = path
            self._begin_cpu_wait(self.subject)
            return
        self._run_woken(path)

    def _run_woken(self, path: Path | None) -> None:
        """The woken thread has its CPU: it spends the path of its wake-up and goes on."""
        now = self.host.now_ns
        if self.busy is not None:
            self.busy.set(now, 1)
        if path is None:
            self._set_alarm(now)
            return
        if self.host.exact:
            self._waking = path
            self._set_alarm(now)
            return
        total, costs = path.total_ns, None
        if total is None:
            costs = self._draw(path)
            total = sum(costs)
        self._path = (path, costs, now)
        self.mode = path.mode
        self._set_alarm(now + total)

    def wake_at(self, at_ns: int) -> None:
        """End the thread's `Block` at *at_ns*."""
        assert self.blocked
        self._set_alarm(at_ns)

    def split(self) -> None:
        """Break the coalesced run off: what has been executed by now is settled, the rest goes on item by item."""
        progress = self._progress
        if progress is None:
            return
        now = self.host.now_ns
        begin = self._run_start_ns
        inclusive = self.host.turn > self.index
        segment, access, item, item_start = progress.find(now - begin, inclusive)
        self._leave_run()
        self._settle_until(progress, begin, segment, access, item)
        cost = progress.costs()[item]
        started = begin + item_start
        progress.item_start_ns = started
        entry = progress.template.items[item]
        self._item = (entry, started, started + cost)
        self.mode = entry.mode
        self._set_alarm(started + cost)

    def kick(self) -> bool:
        """Send the vCPU's CPU an IPI if it is in guest mode (kvm_vcpu_kick); tell whether it was sent.

        The guest's present step ends now; an entry that is under way ends first. In root mode nothing happens: the
        request is seen at the next look.
        """
        self.split()
        if self.blocked or self.waits_for_cpu:
            return False
        mode, entered_ns = (self.mode, None) if self._path is None else self._place()
        if mode is Mode.ROOT:
            return False
        self.kicked = True
        if mode is Mode.GUEST:
            self._set_alarm(self.host.now_ns)
        elif entered_ns is not None:
            self._set_alarm(entered_ns)
        return True

    def cut(self) -> None:
        """Settle what has been executed by now, tracepoints included; the rest goes on."""
        self.split()
        if self._path is not None and not self.waits_for_cpu:
            path, costs, start = self._path
            position, start = self._charge_finished(path, costs, start, self.host.now_ns)
            costs = None if costs is None else costs[position:]
            self._path = (Path(path.items[position:], path.mode), costs, start)

    def charge_under_way(self) -> None:
        """Charge the cost under way up to now, too: the request that the thread carries, or the run, ends here."""
        self.cut()
        now = self.host.now_ns
        if self.waits_for_cpu:
            if self.request is not None:
                self.request.charge(Stage.CPU_WAIT, now, self.name)
        elif self._path is not None:
            path, _, start = self._path
            if path.items:
                self._charge(path.items[0], start, now)
        elif self._item is not None:
            item, start, _ = self._item
            self._charge(item, start, now)
        elif self._asked_ns is not None and self.request is not None:
            self.request.charge(Stage.BQL_WAIT, now, self.name)

    # CPUs

    def may_run_on(self, cpu: int) -> bool:
        """Tell whether the thread's affinity allows *cpu*."""
        return self._allowed is None or cpu in self._allowed

    @property
    def preemptible(self) -> bool:
        """Whether the thread is in the middle of something."""
        return self._path is not None or self._item is not None or self._progress is not None

    def preempt(self) -> bool:
        """Take the CPU away: at once, and True; or, from a vCPU in guest mode, by an exit that brings it to RESCHED."""
        if self.kick():
            self.need_resched = True
            return False
        now = self.host.now_ns
        if self._path is not None:
            path, costs, start = self._path
            self._path = (self._charge_partly(path, costs, start, now), None, now)
            self._paused = 0
        else:
            assert self._item is not None
            item, start, end = self._item
            self._charge(item, start, now)
            self._paused = end - now
        self._alarm = self._alarm.successor()
        self._alarm_twice = False
        self._stop_running()
        return True

    def granted(self) -> None:
        """The thread has a CPU: it goes on with what it was doing, or with its wake-up."""
        now = self.host.now_ns
        self._end_cpu_wait()
        if self._paused is None:
            path, self._woken_path = self._woken_path, None
            self._run_woken(path)
            return
        left, self._paused = self._paused, None
        if self.busy is not None:
            self.busy.set(now, 1)
        if self._path is not None:
            path, _, _ = self._path
            assert path.total_ns is not None
            self._path = (path, None, now)
            left = path.total_ns
        else:
            assert self._item is not None
            self._item = (self._item[0], now, now + left)
        self.host.set_alarm(self._alarm, now + left, self.index)

    def _stop_running(self) -> None:
        """The thread has lost its CPU and wants one."""
        if self.busy is not None:
            self.busy.set(self.host.now_ns, 0)
        self._begin_cpu_wait()

    def _begin_cpu_wait(self, woken_for: Subject | None = None) -> None:
        """No CPU is free: from here on the time is cpu_wait of the request in hand, or of that it was woken for."""
        now = self.host.now_ns
        self.waits_for_cpu = True
        if self.waiting is not None:
            self.waiting.set(now, 1)
        request = self.request
        if request is not None:
            request.stop_waiting(now) if self._asked_ns is None else request.charge(Stage.BQL_WAIT, now, self.name)
        elif isinstance(woken_for, Request) and woken_for.carrier and woken_for.waiting in _WAITS_FOR_A_THREAD:
            self._in_hand = (woken_for, woken_for.waiting, woken_for.carrier, woken_for.waits_at)
            woken_for.stop_waiting(now)
            woken_for.wait_in(Stage.CPU_WAIT, self.name)

    def _end_cpu_wait(self) -> None:
        now = self.host.now_ns
        self.waits_for_cpu = False
        if self.waiting is not None:
            self.waiting.set(now, 0)
        if self.request is not None:
            self.request.charge(Stage.CPU_WAIT, now, self.name)
        if self._in_hand is not None:
            request, stage, carrier, function = self._in_hand
            self._in_hand = None
            if request.waiting is Stage.CPU_WAIT and request.carrier == self.name:
                request.stop_waiting(now)
                request.wait_in(stage, carrier, function)

    def _take_cpu(self) -> Process:
        """Wait for a CPU, if the thread needs one."""
        if self.cpus is not None and not self.cpus.acquire(self):
            self._begin_cpu_wait()
            yield self._sleep()
        elif self.busy is not None:
            self.busy.set(self.host.now_ns, 1)

    def _leave_cpu(self, poll_ns: int = 0) -> None:
        """The thread waits for something else than a CPU."""
        if self.busy is not None:
            self.busy.set(self.host.now_ns, 0)
        if self.cpus is not None:
            self.need_resched = False
            self.cpus.release(self, poll_ns)

    def _resched(self) -> Process:
        """schedule(): to the end of the run queue, if anybody waits there for this CPU."""
        assert self.cpus is not None
        self.need_resched = False
        if self.cpus.rotate(self):
            self._stop_running()
            yield self._sleep()

    # The process

    def _run(self, steps: Steps[None]) -> Process:
        """Run *steps*; every kind of step has its branch, the frequent ones first.

        NOTE: what happens to constant costs when nobody interferes (spend a path or a run, charge it) is written out
        here and not in functions of its own: most of the time of a simulation is spent in these lines.
        """
        host = self.host
        if host.exact:
            yield from self._run_exact(steps)
            return
        queue = host.queue
        index = self.index
        yield self._sleep_until(host.now_ns)
        yield from self._take_cpu()
        send = self._sender(steps)
        callers: list[Any] = []
        result: Any = None
        while True:
            try:
                step = send(result)
                result = None
                while True:
                    kind = type(step)
                    ahead = self._ahead
                    if kind is Path:
                        if not step.in_guest:
                            self._ahead = step if ahead is None else ahead.followed.get(step) or ahead.then(step)
                            step = send(None)
                            continue
                        if self.kicked:
                            if ahead is not None:
                                yield from self._spend(ahead)
                                self._ahead = None
                            step = send(step)
                            continue
                        ahead = step if ahead is None else ahead.followed.get(step) or ahead.then(step)
                    elif kind is Call:
                        callers.append(send)
                        send = self._sender(step.steps)
                        step, self._first = self._first, None
                        if step is None:
                            step = send(None)
                        continue
                    if ahead is not None:
                        total = ahead.total_ns
                        start = host.now_ns
                        if total is not None and (not queue or queue[0][0] > start + total):
                            host.now_ns = start + total
                            host.turn = index
                            request = self.request
                            if request is not None and total:
                                part = ahead.delivered() if self.delivering else ahead
                                request.spent = request.spent.then(part)
                                request.mark_ns = start + total
                                if request.log is not None:
                                    request.log.append((start, self.name, part))
                            if ahead.actions:
                                for op, offset in ahead.actions:
                                    self._trace(op, start + offset, None)
                            self._ahead = None
                        else:
                            result = yield from self._spend(ahead)
                            self._ahead = None
                            if result is not None:
                                break
                    if kind is Sync or kind is Path:
                        step = send(None)
                        continue
                    break
            except StopIteration as stop:
                if not callers:
                    break
                send = callers.pop()
                result = stop.value
                continue
            if kind is Run:
                total = step.total_ns
                if (
                    total is not None
                    and not self.kicked
                    and (not step.takes_lock or self._is_private(step))
                    and not (step.starts_in_root and self._looks())
                ):
                    start = host.now_ns
                    end = start + total
                    if not queue or queue[0][0] > end:
                        host.now_ns = end
                        host.turn = index
                        self._settle_whole(step, start)
                        continue
                result = yield from self._go_on(Progress(step, self.subject))
            elif kind is Block:
                yield self._fall_asleep(step)
                self._ahead = (yield from self._time_out()) if self.blocked else self._wake_up()
            elif kind is Check:
                result = step.vcpu.pending()
            elif kind is Lock:
                mutex = step.mutex
                if mutex.owner is None and mutex.runner is None:
                    mutex.take(self)
                    result = (host.now_ns, host.now_ns, host.now_ns)
                else:
                    result = yield from self._lock(mutex)
            elif kind is Unlock:
                step.mutex.release()
            elif kind is Leave:
                send = callers.pop()
                result = step
            elif kind is Progress:
                result = yield from self._go_on(step)
            elif kind is Spin:
                result = yield from self._spin(step)
            elif kind is Resched:
                yield from self._resched()
            else:
                assert kind is Path, step
        if self._ahead is not None:
            yield from self._spend(self._ahead)
        self._leave_cpu()

    def _sender(self, steps: Steps[Any]) -> Any:
        """Return what sends a result to *steps*."""
        return steps.send

    def _run_exact(self, steps: Steps[None]) -> Process:
        """Run *steps* one by one, each cost an event of its own."""
        host = self.host
        yield self._sleep_until(host.now_ns)
        yield from self._take_cpu()
        send = steps.send
        callers: list[Any] = []
        result: Any = None
        while True:
            try:
                step = send(result)
            except StopIteration as stop:
                if not callers:
                    break
                send = callers.pop()
                result = stop.value
                continue
            result = None
            kind = type(step)
            if kind is Path:
                result = yield from self._spend_items(step)
            elif kind is Block:
                yield self._fall_asleep(step)
                woken = (yield from self._time_out()) if self.blocked else self._wake_up()
                if woken is not None:
                    yield from self._spend_items(woken)
            elif kind is Check:
                result = step.vcpu.pending()
            elif kind is Lock:
                result = yield from self._lock(step.mutex)
            elif kind is Unlock:
                step.mutex.release()
            elif kind is Call:
                callers.append(send)
                send = step.steps.send
            elif kind is Leave:
                send = callers.pop()
                result = step
            elif kind is Spin:
                result = yield from self._spin(step)
            elif kind is Resched:
                yield from self._resched()
            else:
                assert kind is Sync, step
        self._leave_cpu()

    def _draw(self, path: Path) -> list[int]:
        """Return the costs of the path's items in ns, drawn where they are not constant, 0 for tracepoints."""
        return [0 if item.cost is None else item.cost.sample(self.subject) for item in path.items]

    def _spend(self, path: Path, costs: list[int] | None = None) -> Process:
        """Spend *path* as one event. Result: None, or in guest mode what a kick left of it.

        *costs*: those of its items, if they have been drawn already.
        """
        total = path.total_ns
        if total is None:
            if costs is None:
                costs = self._draw(path)
            total = sum(costs)
        else:
            costs = None
        host = self.host
        start = host.now_ns
        end = start + total
        if total and not host.advance(end, self.index):
            self._path = (path, costs, start)
            self.mode = path.mode
            yield self._sleep_until(end)
            path, costs, start = self._path
            end = host.now_ns
            self._path = None
            self.mode = Mode.ROOT
            if self.kicked and path.mode is Mode.GUEST:
                return self._charge_partly(path, costs, start, host.now_ns)
        self._charge_path(path, costs, start, end)
        return None

    def _place(self) -> tuple[Mode, int | None]:
        """Return the mode of the cost under way in the present path and, within an entry, when the guest is reached.

        That instant is None if the guest is not part of the path.
        """
        assert self._path is not None
        path, costs, at = self._path
        now = self.host.now_ns
        inclusive = self.host.turn > self.index
        entering = False
        for position, item in enumerate(path.items):
            if item.cost is None:
                continue
            end = at + ((item.cost.ns or 0) if costs is None else costs[position])
            if entering:
                if item.mode is not Mode.ENTERING:
                    return Mode.ENTERING, at
            elif end > now or (end == now > at and not inclusive):
                if item.mode is not Mode.ENTERING:
                    return item.mode, None
                entering = True
            at = end
        return (Mode.ENTERING if entering else path.mode), None

    def _spend_items(self, path: Path) -> Process:
        """Spend the path item by item. Result as of `_spend`."""
        if self.kicked and path.mode is Mode.GUEST:
            return path
        for position, item in enumerate(path.items):
            if item.cost is None:
                self._trace(item.op, self.host.now_ns, None)
                continue
            cost = item.cost.sample(self.subject)
            if not cost:
                continue
            left = yield from self._spend_item(item, cost)
            if self.kicked and path.mode is Mode.GUEST:
                return rest_of(path, position, left)
        return None

    def _spend_item(self, item: Item, cost_ns: int) -> Process:
        """Spend *cost_ns* in *item*. Result: how much of it a kick left."""
        start = self.host.now_ns
        if not self.host.advance(start + cost_ns, self.index):
            self._item = (item, start, start + cost_ns)
            self.mode = item.mode
            yield self._sleep_until(start + cost_ns)
            return self._end_item()
        self._charge(item, start, self.host.now_ns)
        return 0

    def _end_item(self) -> int:
        """The item under way has been slept through, or a kick has ended it; return how much is left of it."""
        assert self._item is not None
        item, start, end = self._item
        now = self.host.now_ns
        self._item = None
        self.mode = Mode.ROOT
        self._charge(item, start, now)
        return end - now

    def _lock(self, mutex: Mutex) -> Process:
        asked = got = self.host.now_ns
        if not mutex.acquire(self):
            self._asked_ns = asked
            self.blocked = True
            self._then = None
            self._leave_cpu()
            yield self._sleep()
            self._asked_ns = None
            got = self._got_ns
            if self.request is not None:
                self.request.charge(Stage.BQL_WAIT, self.host.now_ns, self.name)
        return asked, got, self.host.now_ns

    def _spin(self, step: Spin) -> Process:
        """Spin in guest mode until the lock is the thread's. Result: *step* if a kick takes the vCPU out first."""
        if step.lock.acquire(self):
            return None
        if not self.kicked:
            self._item = (SPINNING, self.host.now_ns, _FOR_EVER)
            self.mode = Mode.GUEST
            yield self._sleep()
            self._end_item()
        return None if step.lock.owner is self else step

    def stop_spinning(self) -> None:
        """The lock is the thread's from now on; out of the guest, it finds that when it comes back."""
        if self._item is not None and self._item[0] is SPINNING and not self.kicked:
            self._set_alarm(self.host.now_ns)

    def _fall_asleep(self, step: Block) -> Alarm:
        """Return the alarm to sleep on until woken. If the thread is `blocked` behind that, its time is up."""
        self.blocked = True
        self._then = step.then
        self._leave_cpu(step.poll_ns)
        return self._sleep() if step.until_ns is None else self._sleep_until(step.until_ns)

    def _wake_up(self) -> Path | None:
        """Another thread has woken this one; return the path of the wake-up, if it is still to be spent."""
        if self._path is not None:
            path, costs, start = self._path
            self._path = None
            self.mode = Mode.ROOT
            self._charge_path(path, costs, start, self.host.now_ns)
            return None
        waking, self._waking = self._waking, None
        return waking

    def _time_out(self) -> Process:
        """Nobody has woken the thread in time. Result: the path of the wake-up."""
        self.blocked = False
        waking = None if self._then is None else self._then()
        yield from self._take_cpu()
        return waking

    # Runs

    def _go_on(self, progress: Progress) -> Process:
        """Execute what remains of a run. Result: None at its end, else the `Outcome` that broke it off."""
        host = self.host
        broken_off = False
        while not progress.done:
            if progress.segment and not progress.access and progress.at_access and not broken_off:
                progress = progress.tail()
            run = progress.run
            alone = not broken_off and progress.at_access and not self.kicked and self._is_private(run)
            if alone and progress.segment == 0 and run.starts_in_root:
                alone = not self._looks()
            if not alone:
                broken_off = False
                outcome = yield from self._access(progress)
                if outcome is not None:
                    if outcome.end is End.RELAUNCHED:
                        progress = outcome.progress
                        continue
                    return outcome
                continue
            begin = host.now_ns
            end = begin + progress.remaining_ns()
            if end > begin and not host.advance(end, self.index):
                self._enter_run(progress, begin)
                yield self._sleep_until(end)
                if self._progress is None:
                    broken_off = True
                    continue
                self._leave_run()
            self._settle_rest(progress, begin)
            return None
        return None

    def _is_private(self, run: Run) -> bool:
        """Tell whether nobody else holds or waits for the mutex that the run takes or releases."""
        if not run.takes_lock:
            return True
        bql = self.bql
        if bql is None or (bql.runner is not None and bql.runner is not self):
            return False
        return bql.owner is None or (bql.owner is self and not bql.waiters)

    def _looks(self) -> bool:
        """Tell whether the next entry is not like others: requests are pending, or it is a VMLAUNCH."""
        return self.tracer is not None and (self.tracer.pending() or self.tracer.moved())

    def _enter_run(self, progress: Progress, begin_ns: int) -> None:
        self._progress = progress
        self._run_start_ns = begin_ns
        if progress.run.takes_lock:
            assert self.bql is not None
            self.bql.runner = self

    def _took_mutex(self, at_ns: int) -> None:
        assert self.bql is not None
        self.bql.take(self, since_ns=at_ns)

    def _leave_run(self) -> None:
        self._progress = None
        if self.bql is not None and self.bql.runner is self:
            self.bql.runner = None

    def _access(self, progress: Progress) -> Process:
        """Execute the rest of one access item by item; the item under way, if any, has just been slept through."""
        template = progress.template
        items = template.items
        costs = progress.costs() if template.variable else None
        position = progress.item - 1
        while position + 1 < len(items):
            position += 1
            item = items[position]
            if item.op is not Op.SPEND:
                progress.item = position + 1
                if item.op is Op.ENTRY and self.tracer is not None and self.tracer.moved():
                    return (yield from self._relaunch(progress, position))
                if item.op is Op.LOCK:
                    assert self.bql is not None
                    yield from self._lock(self.bql)
                elif self._act(item.op, progress):
                    return Outcome(End.AT_CHECK, progress)
                continue
            left = 0
            if progress.item_start_ns is not None:
                progress.item_start_ns = None
                left = self._end_item()
            elif self.kicked and item.mode is Mode.GUEST:
                progress.item = position
                return Outcome(End.KICKED, progress)
            elif item.mode is not Mode.GUEST:
                last, path = template.stretch(position)
                progress.item = last
                yield from self._spend(path, None if costs is None else costs[position:last])
                position = last - 1
                continue
            else:
                assert item.cost is not None
                cost = (item.cost.ns or 0) if costs is None else costs[position]
                if progress.left_ns is not None:
                    cost = progress.left_ns
                if cost:
                    left = yield from self._spend_item(item, cost)
            if self.kicked and item.mode is Mode.GUEST:
                progress.item = position
                progress.left_ns = left
                return Outcome(End.KICKED, progress)
            progress.left_ns = None
        if progress.run.poll is not None:
            progress.next_access()
            if not progress.done:
                progress.give_back()
            return Outcome(End.POLLED, progress)
        progress.next_access()
        return None

    def _relaunch(self, progress: Progress, position: int) -> Process:
        """The entry that ends the present access is a VMLAUNCH; what comes behind it draws its costs anew.

        Result: the `Outcome` of a poll, or one with the run that remains.
        """
        assert self.tracer is not None
        progress.give_back_from(position)
        yield from self._spend(self.tracer.launch())
        if progress.run.poll is not None:
            progress.next_access()
            return Outcome(End.POLLED, progress)
        return Outcome(End.RELAUNCHED, progress.begin_rest())

    def _act(self, op: Op, progress: Progress) -> bool:
        """Do what an item without time does; tell whether the run has to be left here, something being pending."""
        if op is Op.UNLOCK:
            assert self.bql is not None
            self.bql.release()
        elif op is Op.DEVICE:
            if progress.run.poll is not None:
                progress.poll_value = progress.run.poll()
        elif op is Op.CHECK:
            assert self.tracer is not None
            return self.tracer.pending()
        else:
            self._trace(op, self.host.now_ns, progress.template.kind)
        return False

    # Sleep

    def _sleep(self) -> Alarm:
        """Return the alarm to sleep on; it is used again unless an entry for it is left in the queue."""
        alarm = self._alarm
        if self._alarm_twice:
            self._alarm_twice = False
            alarm = self._alarm = Alarm(self.host)
        else:
            alarm.renew()
        return alarm

    def _sleep_until(self, at_ns: int) -> Alarm:
        alarm = self._alarm
        if self._alarm_twice:
            alarm = self._sleep()
        else:
            alarm.renew()
        self.host.set_alarm(alarm, at_ns, self.index)
        return alarm

    def _set_alarm(self, at_ns: int) -> None:
        """Let the alarm that the thread sleeps on go off at *at_ns*; an earlier setting is void."""
        self._alarm_twice = True
        self.host.set_alarm(self._alarm, at_ns, self.index)
