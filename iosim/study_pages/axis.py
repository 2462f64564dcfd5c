"""Axes for what a study varies: whole numbers, numbers, times and sizes as the scenario writes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from iosim.model.units import BYTES_PER_UNIT, NS_PER_UNIT, human_unit, parse_bytes, parse_ns
from iosim.report.axes import PLAIN, log_times

_MOST_TICKS = 9
_LOG_FROM = 8
"""From this ratio of the largest to the smallest value on an axis is logarithmic."""


@dataclass(frozen=True)
class Axis:
    """Values of a key as numbers, in *unit* (empty for counts); NaN where a point has none."""

    name: str
    values: dict[str, float]
    unit: str = ""

    @property
    def known(self) -> list[float]:
        """The distinct values in order."""
        return sorted({value for value in self.values.values() if not np.isnan(value)})

    @property
    def label(self) -> str:
        """What is written at the axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def draw(self, axes: Axes) -> None:
        """Scale the x axis of *axes* and put its ticks where the values are, if they are few."""
        known = self.known
        if known[0] > 0 and known[-1] >= _LOG_FROM * known[0]:
            axes.set_xscale("log")
            room = (known[-1] / known[0]) ** 0.03
            axes.set_xlim(known[0] / room, known[-1] * room)
            ticks = known if len(known) <= _MOST_TICKS else log_times(known[0], known[-1])
            if len(ticks) > 1:
                axes.xaxis.set_major_locator(FixedLocator(ticks))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_minor_formatter(NullFormatter())
        elif len(known) <= _MOST_TICKS:
            axes.xaxis.set_major_locator(FixedLocator(_apart(known)))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.xaxis.set_major_formatter(PLAIN)
        axes.set_xlabel(self.label, parse_math=False)


def _apart(known: Sequence[float]) -> list[float]:
    """Return those of *known* whose ticks do not touch on a linear axis, the largest among them."""
    least = (known[-1] - known[0]) / 12
    kept = [known[-1]]
    for value in reversed(known[:-1]):
        if kept[-1] - value >= least:
            kept.append(value)
    return sorted(kept)


def axis_of(name: str, by_point: dict[str, Any]) -> Axis | None:
    """Return the axis of a key with a value for each point; None if the values are no quantities."""
    given = {point: value for point, value in by_point.items() if not pd.isna(value)}
    if len(set(map(str, given.values()))) < 2:
        return None
    if all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in given.values()):
        return Axis(name, {point: float(given.get(point, np.nan)) for point in by_point})
    for parse, human, sizes in ((parse_ns, human_unit, NS_PER_UNIT), (parse_bytes, _size_unit, BYTES_PER_UNIT)):
        found = _parsed(given, parse)
        if found is not None:
            unit = human(float(np.median(list(found.values()))))
            return Axis(name, {point: found.get(point, np.nan) / sizes[unit] for point in by_point}, unit)
    return None


def _parsed(given: dict[str, Any], parse: Callable[[object], int]) -> dict[str, float] | None:
    try:
        return {point: float(parse(value)) for point, value in given.items()}
    except ValueError:
        return None


def _size_unit(size: float) -> str:
    return max((unit for unit, n in BYTES_PER_UNIT.items() if n <= size), key=BYTES_PER_UNIT.__getitem__, default="B")
