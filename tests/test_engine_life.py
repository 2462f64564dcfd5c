"""The compiled engine as a user meets it: interrupted, without its library or its cache, in several processes."""

import json
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

from iosim import engines
from tests.commandline import run, write_inputs
from tests.plans import write_path
from tests.studies import SMALL, STUDY, journal, tables, write_study

ROOT = Path(__file__).parents[1]
PATIENCE_S = 120
MANY = "time_us,op,sector,sectors\n" + "".join(f"{10 * n},W,{n},1\n" for n in range(20_000))


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """Native code is in the cache, and no test is the first to say that it is made."""
    engines.prepare()


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


# With little memory, without llvmlite, without a cache


def test_a_limit_of_addresses_makes_the_block_smaller(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    shell = 'ulimit -v 6000000; exec "$0" -m iosim run scenario.toml --out out --engine compiled'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["bash", "-c", shell, sys.executable]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["engine"] == "compiled"


@pytest.fixture
def no_library(tmp_path: Path) -> str:
    """PYTHONPATH of processes that find an llvmlite which cannot be imported."""
    broken = tmp_path / "broken" / "llvmlite"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text('raise ImportError("libLLVM is\\nof another processor")\n')
    return f"{broken.parent}{os.pathsep}{ROOT}"


LINE = "llvmlite, which cannot be used here: libLLVM is of another processor\n"


def test_compiled_is_refused_without_its_library(tmp_path: Path, no_library: str) -> None:
    write_inputs(tmp_path)
    answer = run_command(tmp_path, "compiled", PYTHONPATH=no_library)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == f"iosim: run.engine = compiled needs {LINE}"
    assert not (tmp_path / "out").exists()
    assert run_command(tmp_path, "simpy", PYTHONPATH=no_library).stderr == ""


def test_auto_says_once_that_it_goes_without_the_library(tmp_path: Path, no_library: str) -> None:
    write_inputs(tmp_path)
    small = run_command(tmp_path, "auto", PYTHONPATH=no_library)
    assert (small.returncode, small.stderr) == (0, "")
    changes = ["--set", "run.duration=1ms", "--set", "vm.web.count=2"]
    (tmp_path / "trace.csv").write_text(MANY, encoding="utf-8")
    large = run_command(tmp_path, "auto", *changes, PYTHONPATH=no_library)
    said = "simulating with SimPy, many times slower: llvmlite cannot be used here: libLLVM is of another processor"
    assert (large.returncode, large.stderr) == (0, f"iosim: {said}\n")
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["engine"] == "simpy"


def test_two_workers_without_a_cache_compile_once(tmp_path: Path) -> None:
    """A file is where the folder should be: the workers get the code from a temporary folder, which goes away."""
    write_study(tmp_path, SMALL)
    (tmp_path / "file").write_text("")
    (tmp_path / "temporary").mkdir()
    command = ("-m", "iosim", "sweep", "study.toml", "--out", "out", "--engine", "compiled", "--workers", "2")
    place = str(tmp_path / "file" / "cache")
    with started(tmp_path, *command, IOSIM_CACHE_DIR=place, TMPDIR=str(tmp_path / "temporary")) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "two" in out
    assert err.splitlines() == [
        f"iosim: {place}: Not a directory; the compiled engine is not kept for the next run",
        "iosim: compiling the model for this processor; this is done once and takes about half a minute",
    ]
    assert list((tmp_path / "temporary").iterdir()) == []


# Studies


def in_the_store(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "store").glob("??/*")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_sweep_gives_the_same_bytes_with_both_engines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also the runs in the store are the same: what one engine has finished, the other does not run again."""
    write_study(folder, STUDY.replace("replications = 3", "replications = 1") + '[statistics]\nwarmup = "mser-5"\n')
    command = ("sweep", "study.toml", "--workers", "1", "--keep")
    for engine in ("simpy", "compiled"):
        assert run(capsys, *command, "--engine", engine, "--out", engine).status == 0
    simpy, compiled = (folder / engine for engine in ("simpy", "compiled"))
    assert tables(simpy) == tables(compiled)
    assert in_the_store(simpy) == in_the_store(compiled)
    kept = sorted(path.relative_to(simpy) for path in (simpy / "points").rglob("*.parquet"))
    assert len(kept) == 5 * 7
    for name in kept:
        assert (simpy / name).read_bytes() == (compiled / name).read_bytes(), name
    summaries = [json.loads((out / "points/base/0/summary.json").read_text()) for out in (simpy, compiled)]
    assert [summary.pop("engine") for summary in summaries] == ["simpy", "compiled"]
    assert [summary["scenario"]["run"].pop("engine") for summary in summaries] == ["simpy", "compiled"]
    assert summaries[0] == summaries[1]
    before = journal(simpy)
    assert run(capsys, *command, "--engine", "compiled", "--out", "simpy").status == 0
    assert journal(simpy) == before
    assert tables(simpy) == tables(compiled)


def test_a_sweep_of_two_processes_gives_the_bytes_of_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(folder)
    for workers in ("1", "2"):
        command = ("sweep", "study.toml", "--engine", "compiled", "--workers", workers, "--out", workers)
        answer = run(capsys, *command)
        assert (answer.status, answer.err) == (0, "")
    assert tables(folder / "1") == tables(folder / "2")
    assert in_the_store(folder / "1") == in_the_store(folder / "2")


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def test_a_sensitivity_study_gives_the_same_bytes_with_both_engines(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = '["pool.worker_wake", "main_loop.wake"]'
    head = SMALL.split("reference")[0]
    write_study(folder, f'{head}[sensitivity]\nmetrics = ["latency_mean"]\nonly = {costs}\nsobol = false\n')
    for engine in ("simpy", "compiled"):
        command = ("sensitivity", "study.toml", "--workers", "1", "--engine", engine, "--out", engine)
        assert run(capsys, *command).status == 0
    found = files(folder / "simpy")
    assert "tornado.parquet" in found
    assert found == files(folder / "compiled")


def test_a_plan_gives_the_same_bytes_with_both_engines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_path(folder)
    for engine in ("simpy", "compiled"):
        command = ("plan", "plan.toml", "--workers", "1", "--engine", engine, "--out", engine)
        assert run(capsys, *command).status == 0
    found = files(folder / "simpy")
    assert "values.parquet" in found
    assert found == files(folder / "compiled")
