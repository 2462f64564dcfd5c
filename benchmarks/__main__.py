"""``python -m benchmarks``: every figure of docs/performance.md, as rates and ratios within this one run."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Table

from benchmarks.large import make
from benchmarks.workload import constant, m_m_1, many_vms, run
from iosim.model.costs import load_profile

ROUNDS = 3
DMA_GAP_NS, PIO_GAP_NS = 400_000, 6_000_000
FEW, MANY = 100_000, 1_000_000
VM_WRITES = 40
"""Of each of 256 VMs."""
BUSY_HOST = Path(__file__).parents[1] / "scenarios" / "cpus.toml"


def main() -> None:
    """Measure and print; with ``memory N`` or ``vms N`` only the peak memory of N requests (of each of 256 VMs)."""
    if sys.argv[1:2] in (["memory"], ["vms"]):
        fixed, n = constant("vmx-2017"), int(sys.argv[2])
        if sys.argv[1] == "memory":
            run(fixed, n, DMA_GAP_NS)
        else:
            many_vms(fixed, n)
        status = Path("/proc/self/status").read_text(encoding="ascii")
        print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
        return
    console = Console()
    fixed, measured = constant("vmx-2017"), load_profile("pvm-nested")
    rates = _best(
        {
            "SimPy M/M/1, customers": lambda: m_m_1(40_000),
            "4 KiB DMA writes": lambda: run(fixed, 40_000, DMA_GAP_NS),
            "4 KiB PIO writes": lambda: run(fixed, 40_000, PIO_GAP_NS, transfer="pio"),
            "eight VMs, 4 KiB DMA writes": lambda: run(fixed, 5_000, 8 * DMA_GAP_NS, count=8),
            "256 VMs on 8 CPUs, 4 KiB DMA writes": lambda: many_vms(fixed, VM_WRITES),
            "4 KiB DMA writes, pvm-nested": lambda: run(measured, 8_000, 4 * DMA_GAP_NS),
            "4 KiB PIO writes, pvm-nested": lambda: run(measured, 4_000, 10 * PIO_GAP_NS, transfer="pio"),
        }
    )
    base = rates["SimPy M/M/1, customers"]
    table = Table(title=f"Requests per second (best of {ROUNDS}), ratio to M/M/1", title_justify="left")
    for name in ("", "per second", "ratio"):
        table.add_column(name, justify="left" if not name else "right")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / base:.3f}")
    console.print(table)

    table = Table(title="4 KiB PIO writes: coalesced against exit by exit", title_justify="left")
    for name in ("costs", "exit by exit, per second", "coalesced, per second", "ratio"):
        table.add_column(name, justify="left" if name == "costs" else "right")
    for name, profile in (("constant", fixed), ("pvm-nested", measured)):
        pair = _best(
            {
                "exact": lambda p=profile: run(p, 60, 10 * PIO_GAP_NS, transfer="pio", exact=True),  # type: ignore[misc]
                "coalesced": lambda p=profile: run(p, 10_000, 10 * PIO_GAP_NS, transfer="pio"),  # type: ignore[misc]
            },
            rounds=2,
        )
        ratio = pair["coalesced"] / pair["exact"]
        table.add_row(name, f"{pair['exact']:,.1f}", f"{pair['coalesced']:,.0f}", f"{ratio:,.0f}")
    console.print(table)

    few, many = _peak("memory", FEW), _peak("memory", MANY)
    slope = (many - few) / (MANY - FEW)
    console.print(
        f"Peak memory: {few / 1e6:,.0f} MB with {FEW:,} requests, {many / 1e6:,.0f} MB with {MANY:,}: "
        f"{slope:,.0f} bytes per request; "
        f"{_peak('vms', VM_WRITES) / 1e6:,.0f} MB with 256 VMs of {VM_WRITES} requests"
    )

    seconds, n_bytes = _page()
    console.print(
        f"Page of {MANY:,} requests of 64 VMs: {seconds:.1f} s with start and imports, {n_bytes / 1e6:.2f} MB"
    )


def _page() -> tuple[float, int]:
    """Return how long ``iosim report`` takes for a result of a million requests, and the size of its page."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "large"
        make(BUSY_HOST, MANY, out, ["vm.linux.count=64"])
        begin = perf_counter()
        subprocess.run([sys.executable, "-m", "iosim", "report", str(out)], check=True, capture_output=True)
        return perf_counter() - begin, (out / "report.html").stat().st_size


def _best(measurements: dict[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the best of *rounds* of each, taken in turn so that all of them see the same machine."""
    best = dict.fromkeys(measurements, 0.0)
    for _ in range(rounds):
        for name, measure in measurements.items():
            best[name] = max(best[name], measure())
    return best


def _peak(what: str, n: int) -> int:
    """Return the peak resident memory in bytes of a process that simulates *n* requests and makes all tables."""
    command = [sys.executable, "-m", "benchmarks", what, str(n)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


main()
