"""What ends a stay in the guest, and the account of a vCPU's exits."""

from typing import TYPE_CHECKING, NamedTuple

from iosim.host.drawing import DrawPlan
from iosim.host.durations import Durations
from iosim.host.runs import offsets, starts
from iosim.host.thread import HostThread
from iosim.kvm.exit_table import ExitReason, KvmExit
from iosim.model.costs import Int64Array
from iosim.model.records import Request
from iosim.model.steps import AccessKind, Path, Run, Template

if TYPE_CHECKING:
    from iosim.kvm.vcpu import Vcpu

_IO = ExitReason.IO_INSTRUCTION.name
_IO_INSTRUCTION, _EPT_MISCONFIG = int(ExitReason.IO_INSTRUCTION), int(ExitReason.EPT_MISCONFIG)
_NAMES: dict[int, str] = {reason: reason.name for reason in ExitReason}
_N_CODES = 2 * (max(ExitReason) + 1)


class Access:
    """One port access of the guest: what it looks like, and the value written or, afterwards, read."""

    __slots__ = ("kind", "value")

    def __init__(self, kind: AccessKind, value: int = 0) -> None:
        self.kind = kind
        self.value = value


class Exit(NamedTuple):
    """A VM exit: its basic reason, the port access, and for declared exits what KVM makes of them.

    *kvm_exit* is passed to userspace, *errno* is that with which KVM_RUN fails. *request* is the request that the exit
    is counted for, None for HLT and background exits. *eoi* marks the end of an interrupt. *gpa* is the address of a
    doorbell that is written by MMIO.
    """

    reason: ExitReason
    access: Access | None = None
    kvm_exit: KvmExit | None = None
    errno: int = 0
    failed_entry: bool = False
    hardware_reason: int | None = None
    request: Request | None = None
    eoi: bool = False
    gpa: int | None = None


class PortLog:
    """The log of port accesses (`run.log = "ports"`).

    Rows are (vcpu, drive, request, ns, port, write, width, count).
    """

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int, int, int, bool, int, int]] = []


class Tally:
    """How many times a vCPU has executed a run as a whole; `account` is None once that has been added up."""

    __slots__ = ("account", "times")

    def __init__(self, account: "ExitAccount | None") -> None:
        self.account = account
        self.times = 0


