"""What a run shows, in words: what was simulated, what came of it, and what would help.

Page and terminal both say these sentences. Each is made of numbers of the tables; none guesses.
"""

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from iosim.analytic.demands import demands
from iosim.analytic.resources import KINDS, kind_of
from iosim.model.scenario import DriveTable
from iosim.model.stages import Stage
from iosim.model.units import human_time, three_digits
from iosim.report.bands import Band, bands
from iosim.results.result import Result
from iosim.results.summary import counted, is_resolved
from iosim.results.wording import described_disk, percent, plural

MEANINGS = {
    Stage.GUEST_QUEUE: "waiting in the guest for the device or the vCPU",
    Stage.GUEST_RUN: "the guest's own driver",
    Stage.VM_EXIT: "leaving the guest",
    Stage.KVM_EXIT_HANDLING: "KVM's handling of exits",
    Stage.BQL_WAIT: "waiting for QEMU's big lock",
    Stage.QEMU_DISPATCH: "QEMU's way to the device's register",
    Stage.QEMU_SUBMIT: "the submission in QEMU",
    Stage.VM_ENTRY: "entering the guest",
    Stage.AIO_WAIT: "waiting for an aio worker",
    Stage.AIO_WORKER: "the aio worker's own time",
    Stage.DISK_WAIT: "queueing at the host's disk",
    Stage.DISK_SERVICE: "the host's disk at work",
    Stage.COMPLETION_WAIT: "waiting for the event loop to complete it",
    Stage.COMPLETION: "the completion in QEMU",
    Stage.IRQ_DELIVERY: "the interrupt on its way to the guest",
    Stage.CPU_WAIT: "threads that are runnable without a CPU",
    Stage.SUBMIT_WAIT: "waiting in the virtqueue",
    Stage.THROTTLE_WAIT: "the drive's own limits",
    Stage.DIRTY_WAIT: "writers held back by too many dirty pages",
    Stage.PAUSED: "a VM that is stopped",
}
"""What each stage is, as part of a sentence."""


@dataclass(frozen=True)
class Story:
    """The paragraph at the top of a report, in its parts."""

    what: list[str]
    found: list[str]
    advice: list[str]

    @property
    def sentences(self) -> list[str]:
        """All of it."""
        return self.what + self.found + self.advice


def story(result: Result) -> Story:
    """Return what was simulated, what came of it, and what would help most."""
    table = counted(result.requests)
    if table.empty:
        return Story(_what(result), ["No request counts: there is no latency to speak of."], [])
    in_bands = bands(table)
    found = [
        *_latency(table),
        _largest(in_bands[0]),
        *_tail(in_bands),
        *_drives(table),
        *_limit(result),
        *_held_back(result),
    ]
    return Story(_what(result), found, _advice(result, in_bands[0]))


# What was simulated


def _what(result: Result) -> list[str]:
    scenario, summary = result.scenario, result.summary
    drives = [(vm, drive) for vm in scenario.vm for drive in vm.drive for _ in range(vm.count)]
    n_vms = sum(vm.count for vm in scenario.vm)
    kinds = Counter(_drive_kind(drive) for _, drive in drives)
    described = ", ".join(kind if len(kinds) == 1 else f"{n:,} {kind}" for kind, n in kinds.most_common())
    disks = ", ".join(described_disk(disk) for disk in scenario.host.disk[:4])
    more = f" and {len(scenario.host.disk) - 4} more" if len(scenario.host.disk) > 4 else ""
    versions = " or ".join(sorted({f"QEMU {vm.qemu} on Linux {vm.kernel}" for vm in scenario.vm}))
    replay = {drive.replay for _, drive in drives}
    when = {"open": "at the recorded times", "closed": "each when the one before is done"}
    when["ports"] = "access by access as the guest made them"
    how = when[replay.pop()] if len(replay) == 1 else "some at the recorded times, some one after the other"
    counts = summary["requests"]
    outcome = "All were done" if counts["done"] == counts["in"] > 0 else f"{counts['done']:,} were done"
    lost = [f"{counts[key]:,} {key}" for key in ("failed", "unfinished") if counts[key]]
    return [
        f"{plural(n_vms, 'VM')} with {plural(len(drives), 'drive')} ({described}; {versions}; disk {disks}{more}) "
        f"replayed {plural(counts['in'], 'request')}, {how}, with the costs of {summary['profile']['name']}.",
        f"{', '.join([outcome, *lost])}, in {human_time(summary['end_ns'])} of simulated time: "
        f"{three_digits(summary['throughput_per_s'])} requests/s, {three_digits(summary['bytes_per_s'] / 1e6)} MB/s.",
    ]


