"""What differs between two runs: changes whose effect is known to the nanosecond, and pairs found another way."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iosim.compare.comparison import MOST_DRIVES, PER_REQUEST, PERCENTILES, Comparison, Difference, Run, compare
from iosim.compare.functions import Function, n_sampled
from iosim.compare.intervals import Interval
from iosim.compare.pairing import pair
from iosim.model.costs import Cost, Profile
from iosim.model.stages import Stage
from iosim.results.result import Result
from tests.made import US, Request, result, with_functions
from tests.support import STAGES, Row, constant_profile, drawn_profile, scenario, simulate

RUN, DISK, QUEUE = Stage.GUEST_RUN, Stage.DISK_SERVICE, Stage.GUEST_QUEUE
ROWS: list[Row] = [(at * 1_000_000, "W", 8 * at, 8) for at in range(150)]
MIXED: list[Row] = [(at * 1_000_000, "WR"[at % 2], 8 * at, 8) for at in range(150)]


def compared(base: Result, other: Result) -> Comparison:
    return compare(Run("a", "runs/a", base), Run("b", "runs/b", other))


def moved(found: Comparison) -> dict[Stage, float]:
    """The stages that differ."""
    return {stage: difference.value for stage, difference in found.stages.items() if difference.value}


# Known differences


def test_a_run_and_itself_have_no_difference_at_all() -> None:
    run = simulate(scenario([{}, {"interface": "virtio-blk"}]), [ROWS, MIXED], drawn_profile())
    found = compared(run, run)
    every = [found.mean, *found.percentiles.values(), *found.stages.values(), *found.per_request.values()]
    every += [difference for _, difference in (*found.by_operation.values(), *found.by_drive.values())]
    assert len(every) == 1 + 4 + len(Stage) + len(PER_REQUEST) + 2 + 2
    for difference in every:
        assert difference is not None
        assert (difference.value, difference.constant, difference.is_clear) == (0, True, False)
    assert all(difference.value == 0 for difference in found.rates.values())
    assert all(first == other for first, other in found.busy.values())
    assert found.n == found.pairing.base.n_counted == 300
    assert found.pairing.base.alone == found.pairing.other.alone == 0


def with_cost(profile: Profile, key: str, ns: int) -> Profile:
    figure = dataclasses.replace(profile.figures[key], cost=Cost(key, ns))
    return dataclasses.replace(profile, figures=profile.figures | {key: figure})


@pytest.mark.parametrize("profile", [constant_profile(), drawn_profile()], ids=["constant", "drawn"])
def test_a_cost_of_every_request_moves_its_stage_by_as_much(profile: Profile) -> None:
    """Draws are common: with random costs, too, each single pair differs by the change and by nothing else."""
    before, after = (with_cost(profile, "worker.pwrite_enter", ns) for ns in (100, 1100))
    found = compared(simulate(scenario(), ROWS, before), simulate(scenario(), ROWS, after))
    assert moved(found) == {Stage.AIO_WORKER: 1000}
    functions = {key: d.value for key, d in found.functions.items() if d.value}
    assert functions == {Function("handle_aiocb_rw_linear", "aio_worker"): pytest.approx(1000)}
    assert found.mean is not None
    assert found.mean.value == pytest.approx(1000)
    assert (found.mean.constant, found.mean.interval) == (True, None)
    assert found.mean.is_clear
    for percentile, difference in found.percentiles.items():
        assert difference.value == pytest.approx(1000), percentile
        assert difference.constant


def test_a_cost_of_half_of_the_requests_moves_the_mean_by_half() -> None:
    """Only writes have it. Reads and writes take turns, so every block has as many of each, give or take one."""
    before, after = (constant_profile(worker__pwrite_enter=ns) for ns in (100, 1100))
    found = compared(simulate(scenario(), MIXED, before), simulate(scenario(), MIXED, after))
    assert moved(found) == {Stage.AIO_WORKER: 500}
    assert {name: (n, d.value, d.constant) for name, (n, d) in found.by_operation.items()} == {
        "reads": (75, 0, True),
        "writes": (75, 1000, True),
    }
    assert found.mean is not None
    assert not found.mean.constant
    assert found.mean.interval is not None
    assert 500 in found.mean.interval
    assert found.mean.interval.high - found.mean.interval.low < 100


def test_a_slower_disk_moves_the_service_alone() -> None:
    runs = [
        simulate(scenario(disks=[{"model": "constant", "service": service}]), ROWS, drawn_profile())
        for service in ("90us", "100us")
    ]
    found = compared(*runs)
    assert moved(found) == {Stage.DISK_SERVICE: 10_000}
    assert found.stages[Stage.DISK_SERVICE].ratio == pytest.approx(1 / 9)
    # 150 services of 90 us and of 100 us, from the first arrival to the end of the last request.
    first, other = found.busy["disk/sda"]
    assert first == pytest.approx(150 * 90_000 / runs[0].summary["end_ns"])
    assert other == pytest.approx(150 * 100_000 / runs[1].summary["end_ns"])


def test_another_seed_has_pairs_of_other_draws() -> None:
    runs = [simulate(scenario(run={"seed": seed}), ROWS, drawn_profile()) for seed in (1, 2)]
    found = compared(*runs)
    assert not found.pairing.same_seed
    assert found.pairing.is_paired
    assert found.mean is not None
    assert found.mean.value
    assert found.mean.interval is not None
    assert 0 in found.mean.interval


# Every figure against the tables


def test_figures_are_those_of_the_pairs() -> None:
    """The same from one merged table."""
    drives: list[dict[str, Any]] = [{}, {"index": 2}]
    slow = simulate(scenario(drives, run={"warmup": "20ms"}), [ROWS, MIXED], drawn_profile())
    fast = simulate(scenario(drives, run={"duration": "140ms"}), [ROWS, MIXED], drawn_profile(200))
    found = compared(slow, fast)
    ok = [run.requests[(run.requests["status"] == "ok") & ~run.requests["warmup"]] for run in (slow, fast)]
    table = ok[0].merge(ok[1], on=["vm", "drive", "request"], suffixes=("_a", "_b"))
    assert 0 < len(table) < min(len(ok[0]), len(ok[1]))
    assert found.n == len(table)
    assert (found.pairing.base.alone, found.pairing.other.alone) == (len(ok[0]) - len(table), len(ok[1]) - len(table))
    columns = {f"{stage.label}_ns": difference for stage, difference in found.stages.items()}
    assert list(columns) == STAGES
    assert found.mean is not None
    for name, difference in (columns | found.per_request | {"latency_ns": found.mean}).items():
        assert difference.base == pytest.approx(table[f"{name}_a"].mean())
        assert difference.other == pytest.approx(table[f"{name}_b"].mean())
    assert list(found.percentiles) == ["50", "90", "95", "99"]
    for percentile, difference in found.percentiles.items():
        p = float(percentile) / 100
        assert difference.base == pytest.approx(table["latency_ns_a"].quantile(p))
        assert difference.other == pytest.approx(table["latency_ns_b"].quantile(p))
    for name, op in (("reads", "R"), ("writes", "W")):
        n, difference = found.by_operation[name]
        chosen = table[table["op_a"] == op]
        assert n == len(chosen)
        assert difference.value == pytest.approx((chosen["latency_ns_b"] - chosen["latency_ns_a"]).mean())
    for drive in (0, 1):
        n, difference = found.by_drive["web", drive]
        chosen = table[table["drive"] == drive]
        assert n == len(chosen)
        assert difference.base == pytest.approx(chosen["latency_ns_a"].mean())
    assert sum(d.value for d in found.stages.values()) == pytest.approx(found.mean.value)
    assert found.rates["requests/s"].base == pytest.approx(len(ok[0]) / (slow.summary["end_ns"] - 20e6) * 1e9)
    assert found.rates["MB/s"].other == pytest.approx(len(ok[1]) * 4096e-6 / 0.14)


def test_functions_add_up_to_the_stages() -> None:
    """Of 80 requests every one is looked at, so the split of each stage is exact."""
    drives: list[dict[str, Any]] = [{}, {"index": 2}]
    runs = [simulate(scenario(drives), [ROWS[:40], MIXED[:40]], drawn_profile(mean)) for mean in (300, 200)]
    found = compared(*runs)
    for stage, difference in found.stages.items():
        own = [d for key, d in found.functions.items() if key.stage == stage.label]
        assert sum(d.base for d in own) == pytest.approx(difference.base)
        assert sum(d.other for d in own) == pytest.approx(difference.other)
    assert n_sampled(found.pairing.base) is None


def test_functions_are_of_the_drives_that_have_pairs() -> None:
    """The second drive has another trace: its 30 us in the guest do not count, in neither run."""

    def two(us: int, checksum: str) -> Result:
        rows = [Request(at, {RUN: 30 if at % 2 else us}, drive=at % 2) for at in range(8)]
        return with_traces(with_functions(result(rows, scenario([{}, {}]))), {1: checksum})

    found = compared(two(10, "old"), two(15, "new"))
    assert found.functions == {Function("in_guest_run", "guest_run"): Difference(10 * US, 15 * US)}
    alone = with_functions(result([Request(at, {RUN: 14}, vm="db") for at in range(3)]))
    unpaired = compared(two(10, "old"), alone)
    assert unpaired.functions == {Function("in_guest_run", "guest_run"): Difference(20 * US, 14 * US)}


def test_functions_of_many_requests_are_of_a_sample() -> None:
    rows: list[Row] = [(at * 200_000, "W", 8 * at, 8) for at in range(1500)]
    run = simulate(scenario(), rows)
    side = pair(run, run).base
    n = n_sampled(side)
    assert n is not None
    assert 900 < n < 1100
    # The sum of each stage is exact all the same.
    found = compared(run, run)
    for stage, difference in found.stages.items():
        own = [d.base for key, d in found.functions.items() if key.stage == stage.label]
        assert sum(own) == pytest.approx(difference.base)


def test_pairs_are_in_the_order_of_arrival_in_the_base() -> None:
    drives: list[dict[str, Any]] = [{}, {"index": 2}]
    base = simulate(scenario(drives), [ROWS, MIXED])
    pairing = pair(base, simulate(scenario(drives, disks=[{"model": "constant", "service": "5ms"}]), [ROWS, MIXED]))
    arrivals = pairing.base.column("arrival_ns")
    assert (np.diff(arrivals) >= 0).all()
    for name in ("vm", "drive", "request"):
        assert list(pairing.base.column(name)) == list(pairing.other.column(name))


def test_only_resolved_percentiles_are_compared() -> None:
    for n, expected in ((1, []), (2, ["50"]), (10, ["50", "90"]), (1000, list(PERCENTILES))):
        made = result([Request(at, {RUN: 10 + at}) for at in range(n)])
        assert list(compared(made, made).percentiles) == expected


def test_a_difference_is_clear_if_its_interval_leaves_out_zero() -> None:
    assert Difference(5, 7, Interval(1, 3)).is_clear
    assert not Difference(5, 7, Interval(-1, 5)).is_clear
    assert not Difference(5, 7).is_clear
    assert Difference(5, 7, constant=True).is_clear
    assert not Difference(5, 5, constant=True).is_clear
    assert (Difference(0, 7).ratio, Difference(4, 5).ratio) == (None, 0.25)


# Pairs

names = st.sampled_from(["web", "db#0", "db#1"])
keys = st.lists(
    st.tuples(names, st.integers(0, 2), st.integers(0, 20), st.booleans()), unique_by=lambda k: k[:3], max_size=25
)


def keyed(found: list[tuple[str, int, int, bool]]) -> Result:
    """A result with these requests, some of which failed."""
    rows = [
        Request(at, {RUN: 10}, status="ok" if ok else "error", vm=vm, drive=d)
        for at, (vm, d, _, ok) in enumerate(found)
    ]
    made = result(rows or [Request(0, {RUN: 10}, status="unfinished")], end_us=100)
    if found:
        made.requests["request"] = np.array([number for _, _, number, _ in found])
    return made


@settings(max_examples=15)
@given(keys, keys)
def test_pairs_are_the_requests_that_count_in_both(
    first: list[tuple[str, int, int, bool]], second: list[tuple[str, int, int, bool]]
) -> None:
    runs = [keyed(first), keyed(second)]
    pairing = pair(*runs)
    good = [{key[:3] for key in keys if key[3]} for keys in (first, second)]
    both = good[0] & good[1]
    assert pairing.is_paired == bool(both)
    for side, own in zip((pairing.base, pairing.other), good, strict=True):
        seen = list(zip(*(side.column(name) for name in ("vm", "drive", "request")), strict=True))
        assert len(set(seen)) == len(seen)
        assert set(seen) == (both or own)
        assert side.alone == (len(own) - len(both) if both else 0)
        assert side.n_counted == len(own)


def with_traces(run: Result, checksums: dict[int, str]) -> Result:
    traces = [
        {"vm": vm.name, "drive": drive, "trace": "test.csv", "sha256": checksums.get(drive, "same"), "requests": 1}
        for vm in run.scenario.vm
        for drive in range(len(vm.drive))
    ]
    return dataclasses.replace(run, summary=run.summary | {"traces": traces})


def clones(n: int, checksums: dict[int, str]) -> Result:
    rows = [Request(at, {RUN: 10}, vm=f"web#{at // 2}", drive=at % 2) for at in range(2 * n)]
    described = scenario(vms=[{"name": "web", "count": n, "drive": [{}, {}]}])
    made = result(rows, described)
    made.requests["request"] = 0
    return with_traces(made, checksums)


def test_drives_with_another_trace_are_in_no_pair() -> None:
    pairing = pair(clones(3, {1: "old"}), clones(3, {1: "new"}))
    assert pairing.is_paired
    assert pairing.changed == [("web", 1)]
    assert list(zip(pairing.base.column("vm"), pairing.base.column("drive"), strict=True)) == [
        ("web#0", 0), ("web#1", 0), ("web#2", 0)
    ]  # fmt: skip
    assert pairing.base.alone == pairing.other.alone == 3


def test_without_a_pair_each_run_is_taken_whole() -> None:
    pairing = pair(clones(3, {0: "old", 1: "old"}), clones(2, {0: "new", 1: "new"}))
    assert not pairing.is_paired
    assert pairing.changed == [("web", 0), ("web", 1)]
    assert (len(pairing.base.rows), len(pairing.other.rows)) == (6, 4)
    assert pairing.base.alone == pairing.other.alone == 0


def test_clones_of_one_run_only_are_named() -> None:
    pairing = pair(clones(2, {}), clones(4, {}))
    assert (pairing.only_base, pairing.only_other) == ([], ["web#2", "web#3"])
    assert (len(pairing.base.rows), pairing.base.alone, pairing.other.alone) == (4, 0, 4)


def test_unpaired_runs_have_an_interval_of_their_own() -> None:
    """Two independent runs of 200 requests, 100 us and 150 us on average: Welch's t of ten blocks or more each."""
    chance = np.random.default_rng(1)
    runs = [
        with_traces(
            result([Request(at * 1000, {RUN: int(us)}) for at, us in enumerate(chance.normal(mean, 10, 200))]),
            {0: name},
        )
        for name, mean in (("old", 100), ("new", 150))
    ]
    found = compared(*runs)
    assert not found.pairing.is_paired
    assert found.mean is not None
    assert found.mean.interval is not None
    assert 50 * US in found.mean.interval
    # Ten standard deviations of a mean of 200, 10 us / sqrt(200), times sqrt(2) and 1.96 on either side.
    assert found.mean.interval.high - found.mean.interval.low == pytest.approx(2 * 1.96 * 10 * US / 10, rel=0.35)
    assert not found.mean.constant
    assert set(found.percentiles) == {"50", "90", "95", "99"}
    assert found.percentiles["50"].interval is not None
    assert 50 * US in found.percentiles["50"].interval


