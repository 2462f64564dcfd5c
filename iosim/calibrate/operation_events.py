"""Asynchronous operations out of a kernel trace: from the exit that submits to the status that the guest reads."""

import re
from dataclasses import dataclass, field

from iosim.calibrate.accesses import ready
from iosim.calibrate.syscalls import Call
from iosim.calibrate.vcpu_events import PortAccess
from iosim.traces.kernel_text import Event

POOL_CALLS = frozenset({"pread64", "pwrite64", "preadv", "pwritev", "fdatasync", "fsync"})
SUBMIT_CALLS = frozenset({"io_submit", "io_uring_enter"})
WAITS = frozenset({"ppoll", "poll", "epoll_pwait"})
_SUBMITTING = ("bm_start", "data_w_last")
_SUBMITTING_COMMANDS = {0x20, 0x21, 0x24, 0xC4, 0x29, 0xE7, 0xEA}
"""Commands whose handlers submit: PIO reads and flushes."""
_IRQS = (b"14", b"15")
_SET_IRQ = re.compile(rb"gsi (\d+) level (\d+)")
_WOKEN = re.compile(rb".*?(?:pid=|:)(\d+) .*")
_BLOCK = re.compile(rb"(\d+,\d+) ([A-Z]+) (?:\d+ )?(?:\(.*?\) )?(\d{1,20}) \+ (\d{1,10})")
_OLDEST_NS = 1_000_000_000
"""An operation that lasts longer is given up: its end was not recorded."""


@dataclass
class Operation:
    """A submission on its way: its marks in ns; `written`: how many records its threads had written at each."""

    vcpu_thread: int
    kind: str
    at_ns: dict[str, int]
    call: str = ""
    worker: int | None = None
    block: tuple[bytes, bytes, bytes] | None = None
    sectors: int = 0
    written: dict[str, dict[int, int]] = field(default_factory=dict)
    main: int | None = None
    woken: dict[int, "Operation"] = field(default_factory=dict)
    """What would be its marks if the thread that was woken turns out to be its worker."""


