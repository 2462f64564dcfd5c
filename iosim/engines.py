"""The engines: the SimPy processes, which are the reference, and the same functions as native code."""

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from iosim.machine import Machine
from iosim.model.ata import Transfer
from iosim.model.errors import EngineError, FaultError, IosimError
from iosim.model.scenario import Scenario
from iosim.model.trace import AnyTrace
from iosim.run import Collector, simulate_with_simpy

if TYPE_CHECKING:
    from iosim.compiled.engine import Engine

Execute = Callable[[Machine, Collector], int]
"""Runs a machine to its end; returns when that is, in ns."""
Say = Callable[[str], None]
"""Called with what is done before the first event and takes long, such as compiling."""

COMPILED_FROM = 5_000
"""Requests, all VMs together, from which on `auto` is `compiled`.

Reading the native code takes 0.2 s and handing over the first VM and its results 0.05 s, so that it is sooner from some
1,500 requests of one VM on. Up to 5,000 SimPy takes a second, which is not worth making the code, if there is none.
"""
EACH_VM = 30
"""So many requests more for each VM, whose hand-over takes as long as these with SimPy: about 5 ms."""
EXACT_PIO, EXACT_DMA = 400, 7
"""How many times as long a request of an IDE drive takes SimPy with `run.exact_exits`; one of virtio hardly longer."""


def choose(scenario: Scenario, traces: Mapping[tuple[int, int], AnyTrace]) -> str:
    """Return the engine that runs *scenario*: that of `run.engine`, and for `auto` the one that is done sooner.

    *traces* are by (number of the VM's table, number of the drive). Where the compiled engine would be sooner and
    llvmlite is not there, a line on standard error says so. Raises EngineError if `compiled` is asked for without it.
    """
    wish = scenario.run.engine
    if wish == "simpy" or (wish == "auto" and not _is_large(scenario, traces)):
        return "simpy"
    problem = _problem()
    if problem is None:
        return "compiled"
    if wish == "compiled":
        raise EngineError(f"run.engine = compiled needs llvmlite, which cannot be used here: {problem}")
    _warn(problem)
    return "simpy"


def _is_large(scenario: Scenario, traces: Mapping[tuple[int, int], AnyTrace]) -> bool:
    requests = 0
    for (at, index), trace in traces.items():
        drive = scenario.vm[at].drive[index]
        times = 1
        if scenario.run.exact_exits and not drive.is_virtio:
            times = EXACT_DMA if drive.mode is Transfer.DMA and drive.replay != "ports" else EXACT_PIO
        requests += len(trace) * scenario.vm[at].count * times
    return requests >= COMPILED_FROM + EACH_VM * sum(vm.count for vm in scenario.vm)


@functools.cache
def _problem() -> str | None:
    """Return why there can be no native code on this machine, None if there can."""
    try:
        importlib.import_module("llvmlite.binding")
    except (ImportError, OSError) as error:
        return " ".join(str(error).split())
    return None


@functools.cache
def _warn(problem: str) -> None:
    """Say once that SimPy simulates."""
    print(f"iosim: simulating with SimPy, many times slower: llvmlite cannot be used here: {problem}", file=sys.stderr)


def executor(engine: str, say: Say | None = None) -> Execute:
    """Return what runs machines with *engine*: "simpy" or "compiled"."""
    return simulate_with_simpy if engine == "simpy" else functools.partial(_execute, say)


_IDLE: "list[Engine]" = []
"""Native code of this process that no thread is using; each has memory of its own."""


def compiled(say: Say | None = None) -> "Engine":
    """Return native code that nobody is using, made or read when it is first asked for."""
    if not _IDLE:
        _IDLE.append(_loaded(say))
    return _IDLE[-1]


def prepare(say: Say | None = None) -> None:
    """See to it that processes which this one starts find native code on disk: it is made once, and said once."""
    from iosim.compiled import cache
    from iosim.compiled.engine import native_code

    cache.share(native_code(say=say))


def _loaded(say: Say | None) -> "Engine":
    from iosim.compiled.engine import Engine

    return Engine(say=say)


def _execute(say: Say | None, machine: Machine, collector: Collector) -> int:
    """Run *machine* with native code that is this thread's until the end. What is interrupted is not used again."""
    from iosim.compiled.execution import execute

    try:
        engine = _IDLE.pop()
    except IndexError:
        engine = _loaded(say)
    try:
        end_ns = execute(engine, machine, collector)
    except (IosimError, FaultError):
        _IDLE.append(engine)
        raise
    _IDLE.append(engine)
    return end_ns
