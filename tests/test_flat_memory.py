"""A run that keeps no requests needs the same memory whatever their number."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.commandline import SCENARIO

_RUN = """
import resource, sys
from pathlib import Path
import iosim
from iosim.simulation import simulate
from iosim.traces import reader, source, stored
reader.MOST_IN_MEMORY, stored._CACHED = 10_000, 2
source.BLOCK_BYTES = source.HEAD_BYTES = 1 << 18
path = Path(sys.argv[1])
found = simulate(iosim.load(path, ["run.engine=compiled", f"vm.drive.trace={sys.argv[2]}"]), path.parent, rows=False)
assert found.summary["requests"]["done"] == int(sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
N = 50_000
MOST_MB = 16
"""The rows of the further requests alone would take 43 MB."""


def peak_mb(folder: Path, n: int) -> int:
    times, sectors = np.arange(n) * 400, np.arange(n) % 1000 * 8
    lines = [f"{time},W,{sector},8\n" for time, sector in zip(times.tolist(), sectors.tolist(), strict=True)]
    (folder / f"{n}.csv").write_text("time_us,op,sector,sectors\n" + "".join(lines))
    command = [sys.executable, "-c", _RUN, str(folder / "scenario.toml"), f"{n}.csv", str(n)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def test_four_times_the_requests_need_no_more_memory(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    assert peak_mb(tmp_path, 4 * N) - peak_mb(tmp_path, N) < MOST_MB
