"""Running a scenario: the machine is built, runs to its end, and what came of it is collected."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path as FilePath

import numpy as np
import numpy.typing as npt

from iosim.host import HostThread
from iosim.machine import END_THREAD, WARMUP_THREAD, Machine
from iosim.model.clones import vm_names
from iosim.model.costs import Profile
from iosim.model.draws import Subject
from iosim.model.ledger import Ledger
from iosim.model.records import ERRORS, STATUSES, Request
from iosim.model.scenario import Scenario
from iosim.model.steps import Block, Steps
from iosim.model.trace import OPS, AnyTrace
from iosim.results.raw import INT_COLUMNS, KeptLog, RawResult
from iosim.results.row_file import RowFile
from iosim.results.sampling import FunctionSums
from iosim.results.sums import RequestSums

Progress = Callable[[int, int], None]
"""Called now and then with (requests ended, requests in all)."""

_FLUSH_ROWS = 4096
_PROGRESS_EVERY = 64


class Collector(Ledger):
    """One row per request, in the order of VM, drive and request; the logs of the slowest requests, sums of others.

    Rows are buffered as tuples and moved in blocks into `array`, int64 (requests x columns), or handed on to *keep*.
    """

    def __init__(
        self,
        counts: dict[tuple[str, int], list[int]],
        scenario: Scenario,
        progress: Progress | None,
        keep: RequestSums | RowFile | None = None,
    ) -> None:
        super().__init__()
        for (vm, drive), by_op in counts.items():
            self.first[vm, drive] = self.total
            self.vm_number.setdefault(vm, len(self.vm_number))
            self.total += sum(by_op)
        n_rows = 0 if keep else self.total
        self.array: npt.NDArray[np.int64] = np.full((n_rows, len(INT_COLUMNS)), -1, dtype=np.int64)
        self.keep = keep
        n_drives = 1 + max((drive for _, drive in counts), default=0)
        self._places = np.zeros((len(self.vm_number), n_drives), dtype=np.int64)
        for (vm, drive), first in self.first.items():
            self._places[self.vm_number[vm], drive] = first
        self._buffer: list[tuple[int, ...]] = []
        self.warmup_ns = scenario.run.warmup
        self.n_slowest = scenario.run.slowest
        if scenario.run.window is not None:
            self.window_begin_ns, self.window_end_ns = scenario.run.window.start, scenario.run.window.end
        self.functions = FunctionSums(
            scenario, {vm: at for at, t in enumerate(scenario.vm) for vm in vm_names(t)}, counts
        )
        self.progress = progress

    def request_ended(self, request: Request) -> None:
        """A request is done or has failed."""
        super().request_ended(request)
        if self.progress is not None and self.ended % _PROGRESS_EVERY == 0:
            self.progress(self.ended, self.total)

    def kept(self) -> list[KeptLog]:
        """Return the logs of the slowest requests, slowest first, then those of the window."""
        slowest = [log for _, _, log in sorted(self.slowest, key=lambda entry: (-entry[0], -entry[1]))]
        chosen = {log[:3] for log in slowest}
        window = [log for _, log in sorted(self.in_window, key=lambda entry: entry[0])]
        return [KeptLog(*log) for log in slowest + [log for log in window if log[:3] not in chosen]]

    def _is_sampled(self, request: Request) -> bool:
        return self.functions.wants(request)

    def _add_sample(self, request: Request) -> None:
        self.functions.add(request)

    def _add_row(self, request: Request, warmup: bool) -> None:
        drive = request.drive
        self._buffer.append(
            (
                self.vm_number[drive.vm],
                drive.index,
                request.number,
                OPS.index(request.op),
                request.sector,
                request.sectors,
                request.arrival_ns,
                request.issue_ns,
                request.done_ns,
                STATUSES.index(request.status),
                ERRORS.index(request.error),
                warmup,
                request.exits,
                request.userspace_exits,
                request.irqs,
                request.irq_line_ioctls,
                *request.stages,
            )
        )
        if len(self._buffer) >= _FLUSH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._buffer:
            self.take(np.array(self._buffer, dtype=np.int64))
            self._buffer = []

    def take(self, rows: npt.NDArray[np.int64]) -> None:
        """Take *rows* of `INT_COLUMNS`, in any order."""
        if self.keep is not None:
            self.keep.add(rows)
        else:
            self.array[self._places[rows[:, 0], rows[:, 1]] + rows[:, 2]] = rows


def simulate_with_simpy(machine: Machine, collector: Collector) -> int:
    """Run *machine* to its end with the SimPy engine, and return that instant in ns."""
    machine.host.run()
    settle(machine, collector)
    return machine.host.now_ns


def run_machine(
    scenario: Scenario,
    profile: Profile,
    traces: Mapping[tuple[int, int], AnyTrace],
    folder: FilePath,
    progress: Progress | None = None,
    execute: Callable[[Machine, Collector], int] = simulate_with_simpy,
    keep: RequestSums | RowFile | None = None,
) -> RawResult:
    """Simulate *scenario* and return what was recorded; rows of requests go to *keep* if it is given.

    *traces* are by (number of the VM's table, number of the drive); *folder* is what file names of the scenario are
    relative to; *execute* is the engine: it brings the machine and its collector to the end of the run, and returns
    when that is.
    """
    collector = Collector(_counts(scenario, traces), scenario, progress, keep)
    machine = Machine(scenario, profile, traces, folder, collector)
    if progress is not None:
        progress(0, collector.total)
    begin(machine, collector, scenario)
    end_ns = execute(machine, collector)
    if keep is not None:
        keep.finish()
    return RawResult.collect(
        machine,
        scenario,
        collector.array,
        keep.sums if isinstance(keep, RowFile) else keep,
        collector.kept(),
        collector.functions.result(),
        end_ns,
        collector.arrived,
    )


def begin(machine: Machine, collector: Collector, scenario: Scenario) -> None:
    """Say when the run of a wired machine ends, and its warm-up."""
    host = machine.host
    duration = scenario.run.duration
    if duration is None:
        collector.stop = host.stop
    else:
        _start(machine, END_THREAD, "end", _at(duration, host.stop))
    if scenario.run.warmup:
        _start(machine, WARMUP_THREAD, "warmup", _at(scenario.run.warmup, partial(_end_warmup, machine)))


def settle(machine: Machine, collector: Collector) -> None:
    """The run is over: what is under way is charged and counted up to now."""
    end_ns = machine.host.now_ns
    for thread in machine.threads():
        thread.charge_under_way()
    for vm in machine.vms:
        vm.qemu.runstate.settle(end_ns)
    collector.finish(end_ns)
    for vm in machine.vms:
        vm.qemu.bql.settle(end_ns)
        for vcpu in vm.qemu.vcpus:
            vcpu.account.finish()
    if machine.cpus is not None:
        machine.cpus.settle(end_ns)
    for level in machine.host.timeline.levels:
        level.set(end_ns, level.value)
    machine.host.timeline.fold()


def _counts(scenario: Scenario, traces: Mapping[tuple[int, int], AnyTrace]) -> dict[tuple[str, int], list[int]]:
    """Return how many requests of each of `OPS` each drive's trace has."""
    return {
        (name, index): traces[at, index].by_op()
        for at, table in enumerate(scenario.vm)
        for name in vm_names(table)
        for index in range(len(table.drive))
    }


def build_machine(
    scenario: Scenario, profile: Profile, traces: Mapping[tuple[int, int], AnyTrace], folder: FilePath
) -> Machine:
    """Return the machine that `run_machine` would run, with nobody to collect its requests. Raises ScenarioError."""
    return Machine(scenario, profile, traces, folder, Collector({}, scenario, None))


def _start(machine: Machine, number: int, name: str, steps: Steps[None]) -> None:
    HostThread(machine.host, number, name, Subject(0), uses_cpu=False).start(steps)


def _at(at_ns: int, action: Callable[[], None]) -> Steps[None]:
    yield Block(at_ns)
    action()


def _end_warmup(machine: Machine) -> None:
    """From here on totals count; what is under way is settled up to now."""
    now = machine.host.now_ns
    for thread in machine.threads():
        thread.cut()
    for vm in machine.vms:
        vm.qemu.bql.settle(now)
        for vcpu in vm.qemu.vcpus:
            vcpu.account.restart()
    if machine.files.cache is not None:
        machine.files.cache.restart()
    if machine.cpus is not None:
        machine.cpus.settle(now)
    for level in machine.host.timeline.levels:
        level.restart(now)
