"""KVM's tracepoints as text: kvm_pio to port accesses, and these back into the ATA commands that they make.

kvm_entry and kvm_exit, if they were recorded, tell how long the guest ran between two accesses, and which vCPU a thread
is. kvm_userspace_exit adds nothing that is needed here. The events of a trace that was merged from the buffers of
several CPUs are put in order of time before anything is decoded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from iosim.model.errors import TraceError, shown
from iosim.traces.accesses import DISK_PORTS, UNKNOWN, Access, AccessTable, Decoder
from iosim.traces.kernel_text import LOST, Event, KernelText, in_order, kinds
from iosim.traces.reading import Reading
from iosim.traces.table import TraceTable

EMPTY = "has no read, write or flush command among its port accesses (kvm_pio to 0x1f7 or 0x177)"
_PIO = re.compile(
    rb"pio_(read|write) +at 0x([0-9a-f]{1,4}) size ([124]) count (\d{1,9})(?: val 0x([0-9a-f]{1,8})(?: \(\.\.\.\))?)? *"
)
_VCPU = re.compile(rb"vcpu (\d{1,6})")
_HALT = re.compile(rb"(?:vcpu \d+ )?reason (?:HLT|hlt)\b")
_THREAD = re.compile(rb"CPU (\d{1,6})/KVM")
_EVENTS = (b"kvm_pio", b"kvm_entry", b"kvm_exit")


def fits(head: bytes) -> bool:
    """Tell whether *head* has port accesses of a guest, and no block events."""
    return kinds(head) == {"kvm"}


@dataclass
class _Vcpu:
    """A thread that runs a vCPU: what happened since its last port access.

    *told*: the vCPU's number, if the trace tells it. *guest_ns*: UNKNOWN until it was seen to enter or leave the guest.
    *gapless*: whether all since the last access is known. *disk*: whether it uses ports of a disk.
    """

    number: int
    told: int | None = None
    entered_ns: int | None = None
    guest_ns: int = UNKNOWN
    halted: bool = False
    gapless: bool = False
    disk: bool = False

    def accessed(self) -> None:
        """It made an access: what follows counts for the next one."""
        self.guest_ns = min(self.guest_ns, 0)
        self.halted, self.gapless = False, True

    def switched(self, event: Event) -> None:
        """It enters or leaves the guest."""
        told = _VCPU.match(event.arguments)
        if told is not None:
            self.told = int(told[1])
        self.guest_ns = max(self.guest_ns, 0)
        if event.name == b"kvm_entry":
            self.entered_ns = event.at_ns
            return
        if self.entered_ns is not None:
            self.guest_ns += event.at_ns - self.entered_ns
        self.entered_ns = None
        self.halted = self.halted or _HALT.match(event.arguments) is not None


class _Guest:
    """The vCPUs of the guest whose accesses are wanted."""

    def __init__(self, reading: Reading, names: dict[int, bytes]) -> None:
        self._reading = reading
        self._names = names
        self._vcpus: dict[int, _Vcpu] = {}
        self._processes: set[int | None] = set()

    def vcpu(self, thread: int) -> _Vcpu:
        """Return the vCPU that *thread* runs; QEMU may have named the thread after it."""
        if thread not in self._vcpus:
            named = _THREAD.fullmatch(self._names.get(thread, b""))
            self._vcpus[thread] = _Vcpu(len(self._vcpus), int(named[1]) if named else None)
        return self._vcpus[thread]

    def wants(self, event: Event) -> bool:
        """Tell whether the event is of the guest that was chosen."""
        threads = self._reading.options.threads
        return not threads or event.thread in threads or event.process in threads

    def uses_disk(self, vcpu: _Vcpu, event: Event) -> None:
        """Note that *vcpu* uses ports of a disk."""
        vcpu.disk = True
        self._processes.add(event.process)

    def forget(self) -> None:
        """Events were lost: what the vCPUs did since their last accesses is not known."""
        for vcpu in self._vcpus.values():
            vcpu.entered_ns, vcpu.gapless = None, False

    def check(self) -> None:
        """Raise TraceError if the threads that use disk ports may be vCPUs of several guests.

        They are of one guest if they are of one process, or, where the trace tells no processes, if it tells a
        different vCPU number for each.
        """
        users = {thread: vcpu.told for thread, vcpu in self._vcpus.items() if vcpu.disk}
        if len(users) < 2 or self._reading.options.threads:
            return
        told = list(users.values())
        by_process = None not in self._processes
        if len(self._processes) == 1 if by_process else None not in told and len(set(told)) == len(told):
            return
        rule = "threads of several guests use ports of disks"
        if not by_process and None in told:
            rule = "threads use ports of disks, and nothing tells that they are of one guest"
        names = ", ".join(str(thread) for thread in sorted(users))
        raise TraceError(f"{self._reading.path}: {rule} ({names}): choose those of one guest with --threads")


def accesses(reading: Reading) -> Iterator[list[Access] | None]:
    """Yield the port accesses of one guest in order of time; None stands for events that were lost."""
    text = KernelText(reading, _EVENTS)
    guest = _Guest(reading, text.names)
    for events in in_order(text, reading):
        yield from _decoded(events, guest, reading)


def _decoded(events: list[Event], guest: _Guest, reading: Reading) -> Iterator[list[Access] | None]:
    found: list[Access] = []
    for event in events:
        if event.name == LOST:
            yield found
            yield None
            found = []
            guest.forget()
            continue
        if not guest.wants(event):
            reading.beside["event of other threads"] += 1
            continue
        vcpu = guest.vcpu(event.thread)
        if event.name != b"kvm_pio":
            vcpu.switched(event)
            reading.beside[f"event {event.name.decode()}"] += 1
            continue
        match = _PIO.fullmatch(event.arguments)
        if match is None:
            got = shown(event.arguments.decode("utf-8", "backslashreplace"))
            reading.refuse(event.line, "is no kvm_pio as Linux prints it", got)
            continue
        direction, port, size, count, value = match.groups()
        access = Access(
            event.at_ns,
            vcpu.number,
            direction == b"write",
            int(port, 16),
            int(size),
            int(count),
            UNKNOWN if value is None else int(value, 16),
            vcpu.guest_ns if vcpu.gapless else UNKNOWN,
            vcpu.halted,
            event.line,
        )
        vcpu.accessed()
        if not vcpu.disk and access.port in DISK_PORTS:
            guest.uses_disk(vcpu, event)
        found.append(access)
    guest.check()
    yield found


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one drive of one guest. Times begin at 0 with the first event of the file."""
    decoder = Decoder(reading)
    for found in accesses(reading):
        if found is None:
            decoder.forget()
        else:
            yield decoder.requests(found)


def tables(reading: Reading) -> Iterator[AccessTable]:
    """Yield the port accesses of one guest as tables."""
    for found in accesses(reading):
        if found:
            yield AccessTable.of_rows(found)
