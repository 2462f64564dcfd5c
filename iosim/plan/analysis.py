"""Bounds and estimate over the knob, from one run at the easy end: what queueing theory says of the same scenario."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from iosim.analytic.bounds import Bounds, bounds, loads
from iosim.analytic.estimate import Estimate, estimate
from iosim.analytic.network import Centre, Network
from iosim.analytic.scenario_network import network_of
from iosim.model.clones import disk_names
from iosim.model.scenario import Scenario
from iosim.results.result import Result

CPUS = "cpus"


@dataclass(frozen=True)
class Expected:
    """What holds, and what is expected, at a position of the knob."""

    bounds: Bounds
    estimate: Estimate


class Analysis:
    """The network of the run *easy*, changed as the scenario of a position is; *others* sharpen its bounds.

    It knows the keys that change how many customers or servers there are, or how often customers come: `vm.count`,
    `drive.trace_speed`, `host.cpus`, `host.disk.count` and `host.disk.servers`. `knows` tells whether that is all in
    which a scenario differs.
    """

    def __init__(self, easy: Result, others: Sequence[Result] = ()) -> None:
        self._scenario = easy.scenario
        self._network = network_of(easy)
        # Networks of other runs have other centres where the number of disks differs: their demands are not comparable.
        networks = [network_of(other) for other in others]
        alike = [other for other in networks if _names(other) == _names(self._network)]
        self._bounding = self._network.with_least_of(alike)

    def knows(self, scenario: Scenario) -> bool:
        """Tell whether *scenario* differs from that of the run in nothing but what the analysis can change."""
        return _without_what_is_known(scenario) == _without_what_is_known(self._scenario)

    def expected(self, scenario: Scenario) -> Expected:
        """Return bounds and estimate of *scenario*, which the analysis `knows`.

        The metrics of a run count all of it, but closed customers who begin and end at different times are not all
        there all the time. So N / X is no bound of their response time; that of a request alone is.
        """
        network = self._changed(self._bounding, scenario)
        found = bounds(network)
        requests = [own for own in network.customers if own.is_request]
        if any(not own.is_open for own in requests):
            found = replace(found, response_ns=min(own.least_response for own in requests))
        return Expected(found, estimate(self._changed(self._network, scenario)))

    def loads(self, scenario: Scenario) -> dict[str, tuple[float, int]]:
        """Return for each resource that all share how many servers would be busy if nobody waited, and how many it has.

        The disks of a table are one resource.
        """
        network = self._changed(self._bounding, scenario)
        servers = {centre.name: centre.servers for centre in network.centres}
        found: dict[str, tuple[float, int]] = {}
        for name, busy in loads(network).items():
            common = name.partition("#")[0]
            before, room = found.get(common, (0.0, 0))
            found[common] = before + busy, room + servers[name]
        return found

    def _changed(self, network: Network, scenario: Scenario) -> Network:
        customers = []
        old = {table.name: table for table in self._scenario.vm}
        new = {table.name: table for table in scenario.vm}
        for own in network.customers:
            table, before = new[own.vm], old[own.vm]
            rate = own.rate_per_s
            if rate is not None and own.is_request:
                number = int(own.name.rpartition("/drive")[2])
                rate *= float(Fraction(table.drive[number].speed, before.drive[number].speed))
            customers.append(replace(own, replicas=table.count, rate_per_s=rate))
        return _with_servers(replace(network, customers=tuple(customers)), self._scenario, scenario)


def _names(network: Network) -> tuple[list[str], list[str]]:
    return [centre.name for centre in network.centres], [own.name for own in network.customers]


def _with_servers(network: Network, old: Scenario, new: Scenario) -> Network:
    """Return *network*, which has the centres of *old*, with those of *new*."""
    centres: list[Centre] = [centre for centre in network.centres if not centre.name.startswith("disk/")]
    if new.host.cpus is not None:
        centres = [replace(centre, servers=new.host.cpus) if centre.name == CPUS else centre for centre in centres]
    customers = list(network.customers)
    for before, after in zip(old.host.disk, new.host.disk, strict=True):
        were, are = ([f"disk/{name}" for name in disk_names(table)] for table in (before, after))
        centres += [Centre(name, after.servers) for name in are]
        if were != are:
            customers = [
                replace(
                    own,
                    service_ns=_spread(own.service_ns, were, are),
                    beside_ns=_spread(own.beside_ns, were, are),
                    least_ns=None if own.least_ns is None else _spread(own.least_ns, were, are),
                    visits=_spread(own.visits, were, are),
                )
                for own in customers
            ]
    return replace(network, centres=tuple(centres), customers=tuple(customers))


def _spread(values: Mapping[str, float], were: Sequence[str], are: Sequence[str]) -> dict[str, float]:
    """Return *values* with what the centres *were* have together in equal parts at those that there *are*."""
    kept = {name: value for name, value in values.items() if name not in were}
    given = [values[name] for name in were if name in values]
    return kept | (dict.fromkeys(are, sum(given) / len(are)) if given else {})


def _without_what_is_known(scenario: Scenario) -> dict[str, Any]:
    data = scenario.model_dump(mode="json", exclude={"run": {"seed", "slowest", "window", "log"}})
    # With CPUs or without is not the same network; how many is a number of servers.
    data["host"]["cpus"] = data["host"]["cpus"] is not None
    for disk in data["host"]["disk"]:
        disk["count"] = disk["servers"] = 1
    for vm in data["vm"]:
        vm["count"] = 1
        for drive in vm["drive"]:
            drive["trace_speed"] = 1.0
    return data