class ExitAccount:
    """The tracepoints of one vCPU: counts of its requests' exits, and the time of every exit by reason.

    An exit's time is that of ``perf kvm stat``: from kvm_exit to the next kvm_entry. `times` is per (reason,
    userspace); exits that end in the warm-up are not in it.

    `_exit_ns` is when the present exit began, -1 in the guest; `_reason` its basic reason, or -1 if it goes by another
    `_name` (`reason_name`). `_by_code` are the same durations as `times`, by twice the reason, plus 1 with userspace.
    """

    def __init__(self, thread: HostThread, vcpu: "Vcpu", log: PortLog | None) -> None:
        self.times: dict[tuple[str, bool], Durations] = {}
        self._thread = thread
        self._vcpu = vcpu
        self._log = log
        self._by_code: list[Durations | None] = [None] * _N_CODES
        self._whole_runs: dict[Run, Tally] = {}
        self._reason = -1
        self._name = ""
        self._exit_ns = -1
        self._userspace = False

    def kvm_exit(self, now_ns: int, kind: AccessKind | None) -> None:
        """kvm_exit: of the port access *kind* within a run, or of the vCPU's present exit."""
        self._exit_ns = now_ns
        self._userspace = False
        if kind is not None:
            self._reason = _IO_INSTRUCTION
            request = self._thread.owner
        else:
            exit_ = self._vcpu.exit
            assert exit_ is not None
            if exit_.failed_entry or exit_.hardware_reason is not None:
                self._reason = -1
                self._name = reason_name(exit_)
            else:
                self._reason = int(exit_.reason)
            request = exit_.request
            if exit_.access is not None:
                kind = exit_.access.kind
        if request is not None:
            request.exits += 1
        if self._log is not None and kind is not None:
            self._log_access(kind, now_ns)

    def kvm_userspace_exit(self) -> None:
        """KVM_RUN returns to QEMU."""
        self._userspace = True
        owner = self._thread.owner
        if owner is not None and (self._reason == _IO_INSTRUCTION or self._reason == _EPT_MISCONFIG):
            owner.userspace_exits += 1

    def interrupted(self) -> None:
        """KVM_RUN returns EINTR: of whatever exit preceded, but on nobody's account."""
        self._userspace = True

    def kvm_entry(self, now_ns: int) -> None:
        """The next entry into the guest."""
        if self._exit_ns >= 0:
            self._of_exit().add(now_ns - self._exit_ns, 1)
            self._exit_ns = -1

    def forget(self) -> None:
        """The exit that ended the VM has no entry: it is not counted."""
        self._exit_ns = -1

    def pending(self) -> bool:
        """Tell whether something waits for vcpu_enter_guest to look at it."""
        return self._vcpu.pending()

    def moved(self) -> bool:
        """Tell whether the next entry has to be a VMLAUNCH."""
        vmcs = self._vcpu.vmcs
        return vmcs.cpu != self._thread.cpu

    def launch(self) -> Path:
        """Return the path of that entry."""
        vmcs = self._vcpu.vmcs
        path = vmcs.entry(self._thread.cpu)
        vmcs.launched = True
        return path

    def whole_run(self, run: Run, start_ns: int) -> None:
        """All round trips of a run with constant costs."""
        tally: Tally | None = run.tally
        if tally is None or tally.account is not self:
            tally = self._tally(run)
        tally.times += 1
        if self._log is not None:
            start = start_ns
            for template, n in run.segments:
                if template.whole:
                    self._log_many(template, None, n, start)
                start += template.const_ns * n

    def _tally(self, run: Run) -> Tally:
        """Return the tally of a run, which another vCPU's may have displaced."""
        tally = self._whole_runs.get(run)
        if tally is None:
            tally = self._whole_runs[run] = Tally(self)
        run.tally = tally
        return tally

    def _forget_runs(self) -> None:
        for tally in self._whole_runs.values():
            tally.account = None
        self._whole_runs = {}

    def drawn_run(self, plan: DrawPlan, drawn: Int64Array) -> None:
        """All round trips of a run with the drawn costs *drawn*. Not if port accesses are logged."""
        ns = plan.exit_ns(drawn)
        if plan.all_userspace:
            self._durations(_IO, True).add_array(ns)
            return
        for userspace in (False, True):
            mine = ns[plan.userspace == userspace]
            if len(mine):
                self._durations(_IO, userspace).add_array(mine)

    @property
    def logs_ports(self) -> bool:
        """Whether every port access is logged."""
        return self._log is not None

    def round_trips(self, template: Template, drawn: Int64Array | None, n: int, start_ns: int) -> None:
        """*n* round trips of *template*; with constant costs *drawn* is None."""
        durations = self._durations(_IO, template.userspace_exits > 0)
        left, entered = template.exit_range
        if drawn is None:
            durations.add(template.between(left, entered), n)
        else:
            durations.add_array(offsets(template, drawn, n, entered) - offsets(template, drawn, n, left))
        if self._log is not None:
            self._log_many(template, drawn, n, start_ns)

    def restart(self) -> None:
        """The warm-up has ended: exits are counted from here."""
        self.times = {}
        self._by_code = [None] * _N_CODES
        self._forget_runs()

    def finish(self) -> dict[tuple[str, bool], Durations]:
        """Return the times of all exits that have ended."""
        for run, tally in self._whole_runs.items():
            for template, n in run.segments:
                if not template.exits or not template.whole:
                    continue
                left, entered = template.exit_range
                durations = self._durations(_IO, template.userspace_exits > 0)
                durations.add(template.between(left, entered), n * tally.times)
        self._forget_runs()
        for times in self.times.values():
            times.finish()
        return self.times

    def _durations(self, reason: str, userspace: bool) -> Durations:
        key = (reason, userspace)
        if key not in self.times:
            self.times[key] = Durations()
        return self.times[key]

    def _of_exit(self) -> Durations:
        """Return the durations that the present exit belongs to."""
        if self._reason < 0:
            return self._durations(self._name, self._userspace)
        code = 2 * self._reason + 1 if self._userspace else 2 * self._reason
        durations = self._by_code[code]
        if durations is None:
            durations = self._by_code[code] = self._durations(_NAMES[self._reason], self._userspace)
        return durations

    def _log_access(self, kind: AccessKind, now_ns: int) -> None:
        assert self._log is not None
        owner = self._thread.owner
        drive, number = (-1, -1) if owner is None else (owner.drive.index, owner.number)
        self._log.rows.append((self._vcpu.number, drive, number, now_ns, kind.port, kind.write, kind.width, kind.items))

    def _log_many(self, template: Template, drawn: Int64Array | None, n: int, start_ns: int) -> None:
        if template.kind is None:
            return
        left, _ = template.exit_range
        begins = starts(template, drawn, n, start_ns) + offsets(template, drawn, n, left)
        for at in begins.tolist():
            self._log_access(template.kind, at)


def reason_name(exit_: Exit) -> str:
    """Return the name of the exit's reason as perf and trace-cmd print it; a number if the kernel knows no name."""
    if exit_.failed_entry:
        return "INVALID_STATE"
    if exit_.hardware_reason is not None:
        return str(exit_.hardware_reason)
    return _NAMES[exit_.reason]
