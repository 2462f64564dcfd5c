"""Twin of `iosim.host.account`: how long the mutex is held, with drawn costs as flat lists."""

from typing import Any

from iosim.compiled.twins.runs import holds
from iosim.host import account
from iosim.model.steps import Template


class Account(account.Account):
    """The side of a thread that keeps the account."""

    def _hold_drawn(self, progress: Any, begin_ns: int) -> None:
        assert self.bql is not None
        held: Any = self.bql.held
        plan: Any = progress.plan
        drawn: list[int] = progress.drawn
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
