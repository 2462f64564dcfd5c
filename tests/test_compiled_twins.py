"""The twins of the compiled engine give the same numbers as the classes that they stand for."""

import sys
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace as Namespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iosim.compiled import hand_over
from iosim.compiled.twins import costs as twin_costs
from iosim.compiled.twins import durations as twin_durations
from iosim.compiled.twins import levels as twin_levels
from iosim.compiled.twins import runs as twin_runs
from iosim.compiled.twins.drawing import DrawPlan as TwinPlan
from iosim.host import account, durations, levels, runs
from iosim.host.drawing import DrawPlan
from iosim.kvm import exits
from iosim.model import records
from iosim.model.costs import Cost, exponential
from iosim.model.draws import Subject
from iosim.model.stages import N_STAGES, Stage
from iosim.model.steps import Item, Mode, Op, Run, Segment, Template
from iosim.results.work import by_segment
from iosim.run import Collector
from tests import made_twins
from tests.support import constant_profile, drawn_profile, same, scenario, simulate

QUICK = settings(max_examples=60, deadline=None)

# Levels

TIMES = st.integers(0, 5_000_000_000) | st.integers(0, 3_000_000) | st.just(1_000_000_000)
SPANS = st.integers(0, 3000) | st.integers(0, 3_000_000) | st.integers(0, 2_500_000_000)
LEVEL_STEPS = st.tuples(
    st.sampled_from(["set", "change", "add", "many", "pattern", "pattern", "within", "restart"]),
    st.integers(0, 1),
    TIMES,
    SPANS,
    st.integers(0, 3),
)


