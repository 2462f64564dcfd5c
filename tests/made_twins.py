"""Twins of single objects of the model, and which classes and functions they stand for, to run them in Python."""

from iosim.compiled.twins import costs, levels
from iosim.host.levels import Timeline
from iosim.model.costs import Cost

STANDS_FOR: dict[str, tuple[str, tuple[str, ...]]] = {
    "iosim.host.levels": ("iosim.compiled.twins.levels", ("Timeline", "Pattern", "Level")),
    "iosim.host.durations": ("iosim.compiled.twins.durations", ("Durations",)),
    "iosim.host.drawing": ("iosim.compiled.twins.drawing", ("DrawPlan",)),
    "iosim.host.runs": (
        "iosim.compiled.twins.runs",
        ("Progress", "charge_drawn", "costs_of_one", "item_costs", "offsets", "starts", "holds", "hold_pattern"),
    ),
    "iosim.host.account": ("iosim.compiled.twins.account", ("Account",)),
    "iosim.kvm.exits": ("iosim.compiled.twins.exits", ("ExitAccount",)),
    "iosim.model.costs": ("iosim.compiled.twins.costs", ("Cost",)),
}
"""Modules of the model, and the module and names of what stands for their classes and functions."""


def twin_of_cost(original: Cost) -> costs.Cost:
    """Return the twin of a cost."""
    table = None if original.ns is not None else original.array.tolist()
    return costs.Cost(original.key, original.ns, table, original.what, original.place)


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
