"""The compiled engine as a user meets it: interrupted, without its library or its cache, in several processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.commandline import write_inputs

ROOT = Path(__file__).parents[1]
PATIENCE_S = 120
MANY = "time_us,op,sector,sectors\n" + "".join(f"{10 * n},W,{n},1\n" for n in range(20_000))


@contextmanager
def started(folder: Path, *command: str, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """A process of Python in *folder*; it is killed at the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, stdout=pipe, stderr=pipe, text=True, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run_command(folder: Path, engine: str, *more: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = ("-m", "iosim", "run", "scenario.toml", "--out", "out", "--engine", engine, *more)
    with started(folder, *command, **variables) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_interrupt_while_the_model_is_compiled(tmp_path: Path) -> None:
    """The compiler ends too, the earlier result stays, and the cache is as if nothing had been begun."""
    write_inputs(tmp_path)
    command = ("-m", "iosim", "run", "scenario.toml", "--out", "out", "--engine", "compiled")
    with started(tmp_path, *command, IOSIM_CACHE_DIR=str(tmp_path / "cache")) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("iosim: compiling the model for this processor")
        compilers: list[psutil.Process] = []
        while not compilers:
            compilers = psutil.Process(process.pid).children(recursive=True)
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (130, "", "iosim: interrupted\n")
    assert psutil.wait_procs(compilers, timeout=PATIENCE_S)[1] == []
    assert list((tmp_path / "cache").iterdir()) == []
    assert not (tmp_path / "out").exists()


ENDLESS = """
import sys
import iosim
from iosim.compiled import execution

execution._SLICE = 1 << 50
execution._PATIENCE_S = 0.2
scenario = iosim.load("scenario.toml", ["run.exact_exits=true", "vm.web.drive.0.transfer=pio"])
try:
    iosim.simulate(scenario, lambda done, total: print("going", flush=True), engine="compiled")
except KeyboardInterrupt:
    print("interrupted", flush=True)
small = iosim.load("scenario.toml", ["run.duration=1ms"])
compiled, simpy = (iosim.simulate(small, engine=engine) for engine in ("compiled", "simpy"))
assert compiled.summary["engine"] == "compiled"
print(compiled.requests.equals(simpy.requests))
if sys.argv[1:]:
    raise KeyboardInterrupt
"""


@pytest.mark.parametrize(("how", "status"), [([], 0), (["again"], -signal.SIGINT)])
def test_a_run_that_goes_in_circles_can_be_interrupted(tmp_path: Path, how: list[str], status: int) -> None:
    """Its thread is left alone: the process runs another scenario, and ends as it would without it."""
    write_inputs(tmp_path, trace=MANY)
    with started(tmp_path, "-c", ENDLESS, *how) as process:
        assert process.stdout is not None
        for _ in range(2):
            assert process.stdout.readline() == "going\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (out.splitlines()[-2:], process.returncode) == (["interrupted", "True"], status)
    assert err == "" or how
