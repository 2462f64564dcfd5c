"""Estimates of queueing networks against textbooks, closed forms and Markov chains solved by linear algebra.

Lazowska et al., Quantitative System Performance, 1984, gives the examples with their pages.
"""

import math

import numpy as np
import pytest
from scipy import stats

from iosim.analytic.approximation import Approximation
from iosim.analytic.estimate import APPROXIMATE, EXACT, Estimate, estimate
from iosim.analytic.network import Centre, Customers, Gate, Network
from iosim.analytic.theory import closed_throughputs, erlang_c, mmm_wait

S = 1_000_000_000
"""A second in ns."""


def approximate(network: Network) -> Estimate:
    """The approximation, also where exact mean-value analysis would be taken: with work beside that is nothing."""
    solution = Approximation(network).solve()
    assert solution is not None
    rates, responses, utilisation = solution
    (own,) = network.customers
    total = float(rates[0]) * own.replicas * S
    return Estimate(APPROXIMATE, total, float(responses[0]), {"": float(utilisation.max())}, {})


def closed(demands_s: dict[str, float], customers: int, think_s: float = 0.0, servers: int = 1) -> Network:
    """Centres that all customers share, one customer in each VM."""
    service = {name: seconds * S for name, seconds in demands_s.items()}
    own = Customers("own", "vm", service, replicas=customers, think_ns=think_s * S)
    return Network(tuple(Centre(name, servers) for name in demands_s), (own,))


# Erlang


# C(m, a) by its definition: a^m / m! m / (m - a) over the sum of all states.
def erlang_by_definition(servers: int, offered: float) -> float:
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize("servers", [1, 2, 5, 16])
@pytest.mark.parametrize("load", [0.01, 0.5, 0.9, 0.999])
def test_erlang_c_is_its_definition(servers: int, load: float) -> None:
    assert float(erlang_c(servers, load * servers)) == pytest.approx(erlang_by_definition(servers, load * servers))


def test_erlang_c_at_its_ends() -> None:
    # One server: the utilisation. Nobody comes; as many or more come than can be served.
    assert erlang_c(1, np.array([0.0, 0.3, 1.0, 2.0])).tolist() == pytest.approx([0, 0.3, 1, 1])
    # Many servers (Halfin and Whitt, 1981): 1 / (1 + beta Phi(beta) / phi(beta)), beta = (1 - load) sqrt(m) = 1.5.
    beta = (1 - 4000 / 4096) * 64
    assert float(erlang_c(4096, 4000.0)) == pytest.approx(
        1 / (1 + beta * stats.norm.cdf(beta) / stats.norm.pdf(beta)), rel=0.02
    )


def test_mmm_wait_of_one_and_two_servers() -> None:
    # rho / (1 - rho) and rho^2 / (1 - rho^2) times the service.
    assert mmm_wait(1, 0.8, 1.0) == pytest.approx(4.0)
    assert mmm_wait(2, 1.0, 1.0) == pytest.approx(0.25 / 0.75)
    assert mmm_wait(2, 2.0, 1.0) == math.inf


# One kind of closed customers


def test_exact_and_approximate_on_page_117_and_120() -> None:
    """CPU and two disks, 121 visits of 5 ms, 70 of 30 ms, 50 of 27 ms, think time 15 s, 3 customers."""
    network = closed({"cpu": 0.605, "disk 1": 2.1, "disk 2": 1.35}, 3, 15)
    exact, close = estimate(network), approximate(network)
    # Mean numbers at the centres: 0.0976, 0.3947, 0.2350 exact; 0.0973, 0.4021, 0.2359 approximate.
    for found, number in ((exact, 0.0976 + 0.3947 + 0.2350), (close, 0.0973 + 0.4021 + 0.2359)):
        assert found.throughput_per_s == pytest.approx((3 - number) / 15, rel=1e-4)
        assert found.response_ns / S == pytest.approx(number / ((3 - number) / 15), rel=3e-4)
    assert (exact.method, close.method) == (EXACT, APPROXIMATE)
    assert exact.utilisation["disk 1"] == pytest.approx(2.1 * (3 - 0.7273) / 15, rel=1e-4)


