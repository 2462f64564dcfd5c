"""QEMU's log of a guest under KVM to a recording: exits of the vCPUs, in microseconds.

    29529@1795363279.873402:kvm_run_exit cpu_index 0, reason 2
    29529@1795363279.873403:ide_ioport_write IDE PIO wr @ 0x1f6 (Device/Head); val 0xe0; bus ...
    29529@1795363279.873405:kvm_vcpu_ioctl cpu_index 0, type 0xae80, arg (nil)

A line costs QEMU about a microsecond itself. The log does not show when threads wake, so there are no steps.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iosim.calibrate.recording import Recording
from iosim.calibrate.vcpu_events import Vcpu
from iosim.model.errors import TraceError
from iosim.traces.reading import Reading, ReadOptions
from iosim.traces.source import Source

_LINE = re.compile(rb"\[?(\d{1,10})@(\d{1,18})\.(\d{6}):(\w+) ?(.*)", re.DOTALL)
_LOOK = re.compile(rb"^\[?\d{1,10}@\d{1,18}\.\d{6}:kvm_run_exit ", re.MULTILINE)
_RUN = re.compile(rb".*type 0xae80\b.*", re.DOTALL)
_PORT = re.compile(rb"IDE PIO (rd|wr) @ (0x[0-9a-f]{1,4}) \([^)]*\); val (0x[0-9a-f]{1,8}).*", re.DOTALL)
_BUS_MASTER = re.compile(rb"bmdma: (read|write)[bwl] (0x[0-9a-f]{1,2}) : (0x[0-9a-f]{1,8}).*", re.DOTALL)
_PRD = re.compile(rb"data: (0x[0-9a-f]+).*", re.DOTALL)
_WIDTHS = {b"ide_data_writew": 2, b"ide_data_readw": 2, b"ide_data_writel": 4, b"ide_data_readl": 4}
_BASE = 0xC000
"""The log has offsets of the bus master's registers only: they are put here."""
_IO = 2
"""KVM_EXIT_IO"""
_REASON = re.compile(rb".*reason (\d+).*", re.DOTALL)


def fits(head: bytes) -> bool:
    """Tell whether *head* has exits of a vCPU."""
    return _LOOK.search(head) is not None


class _Log:
    """Lines in, exits out. Every line of a vCPU's thread is a record."""

    def __init__(self) -> None:
        self._vcpus: dict[int, Vcpu] = {}
        self._items: dict[int, list[tuple[int, bool, int, int]]] = defaultdict(list)
        self._records: dict[str, list[int]] = defaultdict(list)
        self.exits: list[tuple[Any, ...]] = []

    def take(self, thread: int, at_ns: int, name: bytes, rest: bytes) -> None:
        """Take the next line."""
        if name == b"kvm_vcpu_ioctl" and _RUN.fullmatch(rest):
            vcpu = self._vcpus.setdefault(thread, Vcpu(len(self._vcpus)))
            self._handled(thread, vcpu, at_ns)
            vcpu.enter(at_ns)
            vcpu.recorded()
        elif thread in self._vcpus:
            self._within(thread, self._vcpus[thread], at_ns, name, rest)

    def _within(self, thread: int, vcpu: Vcpu, at_ns: int, name: bytes, rest: bytes) -> None:
        if name == b"kvm_run_exit":
            reason = _REASON.fullmatch(rest)
            if reason is not None and int(reason[1]) == _IO:
                vcpu.leave(at_ns)
            else:
                vcpu.forget()
        elif vcpu.exit is not None and (item := _item(name, rest)) is not None:
            self._items[thread].append(item)
        vcpu.recorded()

    def _handled(self, thread: int, vcpu: Vcpu, at_ns: int) -> None:
        items = self._items.pop(thread, [])
        done = vcpu.exit
        if done is None or not items:
            return
        port, _, size, value = items[0]
        kinds = [vcpu.classes.kind(at, out, width, of) for at, out, width, of in items]
        qemu_ns = at_ns - done.left_ns
        row = (vcpu.number, kinds[-1] if len(items) > 1 else kinds[0], port, size, len(items), value)
        self.exits.append((*row, done.kvm_ns / 1000, qemu_ns / 1000))
        self._records[f"kvm {row[1]}"].append(done.in_kvm_records)
        self._records[f"qemu {row[1]}"].append(vcpu.records)

    def records(self) -> dict[str, float]:
        """Return the mean numbers of lines within each part of an exit."""
        return {name: float(np.mean(counts)) for name, counts in self._records.items()}


def _item(name: bytes, rest: bytes) -> tuple[int, bool, int, int] | None:
    """Return port, direction, width and value of the access that a line tells of."""
    if match := _PORT.fullmatch(rest):
        return int(match[2], 16), match[1] == b"wr", _WIDTHS.get(name, 1), int(match[3], 16)
    if match := _BUS_MASTER.fullmatch(rest):
        return _BASE + int(match[2], 16), match[1] == b"write", 1, int(match[3], 16)
    if name == b"bmdma_addr_write" and (match := _PRD.fullmatch(rest)):
        return _BASE + 4, True, 4, int(match[1], 16)
    return None


def read(path: Path, options: ReadOptions, string_io: bool | None = None) -> Recording:
    """Return the recording in the log *path*; raises TraceError."""
    log = _Log()
    with Source(path) as source:
        reading = Reading(source, options, "qemu-log")
        for block in source.blocks():
            for line in block.text.replace(b"\r\n", b"\n").split(b"\n")[:-1]:
                match = _LINE.fullmatch(line)
                if match is None:
                    reading.beside["other line"] += 1
                    continue
                thread, seconds, us, name, rest = match.groups()
                log.take(int(thread), int(seconds) * 1_000_000_000 + int(us) * 1000, name, rest)
    if not log.exits:
        rule = "has no exit of a vCPU to the disk: needs kvm_run_exit, kvm_vcpu_ioctl, ide_* and bmdma_*"
        raise TraceError(f"{path}: {rule}")
    columns = ["vcpu", "kind", "port", "size", "count", "value", "kvm_us", "qemu_us"]
    exits = pd.DataFrame(log.exits, columns=columns)
    note = f"{path.name}: a QEMU log has times of 1 us, and each of its lines costs about as much"
    return Recording(path.name, exits, pd.DataFrame({"kind": [], "call": []}), string_io, log.records(), notes=[note])
