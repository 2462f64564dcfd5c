"""The knob: the values that a key may have, in order, as a search sees them."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from iosim.model.errors import StudyError, shown
from iosim.plan.plan_file import KnobTable
from iosim.study.points import Changes, value_text
from iosim.study.sample import kind_of_value, number_of, written_value

REAL_STEPS = 100
"""Steps of a knob that is no whole number, unless the plan says otherwise."""
MOST_VALUES = 100_001


@dataclass(frozen=True)
class Knob:
    """The values of a key by their position, 0 the lowest: *numbers*, and *settings* as the scenario has them.

    *kind* says what they are: whole, number, time (ns) or size (bytes).
    """

    key: str
    kind: Literal["whole", "number", "time", "size"]
    scale: Literal["linear", "log"]
    numbers: Sequence[float]
    settings: Sequence[Any]

    def __len__(self) -> int:
        return len(self.numbers)

    def changes(self, position: int) -> Changes:
        """Return the change of the scenario that sets the knob to the value at *position*."""
        return {self.key: self.settings[position]}

    def middle(self, low: int, high: int) -> int:
        """Return the position half-way between two others, on the knob's scale; there is one between them."""
        if self.scale == "log":
            wanted = math.sqrt(self.numbers[low] * self.numbers[high])
            return min(max(bisect_left(self.numbers, wanted), low + 1), high - 1)
        return (low + high) // 2

    def spread(self, parts: int) -> list[int]:
        """Return positions that cut the whole range into *parts* of about the same length on the knob's scale."""
        wanted = _cut(self.numbers[0], self.numbers[-1], parts, self.scale)
        return sorted({self.nearest(value) for value in wanted})

    def nearest(self, number: float) -> int:
        """Return the position of the value nearest to *number*."""
        at = bisect_left(self.numbers, number)
        near = [k for k in (at - 1, at) if 0 <= k < len(self)]
        return min(near, key=lambda k: abs(self.numbers[k] - number))

    def position(self, setting: Any, place: str) -> int:
        """Return the position of *setting*. Raises StudyError, naming *place*, if it is none of the knob's values."""
        number = number_of(setting, place)
        if kind_of_value(setting) != self.kind and not (self.kind == "number" and kind_of_value(setting) == "whole"):
            raise StudyError(f"{place} must be of the kind of knob.low, got {shown(setting)}")
        if not self.numbers[0] <= number <= self.numbers[-1]:
            raise StudyError(f"{place} must lie within knob.low and knob.high, got {shown(setting)}")
        at = self.nearest(number)
        if self.numbers[at] != number:
            raise StudyError(
                f"{place} must be a value of the knob, of which {value_text(self.settings[at])} is the nearest, "
                f"got {shown(setting)}"
            )
        return at


def knob_of(table: KnobTable, place: str) -> Knob:
    """Return the knob that [knob] describes; *place* names the plan in errors. Raises StudyError."""
    place = f"{place}: knob"
    if not table.key.strip() or not all(part.strip() for part in table.key.split(".")):
        raise StudyError(f"{place}.key must be a key path without empty parts, got {shown(table.key)}")
    low, high = number_of(table.low, f"{place}.low"), number_of(table.high, f"{place}.high")
    kinds = {kind_of_value(table.low), kind_of_value(table.high)}
    if kinds == {"whole", "number"}:
        kinds = {"number"}
    if len(kinds) > 1:
        raise StudyError(f"{place} must have low and high of one kind, got {shown(table.low)} and {shown(table.high)}")
    if low >= high:
        raise StudyError(f"{place}.low must be below high, got {shown(table.low)} and {shown(table.high)}")
    if table.scale == "log" and low <= 0:
        raise StudyError(f"{place}.low must be above 0 with scale log, got {shown(table.low)}")
    kind: Any = kinds.pop()
    if kind == "whole" and table.steps is None:
        if high - low >= MOST_VALUES:
            raise StudyError(f"{place} must have at most {MOST_VALUES} values, got {high - low + 1:.0f}; give steps")
        settings: list[Any] = list(range(int(low), int(high) + 1))
    else:
        exact = _cut(low, high, table.steps or REAL_STEPS, table.scale)
        inside = (min(max(value, low), high) for value in exact)
        settings = list(
            dict.fromkeys(round(v) if kind == "whole" else written_value(v, kind, low, high) for v in inside)
        )
    return Knob(table.key.strip(), kind, table.scale, [number_of(setting, place) for setting in settings], settings)


def _cut(low: float, high: float, parts: int, scale: str) -> list[float]:
    """Return the ends and the cuts of a range in *parts* of the same length, or ratio."""
    if scale == "log":
        return [low * (high / low) ** (k / parts) for k in range(parts + 1)]
    return [low + (high - low) * k / parts for k in range(parts + 1)]