# Nothing to compare, and a lot


def test_a_run_in_which_nothing_counts_has_nothing_to_compare() -> None:
    full = result([Request(0, {RUN: 10})], resources=[("web/bql", 1, 5)])
    empty = result([Request(0, {RUN: 10}, status="unfinished")], resources=[("web/bql", 1, 8)])
    for pair_of_runs in ((full, empty), (empty, full), (empty, empty)):
        found = compared(*pair_of_runs)
        assert found.mean is None
        assert (found.percentiles, found.stages, found.by_drive) == ({}, {}, {})
        assert set(found.rates) == {"requests/s", "MB/s"}
        assert set(found.busy) == {"web/bql"}


def test_of_many_drives_those_that_differ_most_are_kept() -> None:
    def many(slow: int) -> Result:
        rows = [Request(at, {RUN: 10 + slow * at}, vm=f"web#{at}") for at in range(MOST_DRIVES + 50)]
        return result(rows, scenario(vms=[{"name": "web", "count": MOST_DRIVES + 50, "drive": [{}]}]))

    found = compared(many(0), many(1))
    assert found.n_drives == MOST_DRIVES + 50
    assert set(found.by_drive) == {(f"web#{at}", 0) for at in range(50, MOST_DRIVES + 50)}


def test_resources_of_one_run_only_and_the_busiest_first() -> None:
    base = result([Request(0, {RUN: 100})], resources=[("web/bql", 1, 10), ("disk/a", 2, 40)])
    other = result([Request(0, {RUN: 100})], resources=[("web/bql", 1, 50), ("disk/b", 1, 30)])
    assert compared(base, other).busy == {"web/bql": (0.1, 0.5), "disk/b": (None, 0.3), "disk/a": (0.2, None)}


def test_tables_are_left_as_they_are() -> None:
    run = simulate(scenario(), ROWS)
    before = {name: table.copy() for name, table in run.tables().items()}
    compared(run, simulate(scenario(), ROWS[:100]))
    for name, table in run.tables().items():
        pd.testing.assert_frame_equal(table, before[name])
