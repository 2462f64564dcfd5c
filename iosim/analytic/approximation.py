"""Approximate mean-value analysis of any mixture of open and closed customers at centres with several servers."""

import numpy as np

from iosim.analytic.network import Network
from iosim.analytic.theory import Floats, erlang_c

_CLOSE = 1e-10
_MOST_ROUNDS = 20_000


class Approximation:
    """The fixed point of throughputs and waits of a network.

    A customer who comes to a centre with m servers finds all of them busy with Erlang's probability C(m, a), waits for
    the first of them and then for all in front: (C(m, a) x residual + work in line) / m. What it finds is the mean
    without itself (Bard 1979, Schweitzer 1979): its own share of the load is taken out. Where fewer customers than
    servers can come together nobody waits. A gate is a centre, too: its service is all that happens behind it.

    Times in ns, rates per ns and VM. Arrays are [customers], [customers, centres] or, of what one finds of another,
    [centres, customers, customers].
    """

    def __init__(self, network: Network) -> None:
        kinds, centres = network.customers, network.centres
        self._open = np.array([own.is_open for own in kinds])
        self._population = np.array([np.inf if own.is_open else float(own.population) for own in kinds])
        self._rates = np.array([(own.rate_per_s or 0.0) / 1e9 for own in kinds])
        self._think = np.array([own.think_ns for own in kinds])
        self._delay = np.array([own.delay_ns for own in kinds])
        self._servers = np.array([float(centre.servers) for centre in centres])
        self._service = np.array([[own.service_ns.get(centre.name, 0.0) for centre in centres] for own in kinds])
        self._beside = np.array([[own.beside_ns.get(centre.name, 0.0) for centre in centres] for own in kinds])
        self._visits = np.array([[own.visits_at(centre.name) for centre in centres] for own in kinds])
        self._vms = np.array([[1.0 if centre.vm else float(own.replicas) for centre in centres] for own in kinds])
        slots = {(gate.vm, gate.name): float(gate.slots) for gate in network.gates}
        keys = [(own.vm, own.gate if own.gate is not None else f"customers {own.name}") for own in kinds]
        self._slots = np.array([slots.get(key, np.inf) for key in keys])
        self._behind_same = np.array([[float(a == b) for b in keys] for a in keys])
        self._at_gate = np.array([sum(self._population[row > 0]) for row in self._behind_same])
        """How many can come to the gate of one VM."""
        inside = np.minimum(self._slots, self._at_gate)
        """How many can be behind the gate of one VM at once."""
        self._others = 1 - self._behind_same / (inside[:, None] * self._vms.T[:, None, :])
        """The share of the load of each kind that does not come from behind one's own slot of the gate."""
        self._can_wait = self._crowded(inside)

    def _crowded(self, inside: Floats) -> "np.ndarray[tuple[int, int], np.dtype[np.bool_]]":
        """Tell where more customers can come together than there are servers."""
        comes = self._service > 0
        first_of_gate = self._behind_same.argmax(axis=1) == np.arange(len(inside))
        gate_comes = (self._behind_same @ comes > 0) & first_of_gate[:, None]
        most = np.where(gate_comes, inside[:, None] * self._vms, 0.0).sum(axis=0)
        crowded: np.ndarray[tuple[int, int], np.dtype[np.bool_]] = comes & (
            (most > self._servers) | (self._beside.sum(axis=0) > 0)
        )
        return crowded

    def solve(self) -> tuple[Floats, Floats, Floats] | None:
        """Return the rate of each kind of customers (of one VM), their response time, and each centre's utilisation.

        None if open customers alone overload a centre or a gate.
        """
        if (self._load(np.where(self._open, self._rates, 0.0)).sum(axis=0) >= self._servers).any():
            return None
        waits = np.zeros_like(self._service)
        gate_waits = np.zeros(len(self._open))
        for _ in range(_MOST_ROUNDS):
            held = self._held(waits)
            if (self._behind_same @ np.where(self._open, self._rates * held, 0.0) >= self._slots).any():
                return None
            rates = self._throughputs(gate_waits + held)
            new, new_gate = self._new_waits(rates, waits), self._new_gate_waits(rates, held, gate_waits)
            change = max(np.abs(new - waits).max(initial=0.0), np.abs(new_gate - gate_waits).max(initial=0.0))
            waits, gate_waits = new, new_gate
            if change <= _CLOSE * held.max():
                break
        response = gate_waits + self._held(waits)
        rates = self._throughputs(response)
        return rates, response, self._load(rates).sum(axis=0) / self._servers

    def _held(self, waits: Floats) -> Floats:
        """Return the time behind the gate."""
        held: Floats = (self._service + self._visits * waits).sum(axis=1) + self._delay
        return held

    def _throughputs(self, response: Floats) -> Floats:
        """Return the rates: those of open customers as they are, those of closed ones by Little's law."""
        closed = np.where(self._open, 0.0, self._population) / np.maximum(self._think + response, 1e-3)
        return np.where(self._open, self._rates, closed)

    def _load(self, rates: Floats) -> Floats:
        """Return how many servers of each centre each kind of customers keeps busy."""
        load: Floats = self._vms * rates[:, None] * (self._service + self._beside)
        return load

    def _new_waits(self, rates: Floats, waits: Floats) -> Floats:
        """Return the wait of a visit, given what the others wait.

        Open customers wait for each other: their waits, which come from each other's, are solved for at once.
        """
        flow = (self._vms * rates[:, None]).T[:, None, :]
        own_way, beside = self._others * flow * self._service.T[:, None, :], flow * self._beside.T[:, None, :]
        size = (self._service / self._visits).T[:, None, :]
        found = own_way + beside
        busy = found.sum(axis=2)
        moment = (own_way * size + beside * self._beside.T[:, None, :]).sum(axis=2)
        residual = np.divide(moment, busy, out=np.zeros_like(busy), where=busy > 0)
        first = erlang_c(self._servers[:, None], busy) * residual
        can_wait = self._can_wait.T
        is_open = self._open[None, :] & can_wait
        line = np.einsum("kcj,kj->kc", found, np.where(is_open, 0.0, waits.T))
        open_found = np.where(is_open[:, :, None] & is_open[:, None, :], found, 0.0)
        solved = np.linalg.solve(
            self._servers[:, None, None] * np.eye(len(rates)) - open_found,
            np.where(is_open, first + line, 0.0)[:, :, None],
        )[:, :, 0]
        line += np.einsum("kcj,kj->kc", found, solved)
        new: Floats = np.where(is_open, solved, np.where(can_wait, (first + line) / self._servers[:, None], 0.0)).T
        return new

    def _new_gate_waits(self, rates: Floats, held: Floats, gate_waits: Floats) -> Floats:
        """Return the wait for a slot; open customers of a gate all wait alike."""
        load = rates * held
        open_load = np.where(self._open, load, 0.0)
        busy, moment, line = (
            self._behind_same @ (load * value) - (load - open_load) * value / self._population
            for value in (np.ones_like(held), held, np.where(self._open, 0.0, gate_waits))
        )
        slots = np.where(self._at_gate > self._slots, self._slots, 1.0)
        residual = np.divide(moment, busy, out=np.zeros_like(busy), where=busy > 0)
        first = erlang_c(slots, busy) * residual + line
        of_open = np.where(self._open, first / (slots - self._behind_same @ open_load), 0.0)
        waits = np.where(self._open, of_open, (first + self._behind_same @ (open_load * of_open)) / slots)
        return np.where(self._at_gate > self._slots, waits, 0.0)