def _drive_kind(drive: DriveTable) -> str:
    if drive.is_virtio:
        return "virtio-blk"
    return "IDE, DMA" if drive.transfer == "dma" else f"IDE, PIO mode of {drive.data_width} bits"


# What was found


def _latency(table: pd.DataFrame) -> list[str]:
    latency = table["latency_ns"]
    n = len(latency)
    text = f"A request takes {human_time(float(latency.mean()))} on average"
    if is_resolved("50", n):
        text += f"; half take at most {human_time(float(latency.quantile(0.5)))}"
    if is_resolved("99", n):
        text += f", one in a hundred more than {human_time(float(latency.quantile(0.99)))}"
    return [f"{text}."]


def _largest(every: Band) -> str:
    shares = sorted(((every.share(stage), stage) for stage in Stage), reverse=True)
    first, *others = [(share, stage) for share, stage in shares if share > 0][:3] or [(0.0, Stage.GUEST_RUN)]
    text = f"Of the average {percent(first[0])} is {first[1].label}, {MEANINGS[first[1]]}"
    if others:
        text += "; next come " + " and ".join(f"{stage.label} ({percent(share)})" for share, stage in others)
    return text + "."


def _tail(in_bands: list[Band]) -> list[str]:
    """Say which stage makes the slowest requests slower than those around the median."""
    named = {band.short: band for band in in_bands}
    median, slowest = named.get("p50"), named.get("slowest")
    if median is None or slowest is None or slowest.mean_ns < 1.05 * median.mean_ns:
        return []
    more_ns = slowest.mean_ns - median.mean_ns
    grown, stage = max((slowest.stages_ns[stage] - median.stages_ns[stage], stage) for stage in Stage)
    who = f"The slowest {slowest.n:,} take" if slowest.n > 1 else "The slowest one takes"
    return [
        f"{who} {human_time(slowest.mean_ns)}, {human_time(more_ns)} more than those around the median, "
        f"and {stage.label} is {percent(min(1.0, grown / more_ns))} of the difference."
    ]


def _drives(table: pd.DataFrame) -> list[str]:
    """Name the slowest and the fastest of several drives, if they differ by more than a tenth."""
    groups = table.groupby(["vm", "drive"], observed=True)
    means = {key: float(group["latency_ns"].mean()) for key, group in groups}
    slow, fast = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    if means[slow] <= 1.1 * means[fast]:
        return []
    return [
        f"Of {len(means):,} drives, drive {slow[1]} of {slow[0]} is the slowest with {human_time(means[slow])} on "
        f"average, drive {fast[1]} of {fast[0]} the fastest with {human_time(means[fast])}."
    ]


def _limit(result: Result) -> list[str]:
    """Name the busiest resource and the bound it sets by the utilisation law."""
    serving = [demand for demand in demands(result) if demand.demand_ns]
    if not serving:
        return []
    first = serving[0]
    assert first.demand_ns is not None
    assert first.bound_per_s is not None
    alike = [demand.utilisation for demand in serving if demand.kind == first.kind]
    among = f" (the {len(alike):,} of its kind {percent(sum(alike) / len(alike))} on average)" if len(alike) > 1 else ""
    whose = f"the time of its {first.servers:,} servers" if first.servers > 1 else "its time"
    return [
        f"The busiest resource is {first.resource}, {KINDS[first.kind]}: busy for {percent(first.utilisation)} of the "
        f"time{among}. Each request takes {human_time(first.demand_ns)} of {whose}, so at most "
        f"{three_digits(first.bound_per_s)} requests/s go through as things are; in this run it was "
        f"{three_digits(first.bound_per_s * first.utilisation)}."
    ]


