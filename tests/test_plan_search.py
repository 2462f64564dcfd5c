"""The search for a limit, on curves that are known: what it answers, and how little it looks at."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from iosim.plan.costs import Cheapest, Config
from iosim.plan.knob import Knob, knob_of
from iosim.plan.plan_file import KnobTable
from iosim.plan.search import Answer, Find, Seen, search
from iosim.plan.targets import Target, Verdict, parse_target

Curve = Callable[[float], float]
"""Value of the knob -> metric."""


def knob(low: object = 1, high: object = 100, **more: object) -> Knob:
    return knob_of(KnobTable.model_validate({"key": "vm.count", "low": low, "high": high, **more}), "plan.toml")


class Oracle:
    """Says what holds at each position: estimate of each curve, sure but for *blur* on either side."""

    def __init__(self, turned: Knob, curves: Mapping[str, Curve], blur: float = 0) -> None:
        self.knob = turned
        self.targets = [parse_target(text) for text in curves]
        self.looked: list[int] = []
        self._curves = list(curves.values())
        self._blur = blur

    def __call__(self, positions: Sequence[int], group: Sequence[int]) -> dict[int, Seen]:
        self.looked += positions
        return {at: self.seen(at) for at in positions}

    def seen(self, at: int) -> Seen:
        estimates = [curve(self.knob.numbers[at]) for curve in self._curves]
        verdicts = [
            target.verdict(estimate - self._blur, estimate + self._blur)
            for target, estimate in zip(self.targets, estimates, strict=True)
        ]
        return Seen(tuple(estimates), tuple(verdicts), True)

    def answer(self, find: Find | None = None, curve: int = 4) -> Answer:
        return search(self.knob, self.targets, self, find, curve)


def numbers(oracle: Oracle, found: Answer) -> tuple[str, str, float | None, float | None]:
    """(what was found, outcome, last that meets, first that fails)."""
    ends = [None if at is None else oracle.knob.numbers[at] for at in (found.meets, found.fails)]
    return found.find, found.outcome, ends[0], ends[1]


@pytest.mark.parametrize("limit", [1, 2, 26, 37, 74, 99])
def test_the_largest_load_that_meets_is_found_exactly(limit: int) -> None:
    oracle = Oracle(knob(), {f"throughput < {limit + 0.5}": lambda load: load})
    assert numbers(oracle, oracle.answer()) == ("largest", "limit", limit, limit + 1)
    assert len(oracle.looked) <= 5 + 5  # ends and quarters, then halves of 25


@pytest.mark.parametrize("least", [2, 26, 73, 100])
def test_the_smallest_resource_that_meets_is_found_without_being_asked_for(least: int) -> None:
    oracle = Oracle(knob(), {f"throughput > {least - 0.5}": lambda servers: servers})
    assert numbers(oracle, oracle.answer()) == ("smallest", "limit", least, least - 1)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("throughput < 500", ("largest", "all", 100, None)),
        ("throughput < 0.5", ("largest", "none", None, 1)),
        ("throughput > 500", ("smallest", "none", None, 100)),
    ],
)
def test_all_values_may_meet_or_none(target: str, expected: tuple[str, str, float | None, float | None]) -> None:
    oracle = Oracle(knob(), {target: lambda x: x})
    assert numbers(oracle, oracle.answer()) == expected


def test_targets_of_both_directions_leave_a_range() -> None:
    curves: dict[str, Curve] = {"throughput > 29.5": lambda x: x, "mean < 60ns": lambda x: x}
    oracle = Oracle(knob(), curves)
    found = oracle.answer()
    assert numbers(oracle, found) == ("largest", "limit", 59, 60)
    assert (found.harder, found.easier) == ((1,), (0,))
    assert oracle.knob.numbers[found.lower.meets or 0] == 30
    assert found.breaks == [1]
    assert numbers(oracle, oracle.answer("smallest")) == ("smallest", "limit", 30, 29)


def test_targets_that_exclude_each_other_are_met_nowhere() -> None:
    oracle = Oracle(knob(), {"throughput > 70.5": lambda x: x, "mean < 40ns": lambda x: x})
    assert oracle.answer().outcome == "none"


def test_several_targets_have_the_limit_of_the_first_that_fails() -> None:
    oracle = Oracle(knob(), {"mean < 60ns": lambda x: x, "p99 < 60ns": lambda x: 2 * x})
    found = oracle.answer()
    assert numbers(oracle, found) == ("largest", "limit", 29, 30)
    assert found.breaks == [1]


# 48.5 to 52.5 cannot be told from 50.5: the answer is what lies outside of it.
def test_what_cannot_be_decided_is_left_between_the_edges() -> None:
    oracle = Oracle(knob(), {"throughput < 50.5": lambda x: x}, blur=2)
    assert numbers(oracle, oracle.answer()) == ("largest", "limit", 48, 53)


def test_nothing_surely_meets_where_the_interval_is_too_long() -> None:
    oracle = Oracle(knob(), {"throughput < 50.5": lambda x: x}, blur=500)
    assert numbers(oracle, oracle.answer()) == ("largest", "undecided", None, None)


def test_a_curve_that_is_not_monotone_is_reported_and_the_limit_is_before_the_first_failure() -> None:
    oracle = Oracle(knob(1, 101), {"throughput < 50": lambda x: 60 if 20 <= x <= 30 else x})
    found = oracle.answer(curve=4)  # 1, 26, 51, 76, 101
    assert numbers(oracle, found) == ("largest", "limit", 19, 20)
    assert found.contradictions == ()  # nothing above 26 was seen to meet the target
    oracle = Oracle(knob(1, 101), {"throughput < 80": lambda x: 90 if 20 <= x <= 30 else x})
    found = oracle.answer(curve=4)
    assert numbers(oracle, found) == ("largest", "limit", 19, 20)
    assert [(oracle.knob.numbers[a], oracle.knob.numbers[b]) for a, b in found.contradictions] == [(26, 51)]


# Values of the knob


def test_whole_numbers_are_each_a_value() -> None:
    assert list(knob(3, 7).settings) == [3, 4, 5, 6, 7]


def test_steps_divide_the_range_evenly_or_by_ratio() -> None:
    assert list(knob(0.5, 1.5, steps=4).settings) == [0.5, 0.75, 1.0, 1.25, 1.5]
    assert list(knob("10us", "160us", steps=4, scale="log").settings) == ["10us", "20us", "40us", "80us", "160us"]
    assert list(knob(1, 1000, steps=3, scale="log").settings) == [1, 10, 100, 1000]
    assert list(knob("1MiB", "3MiB", steps=2).settings) == ["1MiB", "2MiB", "3MiB"]


def test_a_logarithmic_knob_is_cut_by_ratio() -> None:
    turned = knob(1, 10_000, scale="log")
    assert [turned.numbers[at] for at in turned.spread(4)] == [1, 10, 100, 1000, 10_000]
    assert turned.numbers[turned.middle(0, 9999)] == 100
    oracle = Oracle(turned, {"throughput < 70.5": lambda x: x})
    assert numbers(oracle, oracle.answer()) == ("largest", "limit", 70, 71)


# Targets


@pytest.mark.parametrize(
    ("text", "metric", "of", "value", "good", "bad"),
    [
        ("p99 < 20ms", "latency_p99", "", 20e6, 19e6, 21e6),
        ("p99.9[op=R] <= 1 s", "latency_p99.9", "op=R", 1e9, 1e9, 1.1e9),
        ("mean<90us", "latency_mean", "", 90e3, 89e3, 90e3),
        ("throughput[vm=web] > 500", "throughput", "vm=web", 500, 501, 500),
        ("cpu < 80%", "utilisation", "cpus", 0.8, 0.79, 0.81),
        ("cpu < 0.8", "utilisation", "cpus", 0.8, 0.79, 0.81),
        ("utilisation[disk/sda] >= 0.5", "utilisation", "disk/sda", 0.5, 0.5, 0.4),
        ("requests_failed <= 0", "requests_failed", "", 0, 0, 1),
    ],
)
def test_targets_are_read(text: str, metric: str, of: str, value: float, good: float, bad: float) -> None:
    target = parse_target(text)
    assert (target.metric, target.of, target.value) == (metric, of, value)
    assert target.verdict(good, good) == "meets"
    assert target.verdict(bad, bad) == "fails"
    assert target.verdict(min(good, bad), max(good, bad)) == "undecided"


def test_an_interval_that_touches_the_goal_is_undecided_unless_it_lies_on_the_right_side() -> None:
    below, at_most = parse_target("throughput < 10"), parse_target("throughput <= 10")
    above = parse_target("throughput > 10")
    cases: list[tuple[Target, float, float, Verdict]] = [
        (below, 8, 10, "undecided"),
        (at_most, 8, 10, "meets"),
        (below, 10, 12, "fails"),
        (at_most, 10, 12, "undecided"),
        (above, 10, 12, "undecided"),
        (above, 8, 10, "fails"),
    ]
    for target, low, high, verdict in cases:
        assert target.verdict(low, high) == verdict, (target.text, low, high)


# The cheapest configuration


def cheapest(loads: Sequence[int], need: Callable[[int, Config], Verdict]) -> tuple[list[Config | None], Cheapest]:
    """The cheapest of up to 4 disks for 50 each and up to 3 steps of CPU for 30 each, for each load."""
    found = Cheapest([4, 3], lambda config: 50.0 * config[0] + 30 * config[1], need)
    return [found.find(load) for load in loads], found


def carries(load: int, config: Config) -> Verdict:
    return "meets" if (1 + config[0]) * (2 + config[1]) >= load else "fails"


def test_the_cheapest_configuration_is_that_of_looking_at_all() -> None:
    loads = [2, 3, 4, 6, 9, 16, 17]
    found, search_ = cheapest(loads, carries)
    every = [(disks, cpus) for disks in range(4) for cpus in range(3)]
    for load, config in zip(loads, found, strict=True):
        good = [50 * d + 30 * c for d, c in every if carries(load, (d, c)) == "meets"]
        assert (None if config is None else 50 * config[0] + 30 * config[1]) == min(good, default=None)
    assert len(search_.tried) < len(loads) * len(every) / 2
    assert search_.contradictions == []


def test_what_is_undecided_is_not_bought_but_named() -> None:
    def need(load: int, config: Config) -> Verdict:
        return "undecided" if config == (1, 0) else carries(load, config)

    (best,), found = cheapest([4], need)
    assert best == (0, 2)  # 60, as against 50 for the one in doubt
    assert found.perhaps(4, best) == (1, 0)


def test_a_stronger_configuration_that_fails_is_a_contradiction() -> None:
    def need(load: int, config: Config) -> Verdict:
        return "fails" if load == 2 and config[1] < 2 else carries(load, config)

    found, search_ = cheapest([3, 2], need)
    assert found[1] is not None
    assert found[1][1] == 2
    assert search_.contradictions
