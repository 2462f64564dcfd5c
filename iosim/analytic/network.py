"""A queueing network: the centres that serve, the customers that visit them, and the VMs that both belong to.

All parts are frozen. Times are in ns (floats: means), rates per second, as the parts of one VM where they belong to a
VM: `replicas` says how many such VMs there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Centre:
    """Something that serves, first come first served, with *servers* at once.

    *vm*: each VM of this table has one of its own; None: all share it.
    """

    name: str
    servers: int
    vm: str | None = None


@dataclass(frozen=True)
class Gate:
    """Something that a request holds from its begin to its end (an IDE channel, a ring), *slots* of them in each VM."""

    name: str
    slots: int
    vm: str


@dataclass(frozen=True)
class Customers:
    """All customers of one kind: the requests of a drive, or the bursts of a guest's own computing.

    Either open, *rate_per_s* of each VM, or closed, *population* of each VM, who think for *think_ns* in between.

    * *service_ns*: what one is served at each centre, and part of its response time; in *visits* parts of equal size.
    * *beside_ns*: work that it causes there beside its own way, which delays others.
    * *delay_ns*: the rest of its response time, at no centre.
    * *least_ns*, *least_response_ns*: the part of the work at each centre, and of the response time, that it cannot do
      without at any load. Bounds are made of these.
    * *gate*: what it holds from begin to end.
    * *is_request*: counted in throughput and response time of the whole.
    """

    name: str
    vm: str
    service_ns: Mapping[str, float]
    replicas: float = 1
    rate_per_s: float | None = None
    population: int = 1
    think_ns: float = 0.0
    delay_ns: float = 0.0
    visits: Mapping[str, float] = field(default_factory=dict)
    beside_ns: Mapping[str, float] = field(default_factory=dict)
    least_ns: Mapping[str, float] | None = None
    least_response_ns: float | None = None
    gate: str | None = None
    is_request: bool = True

    @property
    def is_open(self) -> bool:
        """Whether they come from outside at a rate of their own."""
        return self.rate_per_s is not None

    @property
    def least(self) -> Mapping[str, float]:
        """Work at each centre for bounds; all of the service if nothing else is known."""
        return self.service_ns if self.least_ns is None else self.least_ns

    @property
    def least_response(self) -> float:
        """Response time for bounds; all of the service if nothing else is known."""
        return sum(self.service_ns.values()) if self.least_response_ns is None else self.least_response_ns

    def work_ns(self, centre: str) -> float:
        """Return how long one customer keeps a server of *centre* busy, its own way and beside it."""
        return self.service_ns.get(centre, 0.0) + self.beside_ns.get(centre, 0.0)

    def visits_at(self, centre: str) -> float:
        """Return how often a customer comes to *centre*."""
        return self.visits.get(centre, 1.0)


@dataclass(frozen=True)
class Network:
    """Centres, gates and customers; names of centres, gates and customers differ."""

    centres: tuple[Centre, ...]
    customers: tuple[Customers, ...]
    gates: tuple[Gate, ...] = ()

    def scaled(self, counts: Mapping[str, float]) -> "Network":
        """Return the network with *counts* VMs of the tables that it names; only bounds know parts of a VM."""
        customers = (replace(own, replicas=counts.get(own.vm, own.replicas)) for own in self.customers)
        return replace(self, customers=tuple(customers))

    def with_least_of(self, others: "Sequence[Network]") -> "Network":
        """Return the network with the smallest demands for bounds that it and the *others* have shown.

        The *others* are of runs of the same scenario under other loads. What a request cost in a run bounds the
        throughput of that run, so the least of it bounds that of all of them. Without others nothing changes.
        """
        if not others:
            return self
        found = [{own.name: own for own in network.customers} for network in (self, *others)]
        customers = []
        for own in self.customers:
            alike = [kinds[own.name] for kinds in found if own.name in kinds]
            least = {place: min(other.work_ns(place) for other in alike) for place in own.service_ns}
            response = min(other.least_response for other in alike)
            customers.append(replace(own, least_ns=least, least_response_ns=response))
        return replace(self, customers=tuple(customers))
