"""What tests of plans share: small scenarios with known limits, and running a plan."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console

from iosim.model.catalogue import CATALOGUE
from iosim.model.costs import TABLE_SIZE, exponential
from iosim.plan import command

Floats = npt.NDArray[np.float64]

SERVICE_NS = 100_000
QUEUE = """\
[run]
warmup = "20ms"
[host]
profile = "nothing.toml"
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
trace = "poisson.csv"
"""
"""M/M/1: exponential gaps, on a disk that serves one request at a time in an exponential time; the path costs nothing.

5,000 requests/s at trace_speed 1. The 1,000 gaps are the quantiles of the distribution, each of them once, in random
order: the one recording that all replications share has exactly its rate.
"""
RATE_PER_S, REQUESTS = 5000, 1000
QUEUE_PLAN = """\
[plan]
scenario = "scenario.toml"
targets = ["mean < 180us"]
replications = 4
max_replications = 8
[knob]
key = "vm.guest.drive.0.trace_speed"
low = 0.4
high = 1.6
steps = 12
curve = 2
"""
PATH = """\
[host]
profile = "nothing.toml"
[[host.disk]]
name = "sda"
model = "constant"
service = "100us"
[[vm]]
name = "web"
[[vm.drive]]
interface = "virtio-blk"
cache = "none"
aio = "native"
request_merging = false
trace = "even.csv"
"""
"""A request every millisecond, on a disk of 100 us: at speed s the disk is busy for s / 10 of the time."""
PATH_PLAN = """\
[plan]
scenario = "scenario.toml"
targets = ["utilisation[disk/sda] < 0.75"]
replications = 2
max_replications = 2
[knob]
key = "vm.web.drive.0.trace_speed"
low = 1
high = 9
"""


def arrivals_us() -> Floats:
    """Return when the requests of QUEUE arrive, at trace_speed 1."""
    chances = (np.arange(REQUESTS) + 0.5) / REQUESTS
    gaps = np.random.default_rng(0).permutation(-np.log(1 - chances)) * 1e6 / RATE_PER_S
    return np.asarray(np.cumsum(gaps).round(3), dtype=np.float64)


def write_queue(folder: Path) -> None:
    """Write the M/M/1 scenario into *folder*."""
    cost = exponential("service", SERVICE_NS)
    rows = [f"{op},8,{k / TABLE_SIZE},{cost.quantile_ns(k / TABLE_SIZE)}" for op in "RW" for k in range(TABLE_SIZE + 1)]
    (folder / "exponential.csv").write_text("\n".join(["op,sectors,probability,ns", *rows]) + "\n")
    _write_trace(folder / "poisson.csv", arrivals_us())
    _write(folder, QUEUE, QUEUE_PLAN)


def write_path(folder: Path, plan: str = PATH_PLAN, scenario: str = PATH) -> None:
    """Write the scenario without chance into *folder*: 40 requests."""
    _write_trace(folder / "even.csv", np.arange(40, dtype=np.float64) * 1000)
    _write(folder, scenario, plan)


def _write(folder: Path, scenario: str, plan: str) -> None:
    costs = "".join(f'[cost.{key}]\nvalue = "0ns"\nkind = "assumed"\nsource = "a test"\n' for key in CATALOGUE)
    head = 'name = "nothing"\ntitle = "a path that costs nothing"\nmachine = "none"\n'
    head += 'origin = "a test"\ncycles_per_us = 1\n'
    for name, text in (("nothing.toml", head + costs), ("scenario.toml", scenario), ("plan.toml", plan)):
        (folder / name).write_text(text)


def _write_trace(path: Path, times_us: Floats) -> None:
    rows = [f"{at:.3f},W,{64 * k},8" for k, at in enumerate(times_us)]
    path.write_text("\n".join(["time_us,op,sector,sectors", *rows]) + "\n")


def plan_here(folder: Path, workers: int = 1, out: str = "out", options: tuple[str, ...] = ()) -> Path:
    """Run the plan in *folder* without a command line of its own and return where its tables are."""
    console = Console(file=io.StringIO(), width=120)
    command.run(folder / "plan.toml", folder / out, options, workers, None, console, console)
    return folder / out


def facts(out: Path) -> dict[str, Any]:
    """Return plan.json."""
    document: dict[str, Any] = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    return document


def answer(out: Path, number: int = 0) -> dict[str, Any]:
    """Return the outcome of a search."""
    found: dict[str, Any] = facts(out)["answers"][number]
    return found


def values(out: Path, search: str = "base") -> pd.DataFrame:
    """Return the rows of the targets of a search."""
    table = pd.read_parquet(out / "values.parquet")
    return table[(table["search"] == search) & (table["target"] != "")]


PAIR = PATH.replace('name = "web"\n', 'name = "web"\ncount = 2\nphase = "1ms"\n')
"""Two VMs, each with a request every ms / s, that share the disk: they meet in another way in each replication.

As long as both fit into the time between two requests of one, 2 x 100 us <= 1 ms / s, none waits for more than 100 us,
and the mean latency is 150 us at most. Beyond that, from s = 5 on, the queue grows until the end: 33 us for each of the
40 requests at s = 6.
"""
PAIR_PLAN = """\
[plan]
scenario = "scenario.toml"
targets = ["mean < 160us"]
replications = 2
max_replications = 4
[knob]
key = "vm.web.drive.0.trace_speed"
low = 1
high = 9
curve = 2
[[change]]
name = "slow"
set = { host.disk.sda.service = "200us" }
[[change]]
name = "quick"
set = { host.disk.sda.service = "80us" }
[[change]]
name = "two"
set = { host.disk.sda.count = 2 }
[cost]
loads = [2, 9]
unit = "EUR"
[[cost.resource]]
key = "host.disk.sda.count"
values = [1, 2]
cost_each = 50
[[cost.resource]]
key = "host.disk.sda.service"
values = ["100us", "50us"]
costs = [0, 70]
"""
TABLES = ("values", "resources", "analysis", "ranking", "costs", "front")
PICTURES = ("limit.png", "ranking.png", "front.png")


def written(out: Path) -> dict[str, bytes]:
    """Return the tables, pictures and plan.json, byte for byte."""
    return {
        name: (out / name).read_bytes() for name in (*(f"{name}.parquet" for name in TABLES), *PICTURES, "plan.json")
    }
