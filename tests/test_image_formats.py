"""Formats and limits on the shipped ext4 trace: what costs more than what."""

from functools import cache
from pathlib import Path

import iosim
from iosim.results.result import Result
from tests.support import check

SCENARIO = Path(__file__).parents[1] / "scenarios" / "linux-ext4.toml"
QCOW2 = "vm.drive.format='qcow2'"
OLD = "vm.qemu='1.6'"
NEW = "vm.qemu='7.2'"


@cache
def run(*changes: str) -> Result:
    result = iosim.simulate(iosim.load(SCENARIO, ["run.slowest=1", *changes]))
    check(result)
    return result


def mean(op: str, *changes: str) -> float:
    requests = run(*changes).requests
    return float(requests.loc[requests["op"] == op, "latency_ns"].mean())


def test_each_guarantee_of_the_metadata_costs_writes_and_flushes() -> None:
    for op in "WF":
        raw = mean(op, NEW)
        full = mean(op, NEW, QCOW2, "vm.drive.preallocation='metadata'")
        lazy = mean(op, NEW, QCOW2, "vm.drive.lazy_refcounts=true")
        empty = mean(op, NEW, QCOW2)
        assert raw <= full <= 1.01 * raw
        assert 1.1 * raw < lazy < empty


def test_an_empty_image_reads_what_was_never_written_for_nothing() -> None:
    assert mean("R", NEW, QCOW2) < mean("R", NEW) <= mean("R", NEW, QCOW2, "vm.drive.backing='8GiB'")


def test_copy_on_write_from_a_backing_file_costs_reads() -> None:
    for version in (OLD, NEW):
        assert mean("W", version, QCOW2, "vm.drive.backing='8GiB'") > mean("W", version, QCOW2)


def test_1_6_pays_for_copy_on_write_and_for_each_cache_it_flushes() -> None:
    """Its first writes are three, and a guest's flush is three flushes of the file, even of a preallocated image."""
    assert mean("W", OLD, QCOW2) > 2 * mean("W", NEW, QCOW2)
    full = (QCOW2, "vm.drive.preallocation='metadata'")
    assert mean("F", OLD, *full) > 3 * mean("F", OLD)
    assert mean("F", NEW, *full) < 1.01 * mean("F", NEW)


def test_a_tighter_limit_never_makes_the_trace_faster() -> None:
    for version in (OLD, NEW):
        means = [
            run(version, f"vm.drive.throttling={{iops_total={limit}}}").requests["latency_ns"].mean()
            for limit in (20, 50, 1000)
        ]
        free = run(version).requests["latency_ns"].mean()
        assert means[0] > means[1] > 1.01 * means[2]
        assert means[2] >= free


def test_a_limit_holds_over_the_whole_trace() -> None:
    for version, burst in ((OLD, 0.2), (NEW, 0.1)):
        requests = run(version, "vm.drive.throttling={iops_total=20}").requests
        moved = requests[requests["op"] != "F"].sort_values("done_ns")
        assert len(moved) > 100
        for n, done_ns in enumerate(moved["done_ns"], 1):
            assert n <= 20 * (done_ns / 1e9 + burst) + 1
