"""The queue in front of a disk against closed forms: Pollaczek-Khinchine for M/D/1, Erlang C for M/M/c.

The real disk and the real threads of the host; each customer is a thread of its own that comes at its time. Confidence
intervals are Student's t over independent replications, at 99.9 %; seeds are fixed.
"""

import math
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from iosim.disk import ConstantDisk, Disk, DiskJob, DiskModel, EmpiricalDisk
from iosim.host import Host, HostThread
from iosim.model import draws
from iosim.model.costs import TABLE_SIZE, exponential
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import Block, Steps

SERVICE_NS = 100_000
REPLICATIONS = 24
CUSTOMERS = 5_000
WARMUP = 400
"""Customers left out at the beginning, while the queue fills."""


class Measured(NamedTuple):
    """One replication: mean wait in ns without the warm-up, utilisation of the disk from first to last."""

    wait_ns: float
    utilisation: float


def exponential_disk() -> EmpiricalDisk:
    """A disk whose service times are exponential: the quantile table of the exponential cost."""
    cost = exponential("test", SERVICE_NS)
    table = [round(cost.quantile_ns(k / TABLE_SIZE)) for k in range(TABLE_SIZE + 1)]
    return EmpiricalDisk({"R": {1: table}, "W": {1: table}}, 0)


def replication(model: DiskModel, servers: int, load: float, number: int) -> Measured:
    """Poisson arrivals at *load* x servers / service time."""
    host = Host(exact=True)
    disk = Disk(host, "sda", model, servers)
    gaps = np.random.default_rng([20260101, number]).exponential(SERVICE_NS / (load * servers), CUSTOMERS)
    arrivals = np.cumsum(gaps).astype(np.int64).tolist()
    requests = []
    source = draws.source(number, "vm", "drive 0")

    def customer(thread: HostThread, request: Request, at: int) -> Steps[None]:
        yield Block(at)
        yield from disk.transfer(thread, DiskJob(disk, request, "W", 0, 1))
        request.done_ns = host.now_ns

    for k, at in enumerate(arrivals):
        request = Request(draws.identity(source, k), None, k, "W", 0, 1, at)
        thread = HostThread(host, k, f"customer{k}", request)
        thread.start(customer(thread, request, at))
        requests.append(request)
    host.run()
    waits = [request.stages[Stage.DISK_WAIT] for request in requests]
    services = [request.stages[Stage.DISK_SERVICE] for request in requests]
    latencies = [request.done_ns - request.arrival_ns for request in requests]
    assert [wait + service for wait, service in zip(waits, services, strict=True)] == latencies
    # Little's law, exact over a run that begins and ends empty.
    assert disk.queue.area == sum(waits)
    assert disk.busy.area == sum(services)
    return Measured(float(np.mean(waits[WARMUP:])), disk.busy.area / host.now_ns / servers)


def check(model: DiskModel, servers: int, load: float, wait_ns: float) -> None:
    runs = [replication(model, servers, load, number) for number in range(REPLICATIONS)]
    for values, theory in (([r.wait_ns for r in runs], wait_ns), ([r.utilisation for r in runs], load)):
        low, high = stats.t.interval(0.999, REPLICATIONS - 1, loc=np.mean(values), scale=stats.sem(values))
        assert low <= theory <= high, (low, theory, high)
        # An interval that holds everything would show nothing.
        assert high - low <= 0.4 * theory, (low, theory, high)


def pollaczek_khinchine(load: float, cv2: float) -> float:
    """Mean wait in M/G/1 in ns; *cv2* is the squared coefficient of variation of the service time."""
    return load * SERVICE_NS * (1 + cv2) / (2 * (1 - load))


def erlang_c(servers: int, load: float) -> float:
    """Mean wait in M/M/c in ns: the probability of waiting, over what the servers have to spare."""
    offered = servers * load
    last = offered**servers / math.factorial(servers) / (1 - load)
    waits = last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)
    return waits * SERVICE_NS / (servers * (1 - load))


def test_closed_forms_agree_with_the_textbook() -> None:
    # M/D/1 waits half as long as M/M/1; Erlang C for two servers is 2 rho^2 / (1 + rho).
    assert pollaczek_khinchine(0.5, 0) == pytest.approx(50_000)
    assert pollaczek_khinchine(0.5, 1) == pytest.approx(100_000)
    assert erlang_c(1, 0.5) == pytest.approx(100_000)
    assert erlang_c(2, 0.5) == pytest.approx((2 * 0.25 / 1.5) * 100_000)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_constant_disk_is_m_d_1(load: float) -> None:
    check(ConstantDisk(SERVICE_NS, SERVICE_NS), 1, load, pollaczek_khinchine(load, 0))


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (2, 0.7), (4, 0.7)])
def test_exponential_disk_is_m_m_c(servers: int, load: float) -> None:
    check(exponential_disk(), servers, load, erlang_c(servers, load))


def test_two_servers_never_wait_longer_than_one() -> None:
    for number in range(3):
        one = replication(ConstantDisk(SERVICE_NS, SERVICE_NS), 1, 0.8, number)
        # The same arrivals: half the load on each of two servers.
        two = replication(ConstantDisk(SERVICE_NS, SERVICE_NS), 2, 0.4, number)
        assert two.wait_ns < one.wait_ns
