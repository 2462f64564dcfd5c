"""What a run shows, in words: what was simulated and found, what would help, and reasons to doubt it.

Page and terminal both say these sentences. Each is made of numbers of the tables; none guesses.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from iosim.model.scenario import DriveTable
from iosim.model.stages import Stage
from iosim.model.units import human_time, three_digits
from iosim.report.bands import Band, bands
from iosim.report.demand import KINDS, Demand, demands, kind_of
from iosim.results.result import Result
from iosim.results.summary import counted, is_resolved
from iosim.results.wording import percent, plural

BUSY = 0.9
"""Utilisation from which on a resource is said to be busy."""
DOUBTED_PERCENTILES = ("50", "90", "95", "99", "99.5", "99.9")
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
    found = [*_latency(table), _largest(in_bands[0]), *_tail(in_bands), *_limit(result)]
    return Story(_what(result), found, _advice(result, in_bands[0]))


# What was simulated


def _what(result: Result) -> list[str]:
    scenario, summary = result.scenario, result.summary
    drives = [(vm, drive) for vm in scenario.vm for drive in vm.drive for _ in range(vm.count)]
    n_vms = sum(vm.count for vm in scenario.vm)
    kinds = Counter(_drive_kind(drive) for _, drive in drives)
    described = ", ".join(kind if len(kinds) == 1 else f"{n:,} {kind}" for kind, n in kinds.most_common())
    disks = ", ".join(f"{disk.name} ({disk.model})" for disk in scenario.host.disk[:4])
    more = f" and {len(scenario.host.disk) - 4} more" if len(scenario.host.disk) > 4 else ""
    versions = " or ".join(sorted({f"QEMU {vm.qemu} on Linux {vm.kernel}" for vm in scenario.vm}))
    replay = {drive.replay for _, drive in drives}
    when = {"open": "at the recorded times", "closed": "each when the one before is done"}
    how = when[replay.pop()] if len(replay) == 1 else "some at the recorded times, some one after the other"
    counts = summary["requests"]
    outcome = f"{plural(counts['done'], 'request')} done" if counts["done"] != counts["in"] else "All were done"
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
    parts = [f"A request takes {human_time(float(latency.mean()))} on average"]
    if is_resolved("50", n):
        parts.append(f"half of them at most {human_time(float(latency.quantile(0.5)))}")
    if is_resolved("99", n):
        parts.append(f"one in a hundred more than {human_time(float(latency.quantile(0.99)))}")
    return [", ".join(parts) + "."]


def _largest(every: Band) -> str:
    shares = sorted(((every.share(stage), stage) for stage in Stage), reverse=True)
    first, *others = [(share, stage) for share, stage in shares if share > 0][:3] or [(0.0, Stage.GUEST_RUN)]
    text = f"{percent(first[0])} of that is {first[1].label}, {MEANINGS[first[1]]}"
    if others:
        text += "; next come " + " and ".join(f"{stage.label} ({percent(share)})" for share, stage in others)
    return text + "."


def _tail(in_bands: list[Band]) -> list[str]:
    """Say which stage makes the slowest requests slower than those around the median."""
    named = {band.name: band for band in in_bands}
    median, slowest = named.get("around the median"), named.get("the slowest")
    if median is None or slowest is None or slowest.mean_ns < 1.05 * median.mean_ns:
        return []
    more_ns = slowest.mean_ns - median.mean_ns
    grown, stage = max((slowest.stages_ns[stage] - median.stages_ns[stage], stage) for stage in Stage)
    return [
        f"The slowest {slowest.n:,} take {human_time(slowest.mean_ns)}, {human_time(more_ns)} more than those around "
        f"the median, and {stage.label} is {percent(min(1.0, grown / more_ns))} of the difference."
    ]


def _limit(result: Result) -> list[str]:
    """Name the busiest resource and the bound it sets by the utilisation law."""
    serving = [demand for demand in demands(result) if demand.demand_ns]
    if not serving:
        return []
    first = _busiest(serving)
    assert first.demand_ns is not None
    assert first.bound_per_s is not None
    alike = [demand for demand in serving if demand.kind == first.kind]
    mean = sum(demand.utilisation for demand in alike) / len(alike)
    among = f" (the {len(alike):,} of its kind {percent(mean)} on average)" if len(alike) > 1 else ""
    servers = f", {first.servers:,} at once," if first.servers > 1 else ""
    return [
        f"The busiest resource is {first.resource}, {KINDS[first.kind]}: busy for {percent(first.utilisation)} of the "
        f"time{among}. A request keeps {'one of it' if first.servers > 1 else 'it'} busy for "
        f"{human_time(first.demand_ns)}, so{servers} at most {three_digits(first.bound_per_s)} requests/s go through; "
        f"in this run it was {three_digits(first.bound_per_s * first.utilisation)}."
    ]


def _busiest(serving: list[Demand]) -> Demand:
    """Return the busiest; all CPUs rather than one of them where they are about as busy."""
    first = serving[0]
    every = next((demand for demand in serving if demand.kind == "cpus"), None)
    if first.kind == "cpu" and every is not None and every.utilisation >= 0.95 * first.utilisation:
        return every
    return first


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


# Reasons to doubt


def doubts(result: Result) -> list[str]:
    """Return reasons to doubt the figures, each in a sentence."""
    return [*_busy(result), *_growing(result), *_few(result), *_missing(result), *_assumed(result)]


def _busy(result: Result) -> list[str]:
    resources = result.resources[[kind_of(str(name)) != "page_cache" for name in result.resources["resource"]]]
    busy = resources[resources["utilisation"] >= BUSY].sort_values("utilisation", ascending=False, kind="stable")
    if busy.empty:
        return []
    first = busy.iloc[0]
    others = f" ({plural(len(busy) - 1, 'other resource')} for {BUSY:.0%} or more)" if len(busy) > 1 else ""
    return [
        f"{first['resource']} is busy for {first['utilisation']:.0%} of the time{others}: "
        "requests queue, and their latency depends on the length of the run."
    ]


def _growing(result: Result) -> list[str]:
    """Compare the requests under way in the first and the last third of the arrivals, in open replay."""
    if any(drive.replay == "closed" for vm in result.scenario.vm for drive in vm.drive):
        return []
    table = result.requests[~result.requests["warmup"]]
    if len(table) < 3:
        return []
    arrival, done = table["arrival_ns"].to_numpy(), table["done_ns"].to_numpy()
    edges = np.linspace(float(arrival.min()), float(arrival.max()), 4)
    if edges[-1] == edges[0]:
        return []
    under_way = [
        float(np.clip(np.minimum(done, end) - np.maximum(arrival, begin), 0, None).sum() / (end - begin))
        for begin, end in pairwise(edges)
    ]
    first, middle, last = under_way
    if not (first < middle < last and last > 2 * first + 1):
        return []
    return [
        f"The backlog grows: {three_digits(first)} requests under way in the first third of the arrivals, "
        f"{three_digits(last)} in the last. They arrive faster than they are served, and a longer trace would show "
        "longer latencies."
    ]


def _few(result: Result) -> list[str]:
    n = len(counted(result.requests))
    missing = [p for p in DOUBTED_PERCENTILES if not is_resolved(p, n)]
    if not n or not missing:
        return []
    return [f"{plural(n, 'request')} are too few for p{missing[0]}{' and above' if missing[1:] else ''}."]


def _missing(result: Result) -> list[str]:
    counts = result.summary["requests"]
    found = []
    if counts["unfinished"]:
        found.append(
            f"{plural(counts['unfinished'], 'request')} had no end when the run had: they are in no percentile, "
            "and they may be the slowest."
        )
    if counts["failed"]:
        found.append(f"{plural(counts['failed'], 'request')} failed: latencies and stages leave them out.")
    if counts["in"] < counts["in_trace"]:
        found.append(f"{plural(counts['in_trace'] - counts['in'], 'request')} of the traces never arrived.")
    return found


def _assumed(result: Result) -> list[str]:
    profile = result.summary["profile"]
    assumed, total = profile["figures"]["assumed"], sum(profile["figures"].values())
    if not assumed:
        return []
    return [
        f"{assumed} of the {total} costs in {profile['name']} are assumed; iosim profiles {profile['name']} says which."
    ]
