"""What a sensitivity study says in words, from its tables: where the uncertainty is, and why to doubt it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from iosim.results.wording import percent

_HALF = 0.5
_MOST_NAMES = 4
_KNOWN = 0.15
"""So well must the sum of the first-order indices be known to be told."""


def sentences(bars: pd.DataFrame, indices: pd.DataFrame) -> list[str]:
    """Return what matters most to the first metric, and which of it rests on an assumption."""
    metric = str(bars["metric"].iloc[0])
    rows = bars[bars["metric"] == metric]
    if not rows["variance_share"].any():
        return [f"None of the costs moves {metric}."]
    few = _largest(rows)
    told = []
    if len(few) == 1:
        told.append(f"{few[0]} moves {metric} most: it has {_share(rows, few)} of the squared swings.")
    else:
        told.append(f"{_names(few)} move {metric} most: they have {_share(rows, few)} of the squared swings.")
    assumed = rows[rows["assumed"]]
    share = float(assumed["variance_share"].sum())
    if share > 0:
        first = _names(assumed["factor"].head(min(3, int((assumed["variance_share"] > 0).sum()))).tolist())
        told.append(f"{percent(share, 0)} of them are of costs that are assumed; worth measuring first: {first}.")
    else:
        told.append("None of those that move it is assumed.")
    mine = indices[indices["metric"] == metric]
    unsure = float(np.sqrt((((mine["first_high"] - mine["first_low"]) / 2) ** 2).sum()))
    if len(mine) and unsure < _KNOWN:
        alone = float(np.clip(mine["first"].sum(), 0, 1))
        told.append(
            f"In the sample {percent(alone, 0)} of the variance is of costs by themselves, {percent(1 - alone, 0)} of "
            f"costs together (±{percent(unsure, 0)})."
        )
    return told


def _largest(rows: pd.DataFrame) -> list[str]:
    """Return the first factors that have half of the squared swings, no more than a few."""
    cumulated = rows["variance_share"].cumsum()
    n = int((cumulated < _HALF).sum()) + 1
    return [str(name) for name in rows["factor"].head(min(n, _MOST_NAMES))]


def _share(rows: pd.DataFrame, few: Sequence[str]) -> str:
    return percent(float(rows.loc[rows["factor"].isin(few), "variance_share"].sum()), 0)


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def cautions(study: dict[str, Any], bars: pd.DataFrame, indices: pd.DataFrame, facts: dict[str, Any]) -> list[str]:
    """Return reasons to doubt the figures, each in a sentence; *study* is the file as read."""
    found = []
    wished = study["sensitivity"]
    if study["study"]["replications"] == 1:
        found.append("One replication says nothing about how far a difference moves with other random numbers.")
    elif bars["swing_low"].equals(bars["swing_high"]):
        found.append(
            "All replications are equal: nothing that is drawn at random matters, and no interval has a length."
        )
    found.append(
        "Swings depend on the ranges. Unless a figure has an uncertainty of its own they are the study's: "
        f"{wished['low']:g} to {wished['high']:g} times."
    )
    for metric in facts["metrics_left_out"]:
        found.append(f"There are too few requests for {metric}.")
    unsure = bars[(bars["swing_low"] < 0) & (bars["swing_high"] > 0) & (bars["rank"] <= _MOST_NAMES)]
    for metric, rows in unsure.groupby("metric", sort=False):
        found.append(
            f"{metric!s}: the interval of the swing of {_names(rows['factor'].tolist())} contains 0; more replications "
            "tell."
        )
    if len(indices):
        wide = (indices["total_high"] - indices["total_low"]) / 2
        if wide.max() > 0.1:
            found.append(
                f"Sobol indices are known to ±{percent(float(wide.max()), 0)} only at worst; a larger "
                "sensitivity.sobol.size makes it less."
            )
        found.append(
            f"The sample varies {len(facts['in_the_sample'])} of {len(facts['factors'])} and leaves the others as they "
            "are."
        )
    found.append(
        "A cost that comes into play only when others are scaled (a poll that becomes a sleep) is not among those that "
        "are scaled itself."
    )
    return found
