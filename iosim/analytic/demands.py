"""Service demands: what a request costs each resource, by the utilisation law and by the stages of the requests."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.analytic.resources import HOLDERS, NOT_SERVING, Inventory, kind_of
from iosim.analytic.roles import certain_stages, loop_stages, own_stages, vcpu_stages
from iosim.model.clones import DriveKey
from iosim.model.scenario import VmTable
from iosim.model.stages import Stage
from iosim.results.result import Result
from iosim.results.summary import counted


@dataclass(frozen=True)
class Demand:
    """One resource with the requests that used it: those of its VM, channel, drive or disk that were done.

    `demand_ns` is how long a request kept one server busy on average in this run (busy time / requests), and
    `bound_per_s` the requests per second that all servers could take at that demand: as things were in this run.
    `least_ns` is the part of it that a request cannot do without, as far as its stages tell, and `limit_per_s` what
    the servers could take if nothing else were to be done. All are None without requests, the last two also where the
    stages do not tell.
    """

    resource: str
    kind: str
    servers: int
    utilisation: float
    mean_queue: float
    max_queue: int
    requests: int
    demand_ns: float | None
    bound_per_s: float | None
    least_ns: float | None
    limit_per_s: float | None

    @property
    def is_holder(self) -> bool:
        """Whether its busy time contains that of other resources, and waits for them: never to be added to theirs."""
        return self.kind in HOLDERS


@dataclass(frozen=True)
class Means:
    """Counted requests: how many, and the mean of each of their stages in ns."""

    n: int
    stages_ns: Mapping[Stage, float]

    def of(self, stages: Iterable[Stage]) -> float:
        """Return the mean time in *stages* together."""
        return sum(self.stages_ns[stage] for stage in stages)


def demands(result: Result) -> list[Demand]:
    """Return every resource that serves requests, the busiest first."""
    done = done_in_window(result)
    means = stage_means(result)
    inventory = Inventory(result.scenario)
    found = []
    for resource, servers, busy_ns, utilisation, mean_queue, max_queue in result.resources[
        ["resource", "servers", "busy_ns", "utilisation", "mean_queue", "max_queue"]
    ].itertuples(index=False, name=None):
        kind = kind_of(resource, result.scenario)
        if kind in NOT_SERVING:
            continue
        drives = inventory.drives(resource)
        n = sum(done.get(drive, 0) for drive in drives)
        demand_ns = busy_ns / n if n else None
        least_ns = None if demand_ns is None else _least_ns(kind, drives, inventory.tables, means)
        if demand_ns is not None and least_ns is not None:
            least_ns = min(least_ns, demand_ns)
        bound, limit = (servers / ns * 1e9 if ns else None for ns in (demand_ns, least_ns))
        levels = (utilisation, mean_queue, max_queue)
        found.append(Demand(resource, kind, servers, *levels, n, demand_ns, bound, least_ns, limit))
    return sorted(found, key=lambda demand: -demand.utilisation)


def window_ns(result: Result) -> int:
    """Return the length of the time that resources count: from the end of the warm-up to the end of the run."""
    end_ns = int(result.summary["end_ns"])
    return end_ns - min(result.scenario.run.warmup, end_ns)


def done_in_window(result: Result) -> dict[DriveKey, int]:
    """Return how many requests of each drive were done between the end of the warm-up and the end of the run."""
    table = result.requests
    done = table[(table["status"] == "ok") & (table["done_ns"] >= result.scenario.run.warmup)]
    return {drive: len(rows) for drive, rows in rows_by_drive(done).items()}


def rows_by_drive(table: pd.DataFrame) -> dict[DriveKey, npt.NDArray[np.int64]]:
    """Return the positions in *table* of the requests of each drive that has any."""
    found = {}
    for key, rows in table.groupby(["vm", "drive"], observed=True).indices.items():
        assert isinstance(key, tuple)
        found[str(key[0]), int(key[1])] = np.asarray(rows)
    return found


def stage_means(result: Result) -> dict[DriveKey, Means]:
    """Return the means of each drive that has counted requests (docs/results.md says which these are)."""
    table = counted(result.requests)
    times = {stage: table[f"{stage.label}_ns"].to_numpy() for stage in Stage}
    return {
        drive: Means(len(rows), {stage: float(own[rows].mean()) for stage, own in times.items()})
        for drive, rows in rows_by_drive(table).items()
    }


def pooled(means: Mapping[DriveKey, Means], drives: Iterable[DriveKey]) -> Means | None:
    """Return the means over all requests of *drives*, None if they have none."""
    parts = [means[drive] for drive in drives if drive in means]
    n = sum(part.n for part in parts)
    if not n:
        return None
    return Means(n, {stage: sum(part.n * part.stages_ns[stage] for part in parts) / n for stage in Stage})


def _least_ns(
    kind: str, drives: list[DriveKey], tables: Mapping[str, VmTable], means: Mapping[DriveKey, Means]
) -> float | None:
    """Return the mean time of the stages in which the resource works for a request, None if they do not tell."""
    total = n = 0.0
    for drive in drives:
        stages = _stages_at(kind, tables[drive[0]], drive[1])
        if stages is None:
            return None
        if drive in means:
            total += means[drive].n * means[drive].of(stages)
            n += means[drive].n
    return total / n if total else None


def _stages_at(kind: str, table: VmTable, number: int) -> frozenset[Stage] | None:
    """Return the stages of a request that a resource of this kind is busy with for certain, None if not known."""
    own = own_stages(table, number)
    if kind == "vcpu":
        return own & vcpu_stages(table, number) if table.vcpus == 1 else None
    if kind in ("main_loop", "iothread"):
        return own & loop_stages(table, number)
    if kind == "cpus":
        return own & (vcpu_stages(table, number) | loop_stages(table, number) | {Stage.AIO_WORKER})
    if kind == "pool":
        return frozenset({Stage.AIO_WORKER, Stage.DISK_SERVICE} if table.drive[number].aio == "threads" else ())
    if kind == "disk":
        return frozenset({Stage.DISK_SERVICE})
    if kind == "channel":
        return certain_stages(table, number)
    if kind == "ring":
        return certain_stages(table, number) - {Stage.GUEST_RUN}
    return None
