"""Tables of several disks: which disk holds which image, and that each is a disk of its own."""

from typing import Any

import pytest

from iosim.analytic import laws
from iosim.analytic.bounds import bounds
from iosim.analytic.demands import demands
from iosim.analytic.estimate import estimate
from iosim.analytic.scenario_network import network_of
from iosim.model.clones import disks_of_drives
from iosim.model.errors import ScenarioError
from iosim.scenario_file import check
from iosim.study.metrics import measure
from tests.support import Row, same, scenario, simulate

BURST: list[Row] = [(1000 * k, "W", 64 * k, 8) for k in range(6)]
"""Six writes at once, for a disk of 90 us."""
DISKS = ({"name": "sda", "model": "constant", "service": "90us", "count": 2},)


def test_images_go_to_the_disks_of_a_table_in_turn() -> None:
    two = {"name": "fast", "model": "constant", "service": "10us", "count": 2}
    vms: list[dict[str, Any]] = [
        {"name": "a", "count": 2, "drive": [{"disk": "sda"}, {"disk": "fast", "index": 2}]},
        {"name": "b", "drive": [{"disk": "fast"}, {"disk": "fast"}, {"disk": "sda"}]},
    ]
    described = scenario(disks=({**DISKS[0], "count": 3}, two), vms=vms)
    assert disks_of_drives(described) == {
        ("a#0", 0): "sda#0",
        ("a#0", 1): "fast#0",
        ("a#1", 0): "sda#1",
        ("a#1", 1): "fast#1",
        ("b", 0): "fast#0",
        ("b", 1): "fast#1",
        ("b", 2): "sda#2",
    }


def test_a_single_disk_keeps_its_name() -> None:
    described = scenario(count=2)
    assert set(disks_of_drives(described).values()) == {"sda"}


def test_vms_on_disks_of_their_own_do_not_wait_for_each_other() -> None:
    alone = simulate(scenario([{"interface": "virtio-blk", "request_merging": False}]), BURST)
    two = simulate(scenario([{"interface": "virtio-blk", "request_merging": False}], disks=DISKS, count=2), BURST)
    for vm in ("web#0", "web#1"):
        own = two.requests[two.requests["vm"] == vm]
        assert own["latency_ns"].tolist() == alone.requests["latency_ns"].tolist()
    assert alone.requests["disk_wait_ns"].sum() > 0
    busy = two.resources.set_index("resource")["busy_ns"]
    assert busy["disk/sda#0"] == busy["disk/sda#1"] == 6 * 90_000


def test_three_vms_on_two_disks_share_the_first() -> None:
    result = simulate(scenario(disks=DISKS, count=3), BURST)
    busy = result.resources.set_index("resource")["busy_ns"]
    assert (busy["disk/sda#0"], busy["disk/sda#1"]) == (12 * 90_000, 6 * 90_000)
    assert laws.check(result) == []


@pytest.mark.parametrize("drive", [{}, {"cache": "writeback"}, {"format": "qcow2", "backing": "1MiB"}])
def test_coalesced_and_exact_runs_agree(drive: dict[str, object]) -> None:
    runs = [simulate(scenario([drive], DISKS, count=3, run={"exact_exits": exact}), BURST) for exact in (False, True)]
    same(*runs)


def test_capacity_is_that_of_each_disk() -> None:
    disks = ({**DISKS[0], "capacity": "512KiB"},)  # 1024 sectors; an image has 328
    simulate(scenario(disks=disks, count=6), BURST)
    with pytest.raises(ScenarioError, match=r"^host\.disk\.sda#0: has 1024 sectors, the images on it need 1312$"):
        simulate(scenario(disks=disks, count=7), BURST)


def test_metrics_are_of_the_disks_of_a_table_together() -> None:
    result = simulate(scenario(disks=DISKS, count=3), BURST)
    found = {(row.metric, row.of): row.value for row in measure(result)}
    each = result.resources.set_index("resource")["utilisation"]
    both = [each["disk/sda#0"], each["disk/sda#1"]]
    assert found["utilisation", "disk/sda"] == pytest.approx(sum(both) / 2)
    assert found["utilisation_max", "disk/sda"] == max(both)


def test_demands_and_bounds_know_the_disks() -> None:
    one, two = (
        simulate(scenario(disks=({**DISKS[0], "count": count},), count=4, offset="100us"), BURST) for count in (1, 2)
    )
    (demand,) = (row for row in demands(two) if row.resource == "disk/sda#1")
    assert (demand.kind, demand.requests, demand.demand_ns) == ("disk", 12, 90_000)
    networks = [network_of(result).scaled({"web": 1000}) for result in (one, two)]
    assert [bounds(network).throughput_per_s for network in networks] == pytest.approx([1e9 / 90_000, 2e9 / 90_000])


def test_the_estimate_of_two_disks_is_that_of_two_queues_with_half_the_load_each() -> None:
    rows: list[Row] = [(1_000_000 * k, "W", 64 * k, 8) for k in range(20)]
    drive = {"interface": "virtio-blk", "aio": "native", "request_merging": False}
    one, two = (
        network_of(simulate(scenario([drive], ({**DISKS[0], "count": count},), count=count, offset="100us"), rows))
        for count in (1, 2)
    )
    single, double = (estimate(network.scaled({"web": 3 * n})) for n, network in ((1, one), (2, two)))
    assert double.utilisation["disk/sda#0"] == pytest.approx(single.utilisation["disk/sda"])
    assert double.response_ns == pytest.approx(single.response_ns, rel=1e-3)


@pytest.mark.parametrize(
    ("disks", "message"),
    [
        ([{"count": 0}], "host.disk.sda.count must be at least 1, got 0"),
        ([{"count": 1001}], "host.disk.sda.count must be at most 1000, got 1001"),
        (
            [{"count": 600}, {"count": 401, "name": "sdb"}],
            "host.disk must be at most 1000 disks, their counts together, got 1001",
        ),
    ],
)
def test_wrong_counts_are_refused(disks: list[dict[str, object]], message: str) -> None:
    tables = [{"name": "sda", "model": "constant", "service": "90us", **disk} for disk in disks]
    vm = {"name": "web", "drive": [{"trace": "t.csv", "disk": "sda"}]}
    with pytest.raises(ScenarioError) as error:
        check({"host": {"disk": tables}, "vm": [vm]}, "file")
    assert str(error.value) == f"file: {message}"
