"""A kernel trace of a host, as text, to a recording: exits of the vCPUs, and the steps of their asynchronous I/O.

Threads are told apart by what they do: a vCPU calls KVM_RUN, the main loop waits in ppoll, a worker reads and writes.
What was recorded decides what is found: kvm_pio and the ioctl system call are enough for exits; the pool's system
calls, sched_waking, block:* and kvm_set_irq add the steps.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iosim.calibrate.operation_events import POOL_CALLS, SUBMIT_CALLS, WAITS, Operations, records
from iosim.calibrate.recording import MARKS, Recording
from iosim.calibrate.syscalls import KVM_IRQ_LINE, KVM_IRQ_LINE_STATUS, KVM_RUN, Call, call_of
from iosim.calibrate.vcpu_events import Exit, Vcpu
from iosim.model.errors import TraceError
from iosim.traces.kernel_text import LOST, Event, KernelText, in_order
from iosim.traces.reading import Reading, ReadOptions
from iosim.traces.source import Source

_EXITS = ["vcpu", "kind", "port", "size", "count", "value", "kvm_us", "qemu_us", "halted"]
_EXITS += ["guest_us", "enter_us", "leave_us"]
_NOTHING = (
    "has no exit of a vCPU to QEMU for a port access: calibration needs kvm_pio and the ioctl system call "
    "(syscalls:sys_enter_ioctl and sys_exit_ioctl, or raw_syscalls)"
)
Handler = Callable[[Event], None]


class _Host:
    """Events in order of time in; exits, steps, and counts of trace records out."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._threads = reading.options.threads
        self._vcpus: dict[int, Vcpu] = {}
        self._numbers: set[int] = set()
        self._ioctls: dict[int, tuple[int, int]] = {}
        self._written: dict[int, int] = defaultdict(int)
        self._records: dict[str, list[float]] = defaultdict(list)
        self.operations = Operations(written=self._written)
        self._switches = False
        self.exits: list[tuple[Any, ...]] = []
        self.irq_line_us: list[float] = []
        self.n_lost = 0
        self._handlers: dict[bytes, Handler] = {
            b"kvm_pio": self._pio,
            b"kvm_entry": lambda event: self._of(event, Vcpu.entry),
            b"kvm_exit": self._gone,
            b"kvm_vcpu_wakeup": self._wakeup,
            b"kvm_set_irq": self._irq,
            b"sched_waking": self._waking,
            b"sched_switch": self._switched,
            b"block_bio_queue": self.operations.queued,
            b"block_rq_complete": self.operations.completed,
        }

    def take(self, event: Event) -> None:
        """Take the next event."""
        if event.name == LOST:
            self._lost()
            return
        if self._threads and not event.name.startswith(b"block_") and not self._wanted(event):
            self._reading.beside["event of other threads"] += 1
            return
        if event.name.startswith(b"sys_"):
            call = call_of(event.name, event.arguments)
            if call is not None:
                self._call(event, call)
        elif handler := self._handlers.get(event.name):
            handler(event)
        self._written[event.thread] += 1
        if event.thread in self._vcpus:
            self._vcpus[event.thread].recorded()

    def _wanted(self, event: Event) -> bool:
        return event.thread in self._threads or event.process in self._threads

    def _lost(self) -> None:
        self.n_lost += 1
        self.operations.forget()
        self._ioctls.clear()
        for vcpu in self._vcpus.values():
            vcpu.forget()

    def _of(self, event: Event, method: Callable[[Vcpu, int], None]) -> None:
        if event.thread in self._vcpus:
            method(self._vcpus[event.thread], event.at_ns)

    def _gone(self, event: Event) -> None:
        if event.thread in self._vcpus:
            self._vcpus[event.thread].gone(event.at_ns, event.arguments)

    def _wakeup(self, event: Event) -> None:
        if event.thread in self._vcpus:
            self._vcpus[event.thread].halted()
            self.operations.vcpu_ran(event)

    def _irq(self, event: Event) -> None:
        if event.thread not in self._vcpus:
            self.operations.irq(event)

    def _waking(self, event: Event) -> None:
        vcpu = self._vcpus.get(event.thread)
        self.operations.woken(event, vcpu is not None and vcpu.exit is not None, self._numbers)

    def _switched(self, event: Event) -> None:
        self._switches = True

    def _pio(self, event: Event) -> None:
        vcpu = self._vcpus.get(event.thread)
        found = vcpu.access(event.arguments) if vcpu is not None else None
        if vcpu is None or found is None:
            return
        access, done = found
        if done is not None:
            self._row(vcpu, done)
            self.operations.read(event, access)

    def _call(self, event: Event, call: Call) -> None:
        if call.name == "ioctl":
            self._ioctl(event, call)
        elif call.name in WAITS:
            self.operations.waited(event, call)
        elif call.name in POOL_CALLS and event.thread not in self._vcpus:
            self.operations.pool_call(event, call)
        elif call.name in SUBMIT_CALLS and event.thread in self._vcpus:
            self.operations.submit_call(event, call)
        elif call.name == "futex" and call.arguments is None:
            self.operations.futex(event)
        elif call.name == "write" and call.arguments is None:
            self.operations.wrote(event)

    def _ioctl(self, event: Event, call: Call) -> None:
        vcpu = self._vcpus.get(event.thread)
        if call.arguments is None:
            self._ioctl_ended(event, vcpu)
        elif call.request == KVM_RUN:
            if vcpu is None:
                vcpu = self._vcpus[event.thread] = Vcpu(len(self._vcpus))
                self._numbers.add(event.thread)
            self.operations.entered(event)
            done = vcpu.enter(event.at_ns)
            if done is not None:
                self._row(vcpu, done)
        elif call.request in (KVM_IRQ_LINE, KVM_IRQ_LINE_STATUS) and vcpu is not None:
            self._ioctls[event.thread] = (event.at_ns, self._written[event.thread])

    def _ioctl_ended(self, event: Event, vcpu: Vcpu | None) -> None:
        begun = self._ioctls.pop(event.thread, None)
        if begun is not None:
            self.irq_line_us.append((event.at_ns - begun[0]) / 1000)
            self._records["irq_line"].append(self._written[event.thread] - begun[1])
        elif vcpu is not None and (left := vcpu.leave(event.at_ns)) is not None:
            self.operations.left(event, left.access)

    def _row(self, vcpu: Vcpu, done: Exit) -> None:
        assert done.access is not None
        kind, port, _, size, count, value = done.access
        times = (done.kvm_ns / 1000, done.qemu_ns / 1000, done.halted, *done.in_guest)
        self.exits.append((vcpu.number, kind, port, size, count, value, *times))
        self._records[f"kvm {kind}"].append(done.in_kvm_records)
        self._records[f"qemu {kind}"].append(done.in_qemu_records)

    def records(self) -> dict[str, float]:
        """Return the mean numbers of trace records within each part of an exit, and each step."""
        parts = {name: float(np.mean(counts)) for name, counts in self._records.items()}
        return parts | records(self.operations.done, self._switches)


