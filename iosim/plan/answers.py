"""Answering a plan: the searches, the runs for the analysis, and everything that is written of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from iosim.model.errors import ResultError
from iosim.plan.analysis import Analysis
from iosim.plan.cautions import cautions
from iosim.plan.configurations import Bought, cheapest
from iosim.plan.knob import Knob
from iosim.plan.looks import Looks, PointAt
from iosim.plan.outcome import Searched, described
from iosim.plan.question import BASE, Question
from iosim.plan.ranking import alike, ranking_table
from iosim.plan.search import search
from iosim.plan.tables import analysis_table, resources_table, values_table
from iosim.plan.targets import Target
from iosim.results.result import Result, read
from iosim.study.content import environment
from iosim.study.points import value_text
from iosim.study.runner import Runner, with_run

PLAN_VERSION = 1
ANALYSED = 40
"""The analysis has about so many values of the knob, and those that were run."""


@dataclass(frozen=True)
class Answered:
    """What is written and shown: the tables by name, the content of `plan.json`, and the whole results to be kept."""

    tables: dict[str, pd.DataFrame]
    facts: dict[str, Any]
    kept: frozenset[str]


def answer(
    question: Question, targets: Sequence[Target], runner: Runner, whole: Runner, note: Callable[[str], None]
) -> Answered:
    """Return the answers to *question*, with runs of *runner*; *whole* keeps the results of the runs that it makes."""
    plan, knob = question.plan, question.knob

    def searched(name: str) -> Searched:
        looks = Looks(name, runner, question.point_at(name), targets, question.schedule, note)
        return Searched(
            name, question.changes[name], looks, search(knob, targets, looks, plan.knob.find, plan.knob.curve)
        )

    base = searched(BASE)
    note("runs for the analysis")
    results, kept = _whole_results(base, whole, plan.plan.max_replications)
    searches = [base, *(searched(name) for name in question.changes if name != BASE)]
    confidence = plan.plan.confidence
    analysis, why_not = _analysis(results, base, knob)
    everywhere = sorted({*base.looks.samples, *knob.spread(ANALYSED)})
    tables = {}
    if plan.change:
        tables["ranking"] = ranking_table(base, searches[1:], knob, confidence)
    tables |= {
        "values": values_table(searches, knob, confidence),
        "resources": resources_table(searches, knob),
        "analysis": analysis_table(analysis, knob, base.looks.point_at, everywhere),
    }
    bought: Bought | None = None
    if question.configurations is not None:
        bought = cheapest(question.configurations, question.base, runner, targets, question.schedule, note)
        tables |= {"costs": bought.costs, "front": bought.front}
    facts: dict[str, Any] = {
        "plan_version": PLAN_VERSION,
        **environment(),
        "plan": plan.model_dump(mode="json", exclude_none=True),
        "knob": {
            "key": knob.key,
            "kind": knob.kind,
            "scale": knob.scale,
            "low": value_text(knob.settings[0]),
            "high": value_text(knob.settings[-1]),
            "values": len(knob),
        },
        "verdicts": {"looks": list(question.schedule.counts), "interval": question.schedule.confidence},
        "answers": [described(found, knob) for found in searches],
        "analysis": {
            "saturation": None if analysis is None else saturation(analysis, knob, base.looks.point_at),
            "why_not": why_not,
        },
        "costs": None if bought is None else bought.facts,
    }
    facts["cautions"] = cautions(facts, searches, results) + alike(tables.get("ranking"))
    return Answered(tables, facts, kept)


def _whole_results(base: Searched, whole: Runner, unused: int) -> tuple[dict[str, Result], frozenset[str]]:
    """Return the result of a run at the easy end and of one at the limit, if that is elsewhere, and their digests.

    They have a seed that no replication has, the one behind *unused* others, and so are runs of their own.
    """
    last = base.answer.meets if base.answer.meets is not None else base.answer.fails
    places = {"easy": base.easy}
    if last is not None and last != base.easy:
        places["limit"] = last
    points = []
    for name, at in places.items():
        point = base.looks.point_at(at)
        scenario = with_run(point.scenario, seed=point.scenario.run.seed + unused)
        points.append(replace(point, name=name, scenario=scenario))
    runs = whole.run_points(points, 1)
    assert whole.keep_in is not None
    return {name: read(whole.keep_in / name / "0") for name in places}, frozenset(run.digest for run in runs)


def _analysis(results: Mapping[str, Result], base: Searched, knob: Knob) -> tuple[Analysis | None, str | None]:
    """Return the analysis of the knob, or why there is none."""
    try:
        analysis = Analysis(results["easy"], [result for name, result in results.items() if name != "easy"])
    except ResultError as error:
        return None, str(error)
    if not all(analysis.knows(base.looks.point_at(at).scenario) for at in (0, len(knob) - 1)):
        return None, f"the analysis does not know what {knob.key} does to demands"
    return analysis, None


def saturation(analysis: Analysis, knob: Knob, point_at: PointAt) -> dict[str, Any] | None:
    """Return the resource that all share and that has no time left first, and the value of the knob where that is.

    The first as the targets get harder. Load and servers are linear in the keys that the analysis knows. None if there
    is no such value between the bounds of the knob.
    """
    low, high = (analysis.loads(point_at(at).scenario) for at in (0, len(knob) - 1))
    first, last = knob.numbers[0], knob.numbers[-1]
    found = []
    for resource in low:
        (busy, room), (busy_then, room_then) = low[resource], high[resource]
        begin, end = busy - room, busy_then - room_then
        if (begin < 0) != (end < 0):
            at = first + (last - first) * begin / (begin - end)
            # What fills up as the knob rises is first where it is lowest, what empties where it is highest.
            found.append((at if begin < 0 else -at, resource, at))
    if not found:
        return None
    _, resource, at = min(found)
    return {"resource": resource, "value": at}
