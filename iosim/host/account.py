"""What a thread spends, settled: charged to its request, its tracepoints passed, its mutex counted as held."""

from abc import ABC, abstractmethod
from typing import Protocol

from iosim.host.drawing import DrawPlan
from iosim.host.environment import Host
from iosim.host.levels import Pattern
from iosim.host.mutex import Mutex
from iosim.host.runs import Progress, charge_drawn, costs_of_one, hold_pattern, holds
from iosim.model.costs import Cost, Int64Array
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import AccessKind, Item, Op, Path, Run, Segment, Template


class Tracer(Protocol):
    """What a vCPU notes of its exits: kvm_exit, kvm_userspace_exit, kvm_entry, one by one or in bulk."""

    def kvm_exit(self, now_ns: int, kind: AccessKind | None) -> None:
        """The exit reason of a port access has been read."""

    def kvm_userspace_exit(self) -> None:
        """KVM_RUN returns."""

    def kvm_entry(self, now_ns: int) -> None:
        """The next entry: the exit's time ends here."""

    def round_trips(self, template: Template, drawn: Int64Array | None, n: int, start_ns: int) -> None:
        """*n* whole round trips of *template*, the first from *start_ns*."""

    def whole_run(self, run: Run, start_ns: int) -> None:
        """All round trips of a run with constant costs."""

    def drawn_run(self, plan: DrawPlan, drawn: Int64Array) -> None:
        """All round trips of a run with drawn costs."""

    @property
    def logs_ports(self) -> bool:
        """Whether every port access is logged, each at its time."""

    def pending(self) -> bool:
        """Tell whether anything waits for vcpu_enter_guest to look at it."""

    def moved(self) -> bool:
        """Tell whether the next entry has to be a VMLAUNCH: the vCPU has come to another CPU since the last one."""

    def launch(self) -> Path:
        """Return the path of that entry, and take it as made."""


