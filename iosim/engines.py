"""The engines: the SimPy processes, which are the reference, and the same functions as native code."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from iosim.machine import Machine
from iosim.model.scenario import Scenario
from iosim.model.trace import AnyTrace
from iosim.run import Collector, simulate_with_simpy

if TYPE_CHECKING:
    from iosim.compiled.engine import Engine

Execute = Callable[[Machine, Collector], int]
"""Runs a machine to its end; returns when that is, in ns."""
Say = Callable[[str], None]
"""Called with what is done before the first event and takes long, such as compiling."""

COMPILED_FROM = 10_000
"""Requests, all VMs together, from which on `auto` is `compiled`: with SimPy they take two seconds or more."""
EXACT_EXITS = 20
"""How many times as long a request takes with `run.exact_exits`, about."""


def choose(scenario: Scenario, traces: Mapping[tuple[int, int], AnyTrace]) -> str:
    """Return the engine that runs *scenario*: that of `run.engine`, and for `auto` the one that is done sooner.

    *traces* are by (number of the VM's table, number of the drive).
    """
    if scenario.run.engine != "auto":
        return scenario.run.engine
    work = sum(len(trace) * scenario.vm[at].count for (at, _), trace in traces.items())
    if scenario.run.exact_exits:
        work *= EXACT_EXITS
    return "compiled" if work >= COMPILED_FROM else "simpy"


def executor(engine: str, say: Say | None = None) -> Execute:
    """Return what runs machines with *engine*: "simpy" or "compiled"."""
    if engine == "simpy":
        return simulate_with_simpy
    from iosim.compiled.execution import execute

    return partial(execute, compiled(say))


_NATIVE: "list[Engine]" = []


def compiled(say: Say | None = None) -> "Engine":
    """Return the native code of this process, made or read when it is first asked for."""
    if not _NATIVE:
        from iosim.compiled.engine import Engine

        _NATIVE.append(Engine(say=say))
    return _NATIVE[0]
