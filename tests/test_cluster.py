"""iosim sweep --scheduler: a real Dask scheduler and workers in processes of their own, some of them killed.

The tables are those of a run without a cluster, byte for byte.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from iosim.study import cluster as clusters
from tests.commandline import run
from tests.studies import SMALL, STUDY, journal, records, sweep_here, tables, write_study

PATIENCE_S = 600
LONG = STUDY.replace("replications = 3", "replications = 5")
"""20 runs."""


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


class Dask:
    """A scheduler and its workers on 127.0.0.1, on ports that the system chooses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(self._file))
        wait_for(self._file.exists)
        self.address: str = json.loads(self._file.read_text())["address"]

    def add_worker(self) -> "subprocess.Popen[bytes]":
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self._folder / "workers"))
        return self._start("worker", self.address, "--host", "127.0.0.1", *options)

    def _start(self, what: str, *options: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard", *options]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def kill_workers(self) -> None:
        for process in self._processes[1:]:
            process.kill()
            process.wait(timeout=PATIENCE_S)

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    """A scheduler with two workers."""
    dask = Dask(tmp_path_factory.mktemp("dask"))
    try:
        dask.add_worker()
        dask.add_worker()
        yield dask
    finally:
        dask.stop()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the long study, run by one process without a cluster."""
    folder = tmp_path_factory.mktemp("local")
    write_study(folder, LONG)
    return sweep_here(folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder with the long study."""
    write_study(tmp_path, LONG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "iosim", "sweep", "study.toml", *options]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def pids(folder: Path) -> list[int]:
    return pd.read_csv(folder / "out" / "store" / "journal.csv")["pid"].tolist()


def wait_for_runs(process: "subprocess.Popen[str]", folder: Path, n: int) -> dict[str, tuple[int, int]]:
    """Wait until *n* runs are finished, but not all, and return them."""
    wait_for(lambda: len(journal(folder / "out")) >= n or process.poll() is not None)
    assert process.poll() is None
    return records(folder / "out")


def test_killed_sweep_and_killed_workers_lose_nothing(dask: Dask, folder: Path, local: Path) -> None:
    process = sweep(folder, "--out", "out", "--scheduler", dask.address)
    wait_for_runs(process, folder, 2)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    finished = records(folder / "out")
    assert 2 <= len(finished) < 20
    process = sweep(folder, "--out", "out", "--scheduler", dask.address)
    finished |= wait_for_runs(process, folder, len(finished) + 2)
    # Both workers go, so that what is left has to wait for one that has never seen a file of the study.
    dask.kill_workers()
    newcomer = dask.add_worker()
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")
    assert newcomer.pid in pids(folder)
    assert not {os.getpid(), process.pid} & set(pids(folder))
    assert records(folder / "out").items() >= finished.items()
    assert len(journal(folder / "out")) == len(set(journal(folder / "out"))) == len(records(folder / "out")) == 20
    assert tables(folder / "out") == tables(local)


def test_kept_results_come_back_from_the_cluster(dask: Dask, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "study.toml").write_text(SMALL)
    process = sweep(folder, "--keep", "--out", "there", "--scheduler", dask.address)
    assert run(capsys, "sweep", "study.toml", "--keep", "--out", "here", "--workers", "1").status == 0
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")
    here, there = (folder / out / "points" / "two" / "0" for out in ("here", "there"))
    files = sorted(path.name for path in here.iterdir())
    assert "requests.parquet" in files
    assert files == sorted(path.name for path in there.iterdir())
    for name in files:
        assert (here / name).read_bytes() == (there / name).read_bytes(), name


def test_native_code_on_the_cluster_gives_the_tables_of_simpy_here(dask: Dask, folder: Path) -> None:
    (folder / "study.toml").write_text(SMALL)
    options = ("--engine", "compiled", "--summary-only", "--scheduler", dask.address)
    process = sweep(folder, "--out", "there", *options)
    here = sweep_here(folder, out="here", summary_only=True)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")
    assert not {os.getpid(), process.pid} & set(pd.read_csv(folder / "there" / "store" / "journal.csv")["pid"])
    assert tables(folder / "there") == tables(here)


# Refused


def test_scheduler_that_does_not_answer(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "CONNECT_S", 0.5)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        answer = run(capsys, "sweep", "study.toml", "--out", "out", "--scheduler", address)
    assert (answer.status, answer.err) == (2, f"iosim: --scheduler {address}: no Dask scheduler answers there\n")
    assert not (folder / "out").exists()


def test_without_dask_the_extra_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "iosim.study.cluster", None)
    answer = run(capsys, "sweep", "study.toml", "--out", "out", "--scheduler", "tcp://127.0.0.1:8786")
    assert (answer.status, answer.err) == (2, "iosim: --scheduler needs Dask: pip install 'iosim[cluster]'\n")
