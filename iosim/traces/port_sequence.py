"""From the port accesses of a guest to a sequence that can be replayed: whose they are, where it waits, its gaps.

1. The drive: the only one that has commands, or the one that was asked for; the ports of its bus master.
2. Its accesses, and those of other ports by the same code.
3. Where the device was at work, and which access found it done: there the guest waits (`port_device`).
4. Where each request begins and ends, and the pauses between two.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

import numpy as np

from iosim.model.ata import Reg, channel_ports
from iosim.model.errors import TraceError
from iosim.model.ports import UNKNOWN, PortSequence, PortStep, Wait
from iosim.model.trace import Trace
from iosim.traces.access_reader import AccessStream
from iosim.traces.accesses import BASES, UNITS, Access, AccessTable, Decoder
from iosim.traces.order import from_zero
from iosim.traces.port_device import BM_START, DMA, STATUS, RecordedChannel
from iosim.traces.reading import PortDrive, Reading, ReadOptions
from iosim.traces.table import TraceTable, to_trace

PIC_PORTS = (0x20, 0xA0)
_LEGACY = [{port: register for register, port in channel_ports(c).items() if register <= Reg.CONTROL} for c in (0, 1)]
_BUS_MASTER = {0: Reg.BM_COMMAND, 2: Reg.BM_STATUS, 4: Reg.BM_PRD}
_FIRST_WRITES = frozenset({Reg.BM_PRD, *(Reg(number) for number in range(Reg.FEATURE, Reg.COMMAND))})
_UNIT = 0x10
_SURE_POLL = 2
"""So many reads in a row that find the device busy are a loop."""


def read_ports(path: str | Path, options: ReadOptions) -> Trace:
    """Return the requests that the accesses in *path* make of one drive, with the accesses. Raises TraceError."""
    assert options.ports is not None
    with AccessStream(path, options) as stream:
        rows = [row for table in stream for row in _rows(table)]
        reading = stream.reading
        decoded = Decoder(reading).requests(row.access for row in rows)
        reading.check_devices(at_end=True)
        if not len(decoded):
            raise TraceError(f"{path}: has no read, write or flush command among its port accesses")
        requests = TraceTable.joined(list(from_zero(iter([decoded]))))
        trace = to_trace(requests, str(path), stream.sha256)
        sequence = _Builder(rows, decoded, reading, options.ports).sequence()
    return Trace(
        trace.times_ns, trace.ops, trace.sectors_first, trace.sectors_count, trace.path, trace.sha256, trace.lines,
        sequence,
    )  # fmt: skip


class _Row(NamedTuple):
    """An access, or *times* equal ones of a data port in a row, between which the guest ran *rest_ns*.

    *end_ns* is when the last one was made.
    """

    access: Access
    times: int
    rest_ns: int
    end_ns: int


def _rows(table: AccessTable) -> Iterator[_Row]:
    """Yield the accesses of *table*, those of data ports that are equal in a row as one."""
    known = table.guest_ns != UNKNOWN
    goes_on = np.isin(table.ports[1:], BASES) & ~table.halted[1:]
    for column in (table.vcpus, table.writes, table.ports, table.sizes, table.counts, known):
        goes_on &= column[1:] == column[:-1]
    first = np.flatnonzero(np.r_[True, ~goes_on])
    times = np.diff(first, append=len(table))
    sums = np.add.reduceat(np.where(known, table.guest_ns, 0), first)
    ends = table.times_ns[first + times - 1]
    for access, n, guest_ns, end_ns in zip(
        table[first].rows(), times.tolist(), sums.tolist(), ends.tolist(), strict=True
    ):
        yield _Row(access, n, 0 if access.guest_ns == UNKNOWN else guest_ns - access.guest_ns, end_ns)


@dataclass
class _Entry:
    """An access of the sequence in the making, or *times* equal ones; *rest_ns* as in `_Row`.

    *delta_ns*: recorded time since the one before.
    """

    access: Access
    times: int
    rest_ns: int
    register: Reg | None
    gap_ns: int
    delta_ns: int
    wait: Wait = Wait.NONE
    observes: bool = False
    busy: bool = False
    polled: bool | None = None
    polls: int = 0
    dropped: bool = False
    idle_ns: int = 0
    between_ns: int = UNKNOWN
    begins: int = -1
    ends: int = -1

    def split(self, n: int) -> "tuple[_Entry, _Entry]":
        """Return the first *n* of the accesses, and the others."""
        each = self.rest_ns // (self.times - 1)
        first = replace(self, times=n, rest_ns=each * (n - 1))
        gap_ns = UNKNOWN if self.gap_ns == UNKNOWN else each
        rest_ns = self.rest_ns - first.rest_ns - each
        return first, replace(self, times=self.times - n, gap_ns=gap_ns, rest_ns=rest_ns, delta_ns=0)

    @property
    def pause_ns(self) -> int:
        """How long the guest was away from the drive before this access, as far as it is known."""
        return self.delta_ns if self.gap_ns == UNKNOWN else self.gap_ns + self.idle_ns

    @property
    def reads_status(self) -> bool:
        """Whether it only looks at the status."""
        return self.register in STATUS and not self.access.write


class _Builder:
    def __init__(self, rows: list[_Row], requests: TraceTable, reading: Reading, drive: PortDrive) -> None:
        self._rows = rows
        self._reading = reading
        self._drive = drive
        self._requests = {int(line): number for number, line in enumerate(requests.lines)}
        (name,) = {reading.options.device} if reading.options.device else reading.devices
        base, _, unit = name.partition(" ")
        self._channel = BASES.index(int(base, 16))
        self._swapped = UNITS.index(unit) != drive.unit
        self._found: Counter[str] = Counter(accesses=sum(row.times for row in rows))

    def sequence(self) -> PortSequence:
        """Return the sequence."""
        entries = list(self._seen(self._entries()))
        polled, masked = self._find_waits(entries)
        poll_gaps = _poll_gaps(entries)
        _find_idle_times(entries)
        self._find_requests(entries)
        kept = [entry for entry in entries if not entry.dropped]
        steps = tuple(step for entry in kept for step in self._steps(entry))
        self._found["made"] = sum(entry.times for entry in kept)
        self._found["poll_loops"] = sum(entry.wait is Wait.POLL for entry in kept)
        self._found["with_gap"] = sum(entry.times for entry in kept if entry.gap_ns != UNKNOWN)
        by_pic = any(entry.access.port in PIC_PORTS and entry.access.write for entry in kept)
        return PortSequence(steps, poll_gaps, polled, masked, by_pic, dict(self._found))

    # Whose accesses

    def _entries(self) -> Iterator[_Entry]:
        registers = [{**_LEGACY[c], **_bus_master(self._rows, c)} for c in (0, 1)]
        mine, others = registers[self._channel], registers[1 - self._channel]
        if Reg.BM_COMMAND not in mine.values():
            self._check_no_dma()
        missing: dict[int, int] = {}
        replays_other = self._drive.other_channel and self._channel == self._drive.channel
        last: _Row | None = None
        for row, owner in zip(self._rows, _owners(self._rows, registers), strict=True):
            access = row.access
            guest_ns = _sum(missing.pop(access.vcpu, 0), access.guest_ns)
            of_other = access.port in others or owner == 1 - self._channel
            if access.port in others:
                self._found["of_other_channel"] += row.times
            elif access.port not in mine:
                self._found["of_other_ports"] += row.times
            if owner is None or (of_other and not replays_other):
                self._found["left_out"] += row.times
                missing[access.vcpu] = _sum(guest_ns, row.rest_ns)
                continue
            same = last is not None and last.access.vcpu == access.vcpu
            delta_ns = 0 if last is None else access.at_ns - last.end_ns
            yield _Entry(access, row.times, row.rest_ns, mine.get(access.port), guest_ns if same else UNKNOWN, delta_ns)
            last = row

    def _check_no_dma(self) -> None:
        command = BASES[self._channel] + Reg.COMMAND
        for access, *_ in self._rows:
            if access.write and access.port == command and access.value in DMA:
                raise TraceError(
                    f"{self._reading.path}:{access.line}: a DMA command must be followed by the write that starts the "
                    f"bus master"
                )

    # Where the guest waits

    def _seen(self, entries: Iterable[_Entry]) -> Iterator[_Entry]:
        """Yield *entries* with what the device was doing; words of several blocks are taken apart."""
        channel = RecordedChannel(self._drive.multiple)
        for entry in entries:
            if entry.register is None:
                yield entry
                continue
            access = entry.access
            n_bytes = access.size * access.items
            while entry.times:
                part = entry
                room = channel.room(n_bytes) if entry.register is Reg.DATA else 1
                if entry.times > room:
                    part, entry = entry.split(room)
                else:
                    entry = replace(entry, times=0)
                seen = channel.see(entry.register or Reg.DATA, access.write, access.value, n_bytes * part.times)
                part.busy, part.observes, part.polled = seen.busy, seen.observes, channel.polled
                yield part

    def _find_waits(self, entries: list[_Entry]) -> tuple[bool, bool]:
        """Find the access that waits for each end of the device's work; returns the sequence's *polled*, *masked*."""
        waits = [at for at, entry in enumerate(entries) if entry.observes]
        loops = {at: _loop(entries, at) for at in waits}
        completion = self._drive.completion
        polls = completion == "poll" or (
            completion == "auto"
            and any(n >= _SURE_POLL and not entries[at].polled and not entries[at].access.halted
                    for at, n in loops.items())
        )  # fmt: skip
        for at in waits:
            entry = entries[at]
            if not (entry.polled or polls):
                entry.wait, entry.gap_ns = Wait.INTERRUPT, UNKNOWN
            elif entry.access.write or entry.register not in (*STATUS, Reg.BM_STATUS):
                entry.wait = Wait.READY
            else:
                first = at - loops[at]
                entry.wait, entry.polls = Wait.POLL, loops[at] + 1
                for read in entries[first:at]:
                    read.dropped = True
                self._found["busy_reads"] += loops[at]
        nien = {entries[at].polled for at in waits}
        return polls and None in nien, polls and False in nien

    # Requests

    def _find_requests(self, entries: list[_Entry]) -> None:
        commands = [
            at for at, entry in enumerate(entries) if entry.register is Reg.COMMAND and entry.access.write
        ]  # fmt: skip
        begin = 0
        for k, command in enumerate(commands):
            before = commands[k - 1] if k else -1
            head = next(at for at in range(before + 1, command + 1) if _is_first_write(entries[at]) or at == command)
            tail = max((at for at in range(max(before, 0), head) if _is_sure(entries[at])), default=-1)
            if k:
                begin = max(range(tail + 1, head + 1), key=lambda at: (entries[at].pause_ns, -at))
            else:
                begin = next(at for at in range(tail + 1, head + 1) if entries[at].register is not None)
            if k:
                self._end(entries, before, begin - 1)
            if entries[begin].gap_ns == UNKNOWN and begin and not entries[begin].idle_ns:
                entries[begin].between_ns = entries[begin].delta_ns
            number = self._requests.get(entries[command].access.line, -1)
            entries[begin].begins = number
        last = commands[-1]
        end = max(at for at in range(last, len(entries)) if _is_sure(entries[at]))
        while end + 1 < len(entries) and entries[end + 1].reads_status:
            end += 1
        self._end(entries, last, end)

    def _end(self, entries: list[_Entry], command: int, end: int) -> None:
        while entries[end].dropped:
            end += 1
        entries[end].ends = self._requests.get(entries[command].access.line, -1)

    # Steps

    def _steps(self, entry: _Entry) -> Iterator[PortStep]:
        """Yield the step of *entry*; of several words two: the guest's time before them is shared out equally."""
        access = entry.access
        value = max(access.value, 0)
        if entry.register is Reg.DEVICE and access.write and self._swapped:
            value ^= _UNIT
        step = PortStep(
            entry.register,
            access.port,
            access.write,
            access.size,
            access.items,
            value,
            entry.times,
            entry.gap_ns,
            entry.between_ns,
            entry.idle_ns,
            entry.wait,
            entry.polls,
            entry.begins,
            entry.ends,
        )
        if entry.times == 1 or entry.gap_ns == UNKNOWN:
            yield step
            return
        each, more = divmod(entry.gap_ns + entry.rest_ns, entry.times)
        yield step._replace(times=1, gap_ns=each + more, ends=-1)
        yield PortStep(*step[:6], times=entry.times - 1, gap_ns=each, ends=entry.ends)


