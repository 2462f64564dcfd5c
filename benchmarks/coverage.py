"""``make coverage``: how often intervals of 95 % hold the known value of a queue that iosim simulates.

Poisson arrivals at a virtio-blk drive whose path costs nothing, on a disk that serves one request at a time in an
exponential time: M/M/1, whose sojourn time is exponential with mean service / (1 - load). A trial is a study of one
point: ten replications, each with arrivals and services of its own. Seeds are fixed.
"""

import math
import sys
import tempfile
import tomllib
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from iosim import scenario_file
from iosim.model.catalogue import CATALOGUE
from iosim.model.costs import TABLE_SIZE, Cost, Figure, Profile, exponential
from iosim.model.trace import OPS, Trace
from iosim.results.raw import INT_COLUMNS
from iosim.run import run_machine
from iosim.study.executors import usable_cpus, watching_pool
from iosim.study.statistics import Interval, mean_interval, section_interval

TRIALS, REPLICATIONS, REQUESTS, WARMUP = 400, 10, 600, 100
SERVICE_NS, LOAD = 100_000, 0.5
MEAN_NS = SERVICE_NS / (1 - LOAD)

SCENARIO = """\
[run]
seed = {seed}
slowest = 0
[[host.disk]]
name = "queue"
model = "empirical"
table = "exponential.csv"
flush = "0s"
[[vm]]
name = "guest"
[[vm.drive]]
interface = "virtio-blk"
cache = "none"
aio = "native"
request_merging = false
trace = "none"
"""


def main() -> None:
    """Run all trials and print the coverage of each interval."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "exponential.csv")
        runs = range(TRIALS * REPLICATIONS)
        pool, alive = watching_pool(usable_cpus())
        with pool, alive:
            found = pool.map(partial(latencies, folder), runs, chunksize=20)
            times = np.array(list(track(found, "iosim runs", len(runs), console=Console(file=sys.stderr))))
    trials = times.reshape(TRIALS, REPLICATIONS, -1)
    table = Table("", "true (us)", "estimated (us)", "95 % intervals that hold it")
    truths = {"mean": MEAN_NS} | {f"p{p}": -math.log(1 - p / 100) * MEAN_NS for p in (50, 90, 95)}
    for name, truth in truths.items():
        intervals = [interval(trial, name) for trial in trials]
        held = sum(each.low <= truth <= each.high for each in intervals)
        mean = np.mean([each.estimate for each in intervals])
        table.add_row(name, f"{truth / 1000:.1f}", f"{mean / 1000:.1f}", f"{held} of {TRIALS}, {held / TRIALS:.1%}")
    Console().print(table)


def interval(trial: npt.NDArray[np.int64], name: str) -> Interval:
    """Return the interval of one trial, replications x requests, as a study has it."""
    if name == "mean":
        return mean_interval(trial.mean(axis=1))
    q = float(name.removeprefix("p")) / 100
    return section_interval(np.quantile(trial, q, axis=1), float(np.quantile(trial, q)))


def latencies(folder: Path, number: int) -> npt.NDArray[np.int64]:
    """Return the latencies of run *number* in ns, in the order of arrival, without the warm-up."""
    scenario = scenario_file.check(tomllib.loads(SCENARIO.replace("{seed}", str(number))), "coverage")
    gaps = np.random.default_rng([20261124, number]).exponential(SERVICE_NS / LOAD, REQUESTS)
    sectors = np.arange(REQUESTS, dtype=np.int64) * 64
    counts, writes = np.full(REQUESTS, 8), np.full(REQUESTS, OPS.index("W"), dtype=np.uint8)
    trace = Trace(np.cumsum(gaps).astype(np.int64), writes, sectors, counts, "none", "")
    raw = run_machine(scenario, no_costs(), {(0, 0): trace}, folder)
    arrival, done = (raw.requests[:, INT_COLUMNS.index(name)] for name in ("arrival_ns", "done_ns"))
    sojourns: npt.NDArray[np.int64] = (done - arrival)[WARMUP:]
    return sojourns


def no_costs() -> Profile:
    figures = {key: Figure(Cost(key, 0), "0", "assumed", "a path that costs nothing") for key in CATALOGUE}
    return Profile("nothing", "nothing", "none", "none", figures)


def write_table(path: Path) -> None:
    cost = exponential("service", SERVICE_NS)
    rows = [f"{op},8,{k / TABLE_SIZE},{cost.quantile_ns(k / TABLE_SIZE)}" for op in "RW" for k in range(TABLE_SIZE + 1)]
    path.write_text("\n".join(["op,sectors,probability,ns", *rows]) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
