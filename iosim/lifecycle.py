"""What happens to a VM beside its requests: scheduled events, its end with requests in flight, its restart."""

import errno
from heapq import heappop, heappush
from typing import NamedTuple, Protocol

from iosim.guest.kernel import Guest
from iosim.host import HostThread
from iosim.kvm import Exit, ExitReason, KvmExit
from iosim.model.records import ERROR, Request
from iosim.model.scenario import EventTable, VmTable
from iosim.model.steps import Block, Steps
from iosim.qemu.vl import QemuProcess

FAULTS: dict[str, Exit] = {
    "shutdown": Exit(ExitReason.TRIPLE_FAULT, kvm_exit=KvmExit.SHUTDOWN),
    "internal-error": Exit(ExitReason.TASK_SWITCH, kvm_exit=KvmExit.INTERNAL_ERROR),
    "unknown-exit": Exit(ExitReason.CPUID, hardware_reason=11),
    "fail-entry": Exit(ExitReason.CPUID, failed_entry=True),
    "run-error": Exit(ExitReason.EPT_VIOLATION, errno=errno.EFAULT),
}
"""The exit that each scheduled event makes of the guest's next instruction. 11 (GETSEC) has no handler in the table."""

SCHEDULED = "event"


class RequestAccount(Protocol):
    """Who keeps the account of the requests."""

    def request_arrived(self, request: Request) -> None:
        """A request has entered a guest."""

    def request_ended(self, request: Request) -> None:
        """A request is done or has failed."""

    def never_arrive(self, n: int) -> None:
        """*n* requests of the traces will not come any more."""

    def never_end(self, n: int) -> None:
        """*n* more requests (fewer, if negative) have come and will not end: the run does not wait for them."""


class Feeder(Protocol):
    """The stream of requests of one drive."""

    def never_arrive(self) -> int:
        """The VM is no more: return how many requests will not come."""

    def guest_booted(self) -> None:
        """The guest runs again."""