def read(path: Path, options: ReadOptions, string_io: bool | None = None) -> Recording:
    """Return the recording in the trace *path*; raises TraceError.

    Marks are us since the first event of the file. Memory grows with the number of exits and steps, not of lines.
    """
    with Source(path) as source:
        reading = Reading(source, options, "kvm")
        host = _Host(reading)
        for events in in_order(KernelText(reading, None), reading):
            for event in events:
                host.take(event)
    host.operations.finish_all()
    if not host.exits and not host.operations.done:
        raise TraceError(f"{path}: {_NOTHING}{reading.why_nothing()}")
    exits = pd.DataFrame(host.exits, columns=_EXITS)
    rows = [
        {"kind": one.kind, "call": one.call, "sectors": one.sectors}
        | {mark: one.at_ns[mark] / 1000 for mark in MARKS if mark in one.at_ns}
        for one in sorted(host.operations.done, key=lambda one: one.at_ns["exit"])
    ]
    steps = pd.DataFrame(rows) if rows else pd.DataFrame({"kind": [], "call": []})
    samples = {"irq_line": np.array(host.irq_line_us)} if host.irq_line_us else {}
    notes = list(reading.notes)
    for rule, entry in reading.skipped.items():
        notes.append(f"{path.name}:{entry.line}: {rule}; {entry.count:,} such lines were skipped")
    if host.operations.n_unmatched:
        notes.append(f"{path.name}: {host.operations.n_unmatched:,} system calls or submissions have no counterpart")
    return Recording(path.name, exits, steps, string_io, host.records(), samples, host.n_lost, notes)