def _bus_master(rows: Sequence[_Row], channel: int) -> dict[int, Reg]:
    """Return the ports of the channel's bus master: where a DMA command is followed by a write that starts it.

    The BAR is a multiple of 16; the secondary channel's half begins at 8.
    """
    command = BASES[channel] + Reg.COMMAND
    found: Counter[int] = Counter()
    waits = False
    for access, *_ in rows:
        if not access.write:
            continue
        if access.port == command:
            waits = access.value in DMA
        elif waits and access.size == 1 and access.port & 15 == 8 * channel and access.value & ~8 == BM_START:
            found[access.port] += 1
            waits = False
    if not found:
        return {}
    base = found.most_common(1)[0][0]
    return {base + offset: register for offset, register in _BUS_MASTER.items()}


def _owners(rows: Sequence[_Row], registers: Sequence[dict[int, Reg]]) -> list[int | None]:
    """Return for each access the channel that it is of, or that its vCPU uses next, or, behind all, has used last."""
    channels = [next((c for c in (0, 1) if row.access.port in registers[c]), None) for row in rows]
    owners = list(channels)
    for order in (range(len(rows) - 1, -1, -1), range(len(rows))):
        nearest: dict[int, int] = {}
        for at in order:
            vcpu, channel = rows[at].access.vcpu, channels[at]
            if channel is not None:
                nearest[vcpu] = channel
            elif owners[at] is None:
                owners[at] = nearest.get(vcpu)
    return owners