class Account(ABC):
    """The side of a thread that keeps the account; `iosim.host.thread.HostThread` says what the attributes mean."""

    def __init__(self, host: Host, index: int, name: str) -> None:
        self.host = host
        self.index = index
        self.name = name
        self.request: Request | None = None
        self.owner: Request | None = None
        self.delivering = False
        self.tracer: Tracer | None = None
        self.bql: Mutex | None = None
        self._holds: dict[Template, Pattern] = {}

    @abstractmethod
    def _took_mutex(self, at_ns: int) -> None:
        """The thread has owned the BQL since *at_ns*."""

    def _charge_path(self, path: Path, costs: list[int] | None, start_ns: int, end_ns: int) -> None:
        """Charge a path that was spent whole, and pass its tracepoints."""
        request = self.request
        if request is not None and end_ns > start_ns:
            part = path.delivered() if self.delivering else path
            request.mark_ns = end_ns
            if costs is None:
                request.spent = request.spent.then(part)
                if request.log is not None:
                    request.log.append((start_ns, self.name, part))
            else:
                stages = request.stages
                for item, cost in zip(part.items, costs, strict=True):
                    stages[item.stage] += cost
                if request.log is not None:
                    request.log.append((start_ns, self.name, part, costs))
        if costs is None:
            for op, offset in path.actions:
                self._trace(op, start_ns + offset, None)
        elif path.actions:
            at = start_ns
            for item, cost in zip(path.items, costs, strict=True):
                at += cost
                if item.op is not Op.SPEND:
                    self._trace(item.op, at, None)

    def _trace(self, op: Op, now_ns: int, kind: AccessKind | None) -> None:
        """Note an exit, a return to userspace, an entry or an IRQ-line ioctl."""
        if op is Op.IRQ_LINE:
            if self.owner is not None:
                self.owner.irq_line_ioctls += 1
            return
        assert self.tracer is not None
        if op is Op.EXIT:
            self.tracer.kvm_exit(now_ns, kind)
        elif op is Op.USERSPACE:
            self.tracer.kvm_userspace_exit()
        elif op is Op.ENTRY:
            self.tracer.kvm_entry(now_ns)

    def _settle_rest(self, progress: Progress, begin_ns: int) -> None:
        """Account for all accesses from the present position to the end of the run, executed from *begin_ns*."""
        run = progress.run
        if progress.segment == 0 and progress.access == 0:
            if run.total_ns is not None:
                self._settle_whole(run, begin_ns)
                return
            if self.tracer is None or not self.tracer.logs_ports:
                self._settle_drawn(progress, begin_ns)
                return
        start = begin_ns
        for index, first, n, total in progress.parts():
            self._settle(run.segments[index].template, progress.drawn_of(index, first, n), n, start, total)
            start += total

    def _settle_whole(self, run: Run, begin_ns: int) -> None:
        """Account for a run with constant costs, executed as a whole from *begin_ns*."""
        assert run.total_ns is not None
        end = begin_ns + run.total_ns
        request = self.request
        if request is not None:
            request.spent = request.spent.then(run)
            request.mark_ns = end
            if request.log is not None:
                request.log.append((begin_ns, self.name, run))
        else:
            self._count_exits(run.exits, run.userspace_exits, run.irq_lines)
        if run.exits:
            assert self.tracer is not None
            self.tracer.whole_run(run, begin_ns)
        if run.hold_ns:
            assert self.bql is not None
            if run.pattern is None:
                run.pattern = hold_pattern(run.segments)
            self.bql.held.add_pattern(run.pattern, begin_ns)
        for op, offset, kind in run.actions:
            self._did(op, begin_ns + offset, kind)

    def _settle_drawn(self, progress: Progress, begin_ns: int) -> None:
        """Account for a run of whole round trips with drawn costs, executed as a whole from *begin_ns*."""
        run: Run = progress.run
        plan: DrawPlan = progress.plan
        drawn = progress.drawn
        end = begin_ns + progress.remaining_ns()
        request = self.request
        hold_ns = plan.spent(drawn, None if request is None else request.stages)
        if request is not None:
            request.mark_ns = end
            if request.log is not None:
                request.log.append((begin_ns, self.name, run, drawn))
        self._count_exits(run.exits, run.userspace_exits, run.irq_lines)
        if run.exits:
            assert self.tracer is not None
            self.tracer.drawn_run(plan, drawn)
        for index, offset, costs in plan.parts(drawn):
            self._settle_part(run.segments[index].template, costs, begin_ns + offset)
        if run.takes_lock:
            assert self.bql is not None
            if not self.bql.held.add_within(begin_ns, end, hold_ns):
                self._hold_drawn(progress, begin_ns)

    def _hold_drawn(self, progress: Progress, begin_ns: int) -> None:
        """Count the time that each access of a run held the mutex."""
        start = begin_ns
        for index, first, n, total in progress.parts():
            self._hold(progress.run.segments[index].template, progress.drawn_of(index, first, n), n, start)
            start += total

    def _settle_until(self, progress: Progress, begin_ns: int, segment: int, access: int, item: int) -> None:
        """Account for what was executed before (segment, access, item), and move there."""
        start = begin_ns
        for index, first, n, total in progress.parts():
            if index > segment:
                break
            template = progress.run.segments[index].template
            if index == segment:
                n = access - first
                total = template.const_ns * n + progress.drawn_ns(index, first, n)
            if n:
                self._settle(template, progress.drawn_of(index, first, n), n, start, total)
            start += total
        progress.segment = segment
        progress.access = access
        progress.item = item
        items = progress.template.items
        costs = progress.costs()
        for position in range(item):
            op = items[position].op
            if op is Op.SPEND:
                self._charge(items[position], start, start + costs[position])
                start += costs[position]
                continue
            if op is Op.DEVICE and progress.run.poll is not None:
                progress.poll_value = progress.run.poll()
            self._did(op, start, progress.template.kind)

    def _settle(self, template: Template, drawn: Int64Array | None, n: int, start_ns: int, total_ns: int) -> None:
        """Account for *n* whole accesses executed from *start_ns* on."""
        request = self.request
        if request is not None:
            stages = request.stages
            if drawn is None:
                for stage, ns in template.by_stage:
                    stages[stage] += ns * n
            else:
                charge_drawn(template, drawn, n, stages)
            request.mark_ns = start_ns + total_ns
            if request.log is not None:
                request.log.append((start_ns, self.name, template, drawn, n))
        if not template.whole:
            self._settle_part(template, [] if drawn is None else costs_of_one(drawn), start_ns)
            return
        self._count_exits(template.exits * n, template.userspace_exits * n, template.irq_lines * n)
        if template.exits:
            assert self.tracer is not None
            self.tracer.round_trips(template, drawn, n, start_ns)
        if template.holds:
            self._hold(template, drawn, n, start_ns)

    def _count_exits(self, exits: int, userspace_exits: int, irq_lines: int) -> None:
        """Count for the request that the thread's exits are for, if there is one."""
        owner = self.owner
        if owner is not None:
            owner.exits += exits
            owner.userspace_exits += userspace_exits
            owner.irq_line_ioctls += irq_lines

    def _settle_part(self, template: Template, drawn: list[int], start_ns: int) -> None:
        """Do what the items without time of a front or back did, each at its instant; *drawn* are the drawn costs."""
        at = start_ns
        column = 0
        for item in template.items:
            if item.cost is None:
                self._did(item.op, at, template.kind)
            elif item.cost.ns is None:
                at += drawn[column]
                column += 1
            else:
                at += item.cost.ns

    def _did(self, op: Op, at_ns: int, kind: AccessKind | None) -> None:
        """Account for an item without time that was executed at *at_ns* while nobody looked."""
        if op is Op.CHECK or op is Op.DEVICE:
            return
        if op is Op.LOCK:
            assert self.bql is not None
            self._took_mutex(at_ns)
        elif op is Op.UNLOCK:
            assert self.bql is not None
            self.bql.release(at_ns=at_ns)
        else:
            self._trace(op, at_ns, kind)

    def _hold(self, template: Template, drawn: Int64Array | None, n: int, start_ns: int) -> None:
        """Count the time that *n* accesses held the mutex."""
        if not template.holds:
            return
        assert self.bql is not None
        held = self.bql.held
        if drawn is not None or n > 1:
            taken, released = holds(template, drawn, n, start_ns)
            held.add_many(taken, released)
            return
        pattern = self._holds.get(template)
        if pattern is None:
            pattern = self._holds[template] = hold_pattern([Segment(template, 1)])
        held.add_pattern(pattern, start_ns)

    def _charge(self, item: Item, start_ns: int, end_ns: int) -> None:
        request = self.request
        if request is None or end_ns <= start_ns:
            return
        request.stages[Stage.IRQ_DELIVERY if self.delivering else item.stage] += end_ns - start_ns
        request.mark_ns = end_ns
        if request.log is not None:
            request.log.append((start_ns, self.name, item, end_ns, self.delivering))

    def _charge_partly(self, path: Path, costs: list[int] | None, start_ns: int, now_ns: int) -> Path:
        """Charge the items of a path that was cut at *now_ns*, and return what is left of it."""
        position, start = self._charge_finished(path, costs, start_ns, now_ns)
        if position == len(path.items):
            return Path((), path.mode)
        item = path.items[position]
        cost = (item.cost.ns or 0 if item.cost else 0) if costs is None else costs[position]
        self._charge(item, start, now_ns)
        return rest_of(path, position, start + cost - now_ns, costs)

    def _charge_finished(self, path: Path, costs: list[int] | None, start_ns: int, now_ns: int) -> tuple[int, int]:
        """Charge the items that have ended and pass their tracepoints; return the next item and when it began."""
        start = start_ns
        inclusive = self.host.turn > self.index
        for position, item in enumerate(path.items):
            if item.cost is None:
                self._trace(item.op, start, None)
                continue
            cost = (item.cost.ns or 0) if costs is None else costs[position]
            if cost and (start + cost > now_ns or (start + cost == now_ns and not inclusive)):
                return position, start
            self._charge(item, start, start + cost)
            start += cost
        return len(path.items), start


def rest_of(path: Path, position: int, left_ns: int, costs: list[int] | None = None) -> Path:
    """Return what remains of *path* from the item at *position*, of which *left_ns* remain."""
    items = [] if not left_ns else [_fixed(path.items[position], left_ns)]
    for index in range(position + 1, len(path.items)):
        item = path.items[index]
        items.append(item if costs is None or item.cost is None else _fixed(item, costs[index]))
    return Path(items, path.mode)


def _fixed(item: Item, ns: int) -> Item:
    """Return *item* with a cost of exactly *ns*."""
    return item._replace(cost=Cost(item.function, ns))
