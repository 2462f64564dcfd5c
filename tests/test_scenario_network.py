"""The network of a scenario: its parts, the demands of its run, and how its estimates compare with runs."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from iosim.analytic.bounds import bounds
from iosim.analytic.curve import measured
from iosim.analytic.estimate import EXACT, estimate
from iosim.analytic.network import Centre, Customers, Gate, Network
from iosim.analytic.scenario_network import network_of
from iosim.analytic.theory import mmm_wait
from iosim.model.errors import ResultError
from iosim.results.result import Result
from tests.support import Row, scenario, simulate

MS = 1_000_000
ROWS: list[Row] = [(n * MS, "WR"[n % 2], 8 * n, 8) for n in range(40)]


def only(network: Network) -> Customers:
    (own,) = [own for own in network.customers if own.is_request]
    return own


def mean_us(result: Result, *stages: str) -> float:
    return sum(float(result.requests[f"{stage}_ns"].mean()) for stage in stages) / 1000


# Parts


def test_parts_of_an_ide_drive() -> None:
    result = simulate(scenario(count=3, offset="100us"), ROWS)
    network = network_of(result)
    assert network.centres == (
        Centre("web/vcpu", 1, "web"),
        Centre("web/main_loop", 1, "web"),
        Centre("disk/sda", 1),
    )
    assert network.gates == (Gate("web/channel0", 1, "web"),)
    own = only(network)
    assert (own.name, own.vm, own.replicas, own.gate) == ("web/drive0", "web", 3, "web/channel0")
    vcpu = ("guest_run", "vm_exit", "kvm_exit_handling", "qemu_dispatch", "qemu_submit", "vm_entry")
    assert {place: ns / 1000 for place, ns in own.service_ns.items()} == pytest.approx(
        {"disk/sda": 90, "web/vcpu": mean_us(result, *vcpu), "web/main_loop": mean_us(result, "completion")}
    )
    # The worker has a CPU whenever it wants one. Hand-overs stay as they were, the wait for the disk is computed.
    delay = mean_us(result, "aio_wait", "aio_worker", "completion_wait", "irq_delivery", "bql_wait")
    assert own.delay_ns / 1000 == pytest.approx(delay)
    assert own.least_response / 1000 == pytest.approx(
        mean_us(result, *vcpu, "completion", "aio_worker", "disk_service")
    )
    # 40 requests in 39 ms.
    assert own.rate_per_s == pytest.approx(40 / 0.039)


def test_response_time_of_a_single_vm_is_that_of_its_run() -> None:
    """With closed replay nobody waits for anybody, so the parts must add up to the latency."""
    result = simulate(scenario([{"replay": "closed"}]), ROWS)
    found = estimate(network_of(result))
    assert found.method == EXACT
    assert found.response_ns == pytest.approx(float(result.requests["latency_ns"].mean()))


def test_parts_of_virtio_drives() -> None:
    drives: list[dict[str, Any]] = [
        {"interface": "virtio-blk", "iothread": "io0", "queue_size": 8},
        {"interface": "virtio-blk", "iothread": "io0"},
        {"interface": "virtio-blk", "ioeventfd": False, "replay": "closed"},
    ]
    network = network_of(simulate(scenario(drives), ROWS))
    assert [centre.name for centre in network.centres] == ["web/vcpu", "web/iothread/io0", "web/main_loop", "disk/sda"]
    assert network.gates[0] == Gate("web/drive0", 8, "web")
    assert len(network.gates) == 3
    first, _, third = network.customers
    assert set(first.service_ns) == {"web/vcpu", "web/iothread/io0", "disk/sda"}
    assert set(third.service_ns) == {"web/vcpu", "web/main_loop", "disk/sda"}
    assert (first.is_open, third.is_open) == (True, False)


def test_threads_are_served_by_the_cpus_of_the_host() -> None:
    described = scenario(host={"cpus": 3}, load={"share": 0.2, "burst": "400us"}, vcpus=2)
    result = simulate(described, ROWS)
    network = network_of(result)
    assert network.centres == (Centre("cpus", 3), Centre("disk/sda", 1))
    requests, computing = network.customers
    threads = ("guest_run", "vm_exit", "kvm_exit_handling", "qemu_dispatch", "qemu_submit", "vm_entry")
    assert requests.service_ns["cpus"] / 1000 == pytest.approx(mean_us(result, *threads, "completion", "aio_worker"))
    assert (computing.population, computing.service_ns, computing.is_request) == (2, {"cpus": 400_000.0}, False)
    assert computing.think_ns == pytest.approx(1_600_000)  # 400 us are a fifth of 2 ms


def test_work_beside_is_what_the_threads_do_for_no_request() -> None:
    """The vCPU and the main loop are busy for what is charged, and for the rest: without load that is all."""
    result = simulate(scenario(host={"cpus": 4}), ROWS)
    busy = result.resources.set_index("resource")["busy_ns"]
    own = only(network_of(result))
    threads = ("guest_run", "vm_exit", "kvm_exit_handling", "qemu_dispatch", "qemu_submit", "vm_entry", "completion")
    spent = (int(busy["web/vcpu0"]) + int(busy["web/main_loop"])) / 40 / 1000
    assert own.beside_ns["cpus"] / 1000 == pytest.approx(spent - mean_us(result, *threads))


def test_the_guests_own_computing_is_not_work_of_its_requests() -> None:
    """Constant bursts and pauses: a tenth of the time, however long the run is."""
    load = {"share": 0.1, "burst": "100us", "lengths": "constant"}
    idle = only(network_of(simulate(scenario(host={"cpus": 4}), ROWS)))
    computing = only(network_of(simulate(scenario(host={"cpus": 4}, load=load), ROWS)))
    # Beside: some microseconds of a millisecond, of which 100 us are computing.
    assert computing.beside_ns["cpus"] == pytest.approx(idle.beside_ns["cpus"], abs=3000)


def test_write_back_is_work_beside() -> None:
    page_cache = {"size": "1MiB", "dirty_background_bytes": "8KiB"}
    writes: list[Row] = [(n * MS, "W", 8 * n, 8) for n in range(40)]
    result = simulate(scenario([{"cache": "writeback"}], page_cache=page_cache), writes)
    own = only(network_of(result))
    busy = int(result.resources.set_index("resource")["busy_ns"]["disk/sda"])
    assert own.service_ns["disk/sda"] == 0
    assert own.beside_ns["disk/sda"] == pytest.approx(busy / 40)
    assert busy > 0


def test_merged_requests_cost_the_disk_their_share() -> None:
    writes: list[Row] = [(n // 8 * MS, "W", 8 * n, 8) for n in range(64)]  # eight neighbours at once
    result = simulate(scenario([{"interface": "virtio-blk"}]), writes)
    own = only(network_of(result))
    busy = int(result.resources.set_index("resource")["busy_ns"]["disk/sda"])
    assert busy < result.requests["disk_service_ns"].sum() / 4
    assert own.service_ns["disk/sda"] == pytest.approx(busy / 64)
    assert own.service_ns["disk/sda"] + own.delay_ns >= float(result.requests["disk_service_ns"].mean())


def test_drives_without_requests_are_left_out() -> None:
    late: list[Row] = [(90 * MS, "W", 0, 8)]
    flushes: list[Row] = [(0, "F", 0, 0)]
    drives: list[dict[str, Any]] = [{"index": 0}, {"index": 1}, {"index": 2, "cache": "directsync"}]
    result = simulate(scenario(drives, run={"duration": "60ms"}), [ROWS, late, flushes])
    assert [own.name for own in network_of(result).customers] == ["web/drive0"]
    with pytest.raises(ResultError, match="nothing is known of demands"):
        network_of(simulate(scenario(run={"duration": "60ms"}), late))


# Beside runs


@cache
def closed(vms: int, disk: tuple[tuple[str, str | int], ...]) -> Result:
    """So many VMs that begin at different times, each with one request at a time."""
    rows: list[Row] = [(0, "WR"[n % 2], 8 * n, 8) for n in range(150)]
    return simulate(scenario([{"replay": "closed"}], [dict(disk)], count=vms, offset="33us"), rows)


ONE_SERVER = (("model", "constant"), ("service", "90us"))
THREE_SERVERS = (("model", "constant"), ("service", "250us"), ("servers", 3))


@pytest.mark.parametrize("disk", [ONE_SERVER, THREE_SERVERS], ids=["one server", "three servers"])
@pytest.mark.parametrize("vms", [1, 2, 3, 4, 6, 12])
def test_closed_runs_keep_the_bounds_and_are_near_the_estimate(
    vms: int, disk: tuple[tuple[str, str | int], ...]
) -> None:
    network = network_of(closed(1, disk)).scaled({"web": vms})
    run, bound, expected = measured(closed(vms, disk), "web"), bounds(network), estimate(network)
    # What is cut off at the ends of the time looked at is a request of each VM at most.
    ends = 2 * vms / (vms * 150)
    assert run.throughput_per_s <= bound.throughput_per_s * (1 + ends)
    assert run.response_ns >= bound.response_ns * (1 - ends)
    # The estimate takes a constant time for an exponential one: too slow near the knee, never by more than a fourth.
    assert -0.03 <= expected.response_ns / run.response_ns - 1 <= 0.25


def poisson(per_s: float, n: int) -> Result:
    """A drive that is sent requests which do not know of each other; two of them at once are served."""
    arrivals = np.cumsum(np.random.default_rng(5).exponential(1e9 / per_s, n))
    rows: list[Row] = [(int(at), "R", 8 * (k % 1000), 8) for k, at in enumerate(arrivals)]
    drive = {"interface": "virtio-blk", "request_merging": False, "aio": "native"}
    disks = [{"model": "constant", "service": "400us", "servers": 2}]
    return simulate(scenario([drive], disks, run={"slowest": 0}), rows)


def test_the_estimate_of_open_requests_is_m_m_m_and_a_constant_time_waits_half_as_long() -> None:
    light, heavy = poisson(300.0, 400), poisson(3500.0, 3000)
    rate = only(network_of(heavy)).rate_per_s
    assert rate is not None
    assert rate == pytest.approx(3500, rel=0.05)
    network = network_of(light)
    (own,) = network.customers
    expected = estimate(replace(network, customers=(replace(own, rate_per_s=rate),)))
    wait_ns = mmm_wait(2, rate, 400e-6) * 1e9
    assert expected.response_ns == pytest.approx(own.delay_ns + sum(own.service_ns.values()) + wait_ns, rel=0.01)
    # M/D/2 at a load of 0.7: 0.51 of M/M/2 (Cosmetatos 1975), and so it is in the run, within what 3000 requests say.
    assert float(heavy.requests["disk_wait_ns"].mean()) / wait_ns == pytest.approx(0.51, abs=0.12)