# N machines that run for Z on average, repaired in D by m repairmen: state n (broken) is left for n + 1 at (N - n) / Z
# and for n - 1 at min(n, m) / D.
@pytest.mark.parametrize(("machines", "repairmen", "ratio"), [(1, 1, 2.0), (5, 1, 3.0), (12, 3, 2.5), (40, 16, 0.5)])
def test_machine_repairman(machines: int, repairmen: int, ratio: float) -> None:
    weights = [1.0]
    for n in range(machines):
        weights.append(weights[-1] * (machines - n) / ratio / min(n + 1, repairmen))
    busy = sum(weight * min(n, repairmen) for n, weight in enumerate(weights)) / sum(weights)
    throughputs = closed_throughputs([1.0], [repairmen], ratio, machines)
    assert float(throughputs[-1]) == pytest.approx(busy)
    found = estimate(closed({"repair": 1.0}, machines, ratio, repairmen))
    assert found.response_ns / S == pytest.approx(machines / busy - ratio)
    assert found.utilisation["repair"] == pytest.approx(busy / repairmen)


def test_two_stations_and_a_delay_as_a_markov_chain() -> None:
    """Four customers; service of 2 at one of 2 servers, then of 1 at a single one, then 1.5 elsewhere."""
    customers, (d1, m1), (d2, m2), think = 4, (2.0, 2), (1.0, 1), 1.5
    states = [(a, b) for a in range(customers + 1) for b in range(customers + 1 - a)]
    generator = np.zeros((len(states), len(states)))
    for a, b in states:
        moves = {
            (a + 1, b): (customers - a - b) / think,
            (a - 1, b + 1): min(a, m1) / d1,
            (a, b - 1): min(b, m2) / d2,
        }
        for target, rate in moves.items():
            if rate:
                generator[states.index((a, b)), states.index(target)] += rate
                generator[states.index((a, b)), states.index((a, b))] -= rate
    balance = np.vstack([generator.T, np.ones(len(states))])
    shares = np.linalg.lstsq(balance, np.r_[np.zeros(len(states)), 1.0], rcond=None)[0]
    throughput = sum(share * min(b, m2) / d2 for share, (_, b) in zip(shares, states, strict=True))
    assert float(closed_throughputs([d1, d2], [m1, m2], think, customers)[-1]) == pytest.approx(throughput)


def test_thousands_of_customers_lose_no_digits() -> None:
    # Far behind saturation the bottleneck gives the throughput; far before it nobody waits.
    throughputs = closed_throughputs([1.0, 0.3], [16, 1], 100.0, 3000)
    assert float(throughputs[-1]) == pytest.approx(1 / 0.3, rel=1e-9)
    assert float(throughputs[0]) == pytest.approx(1 / 101.3, rel=1e-12)
    assert (np.diff(throughputs) >= -1e-10).all()


@pytest.mark.parametrize("servers", [1, 2, 8, 64])
@pytest.mark.parametrize("think", [0.0, 3.0, 30.0])
def test_approximation_beside_exact_solution(servers: int, think: float) -> None:
    """Schweitzer's and Bard's approximation is never too quick, and 25 % too slow at most, at the knee."""
    for customers in sorted({1, 2, servers, servers + 1, int(servers * (1 + think)), int(2 * servers * (1 + think))}):
        network = closed({"disk": 1.0}, customers, think, servers)
        exact, close = estimate(network).response_ns, approximate(network).response_ns
        assert exact * (1 - 1e-6) <= close <= exact * 1.25
        if customers <= servers:
            assert close == pytest.approx(S)


# Several kinds


