"""The costs of a run: those of its profile, changed as [host.cost] of the scenario says."""

from dataclasses import replace
from typing import Any

from iosim.model import units
from iosim.model.costs import LONGEST_NS, Cost, Figure, Profile
from iosim.model.errors import ScenarioError
from iosim.model.scenario.costs import factor_of, time_of


def changed(profile: Profile, changes: dict[str, Any] | None) -> Profile:
    """Return *profile* with its costs changed; a figure that differs is an assumption, whatever it was before.

    Raises ScenarioError for a cost that is part of another one in this profile, or becomes longer than an hour.
    """
    if not changes:
        return profile
    return replace(profile, figures={key: _changed(profile, key, changes) for key in profile.figures})


def is_changed_by_name(changes: dict[str, Any], key: str) -> bool:
    """Tell whether *changes* name the cost *key* itself."""
    group, _, name = key.partition(".")
    return name in changes.get(group, {})


def _changed(profile: Profile, key: str, changes: dict[str, Any]) -> Figure:
    figure = profile.figures[key]
    if figure.kind == "included":
        if is_changed_by_name(changes, key):
            raise ScenarioError(f"host.cost.{key} must be left out: {profile.name} has it in {figure.source}")
        return figure
    ns, factor = time_of(changes, key), factor_of(changes, key)
    if ns is not None:
        cost, text, source = Cost(key, ns), units.exact_time(ns), "host.cost of the scenario"
    elif factor != 1:
        cost, text = figure.cost.scaled(factor), f"{factor:g} x {figure.text}"
        source = f"host.cost of the scenario, {factor:g} times: {figure.source}"
    else:
        return figure
    if cost.quantile_ns(1) > LONGEST_NS:
        raise ScenarioError(f"host.cost.{key} must leave the cost at most 1 h, got {factor:g} times {figure.text}")
    return Figure(cost, text, "assumed", source)
