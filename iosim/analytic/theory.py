"""Formulas of queueing theory that stand for themselves. Times and rates are in whatever unit the caller uses."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

Floats: TypeAlias = npt.NDArray[np.float64]


def erlang_c(servers: Floats | float, offered: Floats | float) -> Floats:
    """Return the probability that a customer of M/M/m finds all *servers* busy (A. K. Erlang, 1917).

    *offered* is the load in Erlang, arrival rate x mean service time; from *servers* on everybody waits, and the
    result is 1. Element by element. Erlang's B is a Poisson probability over its distribution function.
    """
    m, a = np.broadcast_arrays(np.asarray(servers, dtype=np.float64), np.asarray(offered, dtype=np.float64))
    load = np.clip(a, 0.0, m * (1 - 1e-12))
    with np.errstate(divide="ignore"):
        blocked = np.exp(special.xlogy(m, load) - load - special.gammaln(m + 1)) / special.gammaincc(m + 1, load)
    waits: Floats = blocked / (1 - load / m * (1 - blocked))
    return np.where(a >= m, 1.0, np.where(a <= 0, 0.0, waits))


def mmm_wait(servers: int, rate: float, service: float) -> float:
    """Return the mean wait in M/M/m: C(m, a) x service / (m - a) with a = rate x service; infinite from a = m on."""
    offered = rate * service
    if offered >= servers:
        return float("inf")
    return float(erlang_c(servers, offered)) * service / (servers - offered)


def closed_throughputs(demands: Sequence[float], servers: Sequence[int], think: float, customers: int) -> Floats:
    """Return the throughput of a closed network with 1, 2 ... *customers* customers of one kind, exactly.

    Centre k serves with servers[k] servers at once a customer's demands[k] in all; in between customers think. The
    network has product form (exponential service, first come first served), and the throughput is that of exact
    mean-value analysis (Reiser and Lavenberg, JACM 27(2), 1980). It is computed by Buzen's convolution (CACM 16(9),
    1973) in logarithms: X(n) = G(n - 1) / G(n). All its terms are positive, while the recursion of mean-value analysis
    loses digits at centres with several servers.
    """
    number = np.arange(customers + 1)
    with np.errstate(divide="ignore"):
        constant: Floats = special.xlogy(number, think) - special.gammaln(number + 1)
        for demand, m in zip(demands, servers, strict=True):
            own = special.xlogy(number, demand) - np.cumsum(np.log(np.clip(number, 1, m)))
            constant = _convolved(constant, own)
    throughputs: Floats = np.exp(constant[:-1] - constant[1:])
    return throughputs


def _convolved(a: Floats, b: Floats) -> Floats:
    """Return the logarithm of the convolution of exp(a) and exp(b), as long as both."""
    return np.array([special.logsumexp(a[: n + 1] + b[n::-1]) for n in range(len(a))])
