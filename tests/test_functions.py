"""The table of functions: exact sums by stage, scaled from a sample that identity decides, the same in both modes."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iosim.model.scenario import Scenario
from iosim.results import sampling
from iosim.results.functions import apportioned
from iosim.results.result import Result
from iosim.results.summary import counted
from tests.support import STAGES, Row, constant_profile, drawn_profile, same, scenario, simulate

MS = 1_000_000


def writes(n: int, gap_ns: int = 2 * MS, first: int = MS) -> list[Row]:
    return [(first + k * gap_ns, "W", 8 * k, 8) for k in range(n)]


def by_stage(result: Result) -> dict[tuple[str, int, str, str], int]:
    """Sum over the stacks of each VM, drive, operation and stage."""
    sums: dict[tuple[str, int, str, str], int] = {}
    columns = ["vm", "drive", "op", "stage", "total_ns"]
    for vm, drive, op, stage, ns in result.functions[columns].values.tolist():
        sums[vm, drive, op, stage] = sums.get((vm, drive, op, stage), 0) + ns
    return sums


def expected(result: Result) -> dict[tuple[str, int, str, str], int]:
    """The same from the requests."""
    sums: dict[tuple[str, int, str, str], int] = {}
    for row in counted(result.requests)[["vm", "drive", "op", *STAGES]].values.tolist():
        for name, ns in zip(STAGES, row[3:], strict=True):
            if ns:
                key = (*row[:3], name.removesuffix("_ns"))
                sums[key] = sums.get(key, 0) + ns
    return sums


def few_sampled(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setattr(sampling, "SAMPLE", n)
    monkeypatch.setattr(sampling, "AT_LEAST", 1)


# One flush that has something to do, costs of 100 ns: its own chain by hand. submit_return and what follows carry
# nothing; the interrupt wakes the halted vCPU.
def test_flush_by_hand() -> None:
    rows: list[Row] = [(MS, "W", 0, 8), (5 * MS, "F", 0, 0)]
    table = simulate(scenario(disks=[{"model": "constant", "service": "90us", "flush": "500us"}]), rows).functions
    flush = table[table["op"] == "F"]
    assert set(flush["sampled"]) == {1}
    found = {
        (carrier, stack.rpartition(";")[2]): ns
        for carrier, stack, ns in flush[["carrier", "stack", "total_ns"]].values.tolist()
    }
    assert found["host disk", "submit_bio"] == 500_000
    assert found["worker", "worker_thread"] == found["worker", "qemu_bh_schedule"] == 100
    assert found["worker", "handle_aiocb_flush"] == 200  # in and out
    assert found["main loop", "thread_pool_completion_bh"] == found["main loop", "ide_flush_cb"] == 100
    assert found["main loop", "kvm_vm_ioctl_irq_line"] == 100  # the second ioctl carries nothing
    assert found["vCPU thread", "ide_flush_cache"] == found["vCPU thread", "bdrv_co_flush"] == 100
    assert found["waits", "qemu_poll_ns"] == 200  # main_loop.wake, main_loop.dispatch
    stacks = dict(zip(flush["stack"].str.rpartition(";")[2], flush["stack"], strict=True))
    coroutine = ";aio_co_wake;qemu_coroutine_enter;blk_aio_flush_entry"
    assert stacks["ide_flush_cb"].endswith(f"{coroutine};blk_aio_complete;ide_flush_cb")


# All that a run has, in one table: interfaces, an error, a warm-up, an end that comes too early, several vCPUs.
MIXED: dict[str, Any] = {
    "drives": [
        {"transfer": "pio", "index": 0},
        {"index": 2, "cache": "directsync"},
        {"interface": "virtio-blk"},
        {"interface": "virtio-blk", "iothread": True, "aio": "io_uring", "cache": "writeback"},
    ],
    "vcpus": 2,
    "host": {"cpus": 2},
    "run": {"warmup": "2ms", "duration": "6ms"},
}
MIXED_ROWS: list[Row] = [
    (k * MS // 2, op, 0 if op == "F" else 8 * k, 0 if op == "F" else 8) for k, op in enumerate("WWRF" * 3)
]


@pytest.mark.parametrize(("sample", "drawn"), [(1000, False), (1000, True), (12, True), (0, False)])
def test_stages_add_up_to_those_of_the_counted_requests(
    monkeypatch: pytest.MonkeyPatch, sample: int, drawn: bool
) -> None:
    few_sampled(monkeypatch, sample)
    profile = drawn_profile(40) if drawn else constant_profile()
    results = []
    for exact in (False, True):
        described = {**MIXED, "run": {**MIXED["run"], "exact_exits": exact}}
        results.append(simulate(scenario(**described), MIXED_ROWS, profile))
        assert by_stage(results[-1]) == expected(results[-1])
    same(*results)
    assert set(results[0].requests["status"]) == {"ok", "unfinished"}
    everything = (counted(results[0].requests)["latency_ns"] > 0).sum()  # without write cache a flush takes no time
    groups = results[0].functions.drop_duplicates(["vm", "drive", "op"])["sampled"].sum()
    assert groups == everything if sample == 1000 else groups < everything
    assert (results[0].functions["carrier"] == "not sampled").all() == (sample == 0)


def test_rows_of_what_was_not_sampled_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    few_sampled(monkeypatch, 0)
    table = simulate(scenario(), writes(3)).functions
    assert set(table["carrier"]) == {"not sampled"}
    assert set(table["sampled"]) == {0}
    assert (table["stack"] == "[" + table["stage"] + "]").all()


# Constant costs: each sampled write is like every other, so scaling gives what all of them spend.
def test_scaled_sample_of_equal_requests_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first one finds a pool without threads; it is part of the warm-up.
    described = scenario(run={"warmup": "2ms"}, disks=[{"model": "constant", "service": "90us"}])
    everything = simulate(described, writes(200)).functions
    few_sampled(monkeypatch, 20)
    some = simulate(described, writes(200)).functions
    assert set(everything["sampled"]) == {199}
    n = some["sampled"].unique().item()
    assert 5 < n < 50
    pd.testing.assert_frame_equal(some.drop(columns="sampled"), everything.drop(columns="sampled"))


# A request is sampled or not by its identity: other requests before it, another drive, other run options do not matter.
def sampled_times(monkeypatch: pytest.MonkeyPatch, described: Scenario, rows: Any) -> set[tuple[str, int, int]]:
    found = set()
    add = sampling.FunctionSums.add

    def noted(self: sampling.FunctionSums, request: Any) -> None:
        found.add((request.drive.vm, request.drive.index, request.number))
        add(self, request)

    with monkeypatch.context() as patch:
        patch.setattr(sampling.FunctionSums, "add", noted)
        simulate(described, rows)
    return found


def test_identity_decides_who_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    few_sampled(monkeypatch, 30)
    alone = sampled_times(monkeypatch, scenario(), writes(100))
    assert 10 < len(alone) < 60
    assert sampled_times(monkeypatch, scenario(run={"exact_exits": True}), writes(100)) == alone
    assert sampled_times(monkeypatch, scenario(run={"slowest": 0}), writes(100)) == alone
    # Served in another order, by a slow disk with many servers.
    slow = {"model": "constant", "service": "9ms", "servers": 2}
    drives = [{"index": 0}, {"index": 2}]
    few_sampled(monkeypatch, 60)
    both = sampled_times(monkeypatch, scenario(drives, disks=[slow]), writes(100))
    assert {place for place in both if place[1] == 0} == alone
    assert {place for place in both if place[1] == 1} != {(vm, 1, number) for vm, _, number in alone}
    assert sampled_times(monkeypatch, scenario(run={"seed": 2}), writes(100)) != alone


@pytest.mark.parametrize("run", [{"slowest": 0}, {"slowest": 1}, {"window": {"start": "0s", "end": "1s"}}])
def test_table_does_not_depend_on_which_spans_are_kept(run: dict[str, Any]) -> None:
    rows = [(MS, op, 0 if op == "F" else 8 * k, 0 if op == "F" else 8) for k, op in enumerate("WWWWRRF" * 3)]
    drives = [{"interface": "virtio-blk"}, {}]
    usual = simulate(scenario(drives), rows)
    other = simulate(scenario(drives, run=run), rows)
    pd.testing.assert_frame_equal(usual.functions, other.functions, check_exact=True)
    assert len(other.spans) == 0 if run == {"slowest": 0} else len(other.spans) > 0


def test_merged_requests_have_the_functions_of_their_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Row] = [(MS, "W", 8 * k, 8) for k in range(8)]
    drives = [{"interface": "virtio-blk"}]
    few_sampled(monkeypatch, 4)
    result = simulate(scenario(drives, run={"slowest": 0}), rows)
    assert by_stage(result) == expected(result)
    disk = result.functions[result.functions["carrier"] == "host disk"]
    assert disk["total_ns"].sum() == result.requests[["disk_wait_ns", "disk_service_ns"]].to_numpy().sum()


def test_interrupted_function_stays_where_it_is() -> None:
    """Two vCPUs on one CPU, in slices of 1 us: what is preempted in the block layer goes on at the same place."""
    described = scenario([{"index": 0}, {"index": 2, "vcpu": 1}], vcpus=2, host={"cpus": 1, "slice": "1us"})
    profile = constant_profile(qemu__bdrv_co_pwritev=5_000)
    result = simulate(described, writes(4), profile)
    assert result.requests["cpu_wait_ns"].sum() > 0
    nodes = result.functions[result.functions["stack"].str.endswith(";bdrv_co_pwritev_part")]
    # Each write passes the format node and, below it, the file's.
    assert sorted(nodes["stack"].str.count(";bdrv_co_pwritev_part")) == [1, 1, 2, 2]
    assert set(nodes["total_ns"]) == {4 * 5_000}


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=8), st.integers(0, 10**15))
def test_apportioned_parts_add_up_and_keep_their_proportions(parts: list[int], total: int) -> None:
    parts[0] += 1
    shares = apportioned(parts, total)
    assert sum(shares) == total
    for part, share in zip(parts, shares, strict=True):
        assert abs(share * sum(parts) - part * total) < sum(parts)


@pytest.mark.parametrize(
    ("parts", "total", "shares"),
    [([1, 2], 3, [1, 2]), ([1, 1, 1], 10, [4, 3, 3]), ([5, 3, 2], 7, [4, 2, 1]), ([7], 10**17 + 1, [10**17 + 1])],
)
def test_apportioned_by_hand(parts: list[int], total: int, shares: list[int]) -> None:
    assert apportioned(parts, total) == shares


def test_run_without_counted_requests_has_an_empty_table() -> None:
    table = simulate(scenario(run={"warmup": "1s"}), writes(2)).functions
    assert len(table) == 0
    assert table["total_ns"].dtype == np.int64
