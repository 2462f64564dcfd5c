"""The operational laws that every run keeps, whatever it simulates: a result that breaks one is a fault of the program.

Nothing is assumed of distributions or of a steady state. The laws hold between tables that a run keeps apart: the
requests with their stages on one side, how busy each resource was on the other.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from iosim.analytic.demands import rows_by_drive, window_ns
from iosim.analytic.resources import Inventory, kind_of
from iosim.analytic.roles import loop_stages, own_stages, vcpu_stages
from iosim.model.errors import FaultError
from iosim.model.scenario import VmTable
from iosim.model.stages import Stage
from iosim.model.units import human_time, three_digits
from iosim.results.result import Result
from iosim.results.summary import counted

Int64Array = npt.NDArray[np.int64]

_ROUNDING = 1e-9
_ROUNDING_OF_AREAS = 1e-12
_BEFORE_THE_RING = (
    Stage.GUEST_QUEUE,
    Stage.GUEST_RUN,
    Stage.VM_EXIT,
    Stage.KVM_EXIT_HANDLING,
    Stage.BQL_WAIT,
    Stage.QEMU_DISPATCH,
    Stage.VM_ENTRY,
    Stage.IRQ_DELIVERY,
    Stage.CPU_WAIT,
    Stage.PAUSED,
)
"""Stages that a virtio-blk request, or a part of it, may pass before the driver adds it to the ring."""


@dataclass(frozen=True)
class Violation:
    """A law that a result breaks, what of the result breaks it, and how."""

    law: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text} ({self.law})"


def require(result: Result) -> None:
    """Raise FaultError if *result* breaks a law, with all that it breaks."""
    if found := check(result):
        raise FaultError("the result breaks operational laws: " + "; ".join(str(violation) for violation in found))


def check(result: Result) -> list[Violation]:
    """Return what breaks a law, empty if all are kept.

    * R >= sum of demands: the stages of each request are its latency, none is negative.
    * X = C / T: the summary's throughput is that of the requests.
    * N <= customers: a drive whose replay is not open has one request at a time.
    * U <= 1: no resource is busy for longer than its servers have time, which is X <= servers / demand.
    * U = X D: disks, vCPUs, loops and CPUs were busy for what the requests say.
    * N = X R: how many requests wait in the guest and are in the device, over time, is their latencies.

    Requests under way at the end of the warm-up or of the run count with the part of their time within where that is
    known; otherwise a sum must lie between that without them and that with them.
    """
    checker = _Checker(result)
    return [*checker.stages(), *checker.throughput(), *checker.closed(), *checker.resources()]


@dataclass(frozen=True)
class _Level:
    """A row of `resources`: how long its servers were busy and its queue waited, summed over all of them."""

    name: str
    kind: str
    servers: int
    busy_ns: int
    waited_ns: int
    utilisation: float


class _Checker:
    def __init__(self, result: Result) -> None:
        self._result = result
        self._inventory = Inventory(result.scenario)
        self._window = window_ns(result)
        self._end = int(result.summary["end_ns"])
        self._begin = self._end - self._window
        table = result.requests
        self._arrival, self._issue, self._done, self._latency = (
            table[f"{name}_ns"].to_numpy() for name in ("arrival", "issue", "done", "latency")
        )
        self._stages = {stage: table[f"{stage.label}_ns"].to_numpy() for stage in Stage}
        self._failed = (table["status"] == "error").to_numpy()
        self._rows = rows_by_drive(table)

    # Requests alone

    def stages(self) -> Iterator[Violation]:
        sums, negative = np.zeros_like(self._latency), np.zeros(len(self._latency), dtype=bool)
        for times in self._stages.values():
            sums += times
            negative |= times < 0
        wrong = np.flatnonzero((sums != self._latency) | negative | (self._latency != self._done - self._arrival))
        if len(wrong):
            row = self._result.requests.iloc[wrong[0]]
            yield Violation(
                "R >= sum of demands",
                f"request {row['request']} of {row['vm']} drive {row['drive']}",
                f"{human_time(row['done_ns'] - row['arrival_ns'])} under way, latency {human_time(row['latency_ns'])}, "
                f"stages {human_time(int(sums[wrong[0]]))}; {len(wrong):,} such requests",
            )

    def throughput(self) -> Iterator[Violation]:
        expected = len(counted(self._result.requests)) / max(1, self._window) * 1e9
        stated = self._result.summary["throughput_per_s"]
        if abs(stated - expected) > _ROUNDING * expected:
            text = f"throughput {three_digits(stated)}/s, the requests make it {three_digits(expected)}/s"
            yield Violation("X = C / T", "summary", text)

    def closed(self) -> Iterator[Violation]:
        for (vm, number), rows in self._rows.items():
            if self._inventory.tables[vm].drive[number].replay != "open":
                early = int((self._arrival[rows[1:]] < self._done[rows[:-1]]).sum())
                if early:
                    text = f"{early:,} requests came before the one in front was done"
                    yield Violation("N <= customers", f"{vm} drive {number}", text)

    # Requests and resources

    def resources(self) -> Iterator[Violation]:
        if not self._window:
            return
        busy_ns: Counter[tuple[str, str]] = Counter()
        levels = list(self._levels())
        for level in levels:
            busy_ns[level.name.partition("/")[0], level.kind] += level.busy_ns
            yield from self._room(level)
            if level.kind == "disk":
                yield from self._disk(level)
            elif level.kind in ("channel", "ring"):
                yield from self._gate(level)
            elif level.kind == "cpus":
                each = sum(other.busy_ns for other in levels if other.kind == "cpu")
                yield from _between("U = X D", level.name, "busy", level.busy_ns, each, each)
        for vm, table in self._inventory.tables.items():
            yield from self._threads(vm, table, busy_ns)

    def _levels(self) -> Iterator[_Level]:
        columns = ["resource", "servers", "busy_ns", "mean_queue", "utilisation"]
        for name, servers, busy, queue, share in self._result.resources[columns].itertuples(index=False, name=None):
            kind = kind_of(name, self._result.scenario)
            yield _Level(name, kind, int(servers), int(busy), round(queue * self._window), share)

    def _room(self, level: _Level) -> Iterator[Violation]:
        room = level.servers * self._window
        if not 0 <= level.busy_ns <= room or abs(level.utilisation - level.busy_ns / room) > _ROUNDING:
            text = f"busy for {human_time(level.busy_ns)} of {human_time(room)}, utilisation {level.utilisation:.6g}"
            yield Violation("U <= 1", level.name, text)

    def _through(self, resource: str) -> Int64Array:
        """Return the rows of the requests that go through *resource*."""
        own = [self._rows[drive] for drive in self._inventory.drives(resource) if drive in self._rows]
        return np.concatenate([np.empty(0, np.int64), *own])

    def _sums(self, rows: Int64Array, stages: Collection[Stage]) -> tuple[int, int]:
        """Return the time in *stages* of the requests that lie within the window, and of all that overlap it."""
        within, overlaps = rows[self._arrival[rows] >= self._begin], rows[self._done[rows] >= self._begin]
        low, high = (sum(int(self._stages[stage][part].sum()) for stage in stages) for part in (within, overlaps))
        return low, high

    def _disk(self, level: _Level) -> Iterator[Violation]:
        """What requests have been served, and have waited, is what the disk was busy, and its queue.

        Merged requests have the time of their operation each, the jobs of a dead VM outlive its requests, write-back
        works for no request, and a flush waits for it: then only one of the sides bounds the other, or none.
        """
        rows = self._through(level.name)
        merges = any(drive.is_virtio and drive.request_merging for vm in self._result.scenario.vm for drive in vm.drive)
        cached, outlived = self._result.summary["page_cache"] is not None, bool(self._failed[rows].any())
        low, high = self._sums(rows, [Stage.DISK_SERVICE])
        low, most = 0 if merges else low, None if cached or outlived else high
        yield from _between("U = X D", level.name, "busy", level.busy_ns, low, most)
        if not cached:
            low, high = self._sums(rows, [Stage.DISK_WAIT])
            low, most = 0 if merges else low, None if outlived else high
            yield from _between("N = X R", level.name, "waited for", level.waited_ns, low, most)

    def _gate(self, level: _Level) -> Iterator[Violation]:
        """Who is in the guest's block layer waits for the gate, or is behind it.

        A request takes its entry of a ring when the driver adds it: the vCPU's work before that is in neither.
        """
        rows = self._through(level.name)
        waits = self._within(self._arrival[rows], self._issue[rows])
        held = self._within(self._issue[rows], self._done[rows])
        before = self._sums(rows, _BEFORE_THE_RING)[1] if level.kind == "ring" else 0
        yield from _between("N = X R", level.name, "waited for", level.waited_ns, waits, waits + before)
        yield from _between("N = X R", level.name, "held", level.busy_ns, held - before, held)

    def _within(self, begin: Int64Array, end: Int64Array) -> int:
        """Return the sum of the parts of [begin, end) that lie in the window."""
        return int(np.maximum(np.minimum(end, self._end) - np.maximum(begin, self._begin), 0).sum())

    def _threads(self, vm: str, table: VmTable, busy_ns: Mapping[tuple[str, str], int]) -> Iterator[Violation]:
        """A VM's threads were busy for at least as long as they worked for requests; *busy_ns*: by VM and kind."""
        on_vcpus = in_loops = 0
        for number in range(len(table.drive)):
            if (vm, number) in self._rows:
                rows, own = self._rows[vm, number], own_stages(table, number)
                on_vcpus += self._sums(rows, vcpu_stages(table, number) & own)[0]
                in_loops += self._sums(rows, loop_stages(table, number) & own)[0]
        loops_ns = busy_ns[vm, "main_loop"] + busy_ns[vm, "iothread"]
        yield from _between("U = X D", f"{vm}, its vCPUs", "busy", busy_ns[vm, "vcpu"], on_vcpus, None)
        yield from _between("U = X D", f"{vm}, its event loops", "busy", loops_ns, in_loops, None)


def _between(law: str, name: str, what: str, ns: int, low: int, high: int | None) -> Iterator[Violation]:
    """Yield a violation unless *low* <= *ns* <= *high*, but for what rounding does to a sum."""
    slack = 1 + int(abs(ns) * _ROUNDING_OF_AREAS)
    if ns >= low - slack and (high is None or ns <= high + slack):
        return
    limits = f"at least {human_time(low)}" if high is None else f"{human_time(low)} to {human_time(high)}"
    if low == high:
        limits = human_time(low)
    yield Violation(law, name, f"{what} for {human_time(ns)}, by the requests {limits}")
