"""``python -m benchmarks.engines``: the compiled engine beside SimPy's, exit by exit, and beside its peers.

All within this one run, best of three rounds in turn. It prints the tables of docs/performance.md, in Markdown.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from types import ModuleType
from typing import Any, NamedTuple

from benchmarks.peers import Network, network, with_ciw, with_simpy
from benchmarks.workload import constant, writes
from iosim import engines, scenario_file
from iosim.compiled import execution
from iosim.model.costs import Profile, load_profile
from iosim.model.scenario import Scenario
from iosim.results import result as results
from iosim.results.result import Result
from iosim.simulation import run_and_tabulate

ROUNDS = 3
DISK_SERVERS = 16


class Case(NamedTuple):
    """A workload, and how many requests of it each simulator gets: about as many as it does in a few seconds."""

    name: str
    profile: Profile
    gap_ns: int
    drive: dict[str, Any]
    compiled: int
    simpy: int
    exact: int
    plain: int
    ciw: int
    vms: int = 1
    cpus: int | None = None


class Rates(NamedTuple):
    """Requests per second of CPU time: of the engine alone, of the whole run with its tables, and of writing them."""

    alone: float
    whole: float
    written: float


def cases() -> list[Case]:
    """Return the workloads: sequential 4 KiB writes."""
    fixed, measured = constant("vmx-2017"), load_profile("pvm-nested")
    virtio = {"interface": "virtio-blk"}
    return [
        Case("DMA", fixed, 400_000, {}, 400_000, 3_000, 1_000, 500, 100),
        Case("PIO mode", fixed, 6_000_000, {"transfer": "pio"}, 200_000, 3_000, 10, 20, 6),
        Case("virtio-blk", fixed, 400_000, virtio, 400_000, 3_000, 1_000, 3_000, 1_000),
        Case("64 VMs on 8 CPUs, DMA", fixed, 1_600_000, {}, 256_000, 3_200, 640, 320, 64, 64, 8),
        Case("DMA, `pvm-nested`", measured, 1_600_000, {}, 200_000, 2_000, 1_000, 500, 100),
        Case("PIO mode, `pvm-nested`", measured, 60_000_000, {"transfer": "pio"}, 20_000, 1_000, 10, 20, 6),
    ]


def main() -> None:
    """Measure and print."""
    engines.prepare()
    found = [measured(case) for case in cases()]
    print("Requests per second of CPU time:\n")
    columns = ("compiled, alone", "whole run", "writing", "SimPy, alone", "whole run", "exit by exit")
    print_table(("", *columns, "plain SimPy", "Ciw"), [(case, *map(rate_text, rates)) for case, rates in found])
    print("\nTimes as fast, the compiled engine alone, and whole runs:\n")
    others = ("SimPy engine, alone", "exit by exit", "plain SimPy", "Ciw", "whole run with SimPy")
    rows: list[tuple[str, ...]] = []
    for case, (alone, whole, _, simpy_alone, simpy_whole, exact, plain, ciw) in found:
        ratios = [alone / other for other in (simpy_alone, exact, plain, ciw)] + [whole / simpy_whole]
        rows.append((case, *[f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}" for ratio in ratios]))
    print_table(("", *others), rows)


def rate_text(rate: float) -> str:
    """Return *rate* in three digits."""
    digits = max(0, len(str(int(rate))) - 3)
    return f"{round(rate, -digits):,.0f}" if rate >= 100 else f"{rate:.3g}"


def print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table in Markdown."""
    for row in (head, ("---", *["---:"] * (len(head) - 1)), *rows):
        print(f"| {' | '.join(row)} |", flush=True)


def measured(case: Case) -> tuple[str, tuple[float, ...]]:
    """Return the name of a workload and the best rates, in the order of the columns of `main`."""
    one, _ = simulated(case._replace(vms=1, cpus=None), "simpy", 1)
    net = network(one.spans, case.gap_ns, case.vms, DISK_SERVERS)
    compiled, simpy, exact = [], [], []
    plain, ciw = [], []
    for _ in range(ROUNDS):
        compiled.append(rates(case, "compiled", case.compiled))
        simpy.append(rates(case, "simpy", case.simpy))
        exact.append(rates(case, "simpy", case.exact, exact=True))
        plain.append(peer(with_simpy, net, case.plain))
        ciw.append(peer(with_ciw, net, case.ciw))
    best = [Rates(*map(max, zip(*found, strict=True))) for found in (compiled, simpy, exact)]
    return case.name, (*best[0], *best[1][:2], best[2].alone, max(plain), max(ciw))


def peer(simulate: Callable[[Network, int], float], net: Network, n: int) -> float:
    """Return what a peer does in a second."""
    return simulate(net, n)


def rates(case: Case, engine: str, n: int, exact: bool = False) -> Rates:
    """Return the rates of one run of *n* requests."""
    module, name = (execution, "run_to_end") if engine == "compiled" else (engines, "simulate_with_simpy")
    with timed(module, name) as alone:
        result, whole = simulated(case, engine, n // case.vms, exact)
    with tempfile.TemporaryDirectory() as folder:
        begin = process_time()
        results.write(result, Path(folder) / "out", scenario_file.to_toml(result.scenario), pictures=False)
        written = process_time() - begin
    done = n // case.vms * case.vms
    assert result.summary["requests"]["done"] == done
    return Rates(done / alone[0], done / whole, done / written)


def simulated(case: Case, engine: str, n: int, exact: bool = False) -> tuple[Result, float]:
    """Return the result of *n* requests of each VM, and the seconds of CPU time with all tables."""
    host: dict[str, Any] = {
        "disk": [{"name": "sda", "model": "constant", "service": "90us", "servers": DISK_SERVERS}]
    }  # fmt: skip
    if case.cpus is not None:
        host["cpus"] = case.cpus
    drive = {"cache": "none", "trace": "synthetic", **case.drive}
    phase = f"{case.gap_ns // case.vms}ns"
    scenario = Scenario.model_validate(
        {
            "run": {"engine": engine, "exact_exits": exact},
            "host": host,
            "vm": [{"name": "vm", "count": case.vms, "offset": phase, "drive": [drive]}],
        }
    )
    begin = process_time()
    result = run_and_tabulate(scenario, case.profile, {(0, 0): writes(n, case.gap_ns)})
    return result, process_time() - begin


@contextmanager
def timed(module: ModuleType, name: str) -> Iterator[list[float]]:
    """Measure each call of a function of *module*, in seconds."""
    function = getattr(module, name)
    seconds: list[float] = []

    def watched(*arguments: Any) -> Any:
        begin = process_time()
        try:
            return function(*arguments)
        finally:
            seconds.append(process_time() - begin)

    setattr(module, name, watched)
    try:
        yield seconds
    finally:
        setattr(module, name, function)


if __name__ == "__main__":
    main()
