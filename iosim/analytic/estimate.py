"""Throughput and response time of a network as queueing theory expects them: an estimate, not a bound."""

from collections.abc import Mapping
from dataclasses import dataclass

from iosim.analytic.approximation import Approximation
from iosim.analytic.network import Network
from iosim.analytic.theory import closed_throughputs

EXACT = "exact mean-value analysis"
APPROXIMATE = "approximate mean-value analysis"


@dataclass(frozen=True)
class Estimate:
    """What is expected of a network; of the requests, not of what else is in it.

    *response_ns* is the mean over all requests, infinite if they come faster than they can be served;
    *throughput_per_s* is None then. *utilisation* is by centre. *by_customers* has throughput (of all VMs) and response
    time of each kind of requests.
    """

    method: str
    throughput_per_s: float | None
    response_ns: float
    utilisation: Mapping[str, float]
    by_customers: Mapping[str, tuple[float, float]]


def estimate(network: Network) -> Estimate:
    """Return the estimate: by exact mean-value analysis where that applies, else by the approximation.

    Exact: one kind of closed customers, one in each VM, and no work beside. The approximation takes any mixture; it is
    exact for open customers (M/M/m), and that of Bard and Schweitzer for closed ones at single servers
    (docs/analytic.md).
    """
    if _is_simple(network):
        return _exact(network)
    method = Approximation(network)
    solution = method.solve()
    if solution is None:
        return Estimate(APPROXIMATE, None, float("inf"), {}, {})
    rates, responses, utilisation = solution
    by_customers = {}
    total = number = 0.0
    for own, rate, response in zip(network.customers, rates.tolist(), responses.tolist(), strict=True):
        if own.is_request:
            by_customers[own.name] = (rate * own.replicas * 1e9, response)
            total += rate * own.replicas
            number += rate * own.replicas * response
    names = [centre.name for centre in network.centres]
    shares = dict(zip(names, utilisation.tolist(), strict=True))
    return Estimate(APPROXIMATE, total * 1e9, number / total, shares, by_customers)


def _is_simple(network: Network) -> bool:
    if len(network.customers) != 1:
        return False
    own = network.customers[0]
    return not own.is_open and own.population == 1 and not any(own.beside_ns.values())


def _exact(network: Network) -> Estimate:
    """One customer in each VM: what belongs to the VM never makes it wait, what is shared may."""
    own = network.customers[0]
    shared = [centre for centre in network.centres if centre.vm is None]
    demands = [own.service_ns.get(centre.name, 0.0) for centre in shared]
    elsewhere = own.think_ns + own.delay_ns + sum(own.service_ns.values()) - sum(demands)
    rate = float(closed_throughputs(demands, [centre.servers for centre in shared], elsewhere, int(own.replicas))[-1])
    response_ns = own.replicas / rate - own.think_ns
    utilisation = {
        centre.name: own.service_ns.get(centre.name, 0.0) * rate / centre.servers / (own.replicas if centre.vm else 1)
        for centre in network.centres
    }
    return Estimate(EXACT, rate * 1e9, response_ns, utilisation, {own.name: (rate * 1e9, response_ns)})