def _sum(first_ns: int, second_ns: int) -> int:
    return UNKNOWN if UNKNOWN in (first_ns, second_ns) else first_ns + second_ns


def _loop(entries: Sequence[_Entry], at: int) -> int:
    """Return how many reads of the same register, directly before the one at *at*, found the device busy."""
    first = at
    while first and entries[first - 1].busy and entries[first - 1].register is entries[at].register:
        first -= 1
    return at - first if not entries[at].access.write else 0


def _poll_gaps(entries: Sequence[_Entry]) -> dict[Reg, int]:
    """Return how long the guest ran between two reads of a loop, by the register; the loop's first gap stays its own.

    The last read of a loop gets the gap of the first one, which is where the loop begins.
    """
    gaps: dict[Reg, list[int]] = {}
    for at, entry in enumerate(entries):
        if entry.wait is not Wait.POLL or entry.polls < 2:
            continue
        assert entry.register is not None
        first = at - entry.polls + 1
        gaps.setdefault(entry.register, []).extend(
            read.gap_ns for read in entries[first + 1 : at + 1] if read.gap_ns != UNKNOWN
        )
        entry.gap_ns, entry.delta_ns = entries[first].gap_ns, entries[first].delta_ns
    return {register: median_low(values) for register, values in gaps.items() if values}


def _find_idle_times(entries: Sequence[_Entry]) -> None:
    """A guest that halts with nothing to come from the device is idle for as long as it was, but for what it ran."""
    for entry in entries:
        if entry.access.halted and entry.wait is Wait.NONE:
            entry.idle_ns = max(0, entry.delta_ns - max(0, entry.gap_ns))


def _is_first_write(entry: _Entry) -> bool:
    """Tell whether it can only be part of what leads to a command."""
    return entry.access.write and entry.register in _FIRST_WRITES


def _is_sure(entry: _Entry) -> bool:
    """Tell whether it is part of a command that was written before, and not merely a look at the status."""
    return entry.register is not None and (not entry.reads_status or entry.observes or entry.busy)
