"""What a run recorded, before it becomes tables."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from iosim.model.scenario import Scenario
from iosim.model.stages import Stage
from iosim.results.logs import StepLog
from iosim.results.sampling import SampledDrive

if TYPE_CHECKING:
    from iosim.results.sums import RequestSums

STAGE_COLUMNS = [f"{stage.label}_ns" for stage in Stage]
INT_COLUMNS = [
    "vm",
    "drive",
    "request",
    "op",
    "sector",
    "sectors",
    "arrival_ns",
    "issue_ns",
    "done_ns",
    "status",
    "error",
    "warmup",
    "exits",
    "userspace_exits",
    "irqs",
    "irq_line_ioctls",
    *STAGE_COLUMNS,
]
"""Columns of the array of requests, all int64; vm, op, status and error are numbers of names."""


EventRow: TypeAlias = tuple[int, int, int, str, str]
"""(ns, drive, request, event, why); drive and request are -1 where the event is not about one."""


class KeptLog(NamedTuple):
    """The log of one request, from which its spans are made."""

    vm: str
    drive: int
    request: int
    entries: list[tuple[Any, ...]] | StepLog


class ExitRowData(NamedTuple):
    """The exits of one vCPU for one reason."""

    vm: str
    vcpu: int
    reason: str
    userspace: bool
    n: int
    total_ns: int
    min_ns: int
    p50_ns: int
    p99_ns: int
    max_ns: int


class LevelData(NamedTuple):
    """One resource: busy level and queue level over time (the queue may be missing)."""

    resource: str
    servers: int
    busy_area: int
    busy_bins: list[int]
    has_queue: bool
    queue_area: int
    queue_highest: int
    queue_bins: list[int]


@dataclass
class RawResult:
    """Arrays and lists as the run left them.

    `requests`: int64, one row per request of the traces, -1 if it never arrived. `sums`: what there is instead of rows
    if none were kept. `replays`: what became of the port accesses of each (VM, drive) that replays some.
    """

    scenario: Scenario
    vm_names: list[str]
    requests: npt.NDArray[np.int64]
    sums: "RequestSums | None"
    logs: list[KeptLog]
    functions: list[SampledDrive]
    exits: list[ExitRowData]
    levels: list[LevelData]
    accesses: list[tuple[str, list[tuple[int, int, int, int, int, bool, int, int]]]] | None
    events: list[tuple[str, list[EventRow]]]
    wear: dict[str, dict[str, int]]
    bin_width_ns: int
    end_ns: int
    arrived: int
    page_cache: dict[str, int] | None
    replays: dict[tuple[str, int], dict[str, int]]

    @classmethod
    def collect(
        cls,
        machine: Any,
        scenario: Scenario,
        requests: npt.NDArray[np.int64],
        sums: "RequestSums | None",
        logs: list[KeptLog],
        functions: list[SampledDrive],
        end_ns: int,
        arrived: int,
    ) -> "RawResult":
        """Gather what the parts of the machine recorded."""
        exits = []
        levels = []
        for vm in machine.vms:
            for vcpu in vm.qemu.vcpus:
                for (reason, userspace), times in sorted(vcpu.account.finish().items()):
                    p50, p99 = times.take_percentiles_ns(50, 99)
                    exits.append(
                        ExitRowData(
                            vm.name,
                            vcpu.number,
                            reason,
                            userspace,
                            times.count,
                            times.total_ns,
                            times.min_ns,
                            p50,
                            p99,
                            times.max_ns,
                        )
                    )
            name = vm.name
            for k, (busy, steal) in enumerate(zip(vm.vcpu_levels, vm.steal_levels, strict=True)):
                levels.append(_level(f"{name}/vcpu{k}", 1, busy, steal))
            levels.append(_level(f"{name}/bql", 1, vm.qemu.bql.held, vm.qemu.bql.queue))
            levels.append(_level(f"{name}/main_loop", 1, vm.main_level, None))
            levels.append(_level(f"{name}/pool", 64, vm.qemu.pool.busy, vm.qemu.pool.queue))
            for name_of_loop, level in vm.iothread_levels.items():
                levels.append(_level(f"{name}/iothread/{name_of_loop}", 1, level, None))
            for name_of_loop, pool in zip(vm.iothread_levels, vm.qemu.pools[1:], strict=True):
                levels.append(_level(f"{name}/iothread/{name_of_loop}/pool", 64, pool.busy, pool.queue))
            for index, (size, in_flight, queue) in vm.virtio_levels.items():
                levels.append(_level(f"{name}/drive{index}", size, in_flight, queue))
            used = sorted({drive.channel for drive in vm.drives if drive.channel is not None})
            for channel in used:
                levels.append(_level(f"{name}/channel{channel}", 1, vm.levels.busy(channel), vm.levels.queue(channel)))
            for index, backend in enumerate(vm.qemu.backends):
                levels += [
                    _level(f"{name}/drive{index}/{part}", 1, held, queue) for part, held, queue in backend.levels()
                ]
        if machine.cpus is not None:
            levels.append(_level("cpus", machine.cpus.n, machine.cpus.running_level, machine.cpus.queue_level))
            levels += [_level(f"cpu{cpu}", 1, busy, None) for cpu, busy in enumerate(machine.cpus.busy)]
        for disk in machine.disks.values():
            levels.append(_level(f"disk/{disk.name}", disk.servers, disk.busy, disk.queue))
        cache = machine.files.cache
        page_cache = None
        if cache is not None:
            levels.append(_level("page_cache", cache.config.pages, cache.held, cache.dirty))
            page_cache = {"pages": cache.config.pages, **asdict(cache.counts)}
            page_cache["dirty_at_end"] = cache.n_dirty + cache.n_writeback
        accesses = None
        if scenario.run.log == "ports":
            accesses = [(vm.name, vm.log.rows) for vm in machine.vms]
        return cls(
            scenario=scenario,
            vm_names=[vm.name for vm in machine.vms],
            requests=requests,
            sums=sums,
            logs=logs,
            functions=functions,
            exits=exits,
            levels=levels,
            accesses=accesses,
            events=[(vm.name, vm.life.events) for vm in machine.vms],
            wear={disk.name: wear for disk in machine.disks.values() if (wear := disk.wear()) is not None},
            bin_width_ns=machine.host.timeline.width_ns,
            end_ns=end_ns,
            arrived=arrived,
            page_cache=page_cache,
            replays={(vm.name, index): replay.counts for vm in machine.vms for index, replay in vm.replays.items()},
        )


def _level(resource: str, servers: int, busy: Any, queue: Any) -> LevelData:
    return LevelData(
        resource,
        servers,
        busy.area,
        busy.bins,
        queue is not None,
        0 if queue is None else queue.area,
        0 if queue is None else queue.highest,
        [] if queue is None else queue.bins,
    )
