"""What the thread of one vCPU does, out of a kernel trace: its returns from KVM_RUN to QEMU for port accesses."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from iosim.calibrate.accesses import Classes

IN_KERNEL = frozenset({0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1, 0x40, 0x41, 0x42, 0x43, 0x61})
"""Ports of the in-kernel interrupt controllers and timer: their accesses do not leave KVM."""
_PIO = re.compile(
    rb"pio_(read|write) +at 0x([0-9a-f]{1,4}) size ([124]) count (\d{1,9})(?: val 0x([0-9a-f]{1,8}).*)? *"
)
_HALT = re.compile(rb"(?:vcpu \d+ )?reason (?:HLT|hlt)\b")
_NAN = float("nan")


class PortAccess(NamedTuple):
    """An access as kvm_pio prints it, and its kind; the value is -1 where the kernel does not record it."""

    kind: str
    port: int
    write: bool
    size: int
    items: int
    value: int


@dataclass
class Exit:
    """A return of KVM_RUN to QEMU: when, what came before, and QEMU's part once that is known."""

    left_ns: int
    kvm_ns: int
    halted: bool
    in_guest: tuple[float, float, float]
    in_kvm_records: int
    access: PortAccess | None
    qemu_ns: int = 0
    in_qemu_records: int = 0


@dataclass
class Vcpu:
    """The thread of a vCPU. It is within KVM_RUN, or within QEMU behind `exit`.

    `reading`: the exit for a port read whose value KVM takes over at the next KVM_RUN, when kvm_pio tells of it.
    """

    number: int
    classes: Classes = field(default_factory=Classes)
    exit: Exit | None = None
    reading: Exit | None = None
    _entered_ns: int | None = None
    _pending: PortAccess | None = None
    _halted: bool = False
    records: int = 0
    """Trace records of this thread since KVM_RUN was entered or left."""
    _first_entry_ns: int | None = None
    _entry_ns: int | None = None
    _guest_ns: int = 0
    _gone_ns: int | None = None

    def recorded(self) -> None:
        """Another trace record was written by this thread."""
        self.records += 1

    def forget(self) -> None:
        """Events were lost."""
        self.exit = self.reading = self._pending = self._entered_ns = None

    def enter(self, at_ns: int) -> Exit | None:
        """KVM_RUN begins: return the exit that has been handled, if its access is known."""
        done, self.exit = self.exit, None
        if done is not None:
            done.qemu_ns, done.in_qemu_records = at_ns - done.left_ns, self.records
            if done.access is None:
                self.reading, done = done, None
        self._entered_ns, self.records, self._halted = at_ns, 0, False
        self._first_entry_ns = self._entry_ns = self._gone_ns = None
        self._guest_ns = 0
        return done

    def leave(self, at_ns: int) -> Exit | None:
        """A system call that may be KVM_RUN ends: return the exit if it was."""
        if self._entered_ns is None:
            return None
        times = (_NAN, _NAN, _NAN)
        if self._first_entry_ns is not None and self._gone_ns is not None:
            times = (self._guest_ns / 1000, (self._first_entry_ns - self._entered_ns) / 1000, 0.0)
            times = (*times[:2], (at_ns - self._gone_ns) / 1000)
        kvm_ns = at_ns - self._entered_ns
        self.exit = Exit(at_ns, kvm_ns, self._halted, times, self.records, self._pending)
        self.reading = self._pending = self._entered_ns = None
        self.records = 0
        return self.exit

    def access(self, arguments: bytes) -> tuple[PortAccess, Exit | None] | None:
        """kvm_pio: return the access, and the exit that it completes; None if it does not leave KVM or is damaged."""
        match = _PIO.fullmatch(arguments)
        if match is None:
            return None
        direction, text, size, count, shown = match.groups()
        port, write = int(text, 16), direction == b"write"
        if port in IN_KERNEL:
            return None
        value = -1 if shown is None else int(shown, 16)
        kind = self.classes.kind(port, write, int(size) * int(count), value)
        access = PortAccess(kind, port, write, int(size), int(count), value)
        done, self.reading = self.reading, None
        if not write and done is not None:
            done.access = access
            return access, done
        self._pending = access
        return access, None

    def entry(self, at_ns: int) -> None:
        """kvm_entry."""
        self._entry_ns = at_ns
        if self._first_entry_ns is None:
            self._first_entry_ns = at_ns

    def gone(self, at_ns: int, arguments: bytes) -> None:
        """kvm_exit."""
        if self._entry_ns is not None:
            self._guest_ns += at_ns - self._entry_ns
        self._entry_ns, self._gone_ns = None, at_ns
        self.halted(_HALT.match(arguments) is not None)

    def halted(self, now: bool = True) -> None:
        """It was seen to halt, if *now*."""
        self._halted = self._halted or now
