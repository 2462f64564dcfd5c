"""Metrics as people read them: a name, a unit, and a scale."""

import math
from typing import NamedTuple

from iosim.model.units import NS_PER_UNIT, human_unit

_NAMES = {
    "latency_mean": "mean latency",
    "throughput": "throughput",
    "bandwidth": "bandwidth",
    "utilisation": "utilisation",
    "utilisation_max": "utilisation",
}
_UNITS = {"1/s": "requests/s", "share": "%", "count": "", "ratio": ""}


class Quantity(NamedTuple):
    """What a metric is called, its unit, and by what its values are divided to be in that unit."""

    name: str
    unit: str
    scale: float

    @property
    def label(self) -> str:
        """Name and unit, as at an axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def quantity(metric: str, unit: str, middle: float, of: str = "") -> Quantity:
    """Return how *metric*, measured in *unit* and about *middle*, is shown."""
    name = _NAMES.get(metric) or metric.replace("latency_", "").replace("_", " ")
    name += f" of {of}" if of else ""
    if unit == "ns":
        human = human_unit(middle) if math.isfinite(middle) and middle > 0 else "us"
        return Quantity(name, human, NS_PER_UNIT[human])
    if unit == "share":
        return Quantity(name, "%", 0.01)
    return Quantity(name, _UNITS.get(unit, unit), 1.0)
