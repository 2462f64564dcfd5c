"""What the benchmarks run: synthetic traces, constant-cost and measured profiles, and SimPy's own M/M/1 queue."""

import random
from collections.abc import Generator
from time import perf_counter
from typing import Any

import numpy as np
import simpy

from iosim.model.costs import Cost, Figure, Profile, load_profile
from iosim.model.scenario import Scenario
from iosim.model.trace import Trace
from iosim.simulation import run_and_tabulate

SECTORS = 8
"""4 KiB per request."""


def constant(name: str) -> Profile:
    """Return the shipped profile *name* with every distribution replaced by its mean."""
    profile = load_profile(name)
    figures = {
        key: Figure(Cost(key, round(figure.cost.mean_ns)), figure.text, figure.kind, figure.source)
        for key, figure in profile.figures.items()
    }
    return Profile(profile.name, profile.title, profile.machine, profile.origin, figures)


def writes(n: int, gap_ns: int) -> Trace:
    """Return *n* sequential 4 KiB writes, one each *gap_ns*."""
    numbers = np.arange(n, dtype=np.int64)
    return Trace(
        times_ns=numbers * gap_ns,
        ops=np.ones(n, dtype=np.uint8),
        sectors_first=numbers * SECTORS % (1 << 27),
        sectors_count=np.full(n, SECTORS, dtype=np.int64),
        path="synthetic",
        sha256="",
    )


def run(profile: Profile, n: int, gap_ns: int, count: int = 1, exact: bool = False, **drive: Any) -> float:
    """Simulate *n* writes on each of *count* VMs and make the tables; return requests per second of wall-clock time."""
    scenario = Scenario.model_validate(
        {
            "run": {"exact_exits": exact},
            "host": {"disk": [{"name": "sda", "model": "constant", "service": "90us", "servers": 16}]},
            "vm": [{"name": "vm", "count": count, "drive": [{"cache": "none", "trace": "synthetic", **drive}]}],
        }
    )
    begin = perf_counter()
    result = run_and_tabulate(scenario, profile, {(0, 0): writes(n, gap_ns)})
    seconds = perf_counter() - begin
    assert result.summary["requests"]["done"] == n * count
    return n * count / seconds


def many_vms(profile: Profile, n: int) -> float:
    """Simulate *n* writes on each of 256 VMs with two vCPUs and some load on 8 CPUs; return requests per second.

    With main loop and worker these are 1,024 threads of the host.
    """
    drive = {"cache": "none", "trace": "synthetic"}
    load = {"share": 0.005, "burst": "200us"}
    scenario = Scenario.model_validate(
        {
            "host": {
                "cpus": 8,
                "disk": [{"name": "sda", "model": "constant", "service": "90us", "servers": 16}],
            },
            "vm": [{"name": "vm", "count": 256, "offset": "190us", "vcpus": 2, "load": load, "drive": [drive]}],
        }
    )
    begin = perf_counter()
    result = run_and_tabulate(scenario, profile, {(0, 0): writes(n, 50_000_000)})
    seconds = perf_counter() - begin
    assert result.summary["requests"]["done"] == 256 * n
    return 256 * n / seconds


def m_m_1(customers: int) -> float:
    """Return the customers per second of an M/M/1 queue as SimPy's documentation writes one: a process per customer."""
    environment = simpy.Environment()
    server = simpy.Resource(environment, capacity=1)
    numbers = random.Random(1)
    times: list[float] = []

    def customer() -> Generator[simpy.Event, Any, None]:
        arrived = environment.now
        with server.request() as turn:
            yield turn
            yield environment.timeout(numbers.expovariate(1.0))
        times.append(environment.now - arrived)

    def source() -> Generator[simpy.Event, Any, None]:
        for _ in range(customers):
            yield environment.timeout(numbers.expovariate(0.8))
            environment.process(customer())

    environment.process(source())
    begin = perf_counter()
    environment.run()
    seconds = perf_counter() - begin
    assert len(times) == customers
    return customers / seconds
