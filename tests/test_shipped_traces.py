"""The shipped recordings: README says the truth about them, and they are what the tool makes of the recordings."""

import csv
import gzip
import hashlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from iosim.traces import read_trace

ROOT = Path(__file__).parents[1]
TRACES = ROOT / "traces"
RECORDINGS = ROOT.parent / "shared" / "traces" / "recordings" / "public"
needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings (../shared) are not here")
README_ROW = re.compile(r"^\| `([^`]+)` \| ([\d,]+) \| `([0-9a-f]{64})` \|$", re.MULTILINE)
LIMIT_BYTES = 1_500_000


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_traces", ROOT / "tools" / "make_traces.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unpacked(name: str, data: bytes) -> bytes:
    return gzip.decompress(data) if name.endswith(".gz") else data


def listed() -> dict[str, tuple[int, str]]:
    text = (TRACES / "README.md").read_text(encoding="utf-8")
    return {name: (int(rows.replace(",", "")), sha256) for name, rows, sha256 in README_ROW.findall(text)}


def test_readme_lists_every_file() -> None:
    files = {str(path.relative_to(TRACES)) for path in TRACES.rglob("*") if path.is_file()}
    others = {name for name in files if name.startswith(("bare/", "host/")) or name == "README.md"}
    assert set(listed()) == files - others


@pytest.mark.parametrize("name", listed())
def test_readme_is_true(name: str) -> None:
    rows, sha256 = listed()[name]
    data = (TRACES / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == sha256
    header = 1 if ".csv" in name else 0
    assert len(unpacked(name, data).splitlines()) - header == rows


def test_the_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in TRACES.rglob("*") if path.is_file()) < LIMIT_BYTES


@pytest.mark.parametrize("name", [name for name in listed() if not name.startswith("accesses/")])
def test_every_trace_can_be_read(name: str) -> None:
    rows, _ = listed()[name]
    trace = read_trace(TRACES / name)
    assert len(trace) == (rows if name.endswith(".csv") else 156)


def test_the_access_table_has_the_commands_of_its_program() -> None:
    """Writes of 8 sectors one after another, as the bare-metal program makes them (bare/README.md)."""
    trace = read_trace(TRACES / "accesses" / "dma_w_irq_8.ports.csv.gz")
    assert [row[1:] for row in trace.rows(0)] == [("W", 8 * number, 8) for number in range(258)]


@pytest.mark.parametrize("name", ["dma-rnd", "pio32-rnd"])
def test_log_and_request_trace_of_one_run_agree(name: str) -> None:
    """Nothing may differ: the recorder took a request's time from the same line of the log, its first register write,
    and counted from the same first line. (Both have microseconds. QEMU's log has commands that are no requests, such as
    IDENTIFY, only outside the recorded window.)"""
    log, requests = read_trace(TRACES / f"{name}.qemu.trace.gz"), read_trace(TRACES / f"{name}.csv")
    for a, b in (
        (log.times_ns, requests.times_ns),
        (log.ops, requests.ops),
        (log.sectors_first, requests.sectors_first),
        (log.sectors_count, requests.sectors_count),
    ):
        assert np.array_equal(a, b)


@needs_recordings
def test_every_recorded_log_gives_the_recorded_requests() -> None:
    """All runs of IDE guests whose log is there: the same as above, for every cache and aio mode."""
    logs = sorted((RECORDINGS / "A_tcg_linux").glob("[dp]*_light/qemu_work.trace.gz"))
    assert len(logs) == 26
    for log in logs:
        trace = read_trace(log)
        with (log.parents[1] / "requests" / f"{log.parent.name}.csv").open(newline="") as file:
            recorded = [
                (int(row["timestamp_us"]) * 1000, row["op"], int(row["lba"]), int(row["nsectors"]))
                for row in csv.DictReader(file)
            ]
        assert list(trace.rows(0)) == recorded, log.parent.name


@needs_recordings
def test_shipped_files_are_what_the_tool_makes() -> None:
    """Compared unpacked: how gzip packs depends on the library's version."""
    made = tool().files(RECORDINGS)
    assert list(made) == list(listed())
    for name, data in made.items():
        assert unpacked(name, data) == unpacked(name, (TRACES / name).read_bytes()), name
