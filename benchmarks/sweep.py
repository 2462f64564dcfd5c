"""``python -m benchmarks.sweep``: studies by one process and by two, with each engine, and what the second is worth.

Whole sweeps with their tables, each from nothing, best of three rounds in turn; the start of the workers is included,
compiling the model is not.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

ROUNDS = 3
ROOT = Path(__file__).resolve().parents[1]
SMALL = f"""\
[study]
scenario = "{ROOT}/scenarios/cpus.toml"
replications = 1
reference = "grid-01"
[grid]
host.disk.nvme.service = ["20us", "40us", "60us", "80us", "100us", "120us", "140us", "160us"]
host.cpus = [4, 5, 6, 7, 8, 10, 12, 16]
"""
LARGE = """\
[study]
scenario = "scenario.toml"
replications = 1
reference = "grid-01"
[grid]
host.disk.sda.service = ["10us", "15us", "20us", "25us", "30us", "35us", "40us", "45us"]
vm.web.drive.interface = ["ide", "virtio-blk"]
"""
SCENARIO = """\
[[host.disk]]
name = "sda"
model = "constant"
service = "20us"
[[vm]]
name = "web"
[[vm.drive]]
cache = "none"
trace = "trace.parquet"
"""
REQUESTS = 400_000


class Study(NamedTuple):
    """A study file, the number of its points and the options to run it with."""

    title: str
    text: str
    points: int
    options: tuple[str, ...]


STUDIES = (
    Study("64 points of some thousand requests", SMALL, 64, ("--engine", "simpy")),
    Study(f"16 points of {REQUESTS:,} requests", LARGE, 16, ("--engine", "compiled", "--summary-only")),
)


def main() -> None:
    """Measure and print."""
    for study in STUDIES:
        sweep(study, 2)
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(ROUNDS):
            for workers, found in seconds.items():
                found.append(sweep(study, workers))
        title = f"{study.title}, {' '.join(study.options)}"
        table = Table("workers", "seconds", "runs per second", "times one worker", title=title, title_justify="left")
        for workers, found in seconds.items():
            best = min(found)
            table.add_row(str(workers), f"{best:.1f}", f"{study.points / best:.2f}", f"{min(seconds[1]) / best:.2f}")
        Console().print(table)


def sweep(study: Study, workers: int) -> float:
    """Return how long the study takes with so many workers, in seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.toml").write_text(study.text, encoding="utf-8")
        (folder / "scenario.toml").write_text(SCENARIO, encoding="utf-8")
        number = np.arange(REQUESTS)
        trace = {"time_us": 200 * number, "op": "W", "sector": 8 * number % (1 << 27), "sectors": 8}
        pd.DataFrame(trace).to_parquet(folder / "trace.parquet")
        command = [sys.executable, "-m", "iosim", "sweep", "study.toml", "--out", "out", "--workers", str(workers)]
        begin = perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([*command, *study.options], cwd=folder, check=True, stdout=subprocess.DEVNULL, env=environment)
        return perf_counter() - begin


if __name__ == "__main__":
    main()
