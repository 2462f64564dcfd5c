"""Cache and aio modes against recordings: which jobs, in which order, submitted and completed by which thread.

The recordings are those of a Linux guest with DMA under QEMU 7.2 (A_tcg_linux) and of bare-metal guests on KVM
(B_kvm_baremetal); their README says how they were made.
"""

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from iosim.results.result import Result
from tests.support import Row, constant_profile, scenario, simulate

RECORDINGS = Path(__file__).parents[2] / "shared" / "traces" / "recordings" / "public"
LINUX, BARE = RECORDINGS / "A_tcg_linux", RECORDINGS / "B_kvm_baremetal" / "stage_trace"

pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason="needs the recordings in ../shared")

CALLS = {
    "pread64": "filemap_read",
    "preadv": "filemap_read",
    "pwrite64": "generic_perform_write",
    "pwritev": "generic_perform_write",
    "fdatasync": "handle_aiocb_flush",
}
"""What a worker calls in the recording, and the function that begins it in the model."""


def replay(cache: str, aio: str) -> Result:
    """The recorded requests, each when the one before is done."""
    requests = pd.read_csv(LINUX / "requests" / f"dma_seq_{cache}_{aio}_a_light.csv")
    rows: list[Row] = [
        (at * 1000, op, 0 if op == "F" else sector, 0 if op == "F" else n)
        for at, op, sector, n in requests[["timestamp_us", "op", "lba", "nsectors"]].values.tolist()
    ]
    drive = {"cache": cache, "aio": aio, "size": "1GiB", "replay": "closed"}
    described = scenario(drives=[drive], run={"slowest": len(rows)})
    result = simulate(described, rows, constant_profile())
    assert len(result.requests) == len(rows)
    return result


def jobs(result: Result) -> list[list[tuple[str, str]]]:
    """For each request the jobs of the pool in order: (who submits, what the worker calls)."""
    spans = result.spans
    chosen = spans[
        spans["function"].isin(CALLS.values())
        | ((spans["function"] == "thread_pool_submit_aio") & (spans["stage"] == "qemu_submit"))
    ]
    found: list[list[tuple[str, str]]] = [[] for _ in result.requests.index]
    submitter = ""
    for request, thread, stage, function in chosen[["request", "thread", "stage", "function"]].values.tolist():
        if function == "thread_pool_submit_aio":
            submitter = {"vcpu0": "vcpu", "main": "main"}[thread]
        elif stage == "aio_worker" and submitter:  # once: the flush returns to the function that began it
            found[request].append((submitter, function))
            submitter = ""
    return found


@pytest.mark.parametrize("cache", ["writeback", "writethrough"])
def test_jobs_of_the_pool_are_those_of_the_recording(cache: str) -> None:
    recorded = pd.read_csv(LINUX / f"dma_seq_{cache}_threads_a_light" / "aio.csv.gz").sort_values("t_submit")
    assert set(recorded["complete_thread"]) == {"main"}
    columns = recorded[["submit_thread", "syscall"]].values.tolist()
    expected = [(thread, CALLS[syscall]) for thread, syscall in columns]
    # A request is one row of the recording, or with writethrough a write and the fdatasync behind it.
    ours = jobs(replay(cache, "threads"))
    assert Counter(job for each in ours for job in each) == Counter(expected)
    assert [job for each in ours for job in each] == expected


@pytest.mark.parametrize(("aio", "call"), [("native", "io_submit"), ("io_uring", "io_uring_enter")])
def test_system_calls_of_the_submitting_thread_are_as_many_as_recorded(aio: str, call: str) -> None:
    counts = json.loads((LINUX / f"dma_seq_none_{aio}_a_light" / "counts.json").read_text(encoding="utf-8"))
    result = replay("none", aio)
    spans = result.spans
    calls = spans[(spans["function"] == call) & (spans["stage"] == "qemu_submit")]
    assert set(calls["thread"]) == {"vcpu0"}
    assert len(calls) == counts[f"n_{call}"]
    pool = spans[(spans["function"] == "thread_pool_submit_aio") & (spans["stage"] == "qemu_submit")]
    assert len(pool) == counts["n_aio_threadpool"]
    assert set(pool["request"]) == (set(result.requests.index[result.requests["op"] == "F"]) if len(pool) else set())


def test_disk_sees_nothing_of_a_buffered_write_and_write_and_flush_of_a_written_through_one() -> None:
    # The journal of the host's file system (WSM) is beyond the model.
    assert not (BARE / "dma_w_irq_8_writeback.ftf.a" / "blk.csv.gz").exists()
    block = pd.read_csv(BARE / "dma_w_irq_8_writethrough.ftf.a" / "blk.csv.gz")
    block = block[block["rwbs"] == "WS"]
    assert block["nsect"].tolist() == [8, 0] * 1000

    rows: list[Row] = [(2_000_000 * (n + 1), "W", 8 * n, 8) for n in range(50)]
    disk: dict[str, list[str]] = {}
    for cache in ("writeback", "writethrough"):
        described = scenario(drives=[{"cache": cache, "driver": "bare-irq"}], run={"slowest": len(rows)})
        result = simulate(described, rows, constant_profile())
        spans = result.spans[result.spans["stage"].isin(["disk_wait", "disk_service"])]
        disk[cache] = spans["stage"].tolist()
    # disk_wait is here the write of the page, which fdatasync waits for; disk_service is the flush.
    assert disk == {"writeback": [], "writethrough": ["disk_wait", "disk_service"] * 50}


def test_order_of_the_steps_of_a_buffered_write() -> None:
    recorded = pd.read_csv(BARE / "dma_w_irq_8_writeback.ftf.a" / "aio.csv.gz").iloc[1:]
    # exit with the submission, wake of the worker, pwrite in and out, eventfd, wake of the main loop, interrupt
    steps = ["t_exit_us", "t_wwake_us", "t_ws_us", "t_we_us", "t_evfd_us", "t_mwake_us", "t_main_us", "t_irq_us"]
    times = recorded[steps]
    assert (times.diff(axis=1).iloc[:, 1:] > 0).all(axis=None)
    assert set(recorded["syscall"]) == {"pwrite64"}
    result = simulate(
        scenario(drives=[{"cache": "writeback", "driver": "bare-irq"}]),
        [(1_000_000, "W", 0, 8), (2_000_000, "W", 8, 8)],
        constant_profile(),
    )
    spans = result.spans[(result.spans["request"] == 1)]
    begin = spans[spans["function"] == "ide_dma_cb"].index[0]
    order = ["thread_pool_submit_aio", "worker_thread", "generic_perform_write", "qemu_bh_schedule"]
    order += ["qemu_poll_ns", "thread_pool_completion_bh", "kvm_vm_ioctl_irq_line"]
    functions = spans.loc[begin:, "function"].drop_duplicates().tolist()
    assert [name for name in functions if name in order] == order
