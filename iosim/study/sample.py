"""Latin hypercube samples of key values: numbers, times, sizes, or one of a list."""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from iosim import toml_file
from iosim.model import units
from iosim.model.errors import StudyError, shown

Value = Callable[[float], Any]
"""Where in its range (0 to 1) -> value of the key."""


class RangeTable(BaseModel):
    """Where the values of one key lie."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    low: Any
    high: Any
    scale: Literal["linear", "log"] = "linear"


def latin_hypercube(ranges: Mapping[str, Any], size: int, seed: int, place: str) -> list[dict[str, Any]]:
    """Return *size* points of a Latin hypercube over *ranges*: by key path, a list or low, high and scale.

    Each range is cut into *size* parts of equal probability, and each part has one point (McKay, Beckman and Conover,
    Technometrics 21(2), 1979). Raises StudyError, naming *place*.
    """
    from scipy.stats import qmc

    values = {key: _value(given, f"{place}.{key}") for key, given in ranges.items()}
    rows = qmc.LatinHypercube(len(values), rng=np.random.default_rng(seed)).random(size).tolist()
    return [{key: value(u) for (key, value), u in zip(values.items(), row, strict=True)} for row in rows]


def _value(given: Any, place: str) -> Value:
    if isinstance(given, list):
        if not given:
            raise StudyError(f"{place} must have at least one value, got an empty list")
        return lambda u: given[min(int(u * len(given)), len(given) - 1)]
    if not isinstance(given, dict):
        raise StudyError(f"{place} must be a list, or a table with low and high, got {shown(given)}")
    table = toml_file.check(RangeTable, given, place, StudyError)
    low, high = number_of(table.low, f"{place}.low"), number_of(table.high, f"{place}.high")
    if kind_of_value(table.low) != kind_of_value(table.high):
        raise StudyError(f"{place} must have low and high of one kind, got {shown(table.low)} and {shown(table.high)}")
    if low >= high:
        raise StudyError(f"{place}.low must be below high, got {shown(table.low)} and {shown(table.high)}")
    if table.scale == "log" and low <= 0:
        raise StudyError(f"{place}.low must be above 0 with scale log, got {shown(table.low)}")
    kind = kind_of_value(table.low)
    step = {"whole": 1, "size": units.SECTOR_BYTES}.get(kind, 0)

    def between(u: float) -> float:
        if table.scale == "log":
            return math.exp(math.log(low) + u * (math.log(high + step) - math.log(low)))
        return low + u * (high + step - low)

    def value(u: float) -> Any:
        return written_value(min(max(between(u), low), high), kind, low, high)

    return value


def kind_of_value(value: Any) -> str:
    """Return what a bound is: whole, number, time or size."""
    if isinstance(value, str):
        return "size" if value.rstrip().endswith("B") else "time"
    return "whole" if isinstance(value, int) else "number"


def number_of(value: Any, place: str) -> float:
    """Return a bound as a number: of ns, of bytes, or itself. Raises StudyError."""
    try:
        if isinstance(value, str):
            return units.parse_bytes(value) if kind_of_value(value) == "size" else units.parse_ns(value)
    except ValueError as error:
        raise StudyError(f"{place} {error}, got {shown(value)}") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e15:
        raise StudyError(f"{place} must be a number, a time or a size, got {shown(value)}")
    return value


def written_value(number: float, kind: str, low: float, high: float) -> Any:
    """Return *number* as a scenario has it; times and fractions with four significant digits, but within the bounds."""
    if kind == "whole":
        return math.floor(number)
    if kind == "size":
        return units.exact_size(math.floor(number / units.SECTOR_BYTES) * units.SECTOR_BYTES)
    rounded = min(max(float(f"{number:.4g}"), low), high)
    return _time(round(rounded)) if kind == "time" else rounded


def _time(ns: int) -> str:
    """Return *ns* as ``330.1us``, in the largest unit in which it is 1 or more."""
    unit = next((unit for unit in ("s", "ms", "us") if ns >= units.NS_PER_UNIT[unit]), "ns")
    return f"{(Decimal(ns) / units.NS_PER_UNIT[unit]).normalize():f}{unit}"
