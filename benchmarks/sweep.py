"""``python -m benchmarks.sweep``: a study of 64 points by one process and by two, and what the second is worth.

Whole sweeps with their tables, each from nothing, best of three rounds in turn; the start of the workers is included.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Table

ROUNDS = 3
ROOT = Path(__file__).resolve().parents[1]
STUDY = f"""\
[study]
scenario = "{ROOT}/scenarios/cpus.toml"
replications = 1
reference = "grid-01"
[grid]
host.disk.nvme.service = ["20us", "40us", "60us", "80us", "100us", "120us", "140us", "160us"]
host.cpus = [4, 5, 6, 7, 8, 10, 12, 16]
"""


def main() -> None:
    """Measure and print."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for workers, found in seconds.items():
            found.append(sweep(workers))
    table = Table("workers", "seconds", "runs per second", "times one worker", title="64 points", title_justify="left")
    for workers, found in seconds.items():
        best = min(found)
        table.add_row(str(workers), f"{best:.1f}", f"{64 / best:.2f}", f"{min(seconds[1]) / best:.2f}")
    Console().print(table)


def sweep(workers: int) -> float:
    """Return how long the study takes with so many workers, in seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.toml").write_text(STUDY, encoding="utf-8")
        command = [sys.executable, "-m", "iosim", "sweep", "study.toml", "--out", "out", "--workers", str(workers)]
        begin = perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=environment)
        return perf_counter() - begin


if __name__ == "__main__":
    main()
