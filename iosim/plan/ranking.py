"""What each change is worth: by how much it moves the limit, and what it does to the metric at the base's limit."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from iosim.plan.knob import Knob
from iosim.plan.outcome import Searched
from iosim.study.metrics import UNITS
from iosim.study.points import value_text
from iosim.study.statistics import Interval

COLUMNS = (
    "rank", "change", "set", "outcome", "meets", "fails", "moved", "moved_low", "moved_high",
    "at", "metric", "of", "unit", "difference", "difference_low", "difference_high",
)  # fmt: skip


class Moved(NamedTuple):
    """By how much the limit has moved, for the better if above 0; the ends are what is possible, None without limit."""

    moved: float | None
    low: float | None
    high: float | None


def moved(base: Searched, other: Searched, knob: Knob) -> Moved:
    """Return by how much the limit of *other* is better than that of *base*.

    The limit lies at or behind the last value that meets the targets, and before the first that fails: for whole
    numbers, at most one below it.
    """
    (mine, most), (its, at_most) = _range(other, knob), _range(base, knob)
    if mine is None or its is None:
        return Moved(None, None, None)
    sign = 1 if base.answer.find == "largest" else -1
    low = None if at_most is None else sign * (mine - at_most)
    high = None if most is None else sign * (most - its)
    return Moved(sign * (mine - its), low, high)


def _range(found: Searched, knob: Knob) -> tuple[float | None, float | None]:
    """Return the last value that meets the targets, and the last one that might."""
    answer = found.answer
    if answer.meets is None:
        return None, None
    if answer.fails is None:
        return knob.numbers[answer.meets], None
    step = 1 if answer.find == "largest" else -1
    behind = answer.fails - step if knob.kind == "whole" else answer.fails
    return knob.numbers[answer.meets], knob.numbers[behind]


def pair(base: Searched, other: Searched, confidence: float) -> tuple[int, Interval] | None:
    """Return the position of the base's limit and what the change does to the metric that ends its range, there.

    With the same random numbers on both sides: the change is run as often as the base was. None without such a limit.
    """
    at = base.answer.meets
    if at is None:
        return None
    target = base.looks.targets[ended_by(base)]
    changed = other.looks.sampled([at], base.looks.replications(at))[at]
    found = changed.difference(base.looks.samples[at], target.metric, target.of, confidence)
    return None if found is None else (at, found[0])


def ended_by(base: Searched) -> int:
    """Return the number of the target that fails behind the limit; of the first one if none does."""
    return base.answer.breaks[0] if base.answer.breaks else 0


def ranking_table(base: Searched, others: Sequence[Searched], knob: Knob, confidence: float) -> pd.DataFrame:
    """Return a row for each change, that which moves the limit furthest first."""
    target = base.looks.targets[ended_by(base)]
    rows: list[dict[str, Any]] = []
    for other in others:
        limit = moved(base, other, knob)
        paired = pair(base, other, confidence)
        at, difference = paired or (None, Interval(*[float("nan")] * 3))
        rows.append(
            {
                "change": other.name,
                "set": ", ".join(f"{key}={value_text(value)}" for key, value in other.changes.items()),
                "outcome": other.answer.outcome,
                "meets": None if other.answer.meets is None else knob.numbers[other.answer.meets],
                "fails": None if other.answer.fails is None else knob.numbers[other.answer.fails],
                "moved": limit.moved,
                "moved_low": limit.low,
                "moved_high": limit.high,
                "at": None if at is None else knob.numbers[at],
                "metric": target.metric,
                "of": target.of,
                "unit": UNITS[target.metric],
                "difference": difference.estimate,
                "difference_low": difference.low,
                "difference_high": difference.high,
            }
        )
    sign = 1 if target.below else -1

    def order(row: dict[str, Any]) -> tuple[float, float]:
        return (float("inf") if row["moved"] is None else -row["moved"]), sign * row["difference"]

    ranked = [{"rank": number + 1, **row} for number, row in enumerate(sorted(rows, key=order))]
    table = pd.DataFrame(ranked, columns=list(COLUMNS))
    numbers = ["meets", "fails", "moved", "moved_low", "moved_high", "at"]
    return table.astype(dict.fromkeys(numbers, "Float64"))


def alike(ranking: pd.DataFrame | None) -> list[str]:
    """Return which changes that follow each other in *ranking* cannot be told apart: their ranges overlap."""
    if ranking is None:
        return []
    known = ranking.dropna(subset=["moved"])
    groups: list[list[str]] = []
    least = float("inf")
    for change, low, high in zip(known["change"], known["moved_low"], known["moved_high"], strict=True):
        if groups and (pd.isna(high) or high >= least):
            groups[-1].append(change)
        else:
            groups.append([change])
        least = float("-inf") if pd.isna(low) else float(low)
    return [
        f"{', '.join(group)}: by the limit, one cannot be told from the next; the ranges overlap."
        for group in groups
        if len(group) > 1
    ]
