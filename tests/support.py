"""What tests share: profiles of costs that are easy to add up, scenarios, traces, and what every run must keep."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from iosim.analytic import laws
from iosim.model.catalogue import CATALOGUE
from iosim.model.costs import Cost, Figure, Profile, exponential
from iosim.model.scenario import Scenario
from iosim.model.stages import Stage
from iosim.model.trace import OPS, Trace
from iosim.results.result import Result
from iosim.simulation import run_and_tabulate

STAGES = [f"{stage.label}_ns" for stage in Stage]

Row = tuple[int, str, int, int]
"""A request of a trace: time in ns, operation, sector, sectors."""


def constant_profile(default_ns: int = 100, **costs_ns: int) -> Profile:
    """Every cost *default_ns*, but those given by their key with "__" for the dot."""
    given = {key.replace("__", "."): ns for key, ns in costs_ns.items()}
    assert set(given) <= set(CATALOGUE), set(given) - set(CATALOGUE)
    return _profile({key: Cost(key, given.get(key, default_ns)) for key in CATALOGUE})


def drawn_profile(mean_ns: int = 300, constant: Sequence[str] = ()) -> Profile:
    """Every cost exponential with the same mean, but those that are to be *constant*."""
    return _drawn_profile(mean_ns, tuple(constant))


@lru_cache(maxsize=1)
def _drawn_profile(mean_ns: int, constant: tuple[str, ...]) -> Profile:
    return _profile({key: Cost(key, mean_ns) if key in constant else exponential(key, mean_ns) for key in CATALOGUE})


def _profile(costs: dict[str, Cost]) -> Profile:
    figures = {key: Figure(cost, "", "assumed", "a test") for key, cost in costs.items()}
    return Profile("test", "a test", "none", "none", figures)


def trace(rows: Sequence[Row]) -> Trace:
    """The trace of these requests."""
    columns = list(zip(*rows, strict=True))
    return Trace(
        np.array(columns[0], dtype=np.int64),
        np.array([OPS.index(op) for op in columns[1]], dtype=np.uint8),
        np.array(columns[2], dtype=np.int64),
        np.array(columns[3], dtype=np.int64),
        "test.csv",
        "",
    )


def scenario(
    drives: Sequence[dict[str, Any]] = ({},),
    disks: Sequence[dict[str, Any]] = ({"model": "constant", "service": "90us"},),
    run: dict[str, Any] | None = None,
    vms: Sequence[dict[str, Any]] | None = None,
    page_cache: dict[str, Any] | None = None,
    host: dict[str, Any] | None = None,
    **vm: Any,
) -> Scenario:
    """A scenario of one VM called web with *drives*, or of *vms* (tables with their drives), on *disks*, for SimPy."""
    tables = [{"name": "web", "drive": list(drives), **vm}] if vms is None else vms
    return Scenario.model_validate(
        {
            "run": {"engine": "simpy", **(run or {})},
            "host": {
                **(host or {}),
                "disk": [{"name": f"sd{chr(97 + n)}", **disk} for n, disk in enumerate(disks)],
                "page_cache": page_cache or {},
            },
            "vm": [
                {**table, "drive": [{"cache": "none", "trace": "test.csv", **drive} for drive in table["drive"]]}
                for table in tables
            ],
        }
    )


def simulate(
    described: Scenario, rows: Sequence[Row] | Sequence[Sequence[Row]], profile: Profile | None = None
) -> Result:
    """Run with *rows* as the trace of every drive, or one list of rows for each drive in turn; check what must hold."""
    result = run_and_tabulate(described, profile or constant_profile(), traces(described, rows))
    check(result)
    return result


def traces(described: Scenario, rows: Sequence[Row] | Sequence[Sequence[Row]]) -> dict[tuple[int, int], Trace]:
    """The traces of all drives, by number of the VM's table and number of the drive; *rows* as in `simulate`."""
    lists: Any = rows if isinstance(rows[0], list) else [rows] * sum(len(vm.drive) for vm in described.vm)
    each = iter(lists)
    return {(at, index): trace(next(each)) for at, vm in enumerate(described.vm) for index in range(len(vm.drive))}


def check(result: Result) -> None:
    """What holds for every run: stages add up, nobody is lost, nothing is busier than it can be, Little's law."""
    table = result.requests
    assert (table[STAGES].sum(axis=1) == table["latency_ns"]).all()
    assert (table[STAGES] >= 0).all(axis=None)
    assert (table["latency_ns"] == table["done_ns"] - table["arrival_ns"]).all()
    assert (table["issue_ns"] >= table["arrival_ns"]).all()
    assert (table["done_ns"] >= table["issue_ns"]).all()
    assert ((table["status"] == "error") == (table["error"] != "")).all()
    counts = result.summary["requests"]
    assert counts["in"] == len(table) == counts["done"] + counts["failed"] + counts["unfinished"]
    assert (result.resources["utilisation"] <= 1).all()
    assert (result.resources["utilisation"] >= 0).all()
    cache = result.summary["page_cache"]
    if cache is not None:
        begun = cache["dirty_at_begin"] + cache["dirtied"]
        assert begun == cache["written_back"] + cache["dirty_at_end"]
    _little(result)
    _cpus(result)
    assert [str(violation) for violation in laws.check(result)] == []


def _little(result: Result) -> None:
    """Little's law within the run: the time that requests spent waiting is the integral of the queue they waited in."""
    if result.scenario.run.warmup or result.summary["requests"]["failed"]:
        return  # queues are counted from the end of the warm-up; the jobs of a dead VM outlive its requests
    end_ns = result.summary["end_ns"]
    levels = result.resources.set_index("resource")
    table = result.requests
    disks = levels[levels.index.str.startswith("disk/")]
    waited, served = round((disks["mean_queue"] * end_ns).sum()), disks["busy_ns"].sum()
    merges = any(drive.is_virtio and drive.request_merging for vm in result.scenario.vm for drive in vm.drive)
    if result.summary["page_cache"] is not None:
        # Write-back works for no request; merged requests have the time of their operation each.
        assert merges or served >= table["disk_service_ns"].sum()
    elif merges:
        assert waited <= table["disk_wait_ns"].sum()
        assert served <= table["disk_service_ns"].sum()
    else:
        assert waited == table["disk_wait_ns"].sum()
        assert served == table["disk_service_ns"].sum()


def _cpus(result: Result) -> None:
    """All CPUs together are as busy as each of them, at any time."""
    series = result.series
    if "utilisation cpus" in series:
        each = series[[f"utilisation cpu{cpu}" for cpu in range(result.scenario.host.cpus or 0)]]
        assert np.allclose(each.mean(axis=1), series["utilisation cpus"], rtol=0, atol=2e-9)


def same(a: Result, b: Result) -> None:
    """Both results have the same tables, value by value."""
    for name, frame in a.tables().items():
        pd.testing.assert_frame_equal(frame, b.tables()[name], check_exact=True, obj=name)
    left, right = dict(a.summary), dict(b.summary)
    for name in ("scenario", "engine"):
        left.pop(name), right.pop(name)
    assert left == right


def same_with_both_engines(run: Callable[[str, bool], Result]) -> None:
    """*run*, of (engine, exact), gives the same tables with both engines, coalesced and exit by exit.

    What must hold for every run is checked for the first; it holds for the others, which have the same tables.
    """
    expected = run("simpy", True)
    check(expected)
    for engine, exact in (("simpy", False), ("compiled", True), ("compiled", False)):
        try:
            same(run(engine, exact), expected)
        except AssertionError as difference:
            difference.add_note(f"{engine}, {'exit by exit' if exact else 'coalesced'}")
            raise
