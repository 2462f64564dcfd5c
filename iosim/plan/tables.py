"""The tables of a plan (docs/plans.md has every column)."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from iosim.analytic.resources import kind_of
from iosim.plan.analysis import Analysis
from iosim.plan.knob import Knob
from iosim.plan.looks import PointAt
from iosim.plan.outcome import Searched, utilisations
from iosim.study.metrics import UNITS
from iosim.study.points import value_text

VALUES = (
    "search", "value", "setting", "replications", "target", "metric", "of", "unit",
    "estimate", "low", "high", "goal", "verdict",
)  # fmt: skip
RESOURCES = ("search", "value", "setting", "resource", "kind", "utilisation", "utilisation_max", "mean_queue")
ANALYSIS = (
    "value", "setting", "bound_per_s", "bound_ns", "bound_limit", "estimate_per_s", "estimate_ns",
)  # fmt: skip
ALWAYS = ("latency_mean", "latency_p99", "throughput")
"""Metrics that are in the table beside those of the targets."""


def values_table(searches: Sequence[Searched], knob: Knob, confidence: float) -> pd.DataFrame:
    """Return what the replications say: a row per search, value, and target or metric."""
    rows: list[tuple[Any, ...]] = []
    for found in searches:
        looks = found.looks
        for at in sorted(looks.samples):
            place = (found.name, knob.numbers[at], value_text(knob.settings[at]), looks.replications(at))
            for target in looks.targets:
                interval = looks.interval(at, target)
                verdict = target.verdict(interval.low, interval.high)
                named = (target.text, target.metric, target.of, UNITS[target.metric])
                rows.append((*place, *named, *interval, target.value, verdict))
            wanted = {(target.metric, target.of) for target in looks.targets}
            for metric in ALWAYS:
                other = looks.samples[at].estimate(metric, "", confidence)
                if (metric, "") not in wanted and other is not None:
                    rows.append((*place, "", metric, "", UNITS[metric], *other, None, ""))
    return pd.DataFrame(rows, columns=list(VALUES)).astype({"value": "float64", "goal": "Float64"})


def resources_table(searches: Sequence[Searched], knob: Knob) -> pd.DataFrame:
    """Return how busy each resource is: a row per search, value and resource."""
    rows = []
    for found in searches:
        for at in sorted(found.looks.samples):
            sample, scenario = found.looks.samples[at], found.looks.point_at(at).scenario
            levels = [utilisations(sample, metric) for metric in ("utilisation", "utilisation_max", "mean_queue")]
            place = (found.name, knob.numbers[at], value_text(knob.settings[at]))
            rows += [(*place, of, kind_of(of, scenario), *(level[of] for level in levels)) for of in levels[0]]
    return pd.DataFrame(rows, columns=list(RESOURCES)).astype({"value": "float64"})


def analysis_table(analysis: Analysis | None, knob: Knob, point_at: PointAt, positions: Sequence[int]) -> pd.DataFrame:
    """Return bounds and estimate at *positions*; no rows without analysis."""
    rows = []
    for at in positions if analysis is not None else ():
        assert analysis is not None
        expected = analysis.expected(point_at(at).scenario)
        bound, estimate = expected.bounds, expected.estimate
        carried = estimate.throughput_per_s is not None
        rows.append(
            (
                *(knob.numbers[at], value_text(knob.settings[at])),
                *(bound.throughput_per_s, bound.response_ns, bound.limit),
                *((estimate.throughput_per_s, estimate.response_ns) if carried else (None, None)),
            )
        )
    numbers = dict.fromkeys(("value", "bound_per_s", "bound_ns"), "float64")
    return pd.DataFrame(rows, columns=list(ANALYSIS)).astype(
        numbers | {"estimate_per_s": "Float64", "estimate_ns": "Float64"}
    )