@dataclass
class Operations:
    """Operations under way, and those that are done. Handlers of events, which come in order of time.

    *written*: how many records each thread has written so far, kept by who calls the handlers.
    """

    done: list[Operation] = field(default_factory=list)
    n_unmatched: int = 0
    written: dict[int, int] = field(default_factory=dict)
    _open: list[Operation] = field(default_factory=list)
    _main: set[int] = field(default_factory=set)
    _in_call: dict[int, Operation] = field(default_factory=dict)

    def forget(self) -> None:
        """Events were lost: what is under way is not known any more."""
        self._open.clear()
        self._in_call.clear()

    def left(self, event: Event, access: PortAccess | None) -> None:
        """KVM_RUN has returned: that may submit."""
        if access is None or not access.write:
            return
        if access.kind in _SUBMITTING or (access.kind == "cmd_w" and access.value in _SUBMITTING_COMMANDS):
            self._begin(event.thread, access.kind, event.at_ns, event)

    def _begin(self, thread: int, kind: str, at_ns: int, event: Event) -> Operation:
        for late in [one for one in self._open if at_ns - one.at_ns["exit"] > _OLDEST_NS]:
            self._finish(late)
        operation = Operation(thread, kind, {})
        self._open.append(operation)
        self._mark(operation, "exit", event)
        return operation

    def _finish(self, operation: Operation) -> None:
        self._open.remove(operation)
        if "ws" in operation.at_ns:
            self.done.append(operation)
        else:
            self.n_unmatched += 1

    def finish_all(self) -> None:
        """The recording ends."""
        for operation in list(self._open):
            self._finish(operation)

    def _mark(self, operation: Operation, mark: str, event: Event) -> None:
        operation.at_ns[mark] = event.at_ns
        threads = (operation.vcpu_thread, operation.worker, event.thread, *self._main)
        operation.written[mark] = {t: self.written.get(t, 0) for t in threads if t is not None}

    def _first(self, has: str, lacks: str) -> Operation | None:
        """Return the oldest operation that has the mark *has* and lacks *lacks*."""
        return next((one for one in self._open if has in one.at_ns and lacks not in one.at_ns), None)

    def entered(self, event: Event) -> None:
        """The vCPU is back in KVM_RUN."""
        for operation in self._open:
            if operation.vcpu_thread == event.thread and "in" not in operation.at_ns:
                self._mark(operation, "in", event)

    def woken(self, event: Event, from_vcpu_exit: bool, vcpus: set[int]) -> None:
        """sched_waking: of a worker by a vCPU or the main loop, of the main loop by a worker, of a vCPU."""
        match = _WOKEN.match(event.arguments)
        if match is None:
            return
        woken = int(match[1])
        if woken in vcpus:
            operation = self._first("irq", "vwake")
            if operation is not None and operation.vcpu_thread == woken:
                self._mark(operation, "vwake", event)
        elif from_vcpu_exit:
            operation = self._first("exit", "ws")
            if operation is not None and operation.vcpu_thread == event.thread and woken not in operation.woken:
                candidate = operation.woken[woken] = Operation(event.thread, "", {}, worker=woken)
                self._mark(candidate, "wwake", event)
        elif woken in self._main:
            operation = next((one for one in self._open if one.worker == event.thread and "we" in one.at_ns), None)
            if operation is not None and "mwake" not in operation.at_ns:
                self._mark(operation, "mwake", event)

    def futex(self, event: Event) -> None:
        """A futex call has returned: the worker that was woken runs."""
        for operation in self._open:
            candidate = operation.woken.get(event.thread)
            if candidate is not None and "ws" not in operation.at_ns and "wret" not in candidate.at_ns:
                self._mark(candidate, "wret", event)
                return

    def pool_call(self, event: Event, call: Call) -> None:
        """A worker reads, writes or syncs."""
        if call.arguments is None:
            operation = self._in_call.pop(event.thread, None)
            if operation is not None:
                self._mark(operation, "we", event)
            return
        operation = self._first("exit", "ws")
        if operation is None:
            # Before the guest's first request QEMU reads files for itself.
            self.n_unmatched += bool(self.done)
            return
        operation.worker = event.thread
        candidate = operation.woken.get(event.thread)
        if candidate is not None:
            operation.at_ns |= candidate.at_ns
            operation.written |= candidate.written
        operation.call = call.name
        self._mark(operation, "ws", event)
        self._in_call[event.thread] = operation

    def submit_call(self, event: Event, call: Call) -> None:
        """The vCPU's thread submits by itself (aio=native, io_uring)."""
        if call.arguments is None:
            self.pool_call(event, call)
            return
        operation = next((o for o in self._open if o.vcpu_thread == event.thread and "ws" not in o.at_ns), None)
        if operation is not None:
            operation.call = call.name
            self._mark(operation, "ws", event)
            self._in_call[event.thread] = operation

    def wrote(self, event: Event) -> None:
        """A write call has returned: the worker's to the main loop's eventfd."""
        operation = next((one for one in self._open if one.worker == event.thread and "we" in one.at_ns), None)
        if operation is not None and "mwake" in operation.at_ns and "evfd_end" not in operation.at_ns:
            self._mark(operation, "evfd_end", event)

    def waited(self, event: Event, call: Call) -> None:
        """The main loop waits, or has waited."""
        if call.arguments is not None:
            self._main.add(event.thread)
            return
        for operation in self._open:
            if "we" in operation.at_ns and "main" not in operation.at_ns:
                operation.main = event.thread
                self._mark(operation, "main", event)

    def queued(self, event: Event) -> None:
        """block_bio_queue by the thread that is in the operation's system call."""
        operation = self._in_call.get(event.thread)
        match = _BLOCK.match(event.arguments)
        if operation is None or match is None or "queue" in operation.at_ns:
            return
        operation.block, operation.sectors = (match[1], match[3], match[4]), int(match[4])
        self._mark(operation, "queue", event)

    def completed(self, event: Event) -> None:
        """block_rq_complete."""
        match = _BLOCK.match(event.arguments)
        if match is None:
            return
        place = (match[1], match[3], match[4])
        operation = next((one for one in self._open if one.block == place and "complete" not in one.at_ns), None)
        if operation is not None:
            self._mark(operation, "complete", event)

    def irq(self, event: Event) -> None:
        """kvm_set_irq by the main loop."""
        match = _SET_IRQ.match(event.arguments)
        if match is None or match[1] not in _IRQS or match[2] != b"1":
            return
        operation = self._first("main", "irq") or self._first("we", "irq")
        if operation is not None and "ready" not in operation.at_ns:
            self._mark(operation, "irq", event)

    def vcpu_ran(self, event: Event) -> None:
        """kvm_vcpu_wakeup: the vCPU has seen the wake-up."""
        for operation in self._open:
            if operation.vcpu_thread == event.thread and "irq" in operation.at_ns and "vrun" not in operation.at_ns:
                self._mark(operation, "vrun", event)

    def read(self, event: Event, access: PortAccess) -> None:
        """The guest has the value of a port read: the device may be ready."""
        if not ready(access.kind, access.value):
            return
        for operation in list(self._open):
            if operation.vcpu_thread == event.thread and {"we", "complete"} & set(operation.at_ns):
                if operation.kind == "bm_start" and access.kind != "bm_r" and "irq" not in operation.at_ns:
                    continue
                self._mark(operation, "ready", event)
                self._finish(operation)


_VCPU, _WORKER, _MAIN = range(3)
_PATH = {
    "exit-wwake": (_VCPU, False),
    "wwake-in": (_VCPU, False),
    "wwake-wret": (_WORKER, True),
    "wret-ws": (_WORKER, False),
    "ws-queue": (_WORKER, False),
    "complete-we": (_WORKER, True),
    "ws-we": (_WORKER, True),
    "we-mwake": (_WORKER, False),
    "mwake-evfd_end": (_WORKER, False),
    "mwake-main": (_MAIN, True),
    "main-irq": (_MAIN, False),
    "irq-ready": (_VCPU, False),
}
"""Whose records are on the path of an interval, and whether it is a wake-up: waker and scheduler write one each."""


def records(operations: list[Operation], switches: bool) -> dict[str, float]:
    """Return the mean number of trace records within each interval; *switches*: sched_switch was recorded."""
    found = {}
    for interval, (role, wakes) in _PATH.items():
        begin, end = interval.split("-")
        counts = []
        for operation in operations:
            thread = (operation.vcpu_thread, operation.worker, operation.main)[role]
            first, last = operation.written.get(begin, {}), operation.written.get(end, {})
            if thread in first and thread in last:
                counts.append(last[thread] - first[thread])
        if counts:
            found[interval] = sum(counts) / len(counts) + (1 + switches if wakes else 0)
    return found
