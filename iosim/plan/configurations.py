"""What can be bought, and the cheapest of it for each load: the cost table, its search, and its tables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import pandas as pd

from iosim.model.errors import StudyError
from iosim.plan.costs import Cheapest, Config
from iosim.plan.knob import Knob
from iosim.plan.looks import Looks, Schedule
from iosim.plan.plan_file import CostTable
from iosim.plan.targets import Target, Verdict
from iosim.study.metrics import UNITS
from iosim.study.points import Base, Changes, Point, value_text
from iosim.study.runner import Runner

MOST_CONFIGURATIONS = 2000


@dataclass(frozen=True)
class Configurations:
    """The cost table with the loads, as positions of the knob, lowest first."""

    table: CostTable
    knob: Knob
    loads: Sequence[int]

    @property
    def keys(self) -> list[str]:
        """The keys of the resources."""
        return [resource.key for resource in self.table.resource]

    @property
    def sizes(self) -> list[int]:
        """How many values each resource has."""
        return [len(resource.values) for resource in self.table.resource]

    def cost(self, config: Config) -> float:
        """Return what a configuration costs."""
        return self.table.fixed + sum(
            resource.cost(number) for resource, number in zip(self.table.resource, config, strict=True)
        )

    def values(self, config: Config) -> dict[str, Any]:
        """Return the value of each key."""
        resources = zip(self.table.resource, config, strict=True)
        return {resource.key: resource.values[number] for resource, number in resources}

    def changes(self, load: int, config: Config) -> Changes:
        """Return how the scenario differs from the base."""
        return self.knob.changes(load) | self.values(config)

    def to_check(self) -> Iterator[tuple[str, Changes]]:
        """Yield name and changes of configurations in which each value of each resource comes up."""
        weakest = [0] * len(self.sizes)
        for place, resource in enumerate(self.table.resource):
            for number in range(len(resource.values)):
                config = (*weakest[:place], number, *weakest[place + 1 :])
                yield f"{resource.key}={value_text(resource.values[number])}", self.changes(self.loads[-1], config)


def configurations(table: CostTable, knob: Knob, place: str) -> Configurations:
    """Return the configurations of [cost]. Raises StudyError, naming *place*."""
    n = prod(len(resource.values) for resource in table.resource)
    if n > MOST_CONFIGURATIONS:
        raise StudyError(f"{place}: cost.resource must have at most {MOST_CONFIGURATIONS} combinations, got {n}")
    loads = [knob.position(load, f"{place}: cost.loads.{number}") for number, load in enumerate(table.loads)]
    return Configurations(table, knob, sorted(set(loads)))


@dataclass(frozen=True)
class Bought:
    """The tables `costs` and `front`, and what `plan.json` has of them."""

    costs: pd.DataFrame
    front: pd.DataFrame
    facts: dict[str, Any]


COSTS = (
    "cost",
    "replications",
    "target",
    "metric",
    "of",
    "unit",
    "estimate",
    "low",
    "high",
    "goal",
    "verdict",
    "meets",
)


def cheapest(
    wanted: Configurations,
    base: Base,
    runner: Runner,
    targets: Sequence[Target],
    schedule: Schedule,
    note: Callable[[str], None],
) -> Bought:
    """Return the cheapest configuration for each load."""
    every = list(product(*map(range, wanted.sizes)))
    number_of = {config: number for number, config in enumerate(every)}
    looks: dict[int, Looks] = {}

    def look_at(load: int) -> Looks:
        def point(number: int) -> Point:
            changes = wanted.changes(load, every[number])
            return base.point(", ".join(f"{key}={value_text(value)}" for key, value in changes.items()), changes)

        return looks.setdefault(load, Looks("cost", runner, point, targets, schedule, note))

    def judge(load: int, config: Config) -> Verdict:
        number = number_of[config]
        everything = range(len(targets))
        return look_at(load)([number], everything)[number].joint(everything)

    search = Cheapest(wanted.sizes, wanted.cost, judge)
    rows = []
    for load in wanted.loads:
        best = search.find(load)
        perhaps = search.perhaps(load, best)
        rows.append(
            {
                "load": wanted.knob.numbers[load],
                "outcome": "none" if best is None else "found",
                **(dict.fromkeys(wanted.keys) if best is None else wanted.values(best)),
                "cost": None if best is None else wanted.cost(best),
                "perhaps": None if perhaps is None else wanted.cost(perhaps),
            }
        )
    for number, row in enumerate(rows):
        row["pareto"] = row["outcome"] == "found" and all(
            other["cost"] is None or other["cost"] > row["cost"] for other in rows[number + 1 :]
        )
    columns = ["load", "outcome", *wanted.keys, "cost", "perhaps", "pareto"]
    front = pd.DataFrame(rows, columns=columns).astype({"load": "float64", "cost": "Float64", "perhaps": "Float64"})
    facts = {
        "configurations": len(every),
        "loads": [value_text(wanted.knob.settings[load]) for load in wanted.loads],
        "unit": wanted.table.unit,
        "tried": len(search.tried),
        "contradictions": [
            {key: value_text(value) for key, value in wanted.changes(load, config).items()}
            for load, config in search.contradictions
        ],
    }
    return Bought(_tried(wanted, search, looks, number_of), _texts(front, wanted), facts)


def _tried(
    wanted: Configurations, search: Cheapest, looks: dict[int, Looks], number_of: dict[Config, int]
) -> pd.DataFrame:
    """Return a row per configuration that was tried, and target."""
    rows: list[tuple[Any, ...]] = []
    for load, config in sorted(search.tried):
        own, number = looks[load], number_of[config]
        head = (wanted.knob.numbers[load], *wanted.values(config).values(), wanted.cost(config))
        for target in own.targets:
            interval = own.interval(number, target)
            named = (own.replications(number), target.text, target.metric, target.of, UNITS[target.metric])
            verdict = target.verdict(interval.low, interval.high)
            meets = search.tried[load, config] == "meets"
            rows.append((*head, *named, *interval, target.value, verdict, meets))
    return _texts(pd.DataFrame(rows, columns=["load", *wanted.keys, *COSTS]), wanted)


def _texts(frame: pd.DataFrame, wanted: Configurations) -> pd.DataFrame:
    """Return *frame* with the values of keys that are no numbers as texts."""
    for resource in wanted.table.resource:
        if all(type(value) is int for value in resource.values):
            frame[resource.key] = frame[resource.key].astype("Int64")
        elif all(type(value) in (int, float) for value in resource.values):
            frame[resource.key] = frame[resource.key].astype("Float64")
        else:
            frame[resource.key] = frame[resource.key].map(value_text, na_action="ignore").astype("string")
    return frame
