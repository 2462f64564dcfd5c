"""Twin of `iosim.host.account`: the methods that settle drawn costs."""

from typing import Any

from iosim.compiled.twins.drawing import DrawPlan
from iosim.compiled.twins.runs import from_access, hold_pattern, holds
from iosim.host import account
from iosim.model.steps import Op, Run, Segment, Template


class Account(account.Account):
    """The side of a thread that keeps the account; drawn costs are flat lists (`iosim.compiled.twins.runs`)."""

    def _settle_rest(self, progress: Any, begin_ns: int) -> None:
        run: Run = progress.run
        if progress.segment == 0 and progress.access == 0:
            if run.total_ns is not None:
                self._settle_whole(run, begin_ns)
                return
            if self.tracer is None or not self.tracer.logs_ports:
                self._settle_drawn(progress, begin_ns)
                return
        start = begin_ns
        draws = progress.draws
        for index, first, n, total in progress.parts():
            template = run.segments[index].template
            drawn = None if draws is None else draws[index]
            if drawn is not None:
                drawn = from_access(template, drawn, first)
            self._settle(template, drawn, n, start, total)
            start += total

    def _settle_whole(self, run: Run, begin_ns: int) -> None:
        assert run.total_ns is not None
        end = begin_ns + run.total_ns
        request = self.request
        if request is not None:
            request.parts.append(run)
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
            pattern: Any = run.pattern
            if pattern is None:
                pattern = hold_pattern(run.segments)
                run.pattern = pattern
            self.bql.held.add_pattern(pattern, begin_ns)
        for op, offset, kind in run.actions:
            self._did(op, begin_ns + offset, kind)

    def _settle_drawn(self, progress: Any, begin_ns: int) -> None:
        run: Run = progress.run
        plan: Any = progress.plan
        drawn: Any = progress.drawn
        assert plan is not None
        assert drawn is not None
        end: int = begin_ns + progress.remaining_ns()
        request = self.request
        hold_ns: int = plan.spent(drawn, None if request is None else request.stages)
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
        if not run.takes_lock:
            return
        assert self.bql is not None
        if not self.bql.held.add_within(begin_ns, end, hold_ns):
            self._hold_drawn(plan, drawn, begin_ns)

    def _hold_drawn(self, plan: DrawPlan, drawn: list[int], begin_ns: int) -> None:
        assert self.bql is not None
        held: Any = self.bql.held
        start = begin_ns
        at = 0
        for segment in plan.segments:
            width = len(segment.columns)
            for _ in range(segment.n):
                end: int = start + segment.access_const_ns
                area: int = segment.hold_const_ns
                for index in range(width):
                    ns: int = drawn[at + index]
                    end += ns
                    if segment.columns[index].in_hold:
                        area += ns
                template: Template = segment.template
                if template.holds and not held.add_within(start, end, area):
                    taken, released = holds(template, drawn[at : at + width], 1, start)
                    held.add_many(taken, released)
                start = end
                at += width

    def _settle_until(self, progress: Any, begin_ns: int, segment: int, access: int, item: int) -> None:
        start = begin_ns
        draws = progress.draws
        for index, first, n, total in progress.parts():
            if index > segment:
                break
            template: Template = progress.run.segments[index].template
            width = len(template.variable)
            if index == segment:
                n = access - first
            part = None if draws is None else draws[index]
            if part is not None:
                part = part[first * width : (first + n) * width]
            if index == segment:
                total = template.const_ns * n
                if part is not None:
                    total += sum(part)
            if n:
                self._settle(template, part, n, start, total)
            start += total
        progress.segment = segment
        progress.access = access
        progress.item = item
        template = progress.template
        costs = progress.costs()
        for position in range(item):
            entry = template.items[position]
            if entry.op is Op.SPEND:
                self._charge(entry, start, start + costs[position])
                start += costs[position]
                continue
            if entry.op is Op.DEVICE and progress.run.poll is not None:
                progress.poll_value = progress.run.poll()
            self._did(entry.op, start, template.kind)

    def _settle(self, template: Template, drawn: Any, n: int, start_ns: int, total_ns: int) -> None:
        request = self.request
        if request is not None:
            stages = request.stages
            for item in template.items:
                if item.cost is not None and item.cost.ns is not None:
                    stages[item.stage] += item.cost.ns * n
            if drawn is not None:
                at = 0
                for _ in range(n):
                    for position in template.variable:
                        stages[template.items[position].stage] += drawn[at]
                        at += 1
            request.mark_ns = start_ns + total_ns
            if request.log is not None:
                request.log.append((start_ns, self.name, template, drawn, n))
        if not template.whole:
            self._settle_part(template, [] if drawn is None else drawn[: len(template.variable)], start_ns)
            return
        self._count_exits(template.exits * n, template.userspace_exits * n, template.irq_lines * n)
        if template.exits:
            assert self.tracer is not None
            self.tracer.round_trips(template, drawn, n, start_ns)
        if template.holds:
            self._hold(template, drawn, n, start_ns)

    def _settle_part(self, template: Template, drawn: list[int], start_ns: int) -> None:
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

    def _hold(self, template: Template, drawn: Any, n: int, start_ns: int) -> None:
        if not template.holds:
            return
        assert self.bql is not None
        held: Any = self.bql.held
        if drawn is not None or n > 1:
            taken, released = holds(template, drawn, n, start_ns)
            held.add_many(taken, released)
            return
        pattern: Any = self._holds.get(template)
        if pattern is None:
            pattern = hold_pattern([Segment(template, 1)])
            self._holds[template] = pattern
        held.add_pattern(pattern, start_ns)

    def _count_exits(self, exits: int, userspace_exits: int, irq_lines: int) -> None:
        """Count for the request that the thread's exits are for, if there is one."""
        owner = self.owner
        if owner is not None:
            owner.exits += exits
            owner.userspace_exits += userspace_exits
            owner.irq_line_ioctls += irq_lines