def test_two_open_kinds_on_page_137() -> None:
    """Kind A comes at 3/19 and demands 1 s of the CPU and 3 s of the disk, B at 2/19 with 2 s and 4 s."""
    a = Customers("a", "a", {"cpu": 1.0 * S, "disk": 3.0 * S}, rate_per_s=3 / 19, visits={"cpu": 1, "disk": 3})
    b = Customers("b", "b", {"cpu": 2.0 * S, "disk": 4.0 * S}, rate_per_s=2 / 19, visits={"cpu": 2, "disk": 4})
    found = estimate(Network((Centre("cpu", 1), Centre("disk", 1)), (a, b)))
    # Utilisations 7/19 and 17/19, so residence times are demands x 19/12 and x 19/2.
    assert found.by_customers["a"][1] / S == pytest.approx(1 * 19 / 12 + 3 * 19 / 2)
    assert found.by_customers["b"][1] / S == pytest.approx(2 * 19 / 12 + 4 * 19 / 2)
    assert found.utilisation == pytest.approx({"cpu": 7 / 19, "disk": 17 / 19})
    assert found.throughput_per_s == pytest.approx(5 / 19)


def schweitzer(
    demands: list[list[float]], customers: list[int], think: list[float], rounds: int = 5000
) -> list[tuple[float, float]]:
    """Throughput and response time of each kind at single servers: the textbook's iteration, kind by kind."""
    kinds, centres = range(len(demands)), range(len(demands[0]))
    number = [[customers[c] / len(demands[c]) for _ in centres] for c in kinds]
    found: list[tuple[float, float]] = []
    for _ in range(rounds):
        found = []
        residence = [
            [demands[c][k] * (1 + sum(number[j][k] for j in kinds) - number[c][k] / customers[c]) for k in centres]
            for c in kinds
        ]
        found = [(customers[c] / (think[c] + sum(residence[c])), sum(residence[c])) for c in kinds]
        number = [[found[c][0] * residence[c][k] for k in centres] for c in kinds]
    return found


def test_two_closed_kinds_as_the_textbook_iterates() -> None:
    """The example of page 131: 10 batch jobs, 25 users who think for 30 s."""
    demands, customers, think = [[1.0, 0.09], [0.1, 0.9]], [10, 25], [0.0, 30.0]
    kinds = []
    for name, (cpu, disk), n, z in zip("ab", demands, customers, think, strict=True):
        visits = {"cpu": cpu / 0.1, "disk": disk / 0.09}  # visits of one size, so that the network has product form
        service = {"cpu": cpu * S, "disk": disk * S}
        kinds.append(Customers(name, name, service, replicas=n, think_ns=z * S, visits=visits))
    found = estimate(Network((Centre("cpu", 1), Centre("disk", 1)), tuple(kinds)))
    for name, (throughput, response) in zip("ab", schweitzer(demands, customers, think), strict=True):
        assert found.by_customers[name] == pytest.approx((throughput, response * S), rel=1e-6)
    # Exactly there are 0.8496 and 2.09 users at CPU and disk, the others think.
    assert found.by_customers["b"][0] == pytest.approx((25 - 0.8496 - 2.09) / 30, rel=0.01)


# A mixture of two exponential services at one server is M/G/1: W = sum of rate x E[S^2] / 2 / (1 - rho).
def test_long_and_short_visits_wait_alike() -> None:
    short = Customers("short", "a", {"disk": 1.0 * S}, rate_per_s=0.3)
    long = Customers("long", "b", {"disk": 10.0 * S}, rate_per_s=0.04)
    found = estimate(Network((Centre("disk", 1),), (short, long)))
    wait = (0.3 * 2 * 1**2 + 0.04 * 2 * 10**2) / 2 / (1 - 0.3 - 0.4)
    assert found.by_customers["short"][1] / S == pytest.approx(wait + 1)
    assert found.by_customers["long"][1] / S == pytest.approx(wait + 10)


