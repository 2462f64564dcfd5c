"""A prediction judged: each part beside the median of the repetitions, against an aim; and what is not explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.hosts.parts import BEHIND, CHAIN, STEPS, TOTAL, UP_TO, name_of
from iosim.model.units import human_time
from iosim.validate.match import FIGURES, Match, figures, match

Floats = npt.NDArray[np.float64]

AIM = {"mean": 0.05, "p50": 0.05, "p90": 0.15, "p99": 0.15}
"""How large a relative error may be, unless the prediction lies within what the repetitions gave."""
_WHOLE = (TOTAL, STEPS)


@dataclass(frozen=True)
class Judgement:
    """A part: `match` compares with the middle repetition, `typical_ns` has the median of the repetitions' figures."""

    match: Match
    typical_ns: dict[str, float]

    @property
    def name(self) -> str:
        """The part."""
        return self.match.name

    def error(self, figure: str) -> float | None:
        """Return predicted over the median of the repetitions, less 1; None where that is 0."""
        typical = self.typical_ns[figure]
        return self.match.predicted_ns[figure] / typical - 1 if typical > 0 else None

    def met(self, figure: str) -> str:
        """Return "yes" if the error is within the aim, "spread" if only within the repetitions, else "no"."""
        error = self.error(figure)
        if error is not None and abs(error) <= AIM[figure]:
            return "yes"
        return "spread" if self.match.within_repetitions(figure) else "no"

    def as_json(self) -> dict[str, Any]:
        """Return all figures as plain numbers."""
        errors = {figure: self.error(figure) for figure in FIGURES}
        met = {figure: self.met(figure) for figure in FIGURES}
        return self.match.as_json() | {"typical_ns": self.typical_ns, "error_of_typical": errors, "met": met}


def judge(measured: Mapping[str, Sequence[Floats]], predicted: Mapping[str, Floats]) -> list[Judgement]:
    """Compare the parts that both have, in the order of *measured*."""
    found = []
    for name, repetitions in measured.items():
        if name in predicted:
            each = [figures(sample) for sample in repetitions]
            typical = {figure: float(np.median([one[figure] for one in each])) for figure in FIGURES}
            compared = match(name, middle(repetitions), predicted[name], repetitions)
            found.append(Judgement(compared, typical))
    return found


def middle(repetitions: Sequence[Floats]) -> Floats:
    """Return the repetition with the median p50, of two in the middle the lower one."""
    order = sorted(range(len(repetitions)), key=lambda at: float(np.median(repetitions[at])))
    return repetitions[order[(len(order) - 1) // 2]]


_SMALL = 0.1


def unexplained(found: Sequence[Judgement], traced: bool, overhead: str) -> list[str]:
    """Return lines about what the comparison leaves open: where the error comes from, and what was not tested."""
    lines = []
    by_name = {one.name: one for one in found}
    for one in (by_name[name] for name in _WHOLE if name in by_name):
        off = one.match.predicted_ns["mean"] - one.typical_ns["mean"]
        lines.append(f"{one.name}: the mean is {_signed(off)} off ({_percent(one.error('mean'))}).")
        chain = {name_of(*pair) for pair in CHAIN}
        parts = [p for p in found if p.name in chain] if one.name == STEPS else []
        parts = [by_name[name] for name in (UP_TO, BEHIND) if name in by_name] if one.name == TOTAL else parts
        each = {p.name: p.match.predicted_ns["mean"] - p.typical_ns["mean"] for p in parts}
        large = [name for name in sorted(each, key=lambda n: -abs(each[n])) if abs(each[name]) > _SMALL * abs(off)]
        if each:
            of_parts = "; ".join(f"{name} {_signed(each[name])}" for name in large) or "none of note"
            rest = off - sum(each.values())
            between = f" The medians of the parts do not add up: {_signed(rest)}." if abs(rest) >= 1 else ""
            lines.append(f"Of it, by part: {of_parts}.{between}")
    for one in found:
        missed = [figure for figure in FIGURES if one.met(figure) == "no"]
        if missed:
            figures_ = ", ".join(f"{figure} {_percent(one.error(figure))}" for figure in missed)
            lines.append(f"Not met: {one.name}, {figures_}.")
    if not any(one.match.repetitions for one in found):
        lines.append("There is one repetition only: how far the host itself strays from run to run is not known.")
    if traced:
        lines.append(f"The measurement was traced. Overhead of tracing: {overhead}.")
    return lines


def _signed(ns: float) -> str:
    return f"{'-' if ns < 0 else '+'}{human_time(abs(ns))}"


def _percent(error: float | None) -> str:
    return "-" if error is None else f"{error:+.1%}"
