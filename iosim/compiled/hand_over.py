"""Between the model's own classes and their twins: state goes to the twins before a run and comes back behind it."""

from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram

from iosim.compiled.twins import costs, durations, levels
from iosim.host.drawing import DrawPlan
from iosim.host.durations import LONGEST_NS, SIGNIFICANT_DIGITS, Durations
from iosim.host.levels import MAX_BINS, Level, Timeline
from iosim.kvm.exits import ExitAccount
from iosim.model.costs import Cost
from iosim.model.stages import Stage
from iosim.model.steps import Run, Template


def twin_of_cost(original: Cost) -> costs.Cost:
    """Return the twin of a cost."""
    table = None if original.ns is not None else original.array.tolist()
    return costs.Cost(original.key, original.ns, table, original.what)


def twin_of_timeline(original: Timeline) -> levels.Timeline:
    """Return the twin of a timeline, with those of its levels in the same order."""
    original.fold()
    twin = levels.Timeline()
    twin.width_ns = original.width_ns
    for level in original.levels:
        copy = levels.Level(twin, level.name)
        copy.value, copy.since_ns, copy.highest, copy.area = level.value, level.since_ns, level.highest, level.area
        bins = level.bins
        copy._bins[: len(bins)] = bins
    return twin


def give_back(twin: Any, original: Any) -> None:
    """Bring *original* into the state of its twin: as if it had been there all the time."""
    if isinstance(original, Timeline):
        original.width_ns = twin.width_ns
        for mine, its in zip(twin.levels, original.levels, strict=True):
            give_back(mine, its)
    elif isinstance(original, Level):
        original.fold()
        original.value, original.since_ns, original.highest = twin.value, twin.since_ns, twin.highest
        original._area = twin.area
        original._bins = np.array(twin._bins, dtype=np.int64)
        assert len(original._bins) == MAX_BINS
    elif isinstance(original, Durations):
        _give_back_durations(twin, original)
    elif isinstance(original, ExitAccount):
        original._whole_runs = twin._whole_runs
        given_back = {}
        for (reason, userspace), times in twin.times.items():
            key = (reason, bool(userspace))
            given_back[key] = Durations()
            give_back(times, given_back[key])
        original.times = given_back
    else:
        raise TypeError(f"{type(original).__name__} has no twin with a state of its own")


def _give_back_durations(twin: durations.Durations, original: Durations) -> None:
    original._loose, original._arrays, original._array_size = {}, [], 0
    original.count, original.total_ns = twin.count, twin.total_ns
    original.min_ns, original.max_ns = twin.min_ns, twin.max_ns
    original._histogram = None
    if twin.count:
        histogram = HdrHistogram(1, LONGEST_NS, SIGNIFICANT_DIGITS)
        for bucket, n in twin.buckets.items():
            histogram.counts[bucket] = n
        histogram.total_count = twin.count
        histogram.min_value, histogram.max_value = min(twin.min_ns, LONGEST_NS), min(twin.max_ns, LONGEST_NS)
        original._histogram = histogram


def give_back_log(log: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the log of a request with stages as such and drawn costs as arrays, and give runs plans to read them by.

    A compiled run knows no difference between a stage and its number.
    """
    return [_entry(entry) for entry in log]


def _entry(entry: tuple[Any, ...]) -> tuple[Any, ...]:
    what = entry[2]
    if isinstance(what, int):
        return (*entry[:2], Stage(what), *entry[3:])
    if isinstance(what, Run) and len(entry) > 3:
        if not isinstance(what.plan, DrawPlan):
            what.plan = DrawPlan(what)
        return (*entry[:3], np.array(entry[3], dtype=np.int64))
    if isinstance(what, Template) and entry[3] is not None:
        drawn = np.array(entry[3], dtype=np.int64).reshape(-1, len(what.variable))
        return (*entry[:3], drawn, *entry[4:])
    return entry


STANDS_FOR: dict[str, tuple[str, tuple[str, ...]]] = {
    "iosim.host.levels": ("iosim.compiled.twins.levels", ("Timeline", "Pattern", "Level")),
    "iosim.host.durations": ("iosim.compiled.twins.durations", ("Durations",)),
    "iosim.host.drawing": ("iosim.compiled.twins.drawing", ("DrawPlan",)),
    "iosim.host.runs": (
        "iosim.compiled.twins.runs",
        ("Progress", "item_costs", "offsets", "starts", "holds", "hold_pattern"),
    ),
    "iosim.host.account": ("iosim.compiled.twins.account", ("Account",)),
    "iosim.kvm.exits": ("iosim.compiled.twins.exits", ("ExitAccount",)),
    "iosim.model.costs": ("iosim.compiled.twins.costs", ("Cost",)),
    "iosim.model.records": ("iosim.compiled.twins.records", ("Request",)),
}
"""Modules of the model, and the module and names of what stands for their classes and functions."""
