"""virtio-blk beside recordings of QEMU 7.2: the events of each request, in their order, and how many there are.

The guest of the recordings ran under TCG, closed loop, one request at a time; its doorbell is an eventfd that the main
loop watches, its interrupt a guest notifier, as with KVM. What the model does is read from the spans of the requests.
"""

import gzip
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from iosim.results.result import Result
from tests.support import Row, scenario, simulate

RECORDINGS = Path(__file__).parents[2] / "shared" / "traces" / "recordings" / "public" / "A_tcg_linux"
pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason="needs the recordings in ../shared")

RUNS = ["virtio_seq_none_threads_a_light", "virtio_seq_none_threads_b_light", "virtio_rnd1_none_threads_a_light"]

EVENTS = {
    "ioeventfd_write": {"R": "virtio_queue_notify", "W": "virtio_queue_notify", "F": "virtio_queue_notify"},
    "virtio_blk_handle_request": {"R": "virtio_blk_handle_read", "W": "virtio_blk_handle_write"},
    "blk_aio_prwv": {"R": "blk_co_preadv", "W": "blk_co_pwritev"},
    "thread_pool_submit_aio": dict.fromkeys("RWF", "thread_pool_submit"),
    "thread_pool_completion_bh": dict.fromkeys("RWF", "thread_pool_complete"),
    "virtio_blk_rw_complete": dict.fromkeys("RW", "virtio_blk_rw_complete"),
    "virtqueue_push": dict.fromkeys("RWF", "virtio_blk_req_complete"),
    "virtio_notify_irqfd": dict.fromkeys("RWF", "virtio_notify_irqfd"),
}
"""Trace event that each function of the path stands for, by operation; a flush has no event of its own."""


def recorded_events(name: str) -> list[list[str]]:
    """The events of each request in the log, between its kick and its notification."""
    with gzip.open(RECORDINGS / name / "qemu_work.trace.gz", "rt", encoding="utf-8") as lines:
        names = [found[1] for line in lines if (found := re.match(r"[\d@.]+:(\w+) ", line))]
    requests: list[list[str]] = []
    for event in names:
        if event == "virtio_queue_notify":
            requests.append([])
        if not event.startswith("ide_"):
            requests[-1].append(event)
    return requests


def requests(name: str) -> list[Row]:
    table = pd.read_csv(RECORDINGS / "requests" / f"{name}.csv")
    rows = table[["timestamp_us", "op", "lba", "nsectors"]].to_numpy().tolist()
    return [(int(at) * 1000, op, int(sector), int(sectors)) for at, op, sector, sectors in rows]


@cache
def simulated(name: str) -> Result:
    drive = {"interface": "virtio-blk", "replay": "closed"}
    return simulate(scenario([drive], run={"slowest": 1000}), [requests(name)])


def simulated_events(result: Result) -> list[list[str]]:
    spans = result.spans[result.spans["function"].isin(EVENTS)]
    found: list[list[str]] = []
    for number, op in enumerate(result.requests["op"]):
        functions = spans.loc[spans["request"] == number, "function"].tolist()
        # thread_pool_submit_aio is also what stands behind the wait for a worker.
        once = [name for at, name in enumerate(functions) if name not in functions[:at]]
        found.append([EVENTS[name][op] for name in once if op in EVENTS[name]])
    return found


@pytest.mark.parametrize("name", RUNS)
def test_every_request_passes_the_recorded_events_in_their_order(name: str) -> None:
    recorded = recorded_events(name)
    assert len(recorded) > 150
    assert simulated_events(simulated(name)) == recorded


@pytest.mark.parametrize("name", RUNS)
def test_as_many_kicks_operations_and_interrupts_as_recorded(name: str) -> None:
    counts = Counter(event for request in recorded_events(name) for event in request)
    result = simulated(name)
    kicks = result.exits.loc[result.exits["reason"] == "EPT_MISCONFIG", "count"].tolist()
    assert result.requests["irqs"].sum() == counts["virtio_notify_irqfd"]
    assert kicks == [counts["virtio_queue_notify"]]
    assert (result.requests["disk_service_ns"] > 0).sum() == counts["thread_pool_submit"]


def test_a_write_through_drive_gets_no_flush_and_flushes_behind_each_write() -> None:
    name = "virtio_seq_writethrough_threads_a_light"
    recorded = recorded_events(name)
    writes = sum("virtio_blk_handle_write" in request for request in recorded)
    submitted = Counter(event for request in recorded for event in request)["thread_pool_submit"]
    assert submitted == len(recorded) + writes
    drive = {"interface": "virtio-blk", "replay": "closed", "cache": "directsync"}
    result = simulate(scenario([drive]), [[row for row in requests(name) if row[1] != "F"]])
    busy = result.resources.loc[result.resources["resource"] == "disk/sda", "busy_ns"].tolist()
    assert busy == [submitted * 90_000]
