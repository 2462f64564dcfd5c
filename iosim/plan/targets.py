"""Targets: ``p99 < 20ms``, ``throughput[vm=web] > 500``, ``cpu < 0.8``."""

import re
from dataclasses import dataclass
from typing import Literal

from iosim.model import units
from iosim.model.units import human_time, three_digits
from iosim.study.metrics import PERCENTILES, UNITS

Verdict = Literal["meets", "fails", "undecided"]

SHORT = {"mean": "latency_mean", "max": "latency_max"} | {f"p{p}": f"latency_p{p}" for p in PERCENTILES}
"""Short names of metrics; `cpu` is the utilisation of the host's CPUs."""
_TARGET = re.compile(r"\s*([a-z_0-9.]+)\s*(?:\[\s*([^\[\]]+?)\s*\])?\s*(<=|>=|<|>)\s*(\S.*?)\s*")
_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_NEEDS_PART = {
    "stage_mean": "a stage",
    "stage_share": "a stage",
    "utilisation": "a resource",
    "utilisation_max": "a resource",
    "mean_queue": "a resource",
    "max_queue": "a resource",
    "page_cache": "a key of page_cache",
    "write_amplification": "a disk",
}
"""Metrics that no run has of itself as a whole, and what they are of."""


@dataclass(frozen=True)
class Target:
    """A metric that is to stay below, or above, a value in its own unit."""

    text: str
    metric: str
    of: str
    below: bool
    strict: bool
    value: float

    def verdict(self, low: float, high: float) -> Verdict:
        """Return what an interval says: all of it on the right side, all of it on the wrong one, or neither."""
        if not self.below:
            low, high = -high, -low
        goal = self.value if self.below else -self.value
        if high < goal or (high == goal and not self.strict):
            return "meets"
        if low > goal or (low == goal and self.strict):
            return "fails"
        return "undecided"

    def margin(self, estimate: float) -> float:
        """Return by how much *estimate* meets the target, as a share of it; below 0 it does not."""
        distance = self.value - estimate if self.below else estimate - self.value
        return distance / abs(self.value) if self.value else distance

    @property
    def name(self) -> str:
        """The metric as the plan has it: ``p99[vm=web]``."""
        return re.split("[<>]", self.text)[0].strip()


def parse_target(text: str) -> Target:
    """Return the target that *text* stands for. Raises ValueError, worded as a rule."""
    match = _TARGET.fullmatch(text)
    if match is None:
        raise ValueError('must be a target such as "p99 < 20ms" or "throughput[vm=web] > 500"')
    name, of, comparison, value = match[1], match[2] or "", match[3], match[4]
    metric = SHORT.get(name, name)
    if name == "cpu":
        if of:
            raise ValueError("must have no part in brackets behind cpu, which is utilisation[cpus]")
        metric, of = "utilisation", "cpus"
    if metric not in UNITS:
        raise ValueError(f"must begin with a metric of docs/studies.md, cpu, {', '.join(SHORT)}")
    if metric in _NEEDS_PART and not of:
        raise ValueError(f"must say of what, {metric}[...]: {_NEEDS_PART[metric]}")
    return Target(text.strip(), metric, of, "<" in comparison, "=" not in comparison, _value(metric, value))


def _value(metric: str, text: str) -> float:
    if UNITS[metric] == "ns":
        return float(units.parse_ns(text))
    scale = 1.0
    if UNITS[metric] in ("share",) and text.endswith("%"):
        text, scale = text[:-1].rstrip(), 100.0
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"must compare {metric} with a number")
    return float(text) / scale


def written(metric: str, value: float) -> str:
    """Return *value* of *metric* as people read it."""
    unit = UNITS[metric]
    if unit == "ns":
        return human_time(value)
    if unit == "share":
        return f"{value:.1%}"
    return three_digits(value) + {"1/s": "/s", "B/s": " B/s"}.get(unit, "")
