"""Asymptotic bounds: what no arrangement of waits and no distribution of service times can beat."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from iosim.analytic.network import Customers, Network

ARRIVALS = "arrivals"
CUSTOMERS = "customers"
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Bounds:
    """Bounds of all requests together.

    *throughput_per_s* cannot be exceeded, *response_ns* (the mean) not be undercut. *limit* says what keeps the
    throughput down: the name of a centre or gate, "arrivals" (no more requests come) or "customers" (each waits for its
    last request).
    """

    throughput_per_s: float
    response_ns: float
    limit: str


@dataclass(frozen=True)
class _Place:
    """A centre or gate: a request of kind c keeps one of its servers busy for demands_ns[c]; *room* servers in all."""

    name: str
    demands_ns: list[float]
    room: float


def bounds(network: Network) -> Bounds:
    """Return the asymptotic bounds (Denning and Buzen, Computing Surveys 10(3), 1978; Lazowska et al. 1984, chapter 5).

    X <= m / D for each centre with m servers, X <= N / (R0 + Z) for closed customers, X = rate for open ones. With
    several kinds of requests these are the constraints of a linear program, whose largest sum of throughputs is the
    bound. R >= R0, and R >= N / X - Z for closed customers, by Little's law. Demands are the `least` ones.
    """
    kinds = [own for own in network.customers if own.is_request]
    places = _places(network, kinds)
    most = [_alone_per_s(own) for own in kinds]
    from_outside = [rate if own.is_open else 0.0 for own, rate in zip(kinds, most, strict=True)]
    carried = all(np.dot(place.demands_ns, from_outside) / 1e9 <= place.room for place in places)
    scale = max(most)
    least = from_outside if carried else [0.0] * len(kinds)
    found = linprog(
        c=[-1.0] * len(kinds),
        A_ub=[[demand * scale / 1e9 / place.room for demand in place.demands_ns] for place in places] or None,
        b_ub=[1.0] * len(places) or None,
        bounds=[(low / scale, high / scale) for low, high in zip(least, most, strict=True)],
        method="highs",
    )
    assert found.success, found.message
    throughput = float(np.asarray(found.x, dtype=np.float64).sum()) * scale
    limit = ARRIVALS if all(own.is_open for own in kinds) else CUSTOMERS
    if throughput < sum(most) * (1 - _ROUNDING):
        limit = places[int(np.argmin(found.ineqlin.marginals))].name
    return Bounds(throughput, _response_ns(kinds, throughput, carried), limit)


def _places(network: Network, kinds: list[Customers]) -> list[_Place]:
    """Return the centres and gates that the requests use."""
    every = [(centre.name, centre.vm, centre.servers) for centre in network.centres]
    every += [(gate.name, gate.vm, gate.slots) for gate in network.gates]
    found = []
    for name, vm, servers in every:
        demands_ns = [own.least_response if own.gate == name else own.least.get(name, 0.0) for own in kinds]
        if any(demands_ns):
            vms = 1 if vm is None else max(own.replicas for own in kinds if own.vm == vm)
            found.append(_Place(name, demands_ns, float(servers * vms)))
    return found


def _alone_per_s(own: Customers) -> float:
    """Return the throughput of all *own* customers if nothing made them wait."""
    if own.rate_per_s is not None:
        return own.replicas * own.rate_per_s
    return own.replicas * own.population / (own.least_response + own.think_ns) * 1e9


def _response_ns(kinds: list[Customers], throughput_per_s: float, carried: bool) -> float:
    """Return the least mean response time, given the largest throughput."""
    if not carried:
        return min(own.least_response for own in kinds)
    present = sum(
        own.rate_per_s / 1e9 * own.least_response * own.replicas
        if own.rate_per_s is not None
        else own.population * own.replicas
        for own in kinds
    )
    return present / throughput_per_s * 1e9 - max(own.think_ns for own in kinds)


def knees(network: Network, vm: str) -> dict[str, float]:
    """Return for each shared centre the number of VMs of table *vm* at which its servers would be busy all the time.

    That is where its asymptotes cross, N* = m (R0 + Z) / D for one kind of closed customers: from there on requests
    must wait. Customers that are no requests (the guests' own computing) count with what they take if nobody waits.
    Centres that the VMs do not use are left out; 0 or less: the others are enough.
    """
    found = {}
    for centre in network.centres:
        if centre.vm is not None:
            continue
        each = others = 0.0
        for own in network.customers:
            busy = _alone_per_s(own) / 1e9 * own.least.get(centre.name, 0.0)
            if own.vm == vm:
                each += busy / own.replicas
            else:
                others += busy
        if each:
            found[centre.name] = (centre.servers - others) / each
    return dict(sorted(found.items(), key=lambda item: item[1]))


def loads(network: Network) -> dict[str, float]:
    """Return for each shared centre how many of its servers would be busy on average if nobody waited.

    With what requests, and other customers, need at least. A centre with as many servers as this, or fewer, saturates.
    """
    found = {}
    for centre in network.centres:
        if centre.vm is None:
            busy = sum(_alone_per_s(own) / 1e9 * own.least.get(centre.name, 0.0) for own in network.customers)
            found[centre.name] = busy
    return found
