"""What a request demands of each resource, and which requests go through it."""

from typing import Any

import pytest

from iosim.analytic.demands import Demand, demands
from iosim.analytic.resources import HOLDERS, KINDS, NOT_SERVING, Inventory, kind_of
from iosim.analytic.roles import ROLES, Role
from iosim.model.stages import Stage
from iosim.results.result import Result
from tests.support import Row, scenario, simulate

MS = 1_000_000
ROWS: list[Row] = [(n * MS, "W", 8 * n, 8) for n in range(10)]


def by_name(result: Result) -> dict[str, Demand]:
    return {demand.resource: demand for demand in demands(result)}


VMS: list[dict[str, Any]] = [
    {
        "name": "disk",
        "count": 2,
        "vcpus": 2,
        "drive": [
            {"index": 0, "disk": "pool", "format": "qcow2"},
            {"index": 1, "disk": "sda"},
            {"index": 3, "disk": "pool", "throttling": {"iops_total": 100000}},
            {"interface": "virtio-blk", "disk": "sda", "iothread": "io0"},
            {"interface": "virtio-blk", "disk": "pool", "cache": "writeback"},
        ],
    },
    {"name": "cpus", "drive": [{"disk": "sda"}]},
]
"""VMs that are called as resources are, on disks called pool and sda."""
DISKS = [{"name": "pool", "model": "constant", "service": "90us"}, {"name": "sda", "model": "ssd"}]


@pytest.fixture(scope="module")
def whole() -> Result:
    return simulate(scenario(vms=VMS, disks=DISKS, host={"cpus": 4}), ROWS)


EXPECTED = {
    "disk#0/vcpu1": ("vcpu", [("disk#0", n) for n in range(5)]),
    "disk#1/bql": ("bql", [("disk#1", n) for n in range(5)]),
    "disk#0/main_loop": ("main_loop", [("disk#0", n) for n in (0, 1, 2, 4)]),
    "disk#0/pool": ("pool", [("disk#0", n) for n in (0, 1, 2, 4)]),
    "disk#0/iothread/io0": ("iothread", [("disk#0", 3)]),
    "disk#0/iothread/io0/pool": ("pool", [("disk#0", 3)]),
    "disk#0/channel0": ("channel", [("disk#0", 0), ("disk#0", 1)]),
    "disk#1/channel1": ("channel", [("disk#1", 2)]),
    "disk#0/drive3": ("ring", [("disk#0", 3)]),
    "disk#0/drive0/qcow2": ("qcow2", [("disk#0", 0)]),
    "disk#0/drive2/throttle": ("throttle", [("disk#0", 2)]),
    "disk/pool": ("disk", [("disk#0", 0), ("disk#0", 2), ("disk#0", 4), ("disk#1", 0), ("disk#1", 2), ("disk#1", 4)]),
    "disk/sda": ("disk", [("disk#0", 1), ("disk#0", 3), ("disk#1", 1), ("disk#1", 3), ("cpus", 0)]),
    "cpus/vcpu0": ("vcpu", [("cpus", 0)]),
}
ALL_DRIVES = [(f"disk#{k}", n) for k in (0, 1) for n in range(5)] + [("cpus", 0)]


def test_every_resource_has_its_kind_and_its_requests(whole: Result) -> None:
    found = {
        str(name): (kind_of(str(name), whole.scenario), Inventory(whole.scenario).drives(str(name)))
        for name in whole.resources["resource"]
    }
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    for name in ("cpus", "cpu0", "cpu3", "page_cache"):
        assert found[name] == (name.rstrip("0123456789"), ALL_DRIVES)
    assert {kind for kind, _ in found.values()} == set(KINDS)


def test_holders_are_told_from_what_serves(whole: Result) -> None:
    assert set(KINDS) > {*NOT_SERVING, *HOLDERS}
    assert {demand.kind for demand in demands(whole) if demand.is_holder} == set(HOLDERS)


def test_a_disk_may_have_the_name_of_a_part_of_a_vm_called_disk() -> None:
    described = scenario(vms=[{"name": "disk", "drive": [{}]}])
    assert kind_of("disk/pool", described) == "pool"
    assert kind_of("disk/sda", described) == "disk"


