"""The queueing network that a request's path is, for simulators of such networks: Ciw, and SimPy as tutorials have it.

A visit is an uninterrupted stay of the request in one stage; each stage of each VM is a station with one server, the
disk one that all VMs share. A station takes its stage's mean time per visit, always the same. Requests make the visits
of one undisturbed request of iosim's, in its order.
"""

from collections.abc import Generator, Sequence
from time import process_time
from typing import Any, NamedTuple

import ciw
import pandas as pd
import simpy

DISK = "disk_service"


class Network(NamedTuple):
    """*route*: the stage of each visit; *mean_ns*: the time of one, by stage; each VM has a request per *gap_ns*."""

    route: list[str]
    mean_ns: dict[str, float]
    gap_ns: int
    vms: int
    disk_servers: int


def network(spans: pd.DataFrame, gap_ns: int, vms: int, disk_servers: int) -> Network:
    """Return the network of the one request in *spans*."""
    route: list[str] = []
    total: dict[str, int] = {}
    for stage, start_ns, end_ns in spans[["stage", "start_ns", "end_ns"]].itertuples(index=False):
        if not route or route[-1] != stage:
            route.append(stage)
        total[stage] = total.get(stage, 0) + end_ns - start_ns
    return Network(
        route, {stage: ns / route.count(stage) for stage, ns in total.items()}, gap_ns, vms, disk_servers
    )  # fmt: skip


def with_simpy(net: Network, requests: int) -> float:
    """Return requests per second of CPU time: a process per request, a resource per station."""
    environment = simpy.Environment()
    disk = simpy.Resource(environment, capacity=net.disk_servers)
    times: list[float] = []

    def request(stations: dict[str, simpy.Resource]) -> Generator[simpy.Event, Any, None]:
        arrived = environment.now
        for stage in net.route:
            with stations[stage].request() as turn:
                yield turn
                yield environment.timeout(net.mean_ns[stage])
        times.append(environment.now - arrived)

    def source(vm: int) -> Generator[simpy.Event, Any, None]:
        stations = {stage: simpy.Resource(environment, capacity=1) for stage in net.mean_ns} | {DISK: disk}
        yield environment.timeout(_offset_ns(net, vm))
        for _ in range(requests // net.vms):
            environment.process(request(stations))
            yield environment.timeout(net.gap_ns)

    for vm in range(net.vms):
        environment.process(source(vm))
    begin = process_time()
    environment.run()
    seconds = process_time() - begin
    assert len(times) == requests // net.vms * net.vms
    return len(times) / seconds


def with_ciw(net: Network, requests: int) -> float:
    """Return requests per second of CPU time: a class of customers per VM, a node per station."""
    stages = [stage for stage in net.mean_ns if stage != DISK]
    nodes = 1 + net.vms * len(stages)
    first = stages.index(net.route[0])

    def node(vm: int, stage: str) -> int:
        return 1 if stage == DISK else 2 + vm * len(stages) + stages.index(stage)

    def route(vm: int) -> list[int]:
        return [node(vm, stage) for stage in net.route[1:]]

    services = [net.mean_ns[DISK], *[net.mean_ns[stage] for stage in stages] * net.vms]
    arrivals: dict[str, list[Any]] = {}
    for vm in range(net.vms):
        arrivals[f"vm{vm}"] = [None] * nodes
        gaps = ciw.dists.Sequential([_offset_ns(net, vm) or net.gap_ns, *[net.gap_ns] * 1_000_000])
        arrivals[f"vm{vm}"][1 + vm * len(stages) + first] = gaps
    described = ciw.create_network(
        arrival_distributions=arrivals,
        service_distributions={name: [ciw.dists.Deterministic(ns) for ns in services] for name in arrivals},
        number_of_servers=[net.disk_servers, *[1] * (nodes - 1)],
        routing={f"vm{vm}": ciw.routing.ProcessBased(_always(route(vm))) for vm in range(net.vms)},
    )
    simulation = ciw.Simulation(described)
    begin = process_time()
    simulation.simulate_until_max_customers(requests, method="Finish")
    seconds = process_time() - begin
    return requests / seconds


def _always(route: Sequence[int]) -> Any:
    return lambda individual, simulation: list(route)


def _offset_ns(net: Network, vm: int) -> float:
    return net.gap_ns * vm / net.vms
