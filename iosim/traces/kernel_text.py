"""Lines of the kernel's tracepoints as text: perf script, trace-cmd report, and ftrace's trace and trace_pipe.

    qemu-system-x86 27878 [001]  1751.990002:      kvm:kvm_pio: pio_write at 0x1f7 size 1 count 1 val 0xc8
          CPU 0/KVM-9765    (   9764) [000] ..... 40326.650779: kvm_pio: pio_write at 0x3f6 size 1 count 1 val 0x8

ftrace prints system calls as sys_ioctl(fd: b, ...) and sys_ioctl -> 0x0. The name of a thread may have blanks and
dashes. Behind it stand its id (perf: perhaps process/thread), the process
(ftrace's record-tgid), the CPU, flags (ftrace), and the time: seconds with a decimal point, or a bare count of another
clock, whose rate only the user knows.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from operator import attrgetter
from typing import NamedTuple

from iosim.model.errors import shown
from iosim.model.units import MAX_NS
from iosim.traces.order import MOST_LATE
from iosim.traces.reading import Reading
from iosim.traces.source import Block

_LINE = re.compile(
    rb"\s*(.*?)(?:-|\s+)(?:(\d{1,10})/)?(\d{1,10})\s+(?:\(\s*([\d-]{1,10})\)\s+)?(?:\[\d+\]\s+)?(?:[^\d\s]\S*\s+)?"
    rb"(\d{1,19})(?:\.(\d{1,9}))?:\s+(?:\d+\s+)?(?:[\w-]+:)?([\w-]+)(?::(?:\s+(.*))?|(\(.*| -> .*))"
)
_LOST = re.compile(
    rb"CPU:\d+ \[(?:LOST )?(?P<ftrace>\d{1,18}) EVENTS(?: DROPPED)?\]"
    rb"|.*PERF_RECORD_LOST(?:_SAMPLES)?:? lost:? ?(?P<perf>\d{1,18}).*"
    rb"|Processed \d+ events and lost (?P<report>\d{1,18}) (?:chunks|events)!.*"
)
_WRITTEN = re.compile(rb"#\s*entries-in-buffer/entries-written:\s*(\d{1,18})/(\d{1,18}).*")
_OTHER = re.compile(rb"#.*|cpus=\d+|version = \d+|CPU \d+ is empty|-+|Check IO/CPU overload!")
_MICROSECONDS = 6
LOST = b"lost"
"""The name of an event that stands for events that were lost."""
_LOOK = re.compile(rb"[ :](kvm_pio|block_(?:bio_queue|rq_issue|rq_insert)): ")


_EXITS = re.compile(rb"[ :](?:kvm_(?:exit|entry|userspace_exit)|block_rq_complete|sched_switch): ")


class Event(NamedTuple):
    """An event: nanoseconds since the first one of the file, its place; process is None where it is not told."""

    at_ns: int
    line: int
    thread: int
    process: int | None
    name: bytes
    arguments: bytes


def kinds(head: bytes) -> set[str]:
    """Return which of "kvm" and "block" the events in *head* are."""
    return {"kvm" if match[1] == b"kvm_pio" else "block" for match in _LOOK.finditer(head)}


def has_other_events(head: bytes) -> bool:
    """Tell whether *head* has events of a kernel trace that come with those that are read."""
    return _EXITS.search(head) is not None


class KernelText:
    """The events of a file, block by block. Counts those that are not wanted, refuses what is no line of a trace."""

    def __init__(self, reading: Reading, wanted: Collection[bytes] | None) -> None:
        """*wanted*: the names of the events that are wanted, None: all."""
        self._reading = reading
        self._wanted = None if wanted is None else frozenset(wanted)
        self.names: dict[int, bytes] = {}
        """Names of the threads of wanted events."""
        self._first_ns: int | None = None
        self._last_ns = 0

    def blocks(self) -> Iterator[list[Event]]:
        """Yield the wanted events of each block in order of the file."""
        for block in self._reading.source.blocks():
            yield self._events(block)

    def _events(self, block: Block) -> list[Event]:
        match_line, wanted = _LINE.fullmatch, self._wanted
        events: list[Event] = []
        beside: Counter[bytes] = Counter()
        for number, line in enumerate(block.text.replace(b"\r\n", b"\n").split(b"\n")[:-1], start=block.first):
            match = match_line(line)
            if match is None:
                self._other(number, line, events)
                continue
            comm, process, thread, group, whole, fraction, name, arguments, call = match.groups()
            if self._first_ns is None:
                self._first_ns = self._ns(number, whole, fraction)
            if wanted is not None and name not in wanted:
                beside[name] += 1
                continue
            at_ns = self._ns(number, whole, fraction)
            if at_ns is None or self._first_ns is None:
                continue
            self._last_ns = at_ns - self._first_ns
            if abs(self._last_ns) >= MAX_NS:
                self._reading.refuse(number, "time must be below 146 years", _text(line))
                continue
            told = int(process) if process else int(group) if group and group.isdigit() else None
            events.append(Event(self._last_ns, number, int(thread), told, name, arguments or call or b""))
            self.names[int(thread)] = comm
        self._reading.beside.update({f"event {name.decode()}": n for name, n in beside.items()})
        return events

    def _ns(self, number: int, whole: bytes, fraction: bytes | None) -> int | None:
        """Return the nanoseconds of a time stamp, None if it was refused."""
        if fraction is not None:
            if len(fraction) == _MICROSECONDS:
                return int(whole + fraction) * 1000
            return int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
        rate = self._reading.options.clock_hz
        if rate is None:
            rule = "a time must be in seconds with a decimal point, or --clock must say how fast its clock counts"
            self._reading.refuse(number, rule, shown(whole.decode()))
            return None
        return int(whole) * 1_000_000_000 * rate.denominator // rate.numerator

    def _other(self, number: int, line: bytes, events: list[Event]) -> None:
        lost = _LOST.fullmatch(line.strip())
        if lost is not None:
            count = int(next(filter(None, lost.groups())))
            if not count:
                self._reading.beside["comment or blank line"] += 1
                return
            self._reading.refuse(number, "events were lost here", f"{count:,}")
            events.append(Event(self._last_ns, number, 0, None, LOST, b""))
            return
        written = _WRITTEN.fullmatch(line)
        if written is not None and int(written[1]) < int(written[2]):
            n = int(written[2]) - int(written[1])
            self._reading.notes.append(f"{n:,} events before the first were overwritten in ftrace's buffer")
        if not line.strip() or _OTHER.fullmatch(line.strip()):
            self._reading.beside["comment or blank line"] += 1
        else:
            self._reading.refuse(number, "a line must be of perf script, trace-cmd report or ftrace", _text(line))


def in_order(text: KernelText, reading: Reading) -> Iterator[list[Event]]:
    """Yield the events of *text* in order of time, MOST_LATE of them held back; refuses those that come later still."""
    held: list[Event] = []
    done_ns: int | None = None
    for events in text.blocks():
        held += events if done_ns is None else _since(done_ns, events, reading)
        held.sort(key=attrgetter("at_ns"))
        if len(held) > 2 * MOST_LATE:
            done_ns = held[-MOST_LATE - 1].at_ns
            yield held[:-MOST_LATE]
            held = held[-MOST_LATE:]
    yield held


def _since(done_ns: int, events: list[Event], reading: Reading) -> list[Event]:
    """Return those of *events* that are not before *done_ns*; the others come too late and are refused."""
    for event in events:
        if event.at_ns < done_ns:
            rule = f"time must not go back over {MOST_LATE:,} events"
            reading.refuse(event.line, rule, f"{event.at_ns / 1000:.3f} us")
    return [event for event in events if event.at_ns >= done_ns]


def _text(line: bytes) -> str:
    return shown(line.decode("utf-8", "backslashreplace"))