def test_every_stage_has_its_role() -> None:
    assert set(ROLES) == set(Stage)
    waits = {stage.label for stage, role in ROLES.items() if role is Role.WAIT}
    assert waits == {"guest_queue", *(stage.label for stage in Stage if stage.label.endswith("_wait")), "paused"} - {
        "aio_wait",
        "completion_wait",
        "submit_wait",
    }


# One write every millisecond; the disk takes 90 us. All else costs 100 ns per function.
def test_demand_is_busy_time_over_requests() -> None:
    result = simulate(scenario(), ROWS)
    disk = by_name(result)["disk/sda"]
    assert (disk.kind, disk.servers, disk.requests) == ("disk", 1, 10)
    assert disk.demand_ns == disk.least_ns == pytest.approx(90_000)
    assert disk.bound_per_s == disk.limit_per_s == pytest.approx(1e9 / 90_000)
    assert disk.utilisation == pytest.approx(10 * 90_000 / result.summary["end_ns"])


def test_bounds_are_those_of_all_servers() -> None:
    disk = by_name(simulate(scenario(disks=[{"model": "constant", "service": "90us", "servers": 4}]), ROWS))["disk/sda"]
    assert disk.bound_per_s == pytest.approx(4e9 / 90_000)


def test_requests_of_the_warmup_do_not_count() -> None:
    # Those at 0, 1 and 2 ms; the one at 3 ms is done behind the end of the warm-up.
    disk = by_name(simulate(scenario(run={"warmup": "2500us"}), ROWS))["disk/sda"]
    assert disk.requests == 7
    assert disk.demand_ns == pytest.approx(90_000)


def test_a_holder_contains_waits_that_a_request_could_do_without() -> None:
    """Two VMs send at the same instant: one of them waits for the disk, and its channel is held for longer."""
    alone = by_name(simulate(scenario(), ROWS))["web/channel0"]
    result = simulate(scenario(count=2), ROWS)
    second = max((by_name(result)[f"web#{k}/channel0"] for k in (0, 1)), key=lambda demand: demand.demand_ns or 0)
    table = result.requests
    own = table[table["vm"] == second.resource.partition("/")[0]]
    assert second.demand_ns == pytest.approx(float((own["done_ns"] - own["issue_ns"]).mean()))
    assert second.demand_ns is not None
    assert alone.demand_ns is not None
    assert second.demand_ns > alone.demand_ns + 80_000
    assert second.least_ns == alone.least_ns
    # What is left: all but waits and hand-overs from thread to thread.
    waits = ["guest_queue", "aio_wait", "disk_wait", "completion_wait", "irq_delivery"]
    rest = own["latency_ns"] - own[[f"{wait}_ns" for wait in waits]].sum(axis=1)
    assert second.least_ns == pytest.approx(float(rest.mean()))


def test_the_wakeups_of_an_idle_loop_are_not_what_a_request_needs() -> None:
    loop = by_name(simulate(scenario(), ROWS))["web/main_loop"]
    assert loop.demand_ns is not None
    assert loop.least_ns is not None
    assert 0 < loop.least_ns < loop.demand_ns


def test_the_stages_do_not_tell_which_of_several_vcpus_has_worked() -> None:
    found = by_name(simulate(scenario(vcpus=2), ROWS))
    assert (found["web/vcpu0"].least_ns, found["web/vcpu0"].limit_per_s) == (None, None)
    assert by_name(simulate(scenario(), ROWS))["web/vcpu0"].least_ns is not None


def test_a_resource_without_requests_has_no_demand() -> None:
    drives = [{"interface": "virtio-blk", "iothread": True}]
    loop = by_name(simulate(scenario(drives), ROWS))["web/main_loop"]
    assert (loop.requests, loop.demand_ns, loop.bound_per_s, loop.least_ns) == (0, None, None, None)


def test_the_busiest_comes_first_and_what_does_not_serve_is_left_out(whole: Result) -> None:
    found = demands(whole)
    assert [demand.utilisation for demand in found] == sorted((demand.utilisation for demand in found), reverse=True)
    assert {demand.kind for demand in found} == set(KINDS) - set(NOT_SERVING)


def test_no_least_is_above_the_demand(whole: Result) -> None:
    for demand in demands(whole):
        if demand.demand_ns is not None and demand.least_ns is not None:
            assert demand.least_ns <= demand.demand_ns, demand