class Lifecycle:
    """One VM from its start to its end, through stops and restarts; `events` is the table of what happened.

    * running;
    * stopped (`RunState`): by an event or an error policy, until it goes on;
    * ended: reset, or stopped by an internal error. Its requests fail, and so does each that arrives;
    * ended and coming back: once the vCPU waits and nothing is in flight (a reset waits for that), the guest boots, and
      at the end of its boot it runs.
    """

    def __init__(
        self,
        table: VmTable,
        qemu: QemuProcess,
        guest: Guest,
        account: RequestAccount,
        threads: list[HostThread],
        boot_thread: HostThread,
    ) -> None:
        self.events: list[tuple[int, int, int, str, str]] = []
        self.feeders: list[Feeder] = []
        self._boot_ns = table.boot
        self._scheduled = [scheduled_event(event) for event in sorted(table.event, key=lambda event: event.at)]
        self._resets_left = sum(event.kind == "reset" for event in table.event)
        self._conts_left = sum(event.kind == "cont" for event in table.event)
        self._qemu = qemu
        self._host = qemu.host
        self._guest = guest
        self._account = account
        self._threads = threads
        self._boot_thread = boot_thread
        self._under_way: dict[Request, Request] = {}
        self._coming_back = False
        self._why_ended = ""
        self._n_hopeless = 0
        runstate = qemu.runstate
        runstate.note = self.note
        runstate.waiting = lambda: self._under_way.values()
        runstate.on_parked = self._look_whether_quiet
        runstate.on_stopped = self._stopped
        for backend in qemu.backends:
            backend.drained = self._look_whether_quiet
        if self._boot_ns is not None:
            boot_thread.start(self._boots())

    # Requests

    def arrive(self, request: Request) -> None:
        """A request comes to the guest, or to nobody if there is none."""
        self._account.request_arrived(request)
        if self._guest.dead:
            self._fail(request, "down")
        else:
            self._under_way[request] = request
            self._guest.arrive(request)
            self._count_hopeless()

    def ended(self, request: Request) -> None:
        """The guest has completed a request, well or not."""
        self._under_way.pop(request, None)
        self._count_hopeless()
        self._account.request_ended(request)

    def _fail(self, request: Request, why: str) -> None:
        """End a request with status error at this instant; one that was never issued counts as issued now."""
        request.stop_waiting(self._host.now_ns)
        request.status = ERROR
        request.error = why
        if request.issue_ns < 0:
            request.issue_ns = self._host.now_ns
        request.done_ns = self._host.now_ns
        self.ended(request)

    def stream_begun(self, feeder: Feeder) -> None:
        """A stream of closed replay has begun: if the guest will never run again, nothing follows its first request."""
        if self.is_over:
            self._account.never_arrive(feeder.never_arrive())

    def _stopped(self) -> None:
        """The VM has been stopped; if it is for good, closed replay has come to its end."""
        if self._is_stopped_for_good():
            self._account.never_arrive(sum(feeder.never_arrive() for feeder in self.feeders))
            self._count_hopeless()

    def _count_hopeless(self) -> None:
        """What is under way in a VM that is stopped for good will not end."""
        hopeless = len(self._under_way) if self._is_stopped_for_good() else 0
        if hopeless != self._n_hopeless:
            more = hopeless - self._n_hopeless
            self._n_hopeless = hopeless
            self._account.never_end(more)

    # Events

    def note(self, event: str, request: Request | None, why: str) -> None:
        """Write a row of the table of events."""
        drive, number = (-1, -1) if request is None else (request.drive.index, request.number)
        self.events.append((self._host.now_ns, drive, number, event, why))

    def schedule(self) -> Steps[None]:
        """The scheduled events as a thread, in order of time."""
        following = [(event.at_ns, position, 0) for position, event in enumerate(self._scheduled)]
        while following:
            at, position, k = heappop(following)
            if at > self._host.now_ns:
                yield Block(at)
            event = self._scheduled[position]
            after = event.occurrence(k + 1)
            if after < event.end_ns:
                heappush(following, (after, position, k + 1))
            self._happen(event, k == 0)

    def _happen(self, event: "ScheduledEvent", first: bool) -> None:
        runstate = self._qemu.runstate
        if event.kind == "signal":
            if first:
                self.note("signal", None, SCHEDULED)
            self._qemu.cpus[event.vcpu].qemu_cpu_kick()
        elif event.kind == "stop":
            runstate.vm_stop(SCHEDULED)
        elif event.kind == "cont":
            self._conts_left -= 1
            runstate.vm_start(SCHEDULED)
        elif event.kind == "reset":
            self._resets_left -= 1
            self._system_reset()
        else:
            vcpu = self._qemu.vcpus[event.vcpu]
            if not self._guest.dead:
                vcpu.fault = FAULTS[event.kind]
            vcpu.kick()

    @property
    def runs(self) -> bool:
        """Whether a guest is there and not stopped."""
        return not self._guest.dead and self._qemu.runstate.running

    @property
    def is_over(self) -> bool:
        """Whether the guest will never run again."""
        if self._guest.dead:
            return not self._comes_back()
        return self._is_stopped_for_good()

    def _is_stopped_for_good(self) -> bool:
        return not self._qemu.runstate.running and not self._conts_left and not self._resets_left

    # End and restart

    def _system_reset(self) -> None:
        """system_reset and cont of the monitor: a running guest ends, one that has ended comes back."""
        runstate = self._qemu.runstate
        if self._guest.dead:
            if self._why_ended != "aborted":
                self._come_back()
        elif runstate.all_parked():
            runstate.settle(self._host.now_ns)
            self.vm_ended("reset")
        else:
            runstate.request_reset()
        runstate.vm_start("reset")

    def vm_ended(self, why: str) -> None:
        """The VM was reset or stopped: its requests end here, the threads of QEMU find nothing to do any more."""
        self._why_ended = why
        self._qemu.runstate.pause_for_good()
        self._guest.die(self._host.now_ns)
        lost = list(self._under_way.values())
        for thread in self._threads:
            if thread.request in lost:
                thread.charge_under_way()
        for request in lost:
            self._fail(request, why)
        for bus in self._qemu.buses:
            bus.request = None
        for device in self._qemu.virtio_devices:
            device.reset()
        self.note("end", None, why)
        if why == "reset" and self._boot_ns is not None:
            self._come_back()
        elif not self._comes_back():
            self._account.never_arrive(sum(feeder.never_arrive() for feeder in self.feeders))

    def _comes_back(self) -> bool:
        """Tell whether an ended guest will run again."""
        return self._coming_back or (self._resets_left > 0 and self._why_ended != "aborted")

    def _come_back(self) -> None:
        self._coming_back = True
        self._look_whether_quiet()

    def _look_whether_quiet(self) -> None:
        """A vCPU has come to wait, or the last job has been completed: a reset may go on."""
        if self._coming_back and self._qemu.quiescent():
            self._boot_thread.wake()

    def _boots(self) -> Steps[None]:
        """The restarts as a thread: wait until one can begin, then for the guest's boot."""
        assert self._boot_ns is not None
        while True:
            if not self._coming_back or not self._qemu.quiescent():
                yield Block()
                continue
            booted_ns = self._host.now_ns + self._boot_ns
            while booted_ns > self._host.now_ns:
                yield Block(booted_ns)
            self._coming_back = False
            self._guest.revive()
            self._qemu.system_reset()
            self.note("boot", None, "reset")
            for feeder in self.feeders:
                feeder.guest_booted()


class ScheduledEvent(NamedTuple):
    """Something that happens to the VM at *at_ns*, and again at its *rate* (per second) until *end_ns*."""

    at_ns: int
    end_ns: int
    rate: float
    kind: str
    vcpu: int

    def occurrence(self, k: int) -> int:
        """Return when it happens for the *k*-th time, from 0."""
        return self.at_ns + round(k * 1e9 / self.rate)


def scheduled_event(table: EventTable) -> ScheduledEvent:
    """Return what *table* describes: an event that happens once has its end at its begin."""
    if table.rate is None or table.duration is None:
        return ScheduledEvent(table.at, table.at, 1.0, table.kind, table.vcpu)
    return ScheduledEvent(table.at, table.at + table.duration, table.rate, table.kind, table.vcpu)
