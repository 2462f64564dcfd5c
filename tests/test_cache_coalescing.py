"""Both engines, coalesced and exit by exit, give the same with a small, busy page cache, in all cache and aio modes."""

from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from iosim.results.result import Result
from iosim.simulation import run_and_tabulate
from tests.support import Row, same_with_both_engines, scenario
from tests.support import traces as traces_of
from tests.test_coalescing import PAGE_CACHES, profile, profiles

CACHES = ["writeback", "writeback", "writeback", "writethrough", "unsafe", "none"]


@st.composite
def traces(draw: st.DrawFn) -> list[Row]:
    at = 0
    rows: list[Row] = []
    for _ in range(draw(st.integers(2, 12))):
        at += draw(st.sampled_from([0, 1_000, 40_000, 150_000, 400_000])) + draw(st.integers(0, 5)) * 100
        op = draw(st.sampled_from("RWWWF"))
        size = 0 if op == "F" else draw(st.sampled_from([1, 8, 8, 9, 24, 64]))
        rows.append((at, op, 0 if op == "F" else draw(st.sampled_from([0, 4, 8, 64, 100])), size))
    return rows


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    qemu, kernel = draw(st.sampled_from([("7.2", "6.1"), ("7.2", "6.1"), ("1.6", "3.10")]))
    drives = []
    for place in draw(st.sampled_from([[0], [0, 2], [0, 2], [0, 1, 2]])):
        cache = draw(st.sampled_from(CACHES))
        aios = ["threads", "native"] if qemu == "1.6" or cache == "none" else ["threads"]
        aio = draw(st.sampled_from([*aios, "io_uring"] if qemu == "7.2" else aios))
        disk = draw(st.sampled_from(["sda", "sda", "sdb"]))
        drives.append({"index": place, "cache": cache, "aio": aio, "disk": disk, "max_sectors": 16})
    return {
        "vm": {"qemu": qemu, "kernel": kernel, "drives": drives},
        "rows": [draw(traces()) for _ in drives],
        "page_cache": draw(st.sampled_from(PAGE_CACHES)),
        "service": draw(st.sampled_from(["0s", "50ns", "90us", "700us"])),
        "servers": draw(st.sampled_from([1, 3])),
        "costs": draw(profiles()),
        "host": draw(st.sampled_from([{}, {}, {"cpus": 1, "slice": "10us"}])),
        "run": draw(st.sampled_from([{}, {"duration": "2ms"}, {"warmup": "300us"}])),
    }


def run(case: dict[str, Any], engine: str, exact: bool) -> Result:
    described = scenario(
        disks=[
            {"model": "constant", "service": case["service"], "flush": "500us", "servers": case["servers"]},
            {"model": "ssd"},
        ],
        page_cache=case["page_cache"],
        run={**case["run"], "engine": engine, "exact_exits": exact},
        host=case["host"],
        **case["vm"],
    )
    return run_and_tabulate(described, profile(case["costs"]), traces_of(described, case["rows"]))


@given(cases())
def test_engines_and_modes_are_equal(case: dict[str, Any]) -> None:
    same_with_both_engines(partial(run, case))
