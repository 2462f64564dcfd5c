"""What a search has come to, as `plan.json` has it: the limit, what ends it, and what is busy there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iosim.analytic.resources import HOLDERS, NOT_SERVING, kind_of
from iosim.model.stages import Stage
from iosim.plan.knob import Knob
from iosim.plan.looks import Looks
from iosim.plan.search import Answer
from iosim.study.estimates import Sample
from iosim.study.points import Changes, value_text

MOST_RESOURCES = 3
"""So many of the busiest resources are named."""


@dataclass(frozen=True)
class Searched:
    """One search: the base, or a change of it."""

    name: str
    changes: Changes
    looks: Looks
    answer: Answer

    @property
    def easy(self) -> int:
        """The position at the end of the knob where the targets are easiest to meet."""
        return 0 if self.answer.find == "largest" else max(self.answer.seen)


def described(found: Searched, knob: Knob) -> dict[str, Any]:
    """Return the outcome of a search for `plan.json`."""
    answer, targets = found.answer, found.looks.targets
    lower, upper = answer.lower.meets, answer.upper.meets
    at = next(place for place in (answer.fails, answer.meets, found.easy) if place is not None)
    return {
        "search": found.name,
        "set": {key: value_text(value) for key, value in found.changes.items()},
        "find": answer.find,
        "outcome": answer.outcome,
        "meets": _setting(knob, answer.meets),
        "fails": _setting(knob, answer.fails),
        "undecided": [_setting(knob, place) for place in undecided(answer)],
        "between": [_setting(knob, lower), _setting(knob, upper)] if answer.outcome in ("limit", "all") else None,
        "breaks": [targets[number].text for number in answer.breaks],
        "contradictions": [
            {"fails": _setting(knob, first), "meets": _setting(knob, second)} for first, second in answer.contradictions
        ],
        "replications": sum(found.looks.replications(place) for place in answer.seen),
        "looked_at": _setting(knob, at),
        "busiest": busiest(found, at),
        "grows": _grown(found, at),
    }


def _setting(knob: Knob, position: int | None) -> dict[str, Any] | None:
    if position is None:
        return None
    return {"value": knob.numbers[position], "setting": value_text(knob.settings[position])}


def undecided(answer: Answer) -> list[int]:
    """Return the positions between the edges on which there is no verdict."""
    numbers = answer.harder if answer.find == "largest" else answer.easier
    ends = [place for place in (answer.edge.meets, answer.edge.fails) if place is not None]
    if answer.edge.meets is None and answer.edge.fails is None:
        ends = [min(answer.seen), max(answer.seen)]
    elif len(ends) == 1:
        ends.append(max(answer.seen) if (answer.find == "largest") == (answer.edge.fails is None) else min(answer.seen))
    low, high = min(ends), max(ends)
    return [at for at in sorted(answer.seen) if low <= at <= high and answer.seen[at].joint(numbers) == "undecided"]


def busiest(found: Searched, at: int) -> list[dict[str, Any]]:
    """Return the resources that serve and are busiest at a position; a holder that is busier still comes behind them.

    A holder (an IDE channel, the BQL) is held while others serve: what is behind it is what to look at.
    """
    levels = utilisations(found.looks.samples[at])
    scenario = found.looks.point_at(at).scenario
    ranked = sorted(levels, key=lambda of: -levels[of])
    rows: list[dict[str, Any]] = [
        {"resource": of, "kind": kind, "utilisation": levels[of]}
        for of in ranked
        if (kind := kind_of(of, scenario)) not in NOT_SERVING
    ]
    serving = [row for row in rows if row["kind"] not in HOLDERS][:MOST_RESOURCES]
    held = [row for row in rows if row["kind"] in HOLDERS and row["kind"] != "pool"][:1]
    return serving + [row for row in held if not serving or row["utilisation"] > serving[0]["utilisation"]]


def utilisations(sample: Sample, metric: str = "utilisation_max") -> dict[str, float]:
    """Return the mean over the replications of the use of each resource, the highest of the clones."""
    found = {}
    for name, of in sample.metrics():
        if name == metric:
            interval = sample.estimate(name, of)
            assert interval is not None
            found[of] = interval.estimate
    return found


def _grown(found: Searched, at: int) -> dict[str, Any] | None:
    """Return the stage of which requests have most more at a position than at the easy end."""
    easy, there = found.looks.samples[found.easy], found.looks.samples[at]
    means = {
        stage.label: [
            interval.estimate if (interval := sample.estimate("stage_mean", stage.label)) else 0.0
            for sample in (easy, there)
        ]
        for stage in Stage
    }
    name = max(means, key=lambda label: means[label][1] - means[label][0])
    before, now = means[name]
    return {"stage": name, "easy_ns": before, "there_ns": now} if now > before else None


def names(settings: Sequence[dict[str, Any] | None]) -> list[str]:
    """Return settings as texts."""
    return [str(setting["setting"]) for setting in settings if setting is not None]