def test_work_beside_delays_others_but_is_not_on_the_way() -> None:
    # Half of the server's time is work beside, in pieces of 1 s as well: M/M/1 at a load of 0.75.
    own = Customers("own", "vm", {"disk": 1.0 * S}, rate_per_s=0.375, beside_ns={"disk": 1.0 * S})
    found = estimate(Network((Centre("disk", 1),), (own,)))
    assert found.response_ns / S == pytest.approx(1 + 0.75 / 0.25)
    assert found.utilisation["disk"] == pytest.approx(0.75)


def test_what_belongs_to_a_vm_is_waited_for_by_its_own_customers_only() -> None:
    own = Customers("own", "vm", {"vcpu": 1.0 * S}, replicas=50, rate_per_s=0.5)
    found = estimate(Network((Centre("vcpu", 1, "vm"),), (own,)))
    assert found.response_ns / S == pytest.approx(2.0)
    assert found.throughput_per_s == pytest.approx(25.0)


def test_overload_has_no_estimate() -> None:
    found = estimate(Network((Centre("disk", 2),), (Customers("own", "vm", {"disk": 1.0 * S}, rate_per_s=2.0),)))
    assert (found.throughput_per_s, found.response_ns) == (None, math.inf)


def test_closed_customers_who_never_leave_the_disk_keep_it_busy() -> None:
    bursts = Customers("bursts", "vm", {"cpus": 1.0 * S}, replicas=8, is_request=False)
    requests = Customers("requests", "vm", {"cpus": 1.0 * S}, replicas=8, rate_per_s=0.01)
    found = estimate(Network((Centre("cpus", 1),), (bursts, requests)))
    # 0.92 of the time is left for the eight, who always wait: a request waits behind some eight of them.
    assert found.utilisation["cpus"] == pytest.approx(1.0, abs=0.01)
    assert found.response_ns / S == pytest.approx(9 / 0.92, rel=0.1)
    assert found.throughput_per_s == pytest.approx(0.08)


# Gates


def behind(slots: int, kinds: int = 1, rate_per_s: float | None = None) -> Estimate:
    """Customers of one VM who hold a slot for a second in which nobody makes them wait."""
    customers = [
        Customers(f"drive {k}", "vm", {}, rate_per_s=rate_per_s, delay_ns=1.0 * S, gate="channel") for k in range(kinds)
    ]
    return estimate(Network((), tuple(customers), (Gate("channel", slots, "vm"),)))


def test_open_customers_queue_for_a_gate() -> None:
    assert behind(1, rate_per_s=0.75).response_ns / S == pytest.approx(4.0)
    assert behind(3, rate_per_s=2.4).response_ns / S == pytest.approx(1 + mmm_wait(3, 2.4, 1.0))
    assert behind(1, rate_per_s=1.0).throughput_per_s is None


def test_two_drives_of_a_channel_take_turns() -> None:
    found = behind(1, 2)
    assert found.throughput_per_s == pytest.approx(1.0)
    assert found.response_ns / S == pytest.approx(2.0)


def test_a_gate_with_room_makes_nobody_wait() -> None:
    assert behind(2, 2).response_ns / S == pytest.approx(1.0)


@pytest.mark.parametrize("load", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("servers", [1, 4, 16])
def test_open_customers_at_several_servers_are_m_m_m(load: float, servers: int) -> None:
    own = Customers("own", "vm", {"disk": 1.0 * S}, rate_per_s=load * servers)
    found = estimate(Network((Centre("disk", servers),), (own,)))
    assert found.response_ns / S == pytest.approx(1 + mmm_wait(servers, load * servers, 1.0))


def test_those_behind_one_slot_do_not_meet_at_the_disk() -> None:
    """A single channel sends one command at a time: whatever the load, nobody is at the disk already."""
    own = Customers("own", "vm", {"disk": 1.0 * S}, rate_per_s=0.5, gate="channel")
    found = estimate(Network((Centre("disk", 1),), (own,), (Gate("channel", 1, "vm"),)))
    assert found.response_ns / S == pytest.approx(2.0)  # all of the wait is in front of the channel
