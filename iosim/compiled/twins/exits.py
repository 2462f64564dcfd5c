"""Twin of `iosim.kvm.exits`: the account of a vCPU's exits, with durations and drawn costs as plain ints."""

from typing import Any

from iosim.compiled.twins.durations import Durations
from iosim.compiled.twins.runs import offsets, starts
from iosim.kvm import exits
from iosim.kvm.exit_table import ExitReason
from iosim.model.steps import Template

_IO = ExitReason.IO_INSTRUCTION.name


class ExitAccount(exits.ExitAccount):
    """The tracepoints of one vCPU."""

    def drawn_run(self, plan: Any, drawn: Any) -> None:
        """All round trips of a run with the drawn costs *drawn*. Not if port accesses are logged."""
        spare = Durations()
        userspace = self._durations(_IO, True) if plan.has_exits(True) else spare
        others = self._durations(_IO, False) if plan.has_exits(False) else spare
        plan.add_exits(drawn, userspace, others)

    def round_trips(self, template: Template, drawn: Any, n: int, start_ns: int) -> None:
        """*n* round trips of *template*; with constant costs *drawn* is None."""
        durations = self._durations(_IO, template.userspace_exits > 0)
        left, entered = template.exit_range
        if drawn is None:
            durations.add(template.between(left, entered), n)
        else:
            begins = offsets(template, drawn, n, left)
            ends = offsets(template, drawn, n, entered)
            for access in range(n):
                durations.add(ends[access] - begins[access], 1)
        if self._log is not None:
            self._log_many(template, drawn, n, start_ns)

    def _log_many(self, template: Template, drawn: Any, n: int, start_ns: int) -> None:
        if template.kind is None:
            return
        left, _ = template.exit_range
        begins = starts(template, drawn, n, start_ns)
        to_exit = offsets(template, drawn, n, left)
        for access in range(n):
            self._log_access(template.kind, begins[access] + to_exit[access])
