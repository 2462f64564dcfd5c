"""Reasons to doubt the answers of a plan, each in a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iosim.analytic.doubts import doubts
from iosim.plan.outcome import Searched, busiest, names
from iosim.results.result import Result
from iosim.results.wording import BUSY


def cautions(facts: Mapping[str, Any], searches: Sequence[Searched], results: Mapping[str, Result]) -> list[str]:
    """Return what is to be kept in mind; *facts* is what `plan.json` has so far."""
    key = facts["knob"]["key"]
    found = []
    most = facts["verdicts"]["looks"][-1]
    for row in facts["answers"]:
        who = "" if row["search"] == "base" else f"{row['search']}: "
        for pair in row["contradictions"]:
            found.append(
                f"{who}Not monotone: {key} = {pair['fails']['setting']} fails, and {pair['meets']['setting']}, which "
                "should be harder, meets the same target. The limit lies before the first failure; look at the curve."
            )
    if open_ := [row for row in facts["answers"] if row["undecided"]]:
        where = "; ".join(f"{row['search']} {', '.join(names(row['undecided'][:6]))}" for row in open_)
        found.append(
            f"Undecided after {most} replications: {where}. More of them (max_replications), or longer runs, would "
            "narrow it down."
        )
    base = searches[0]
    found += _constant(base)
    for row in [] if base.answer.meets is None else busiest(base, base.answer.meets)[:1]:
        if row["utilisation"] >= BUSY:
            found.append(
                f"{row['resource']} is busy for {row['utilisation']:.0%} of the time at the limit already: requests "
                "queue, and their latency depends on the length of the run."
            )
    found += _lost(base)
    if facts["costs"] is not None and facts["costs"]["contradictions"]:
        found.append(
            "Costs: more of a resource made it worse at least once (costs.contradictions in plan.json), so a cheaper "
            "configuration may have been passed over."
        )
    if facts["analysis"]["why_not"] is None:
        found += _of_the_analysis(results)
    return found


def _constant(base: Searched) -> list[str]:
    """Tell whether replications differ at all."""
    target = base.looks.targets[0]
    values = [list(sample.values(target.metric, target.of).values()) for sample in base.looks.samples.values()]
    if any(np.ptp(own) > 0 for own in values if own):
        return []
    return [
        f"All replications are equal: nothing that is drawn at random matters to {target.name}. Arrivals come from "
        "the trace and are the same in each: a verdict holds for this one way in which they meet (vm.phase varies it)."
    ]


def _lost(base: Searched) -> list[str]:
    """Tell of requests that no latency knows of, at the limit or where it fails."""
    places = [place for place in (base.answer.meets, base.answer.fails) if place is not None]
    found = []
    for metric, what in (("requests_failed", "failed"), ("requests_unfinished", "did not finish")):
        for at in places:
            interval = base.looks.samples[at].estimate(metric)
            if interval is not None and interval.estimate:
                label = base.looks.point_at(at).label()
                found.append(f"{label}: {interval.estimate:,.1f} requests of a run {what}; latencies leave them out.")
    return found


def _of_the_analysis(results: Mapping[str, Result]) -> list[str]:
    runs = {sum(vm.count for vm in result.scenario.vm): result for result in reversed(list(results.values()))}
    drives = [drive for result in runs.values() for vm in result.scenario.vm for drive in vm.drive]
    found = doubts(runs)
    if max(runs) > 1 and any(drive.replay == "closed" for drive in drives):
        found.append(
            "With closed replay it takes all VMs to be at work all the time; in a run some begin later and end earlier."
        )
    return [f"Analysis: {text}" for text in found]
