"""Asymptotic bounds and saturation, worked out by hand, and beside the exact solution of random networks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iosim.analytic.bounds import bounds, knees
from iosim.analytic.estimate import EXACT, estimate
from iosim.analytic.network import Centre, Customers, Gate, Network

S = 1_000_000_000
"""A second in ns."""


def interactive(customers: int, cpu_servers: int = 1) -> Network:
    """The example of Lazowska et al., chapters 5 and 6: D = 4.055 s, the largest 2.1 s; think time 15 s."""
    demands = {"cpu": 0.605 * S, "disk 1": 2.1 * S, "disk 2": 1.35 * S}
    centres = [Centre("cpu", cpu_servers), Centre("disk 1", 1), Centre("disk 2", 1)]
    return Network(tuple(centres), (Customers("users", "vm", demands, replicas=customers, think_ns=15 * S),))


def test_light_load_of_closed_customers() -> None:
    found = bounds(interactive(3))
    assert found.throughput_per_s == pytest.approx(3 / (4.055 + 15))
    assert found.response_ns / S == pytest.approx(4.055)
    assert found.limit == "customers"


def test_heavy_load_of_closed_customers() -> None:
    found = bounds(interactive(20))
    assert found.throughput_per_s == pytest.approx(1 / 2.1)
    assert found.response_ns / S == pytest.approx(20 * 2.1 - 15)
    assert found.limit == "disk 1"


def test_saturation_of_closed_customers() -> None:
    # N* = (4.055 + 15) / 2.1 at the bottleneck; four CPUs bear four times as many as one.
    assert knees(interactive(1, cpu_servers=4), "vm") == pytest.approx(
        {"disk 1": 19.055 / 2.1, "disk 2": 19.055 / 1.35, "cpu": 4 * 19.055 / 0.605}
    )
    assert list(knees(interactive(1), "vm")) == ["disk 1", "disk 2", "cpu"]


def test_open_customers() -> None:
    own = Customers("own", "vm", {"disk": 0.1 * S, "vcpu": 0.02 * S}, rate_per_s=4.0)
    network = Network((Centre("disk", 2), Centre("vcpu", 1, "vm")), (own,))
    found = bounds(network.scaled({"vm": 3}))
    assert found.throughput_per_s == pytest.approx(12.0)
    assert found.limit == "arrivals"
    assert found.response_ns / S == pytest.approx(0.12)
    # Two servers bear 20 a second: 5 VMs.
    assert knees(network, "vm") == pytest.approx({"disk": 5.0})
    beyond = bounds(network.scaled({"vm": 7}))
    assert beyond.throughput_per_s == pytest.approx(20.0)
    assert beyond.limit == "disk"
    assert beyond.response_ns / S == pytest.approx(0.12)


def test_what_a_vm_has_of_its_own_bounds_each_vm() -> None:
    own = Customers("own", "vm", {"disk": 0.1 * S, "vcpu": 0.5 * S}, rate_per_s=10.0, replicas=3)
    found = bounds(Network((Centre("disk", 8), Centre("vcpu", 1, "vm")), (own,)))
    assert found.throughput_per_s == pytest.approx(6.0)
    assert found.limit == "vcpu"


def test_a_gate_bounds_what_is_behind_it() -> None:
    """Two drives on one channel: a command takes 0.3 s of two kinds, whoever sends it."""
    drives = [Customers(f"drive {k}", "vm", {"disk": 0.2 * S, "vcpu": 0.1 * S}, gate="channel") for k in (0, 1)]
    network = Network((Centre("disk", 8), Centre("vcpu", 4, "vm")), tuple(drives), (Gate("channel", 1, "vm"),))
    found = bounds(network)
    assert found.throughput_per_s == pytest.approx(1 / 0.3)
    assert found.limit == "channel"
    assert found.response_ns / S == pytest.approx(0.6)
    assert bounds(network.scaled({"vm": 4})).throughput_per_s == pytest.approx(4 / 0.3)


def test_two_kinds_share_two_disks() -> None:
    # 2 a + b <= 1 and a + 3 b <= 1: the sum is largest at a = 0.4, b = 0.2.
    a = Customers("a", "a", {"disk 1": 2.0 * S, "disk 2": 1.0 * S}, replicas=1000)
    b = Customers("b", "b", {"disk 1": 1.0 * S, "disk 2": 3.0 * S}, replicas=1000)
    found = bounds(Network((Centre("disk 1", 1), Centre("disk 2", 1)), (a, b)))
    assert found.throughput_per_s == pytest.approx(0.6)
    assert found.limit in ("disk 1", "disk 2")
    assert found.response_ns / S == pytest.approx(2000 / 0.6)


def test_open_customers_are_served_before_closed_ones_are_counted() -> None:
    open_ = Customers("open", "a", {"disk": 1.0 * S}, rate_per_s=0.5)
    closed = Customers("closed", "b", {"disk": 0.1 * S}, replicas=9)
    found = bounds(Network((Centre("disk", 1),), (open_, closed)))
    # Half of the time is left for 5 a second; 9 closed ones, and 0.5 open ones at least, are there.
    assert found.throughput_per_s == pytest.approx(5.5)
    assert found.response_ns / S == pytest.approx(9.5 / 5.5)


def test_computing_counts_for_saturation_but_bounds_no_requests() -> None:
    requests = Customers("requests", "vm", {"cpus": 0.02 * S}, rate_per_s=5.0)
    computing = Customers("computing", "vm", {"cpus": 0.1 * S}, think_ns=0.9 * S, is_request=False)
    network = Network((Centre("cpus", 2),), (requests, computing))
    # Each VM takes 0.1 CPUs for requests and 0.1 for computing, which gives way.
    assert knees(network, "vm") == pytest.approx({"cpus": 10.0})
    assert bounds(network.scaled({"vm": 15})).throughput_per_s == pytest.approx(75.0)
    assert bounds(network.scaled({"vm": 50})).throughput_per_s == pytest.approx(100.0)


def test_other_vms_leave_less_room() -> None:
    few = Customers("few", "few", {"disk": 0.1 * S}, rate_per_s=2.0, replicas=2)
    many = Customers("many", "many", {"disk": 0.1 * S}, rate_per_s=1.0, replicas=7)
    network = Network((Centre("disk", 1), Centre("idle", 1)), (few, many))
    assert knees(network, "many") == pytest.approx({"disk": 6.0})
    assert knees(network, "few") == pytest.approx({"disk": 1.5})


def test_the_least_of_several_runs_bounds_all_of_them() -> None:
    def run(work_s: float, beside_s: float, response_s: float) -> Network:
        own = Customers(
            "own",
            "vm",
            {"disk": work_s * S},
            beside_ns={"disk": beside_s * S},
            least_ns={"disk": 0.1 * S},
            least_response_ns=response_s * S,
        )
        return Network((Centre("disk", 1),), (own,))

    alone, loaded = run(0.2, 0.1, 0.25), run(0.22, 0.01, 0.24)
    # One run says what a request cannot do without; from two, what it cost in the cheaper one.
    assert bounds(alone.scaled({"vm": 100})).throughput_per_s == pytest.approx(10.0)
    least = alone.with_least_of([loaded])
    assert bounds(least.scaled({"vm": 100})).throughput_per_s == pytest.approx(1 / 0.23)
    assert bounds(least).response_ns / S == pytest.approx(0.24)
    assert alone.with_least_of([]) == alone


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 5)), min_size=1, max_size=4),
    st.integers(1, 3000),
    st.integers(1, 40),
)
def test_exact_solutions_keep_the_bounds(places: list[tuple[int, int]], think: int, customers: int) -> None:
    centres = tuple(Centre(f"centre {k}", servers) for k, (_, servers) in enumerate(places))
    service = {f"centre {k}": float(demand) + 1 for k, (demand, _) in enumerate(places)}
    network = Network(centres, (Customers("own", "vm", service, replicas=customers, think_ns=float(think)),))
    found, bound = estimate(network), bounds(network)
    assert found.method == EXACT
    assert found.throughput_per_s is not None
    assert found.throughput_per_s <= bound.throughput_per_s * (1 + 1e-7)
    assert found.response_ns >= bound.response_ns * (1 - 1e-7) - 1e-3
    # With one customer nobody waits: both bounds are met.
    alone = network.scaled({"vm": 1})
    assert estimate(alone).response_ns == pytest.approx(bounds(alone).response_ns)