def _held_back(result: Result) -> list[str]:
    """Name the limits that held requests back."""
    kinds = [kind_of(str(name), result.scenario) for name in result.resources["resource"]]
    limits = result.resources.loc[[kind == "throttle" for kind in kinds]]
    limits = limits[limits["utilisation"] > 0].sort_values("utilisation", ascending=False, kind="stable")
    if limits.empty:
        return []
    first = limits.iloc[0]
    others = f", and {len(limits) - 1:,} other limits did too" if len(limits) > 1 else ""
    return [f"{first['resource']} held requests back for {percent(first['utilisation'])} of the time{others}."]


# What would help


_DISK = (Stage.DISK_WAIT, Stage.DISK_SERVICE)
_EXITS = (Stage.VM_EXIT, Stage.KVM_EXIT_HANDLING, Stage.QEMU_DISPATCH, Stage.VM_ENTRY)
_THREADS = (Stage.AIO_WAIT, Stage.COMPLETION_WAIT, Stage.IRQ_DELIVERY)
_MENTIONED = 0.1
"""Share of the latency from which on a group of stages is worth a sentence."""


def _advice(result: Result, every: Band) -> list[str]:
    """Say what is left of the latency without the largest groups of stages, largest first."""
    groups = {
        "disk": _DISK,
        "exits": _EXITS,
        "threads": _THREADS,
        **{stage.label: (stage,) for stage in Stage if stage not in _DISK + _EXITS + _THREADS},
    }
    times = {name: sum(every.stages_ns[stage] for stage in stages) for name, stages in groups.items()}
    ranked = sorted(times, key=lambda name: -times[name])
    chosen = [name for name in ranked[:3] if times[name] >= _MENTIONED * every.mean_ns] or ranked[:1]
    return [_without(name, times[name], every, result) for name in chosen if times[name]]


def _without(name: str, ns: float, every: Band, result: Result) -> str:
    left = f"{human_time(every.mean_ns - ns)} of {human_time(every.mean_ns)} ({percent(1 - ns / every.mean_ns)})"
    rest = "if all else stayed as it is"
    if name == "disk":
        return f"A disk that takes no time at all would still leave {left}, {rest}."
    if name == "exits":
        per = result.summary["per_request"]["exits"]
        return (
            f"Leaving the guest, handling exits and going back takes {human_time(ns)} in {three_digits(per)} exits per "
            f"request; without them {left} would be left{_fewer_exits(result)}."
        )
    if name == "threads":
        return (
            f"Handing a request from thread to thread (aio_wait, completion_wait, irq_delivery) takes "
            f"{human_time(ns)}; without it {left} would be left, {rest}."
        )
    if name == Stage.GUEST_QUEUE.label:
        others = [stage for stage in Stage if stage is not Stage.GUEST_QUEUE]
        largest = max(others, key=lambda stage: every.stages_ns[stage])
        behind = every.mean_ns - ns
        share = every.stages_ns[largest] / behind if behind else 0.0
        return (
            f"guest_queue ({percent(ns / every.mean_ns)}) is waiting for earlier requests: it shrinks when the rest "
            f"does, {human_time(behind)} per request, of which {largest.label} is {percent(share)}."
        )
    return f"Without {name} {left} would be left, {rest}."


def _fewer_exits(result: Result) -> str:
    """Say how the drives could do with fewer exits, where all of them are of one kind."""
    drives = [drive for vm in result.scenario.vm for drive in vm.drive]
    if all(not drive.is_virtio and drive.transfer == "pio" for drive in drives):
        return "; a DMA command needs 26 (31 with LBA48) however long it is"
    if all(not drive.is_virtio for drive in drives):
        return "; virtio-blk needs one kick for a batch of requests"
    return ""
