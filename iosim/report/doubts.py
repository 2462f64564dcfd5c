"""Reasons to doubt the numbers of a run, each in a sentence; page and terminal both say them."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np

from iosim.analytic.resources import kind_of
from iosim.model.clones import disk_names
from iosim.model.costs import shipped_profiles
from iosim.model.units import human_time, three_digits
from iosim.results.result import Result, SummaryResult
from iosim.results.summary import counted, is_resolved
from iosim.results.terminal import OPERATIONS
from iosim.results.wording import BUSY, plural

PERCENTILES = ("50", "90", "95", "99", "99.5", "99.9")
"""Percentiles that a run is expected to resolve."""
ENOUGH_BEYOND = 10
"""Requests beyond a percentile from which on it is not doubted."""
_ALIKE = 0.5
"""Correlation of neighbours from which on it is worth a word; four requests then say as much as some one alone."""
_FIRST_PART = 10
_LEAST_IN_FIRST_PART = 20


def doubts(result: Result) -> list[str]:
    """Return reasons to doubt the figures."""
    if result.found is not None:
        return [*_busy(result), *_missing(result), *_sketched(result), *_constant_disks(result), *_costs(result)]
    return [
        *_busy(result),
        *_growing(result),
        *_missing(result),
        *_few(result),
        *_alike(result),
        *_beginning(result),
        *_constant_disks(result),
        *_costs(result),
        *_spans(result),
    ]


def _busy(result: Result) -> list[str]:
    kinds = [kind_of(str(name), result.scenario) for name in result.resources["resource"]]
    resources = result.resources.loc[[kind != "page_cache" for kind in kinds]]
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
    table = result.requests[~result.requests["warmup"]]
    if table.empty or any(drive.replay != "open" for vm in result.scenario.vm for drive in vm.drive):
        return []
    arrival, done = table["arrival_ns"].to_numpy(), table["done_ns"].to_numpy()
    if arrival.max() == arrival.min():
        return []
    first, middle, last = (
        float(np.clip(np.minimum(done, end) - np.maximum(arrival, begin), 0, None).sum() / (end - begin))
        for begin, end in pairwise(np.linspace(float(arrival.min()), float(arrival.max()), 4))
    )
    if not (first < middle < last and last > 2 * first + 1):
        return []
    return [
        f"The backlog grows: {three_digits(first)} requests are under way on average in the first third of the "
        f"arrivals, {three_digits(last)} in the last. Requests come faster than they are served, and a longer trace "
        "would show longer latencies."
    ]


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


def _sketched(result: Result) -> list[str]:
    if not isinstance(result, SummaryResult):
        return []
    error = result.summary["percentile_error"]
    return [f"No requests were kept: percentiles are within {error:.2%} of the exact ones, means and counts exact."]


def _few(result: Result) -> list[str]:
    """Say from which percentile on there are too few requests, and how few are behind the last one that is shown."""
    n = len(counted(result.requests))
    if not n:
        return []
    resolved = [p for p in PERCENTILES if is_resolved(p, n)]
    missing = [p for p in PERCENTILES if p not in resolved]
    beyond = n - 1 - math.floor((n - 1) * Fraction(resolved[-1]) / 100) if resolved else ENOUGH_BEYOND
    lie = f"only {beyond:,} {'lies' if beyond == 1 else 'lie'} beyond p{resolved[-1]}" if beyond < ENOUGH_BEYOND else ""
    if missing:
        are, above = "is" if n == 1 else "are", " and above" if missing[1:] else ""
        return [f"{plural(n, 'request')} {are} too few for p{missing[0]}{above}{'; ' if lie else ''}{lie}."]
    return [f"Of {n:,} requests {lie}."] if lie else []


def _alike(result: Result) -> list[str]:
    """Estimate how many independent requests say as much about the mean, as if latencies were an AR(1) process."""
    table = counted(result.requests)
    latency = table["latency_ns"].to_numpy()[np.argsort(table["arrival_ns"].to_numpy(), kind="stable")].astype(float)
    if len(latency) < 100 or latency[1:].std() == 0 or latency[:-1].std() == 0:
        return []
    correlation = float(np.corrcoef(latency[:-1], latency[1:])[0, 1])
    if correlation < _ALIKE:
        return []
    independent = max(1, round(len(latency) * (1 - correlation) / (1 + correlation)))
    return [
        f"Requests that arrive one after the other have similar latencies (correlation {correlation:.2f}): "
        f"{len(latency):,} of them say about as much of the mean as {independent:,} independent ones."
    ]


def _beginning(result: Result) -> list[str]:
    """Without a warm-up, compare the first tenth of the most frequent operation with the rest."""
    if result.scenario.run.warmup:
        return []
    table = counted(result.requests)
    if table.empty:
        return []
    op = str(table["op"].astype(str).mode().iloc[0])
    chosen = table[table["op"] == op].sort_values("arrival_ns", kind="stable")["latency_ns"].to_numpy()
    first, rest = np.split(chosen, [len(chosen) // _FIRST_PART])
    if len(first) < _LEAST_IN_FIRST_PART:
        return []
    median = float(np.median(first))
    low, middle, high = np.percentile(rest, [25, 50, 75])
    if low <= median <= high or 2 / 3 <= median / middle <= 3 / 2:
        return []
    return [
        f"The first tenth of the {OPERATIONS[op]} has a median of {human_time(median)}, the rest {human_time(middle)}: "
        "if that is how it warms up, run.warmup leaves it out."
    ]


def _constant_disks(result: Result) -> list[str]:
    disks = (disk for disk in result.scenario.host.disk if disk.model == "constant")
    names = [name for disk in disks for name in disk_names(disk)]
    if not names:
        return []
    who = f"Disk {names[0]} takes" if len(names) == 1 else f"{len(names):,} disks take"
    return [
        f"{who} the same time for each request of a kind (model constant): no percentile has the spread of a real one."
    ]


def _costs(result: Result) -> list[str]:
    profile = result.summary["profile"]
    assumed, total = profile["figures"]["assumed"], sum(profile["figures"].values())
    found = []
    if assumed:
        found.append(
            f"{assumed} of the {total} costs in {profile['name']} are assumed; "
            f"iosim profiles {profile['name']} says which."
        )
    if result.scenario.host.cost:
        found.append("Costs that host.cost changes are among the assumed ones.")
    if profile["name"] in shipped_profiles():
        found.append(f"The costs stand for this machine, not for yours: {profile['machine']}.")
    return found


def _spans(result: Result) -> list[str]:
    counts, run = result.summary["requests"], result.scenario.run
    wanted = min(run.slowest, counts["in"] - counts["warmup"])
    if counts["with_spans"] >= wanted:
        return []
    return [f"Spans were kept of {counts['with_spans']:,} of the {wanted:,} slowest requests: there was no more room."]
