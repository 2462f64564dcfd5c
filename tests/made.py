"""A result made by hand: tables of few rows and round numbers, so that what a report says of them can be redone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from iosim.model.scenario import Scenario
from iosim.model.stages import Stage
from iosim.results.functions import functions
from iosim.results.result import Result
from iosim.results.spans import COLUMNS
from iosim.results.statistics import Statistics
from iosim.results.summary import counted, summarise
from iosim.results.tables import bucket_edges_ns
from tests.support import scenario as described

US = 1000


class Request(NamedTuple):
    """A request with its arrival and its stages in microseconds."""

    arrival_us: int
    stages_us: dict[Stage, int]
    op: str = "W"
    status: str = "ok"
    vm: str = "web"
    drive: int = 0


def result(
    rows: Sequence[Request],
    scenario: Scenario | None = None,
    end_us: int | None = None,
    exits: Sequence[tuple[Any, ...]] = (),
    resources: Sequence[tuple[str, int, int]] = (),
    slowest: Sequence[int] | None = None,
    figures: dict[str, int] | None = None,
    in_trace: int | None = None,
) -> Result:
    """Return the result of a run of *scenario* with these requests.

    *exits* are rows of the table but times in us, *resources* are name, servers and busy time in us; *slowest* are the
    rows of the requests that have spans; without it all are said to have them.
    """
    scenario = scenario or described()
    table = _requests(rows, scenario.run.warmup)
    end_ns = int(table["done_ns"].max()) if end_us is None else end_us * US
    window = max(1, end_ns - scenario.run.warmup)
    times = ["total_ns", "min_ns", "p50_ns", "p99_ns", "max_ns"]
    exit_table = pd.DataFrame(exits, columns=["vm", "vcpu", "reason", "userspace", "count", *times])
    exit_table[times] *= US
    busy = pd.DataFrame(
        [(name, n, us * US, us * US / n / window, 0.0, 0) for name, n, us in resources],
        columns=["resource", "servers", "busy_ns", "utilisation", "mean_queue", "max_queue"],
    )
    profile = {"name": "mine", "machine": "a test", "figures": figures or {"published": 1, "assumed": 0},
               "sha256": "c0575", "costs_ns": {"kvm.handle_io": 1000.0}}  # fmt: skip
    summary = summarise(
        scenario,
        Statistics.of(table),
        [],
        profile,
        end_ns,
        len(rows if slowest is None else slowest),
        {},
        None,
        "simpy",
    )
    summary["requests"]["in_trace"] = len(rows) if in_trace is None else in_trace
    return Result(
        scenario=scenario,
        requests=table,
        exits=exit_table,
        resources=busy,
        spans=_spans(rows, slowest or ()),
        series=_series(table, end_ns, list(busy["resource"])),
        events=pd.DataFrame(columns=["time_ns", "vm", "drive", "request", "event", "why"]),
        accesses=None,
        functions=functions([], table),
        summary=summary,
    )


def with_functions(made: Result) -> Result:
    """Return *made* with a split of each stage, from all requests: guest_run is main;in_guest_run, and so on."""
    table = made.functions
    return replace(made, functions=table.assign(
        carrier="guest",
        stack=[f"main;in_{stage}" for stage in table["stage"]],
        sampled=counted(made.requests).groupby(["vm", "drive", "op"], observed=True).size().reindex(
            pd.MultiIndex.from_frame(table[["vm", "drive", "op"]])
        ).to_numpy(),
    ))  # fmt: skip


def _requests(rows: Sequence[Request], warmup_ns: int) -> pd.DataFrame:
    stages = {
        f"{stage.label}_ns": np.array([row.stages_us.get(stage, 0) * US for row in rows], dtype=np.int64)
        for stage in Stage
    }
    arrival = np.array([row.arrival_us * US for row in rows], dtype=np.int64)
    latency = sum(stages.values(), np.zeros(len(rows), dtype=np.int64))
    flushes = np.array([row.op == "F" for row in rows])
    return pd.DataFrame(
        {
            "vm": pd.Categorical([row.vm for row in rows]),
            "drive": np.array([row.drive for row in rows], dtype=np.int64),
            "request": np.arange(len(rows)),
            "op": pd.Categorical([row.op for row in rows], categories=["R", "W", "F"]),
            "sector": 0,
            "sectors": np.where(flushes, 0, 8),
            "arrival_ns": arrival,
            "issue_ns": arrival,
            "done_ns": arrival + latency,
            "latency_ns": latency,
            "status": pd.Categorical([row.status for row in rows], categories=["ok", "error", "unfinished"]),
            "error": pd.Categorical(["EIO" if row.status == "error" else "" for row in rows]),
            "warmup": arrival < warmup_ns,
            "exits": 10,
            "userspace_exits": 8,
            "irqs": 1,
            "irq_line_ioctls": 2,
            **stages,
        }
    )


def _spans(rows: Sequence[Request], slowest: Sequence[int]) -> pd.DataFrame:
    spans = []
    for at in slowest:
        start = rows[at].arrival_us * US
        for stage, us in rows[at].stages_us.items():
            spans.append(
                (rows[at].vm, rows[at].drive, at, "vcpu0", stage.label, "ide_dma_cb", start, start + us * US, False)
            )
            start += us * US
    return pd.DataFrame(spans, columns=COLUMNS)


def _series(table: pd.DataFrame, end_ns: int, resources: list[str]) -> pd.DataFrame:
    """One time bin, in which no resource is busy."""
    done = table[table["status"] == "ok"]
    edges = bucket_edges_ns(int(done["latency_ns"].max()) if len(done) else 1)
    counts = np.bincount(np.searchsorted(edges, done["latency_ns"]), minlength=len(edges))
    columns: dict[str, Any] = {
        "start_ns": [0],
        "end_ns": [end_ns],
        "arrivals": [len(table)],
        "completions": [len(done)],
        "latency_edges_ns": [edges],
        "latency_counts": [counts.tolist()],
    }
    return pd.DataFrame(columns | {f"{what} {name}": [0.0] for what in ("utilisation", "queue") for name in resources})


def latencies(made: Result) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """The latencies in ns that statistics count."""
    values: np.ndarray[Any, np.dtype[np.int64]] = counted(made.requests)["latency_ns"].to_numpy()
    return values