def do(step: tuple[str, int, int, int, int], level: Any, pattern: Any, array: Callable[[list[int]], Any]) -> None:
    """One step of a level: what holds for both kinds, with *array* as its kind of list."""
    name, _, at, span, value = step
    if name == "set" or name == "change":
        now = max(at, level.since_ns)
        level.set(now, value) if name == "set" else level.change(now, value)
    elif name == "add":
        level.add(at, at + span)
    elif name == "many":
        level.add_many(array([at, at + span // 2]), array([at + span // 3, at + span]))
    elif name == "pattern":
        level.add_pattern(pattern, at)
    elif name == "within":
        if not level.add_within(at, at + span, span // 2):
            level.add(at, at + span // 2)
    else:
        level.restart(max(at, level.since_ns))


def state(level: Any) -> tuple[Any, ...]:
    return level.name, level.value, level.since_ns, level.highest, level.area, level.bins


def both_timelines() -> tuple[levels.Timeline, twin_levels.Timeline]:
    original, twin = levels.Timeline(), twin_levels.Timeline()
    for name in ("a", "b"):
        levels.Level(original, name)
        twin_levels.Level(twin, name)
    return original, twin


@QUICK
@given(st.lists(LEVEL_STEPS, max_size=30), st.lists(st.tuples(SPANS, SPANS), min_size=1, max_size=3), st.data())
def test_levels(steps: list[Any], holds: list[tuple[int, int]], data: st.DataObject) -> None:
    original, twin = both_timelines()
    begins, ends, at = [], [], 0
    for gap, length in holds:
        begins.append(at + gap)
        ends.append(at + gap + length)
        at = ends[-1]
    pattern = levels.Pattern(np.array(begins), np.array(ends), at)
    twin_pattern = twin_levels.Pattern(begins, ends, at)
    changed_over = data.draw(st.integers(0, len(steps)))
    for number, step in enumerate(steps):
        if number == changed_over:
            twin = made_twins.twin_of_timeline(original)
        do(step, original.levels[step[1]], pattern, lambda values: np.array(values, dtype=np.int64))
        do(step, twin.levels[step[1]], twin_pattern, list)
    original.fold()
    twin.fold()
    assert twin.width_ns == original.width_ns
    assert [state(level) for level in twin.levels] == [state(level) for level in original.levels]
    given_back, _ = both_timelines()
    given_back.levels[0].add(0, 1)
    hand_over.give_back(twin, given_back)
    for one, other in zip(given_back.levels, original.levels, strict=True):
        assert state(one) == state(other)
        end = one.since_ns + 1_500_000_000
        one.set(end, 1)
        other.set(end, 1)
    given_back.fold()
    original.fold()
    assert [state(level) for level in given_back.levels] == [state(level) for level in original.levels]


def test_an_interval_over_several_bins_is_shared_out() -> None:
    """From 0.5 ms to 3.2 ms in bins of 1 ms; then in bins of 2 ms, as something ends behind 1000 ms."""
    timeline = twin_levels.Timeline()
    level, other = twin_levels.Level(timeline, "level"), twin_levels.Level(timeline, "other")
    level.add(500_000, 3_200_000)
    level.fold()
    assert (level.area, level.bins) == (2_700_000, [500_000, 1_000_000, 1_000_000, 200_000])
    other.add(0, 1_000_000_001)
    timeline.fold()
    assert (timeline.width_ns, level.area, level.bins) == (2_000_000, 2_700_000, [1_500_000, 1_200_000])
    level.add(3_200_000, 3_300_000)
    level.fold()
    assert level.bins == [1_500_000, 1_300_000]


# Durations

NS = st.integers(0, 5000) | st.integers(0, 1 << 22) | st.integers(0, 1 << 52)


@QUICK
@given(st.lists(st.tuples(NS, st.integers(1, 1000)), max_size=20), st.lists(NS, max_size=20))
def test_durations(single: list[tuple[int, int]], many: list[int]) -> None:
    original, twin = durations.Durations(), twin_durations.Durations()
    for ns, n in single:
        original.add(ns, n)
        twin.add(ns, n)
    original.add_array(np.array(many, dtype=np.int64))
    twin.add_array(many)
    original.finish(), twin.finish()
    given_back = durations.Durations()
    given_back.add(7, 7)
    hand_over.give_back(twin, given_back)
    for mine in (twin, given_back.finish()):
        assert (mine.count, mine.total_ns) == (original.count, original.total_ns)
        assert (mine.min_ns, mine.max_ns) == (original.min_ns, original.max_ns)
    wanted = (0, 1, 25, 50, 90, 99, 100)
    assert given_back.take_percentiles_ns(*wanted) == original.take_percentiles_ns(*wanted)


def test_buckets_are_one_part_in_a_thousand_wide() -> None:
    """By hand: below 2048 each number has its own, from 2048 to 4095 each two, and so on."""
    bucket_of = twin_durations.bucket_of
    assert [bucket_of(ns) for ns in (0, 1, 2047, 2048, 2049, 2050, 4095, 4096, 4099, 4100)] == [
        0,
        1,
        2047,
        2048,
        2048,
        2049,
        3071,
        3072,
        3072,
        3073,
    ]


# Costs

DRAWN = [exponential("one", 300.0), exponential("two", 40.0), exponential("three", 20_000.0)]


@QUICK
@given(st.sampled_from(DRAWN), st.integers(0, (1 << 64) - 1), st.integers(0, 5))
def test_costs_are_sampled_alike(cost: Cost, identity: int, n: int) -> None:
    twin = made_twins.twin_of_cost(cost)
    one, other = Subject(identity), Subject(identity)
    assert [twin.sample(one) for _ in range(n)] == [cost.sample(other) for _ in range(n)]
    assert one.counts == other.counts
    assert twin_costs.sample(twin, identity, n) == cost.sample(other)


def test_a_constant_cost_draws_nothing() -> None:
    subject = Subject(5)
    assert made_twins.twin_of_cost(Cost("constant", 70)).sample(subject) == 70
    assert twin_costs.Cost("made", 80).sample(subject) == 80
    assert not subject.counts


# Runs

SPENT = st.lists(
    st.tuples(st.sampled_from(DRAWN) | st.integers(0, 50).map(lambda ns: Cost("c", ns)), st.sampled_from(list(Stage))),
    max_size=3,
)


@st.composite
def templates(draw: st.DrawFn, whole: bool) -> Template:
    """Costs in the guest, behind the exit and with the mutex held; a front ends with it."""
    items: list[Item] = []

    def spend(mode: Mode) -> None:
        items.extend(Item(Op.SPEND, stage, "f", cost, mode) for cost, stage in draw(SPENT))

    def act(op: Op) -> None:
        items.append(Item(op, Stage.GUEST_RUN, "", None, Mode.ROOT))

    items.append(Item(Op.SPEND, Stage.GUEST_RUN, "out", Cost("c", draw(st.integers(1, 9))), Mode.GUEST))
    spend(Mode.GUEST)
    if draw(st.booleans()):
        act(Op.EXIT)
        spend(Mode.ROOT)
        for _ in range(draw(st.integers(0, 2))):
            act(Op.LOCK)
            spend(Mode.ROOT)
            act(Op.UNLOCK)
            spend(Mode.ROOT)
        if whole:
            act(Op.ENTRY)
            spend(Mode.GUEST)
    return Template(items)


RUNS = st.lists(
    st.tuples(templates(True), st.integers(1, 4)) | st.tuples(templates(False), st.just(1)), min_size=1, max_size=4
).map(lambda parts: [Segment(template, n) for template, n in parts])


def flat(drawn: Any) -> Any:
    return None if drawn is None else drawn.ravel().tolist()


@QUICK
@given(RUNS, st.integers(0, (1 << 64) - 1))
def test_plans_of_drawn_costs(segments: list[Segment], identity: int) -> None:
    run = Run(segments)
    if run.total_ns is not None:
        return
    original, twin = DrawPlan(run), TwinPlan(run)
    one, other = Subject(identity), Subject(identity)
    for _ in range(2):
        drawn, mine = original.draw(one), twin.draw(other)
        assert mine == drawn.tolist()
        assert other.counts == one.counts
    assert twin.parts(mine) == original.parts(drawn)
    stages = [7] * N_STAGES
    assert twin.spent(mine, stages) == twin.spent(mine, None) == original.hold_ns(drawn)
    assert [ns - 7 for ns in stages] == original.stage_sums(drawn)
    userspace, others = twin_durations.Durations(), twin_durations.Durations()
    twin.add_exits(mine, userspace, others)
    exits = original.exit_ns(drawn)
    for found, is_userspace in ((userspace, True), (others, False)):
        expected = exits[original.userspace == is_userspace]
        assert twin.has_exits(is_userspace) == (len(expected) > 0)
        found.finish()
        assert (found.count, found.total_ns) == (len(expected), expected.sum())
        assert (found.min_ns, found.max_ns) == ((expected.min(), expected.max()) if len(expected) else (0, 0))
    assert twin.by_segment(mine) == [flat(part) for part in original.by_segment(drawn)]
    for segment in range(len(segments) + 1):
        assert twin.tail(mine, segment) == original.tail(drawn, segment).tolist()


def place(progress: Any) -> tuple[Any, ...]:
    return (
        progress.segment,
        progress.access,
        progress.item,
        progress.left_ns,
        progress.done,
        progress.at_access,
        progress.subject.counts,
        None if progress.done else (progress.costs(), progress.template),
        progress.parts(),
        progress.remaining_ns(),
    )


@QUICK
@given(RUNS, st.integers(0, (1 << 64) - 1), st.data())
def test_progress(segments: list[Segment], identity: int, data: st.DataObject) -> None:
    original: Any = runs.Progress(Run(segments), Subject(identity))
    twin: Any = twin_runs.Progress(Run(segments), Subject(identity))
    for _ in range(data.draw(st.integers(0, 6))):
        if original.done:
            break
        left = original.remaining_ns()
        for offset in (0, 1, left - 1, left, data.draw(st.integers(0, left))):
            for inclusive in (False, True):
                if offset >= 0 and (offset < left or (offset == left and not inclusive)):
                    assert twin.find(offset, inclusive) == original.find(offset, inclusive)
        step = data.draw(st.sampled_from(["next", "next", "tail", "rest", "given back"]))
        if step == "tail" and original.segment and not original.access:
            original, twin = original.tail(), twin.tail()
        elif step == "rest":
            original, twin = original.begin_rest(), twin.begin_rest()
        else:
            original.next_access(), twin.next_access()
        if step == "given back":
            break
        assert place(twin) == place(original)
    if original.done:
        return
    how = data.draw(st.sampled_from(["give_back", "give_back_from", "give_back_rest"]))
    for progress in (original, twin):
        if how == "give_back_from":
            progress.give_back_from(2)
        elif how == "give_back_rest":
            progress.item = 2
            progress.give_back_rest()
        elif len(progress.run.segments) == 1:
            progress.give_back()
    assert twin.subject.counts == original.subject.counts
    original, twin = original.begin_rest(), twin.begin_rest()
    assert place(twin) == place(original)


@QUICK
@given(templates(True), st.integers(1, 4), st.integers(0, 1 << 40), st.integers(0, (1 << 64) - 1))
def test_places_within_accesses(template: Template, n: int, start: int, identity: int) -> None:
    run = Run([Segment(template, n)])
    for drawn in [None] if run.total_ns is not None else [None, DrawPlan(run).draw(Subject(identity))]:
        table = None if drawn is None else drawn.reshape(n, -1)
        mine = flat(drawn)
        assert twin_runs.starts(template, mine, n, start) == runs.starts(template, table, n, start).tolist()
        for access in range(n):
            assert twin_runs.item_costs(template, mine, access) == runs.item_costs(template, table, access)
        for position in range(len(template.items) + 1):
            assert twin_runs.offsets(template, mine, n, position) == runs.offsets(template, table, n, position).tolist()
        if template.holds:
            begins, ends = runs.holds(template, table, n, start)
            assert twin_runs.holds(template, mine, n, start) == (begins.tolist(), ends.tolist())
    if template.holds:
        other, one = runs.hold_pattern(run.segments), twin_runs.hold_pattern(run.segments)
        assert (one.span_ns, one.area) == (other.span_ns, other.area)
        assert (one.starts_ns, one.ends_ns) == (sorted(other.starts_ns.tolist()), sorted(other.ends_ns.tolist()))


# Back from a run


def give_back_log(log: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the log of a request with stages as such, and drawn costs of many accesses as arrays.

    A compiled run knows no difference between a stage and its number.
    """
    return [_entry(entry) for entry in log]


def _entry(entry: tuple[Any, ...]) -> tuple[Any, ...]:
    what = entry[2]
    if isinstance(what, int):
        return (*entry[:2], Stage(what), *entry[3:])
    if isinstance(what, Run) and len(entry) > 3:
        return (*entry[:3], np.array(entry[3], dtype=np.int64))
    if isinstance(what, Template) and entry[3] is not None:
        drawn = np.array(entry[3], dtype=np.int64).reshape(-1, len(what.variable))
        return (*entry[:3], drawn, *entry[4:])
    return entry


def test_what_a_compiled_run_gives_back_is_of_the_types_that_results_are_made_of() -> None:
    """A bool comes as 0 or 1, a stage as its number, drawn costs as a list."""
    thread: Any = Namespace()
    vcpu: Any = None
    given_back: Any = exits.ExitAccount(thread, vcpu, None)
    times = twin_durations.Durations()
    times.add(400, 2)
    times.finish()
    hand_over.give_back(Namespace(times={("HLT", 1): times}, _whole_runs={}), given_back)
    ((reason, userspace),) = given_back.finish()
    assert (reason, userspace is True, given_back.times["HLT", True].total_ns) == ("HLT", True, 800)

    items = [Item(Op.SPEND, Stage.GUEST_RUN, "f", cost, Mode.ROOT) for cost in (DRAWN[0], DRAWN[1])]
    template = Template(items)
    run = Run([Segment(template, 2)])
    log = [(0, "vcpu0", int(Stage.CPU_WAIT), 5, ""), (5, "vcpu0", template, [1, 2], 1), (8, "vcpu0", run, [3, 4, 5, 6])]
    wait, single, whole = give_back_log(log)
    assert wait[2] is Stage.CPU_WAIT
    assert single[3].tolist() == [[1, 2]]
    assert [part.tolist() for part in by_segment(run, whole[3]) if part is not None] == [[[3, 4], [5, 6]]]


# Whole runs

METHODS = {"Account": account.Account, "ExitAccount": exits.ExitAccount}
"""Classes whose twins replace some methods."""


def put_twins_in(patch: pytest.MonkeyPatch) -> None:
    """Let the model run with the twins, on SimPy; logs and exit times are handed over where results are made."""
    for name, (twins, names) in made_twins.STANDS_FOR.items():
        for each in names:
            if each == "Cost":
                continue
            twin, original = getattr(import_module(twins), each), getattr(import_module(name), each)
            if each in METHODS:
                for method, function in vars(twin).items():
                    if callable(function):
                        patch.setattr(original, method, function, raising=False)
                continue
            for module in [m for n, m in sys.modules.items() if n.startswith("iosim.") and "compiled" not in n]:
                if vars(module).get(each) is original:
                    patch.setattr(module, each, twin)
    finish, row = exits.ExitAccount.finish, Collector._row

    def finish_with_originals(self: exits.ExitAccount) -> Any:
        finish(self)
        if any(isinstance(times, twin_durations.Durations) for times in self.times.values()):
            hand_over.give_back(self, self)
        return self.times

    def row_with_arrays(self: Collector, request: records.Request) -> None:
        if request.log is not None:
            request.log = give_back_log(request.log)
        row(self, request)

    patch.setattr(exits.ExitAccount, "finish", finish_with_originals)
    patch.setattr(Collector, "_row", row_with_arrays)


ROWS = [
    (0, "W", 0, 8),
    (100_000, "R", 64, 16),
    (150_000, "F", 0, 0),
    (2_000_000, "R", 80, 3),
    (2_300_000, "W", 96, 8),
    (2_310_000, "W", 104, 8),
]

SCENARIOS: dict[str, Any] = {
    "pio": {"drives": [{"transfer": "pio", "multiple": 4}], "run": {"warmup": "500us", "slowest": 5}},
    "polling": {"drives": [{"driver": "bare-poll", "transfer": "pio"}], "run": {"slowest": 5}},
    "two vCPUs": {
        "drives": [{"vcpu": 0}, {"vcpu": 1, "transfer": "pio"}],
        "vcpus": 2,
        "irq_vcpu": 0,
        "background": [{"reason": "CPUID", "rate": 20000}],
        "run": {"slowest": 5},
    },
    "ports": {"drives": [{"transfer": "pio"}], "run": {"log": "ports"}},
    "virtio": {
        "drives": [{"interface": "virtio-blk", "aio": "native"}, {}],
        "host": {"cpus": 1},
        "run": {"slowest": 5},
    },
    "old": {"drives": [{"transfer": "pio"}], "qemu": "1.6", "kernel": "3.10", "run": {"slowest": 5}},
}


CASES = [*((name, "drawn") for name in SCENARIOS), ("two vCPUs", "constant"), ("ports", "constant")]


@pytest.mark.parametrize(("name", "costs"), CASES)
def test_a_run_with_twins_has_the_same_tables(name: str, costs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    described = scenario(**SCENARIOS[name])
    profile = constant_profile() if costs == "constant" else drawn_profile(constant=["cpu.vm_exit"])
    expected = simulate(described, ROWS, profile)
    with monkeypatch.context() as patch:
        put_twins_in(patch)
        found = simulate(described, ROWS, profile)
    same(found, expected)
