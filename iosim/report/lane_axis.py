"""The time axis of a timeline: to scale, but for one wait that takes nearly all of the time and is cut short."""

from collections.abc import Iterator
from math import floor, log10

import numpy as np

from iosim.model.units import NS_PER_UNIT, human_unit
from iosim.report.lane_pieces import Journey, Lane

LEFT, PLOT, RIGHT = 108, 690, 122
"""Room for the names of the lanes, for the picture, and for the figures of the lanes."""
_CUT = 92
"""How long the wait that is cut short is drawn."""
_CUT_FROM = 0.8
"""A wait is cut short if it takes more than this share of the time."""


def coordinate(value: float) -> str:
    """Return a coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


class Axis:
    """Where in the picture a time of *journey* is.

    `cut` is the lane, begin and end of the wait that is not drawn to scale, None if all is.
    """

    def __init__(self, journey: Journey) -> None:
        self.total = journey.total
        waited = np.where(journey.runs.waits, journey.runs.ns, 0)
        longest = int(waited.argmax())
        length = int(waited[longest])
        self.cut: tuple[Lane, int, int] | None = None
        if _CUT_FROM * self.total < length < self.total:
            of = journey.runs
            self.cut = Lane(of.lane[longest]), int(of.begin[longest]), int(of.end[longest])
        self._ends = self.cut[1:] if self.cut else (self.total, self.total)
        self._units = PLOT - _CUT if self.cut else PLOT
        self._scaled_ns = self.total - length if self.cut else self.total

    @property
    def ns_per_unit(self) -> float:
        """How much time one unit of the picture is."""
        return self._scaled_ns / self._units

    def x(self, ns: float) -> float:
        """Return where the time *ns* after the arrival is."""
        begin, end = self._ends
        cut = 0.0 if ns <= begin else _CUT * (min(ns, end) - begin) / (end - begin)
        return LEFT + (min(ns, begin) + max(ns - end, 0)) / self.ns_per_unit + cut

    def lines(self, top: int, bottom: int) -> Iterator[str]:
        """Yield lines at 5 to 10 round times, their numbers below *bottom*, and the unit."""
        power = 10 ** floor(log10(self._scaled_ns))
        step = next(step for step in (power // 5, power // 2, power, 2 * power) if self._scaled_ns <= 10 * step)
        unit = human_unit(self.total)
        decimals = max(0, -floor(log10(step / NS_PER_UNIT[unit])))
        begin, end = self._ends
        times = [*range(0, begin + 1, step), *range(-(-end // step) * step, self.total + 1, step)]
        marks = "".join(f"M{coordinate(self.x(ns))} {top}V{bottom + 4}" for ns in dict.fromkeys(times))
        yield f'<path d="{marks}" stroke="currentColor" stroke-opacity=".18" fill="none"/>'
        yield '<g font-size="11"><g text-anchor="middle">'
        for ns in dict.fromkeys(times):
            number = f"{ns / NS_PER_UNIT[unit]:.{decimals}f}" if ns else "0"
            yield f'<text x="{coordinate(self.x(ns))}" y="{bottom + 17}">{number}</text>'
        yield f'</g><text x="{LEFT + PLOT + 24}" y="{bottom + 17}">{unit}</text></g>'
        if self.cut:
            at = self.x((begin + end) / 2)
            marks = "".join(f"M{coordinate(at + aside)} {bottom + 6}l8 -12" for aside in (-7, -1))
            yield f'<path d="{marks}" stroke="currentColor" fill="none"/>'
