"""The host's part of requests in the names of blktrace."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from iosim.exports.blktrace import blkparse_lines, latencies, operations, write_blktrace
from iosim.results.result import Result
from tests import handmade
from tests.handmade import Span
from tests.support import constant_profile, scenario, simulate

READ: list[Span] = [
    ("worker0", "aio_worker", "handle_aiocb_rw_linear", 2000),
    ("worker0", "disk_wait", "submit_bio", 2700),
    ("disk sda", "disk_service", "submit_bio", 3_000_003_000),
    ("worker0", "aio_worker", "handle_aiocb_rw_linear", 3_000_004_000),
]
FLUSH: list[Span] = [
    ("worker1", "aio_worker", "handle_aiocb_flush", 2000),
    ("worker1", "disk_wait", "submit_bio", 2300),
    ("worker1", "disk_wait", "submit_bio", 2700),
    ("disk sda", "disk_service", "submit_bio", 4000),
]


def test_latencies_are_those_of_the_columns() -> None:
    read, flush = handmade.spans(READ), handmade.spans(FLUSH, request=1)
    cached = handmade.spans([("worker0", "aio_worker", "f", 2000)], request=2)
    rows = [handmade.request(read, op="R"), handmade.request(flush, op="F", sector=0, sectors=0)]
    result = handmade.result([*rows, handmade.request(cached)], [read])
    assert latencies(result).to_csv(index=False) == (
        "vm,drive,request,op,sector,sectors,status,warmup,q2d_ns,d2c_ns,q2c_ns\n"
        "web,0,0,R,64,8,ok,False,700,3000000300,3000001000\n"
        "web,0,1,F,0,0,ok,False,700,1300,2000\n"
    )


def test_the_text_of_blkparse() -> None:
    read, flush = handmade.spans(READ), handmade.spans(FLUSH, request=1)
    rows = [handmade.request(read, op="R"), handmade.request(flush, op="F", sector=0, sectors=0)]
    result = handmade.result(rows, [read, flush])
    table, n_recorded = operations(result)
    assert n_recorded == 2
    assert blkparse_lines(table, result) == [
        "  8,0    0        1     0.000002000     0  Q   R 64 + 8 [worker0]",
        "  8,0    0        2     0.000002000     0  Q FWS [worker1]",
        "  8,0    0        3     0.000002700     0  D   R 64 + 8 [worker0]",
        "  8,0    0        4     0.000002700     0  D FWS [worker1]",
        "  8,0    0        5     0.000004000     0  C FWS 0 [0]",
        "  8,0    0        6     3.000003000     0  C   R 64 + 8 [0]",
    ]


def test_the_disk_of_a_real_run() -> None:
    # Two writes at once on one server of 90 us: the second one is queued while the first is served.
    rows = [(0, "W", 0, 8), (0, "W", 64, 8)]
    drives = [{"interface": "virtio-blk", "request_merging": False}]
    result = simulate(scenario(drives), rows, constant_profile(100))
    first, second = operations(result)[0].to_dict("records")
    assert first["Q"] == first["D"] == first["C"] - 90_000
    assert first["Q"] < second["Q"] < second["D"] == first["C"] == second["C"] - 90_000
    assert latencies(result)["q2d_ns"].tolist() == [0, second["D"] - second["Q"]]


@pytest.mark.parametrize(
    ("drive", "rows"),
    [
        ({"cache": "writeback"}, [(0, "R", 0, 8)]),
        ({"format": "qcow2"}, [(0, "W", 0, 8)]),
        ({"interface": "virtio-blk"}, [(0, "W", 0, 8), (0, "W", 8, 8)]),
        ({"transfer": "pio", "multiple": 1}, [(0, "W", 0, 2)]),
    ],
)
def test_operations_without_a_known_place_are_left_out_and_counted(
    drive: dict[str, Any], rows: list[tuple[int, str, int, int]], tmp_path: Path
) -> None:
    said: list[str] = []
    result = simulate(scenario([drive]), rows)
    write_blktrace(result, tmp_path / "blktrace", said.append)
    assert (tmp_path / "blktrace" / "blkparse.txt").read_text() == ""
    n = int((result.spans["stage"] == "disk_service").sum())
    assert n > 0
    assert said == [
        f"blkparse.txt has 0 of the {n:,} recorded operations of disks: "
        "of the others the result does not tell the place on the disk"
    ]


def test_neighbours_at_other_times_are_kept(tmp_path: Path) -> None:
    rows = [(0, "W", 0, 8), (10_000_000, "W", 8, 8)]
    result = simulate(scenario([{"interface": "virtio-blk"}]), rows)
    write_blktrace(result, tmp_path / "blktrace", pytest.fail)
    lines = (tmp_path / "blktrace" / "blkparse.txt").read_text().splitlines()
    assert [line.split()[5:10] for line in lines if line.split()[5] == "Q"] == [
        ["Q", "W", "0", "+", "8"],
        ["Q", "W", "8", "+", "8"],
    ]


def test_a_run_without_spans_has_the_latencies(tmp_path: Path) -> None:
    result = simulate(scenario(run={"slowest": 0}), [(0, "W", 0, 8)])
    write_blktrace(result, tmp_path / "blktrace", pytest.fail)
    assert (tmp_path / "blktrace" / "blkparse.txt").read_text() == ""
    assert len(pd.read_csv(tmp_path / "blktrace" / "latencies.csv")) == 1


def test_every_drive_is_a_device(tmp_path: Path) -> None:
    result: Result = simulate(scenario([{}, {}], count=2), [(0, "W", 0, 8)])
    write_blktrace(result, tmp_path / "blktrace", pytest.fail)
    lines = (tmp_path / "blktrace" / "blkparse.txt").read_text().splitlines()
    assert sorted({line.split()[0] for line in lines}) == ["8,0", "8,16", "8,32", "8,48"]
