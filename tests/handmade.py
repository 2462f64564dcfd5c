"""Results to export and to draw: written down by hand on top of a small real run, or of a crowded host."""

from dataclasses import replace
from functools import cache
from typing import Any

import pandas as pd

from iosim.model.stages import Stage
from iosim.results.result import Result
from iosim.results.spans import COLUMNS
from tests.support import scenario, simulate

Span = tuple[str, str, str, int]
"""Thread, stage, function, end in ns; it begins where the one before ends, and waits if its stage is but waiting."""

WRITE: list[Span] = [
    ("vcpu0", "guest_queue", "blk_mq_sched_insert_request", 2000),
    ("vcpu0", "guest_run", "driver", 3500),
    ("vcpu0", "vm_exit", "exit", 4001),
    ("worker", "aio_wait", "thread_pool_submit_aio", 6000),
    ("worker0", "aio_worker", "work", 7000),
    ("disk sda", "disk_service", "submit_bio", 9000),
    ("main", "completion_wait", "qemu_poll_ns", 10000),
    ("main", "completion", "complete", 10500),
    ("vcpu0", "irq_delivery", "handler", 11000),
]
"""A write that arrives at 1000 ns, in functions that have no callers."""


@cache
def _run() -> Result:
    return simulate(scenario(count=2), [(0, "W", 0, 8)])


def spans(rows: list[Span], begin: int = 1000, vm: str = "web", drive: int = 0, request: int = 0) -> pd.DataFrame:
    """The table `spans` of one request."""
    full = []
    for thread, stage, function, end in rows:
        waits = stage.endswith("_wait") or stage in ("guest_queue", "paused")
        full.append((vm, drive, request, thread, stage, function, begin, end, waits))
        begin = end
    return pd.DataFrame(full, columns=COLUMNS)


def request(table: pd.DataFrame, op: str = "W", sector: int = 64, sectors: int = 8, **changes: Any) -> dict[str, Any]:
    """The row of `requests` for the request whose spans are *table*."""
    first, last = table.iloc[0], table.iloc[-1]
    times = {"arrival_ns": first.start_ns, "issue_ns": first.start_ns, "done_ns": last.end_ns}
    durations = (table["end_ns"] - table["start_ns"]).groupby(table["stage"]).sum()
    return {
        "vm": first.vm,
        "drive": first.drive,
        "request": first.request,
        "op": op,
        "sector": sector,
        "sectors": sectors,
        **times,
        "latency_ns": last.end_ns - first.start_ns,
        "status": "ok",
        "error": "",
        "warmup": False,
        "exits": 26,
        "userspace_exits": 25,
        "irqs": 1,
        "irq_line_ioctls": 6,
        **{f"{stage.label}_ns": durations.get(stage.label, 0) for stage in Stage},
        **changes,
    }


def result(requests: list[dict[str, Any]], kept: list[pd.DataFrame]) -> Result:
    """A result with these rows of `requests` and the spans *kept*; the rest is that of a run of the VM web."""
    return replace(_run(), requests=pd.DataFrame(requests), spans=pd.concat(kept, ignore_index=True))


@cache
def crowd() -> Result:
    """Two VMs of two vCPUs on two CPUs, with drives of all kinds, eight requests within 8 us, and all their spans."""
    drives: list[dict[str, Any]] = [
        {"transfer": "pio", "multiple": 1},
        {"interface": "virtio-blk", "iothread": True},
        {"format": "qcow2", "cache": "writeback"},
    ]
    disks = [{"model": "constant", "service": "90us", "servers": 3}]
    flushes = {2, 6}
    rows = [
        (1000 * k, "F" if k in flushes else "WR"[k % 2], *((0, 0) if k in flushes else (4096 * k, 2))) for k in range(8)
    ]
    described = scenario(drives, disks, run={"slowest": 1000}, host={"cpus": 2}, count=2, vcpus=2)
    return simulate(described, rows)
