"""Recorded service times: every format on lines as the tools write them, and on damaged ones."""

import contextlib
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iosim.drives.service_logs import ServiceLog, read_services
from iosim.drives.services import Services
from iosim.model.errors import TraceError
from iosim.traces.reading import ReadOptions

DRIVE = """\
R Hit    2992396   4  13670.00000  35942.00000
R Hit    2992400   4    874.00000  37426.50000
W Doub   3865568   8   1971.12300  29108.00000
"""
PERF = """\
 qemu  812 [001]  100.000100: block:block_rq_issue: 8,0 R 4096 () 1000 + 8 [qemu]
 qemu  812 [001]  100.000200: block:block_rq_issue: 8,0 WS 8192 () 2000 + 16 [qemu]
 swap    0 [000]  100.000350: block:block_rq_complete: 8,0 WS () 2000 + 16 [0]
 swap    0 [000]  100.000400: block:block_rq_complete: 8,0 R () 1000 + 8 [0]
 qemu  812 [001]  100.000500: block:block_rq_issue: 8,0 FF 0 () 0 + 0 [qemu]
 swap    0 [000]  100.000900: block:block_rq_complete: 8,0 FF () 0 + 0 [0]
 swap    0 [000]  100.001000: block:block_rq_complete: 8,0 R () 7777 + 8 [0]
 qemu  812 [001]  100.001100: block:block_rq_issue: 8,0 D 4096 () 9000 + 8 [qemu]
 qemu  812 [001]  100.001200: block:block_rq_issue: 8,0 R 4096 () 9100 + 8 [qemu]
"""
BLKPARSE = """\
  8,0    1        1     0.000000000   697  Q   R 1000 + 8 [fio]
  8,0    1        2     0.000001000   697  D   R 1000 + 8 [fio]
  8,0    1        3     0.000201000     0  C   R 1000 + 8 [0]
  8,0    1        4     0.000300000   697  D   W 2000 + 8 [fio]
  8,0    1        5     0.000350000     0  C   W 2000 + 4 [0]
  8,0    1        6     0.000390000     0  C   W 2004 + 4 [0]
"""


def log(folder: Path, text: str, **options: object) -> ServiceLog:
    path = folder / "x.log"
    path.write_text(text, encoding="utf-8")
    return read_services(path, ReadOptions(**options))  # type: ignore[arg-type]


def found(services: Services) -> list[tuple[str, int, int, int, int]]:
    """(op, sector, sectors, start, end) of each request, times in ns."""
    columns = (services.op, services.sector, services.sectors, services.start_ns, services.end_ns)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [("RWF"[op], sector, sectors, start, end) for op, sector, sectors, start, end in rows]


def test_drive_trace_is_a_closed_loop(tmp_path: Path) -> None:
    services = log(tmp_path, DRIVE).services
    assert found(services) == [
        ("R", 2_992_396, 4, 0, 13_670_000),
        ("R", 2_992_400, 4, 49_612_000, 50_486_000),
        ("W", 3_865_568, 8, 87_912_500, 89_883_623),
    ]
    assert services.gap_ns.tolist() == [0, 35_942_000, 37_426_500]
    assert services.sequential.tolist() == [False, True, False]
    assert services.distance.tolist() == [0, 0, 3_865_568 - 2_992_404]


def test_packed_recording_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(DRIVE.encode()))
    assert len(read_services(tmp_path / "x.gz").services) == 3


def test_table_of_services(tmp_path: Path) -> None:
    text = "start_us,end_us,op,sector,sectors\n10.5,20,W,8,8\n0,5,R,0,8\n30,31,F,0,0\n"
    assert found(log(tmp_path, text).services) == [
        ("R", 0, 8, 0, 5_000),
        ("W", 8, 8, 10_500, 20_000),
        ("F", 0, 0, 30_000, 31_000),
    ]


def test_block_events_are_issue_and_completion(tmp_path: Path) -> None:
    read = log(tmp_path, PERF)
    assert found(read.services) == [
        ("R", 1000, 8, 0, 300_000),
        ("W", 2000, 16, 100_000, 250_000),
        ("F", 0, 0, 400_000, 800_000),
    ]
    assert read.services.overlapping == pytest.approx(1 / 2)
    assert read.services.depth == 2
    assert dict(read.reading.beside) == {
        "completion of a request that was not seen issued": 1,
        "request of another kind (D)": 1,
        "request that was not seen completed": 1,
    }


def test_lost_events_end_what_is_under_way(tmp_path: Path) -> None:
    lines = PERF.splitlines(keepends=True)
    read = log(tmp_path, "".join([*lines[:2], "CPU:1 [LOST 7 EVENTS]\n", *lines[2:]]), skip=True)
    assert [row[0] for row in found(read.services)] == ["F"]
    with pytest.raises(TraceError, match=r"x.log:3: events were lost here, got 7"):
        log(tmp_path, "".join([*lines[:2], "CPU:1 [LOST 7 EVENTS]\n", *lines[2:]]))


def test_requests_of_several_devices_are_refused_until_one_is_chosen(tmp_path: Path) -> None:
    both = PERF + PERF.replace(" 8,0 ", " 8,16 ").replace("100.00", "101.00")
    with pytest.raises(TraceError, match=r"several devices \(8,0, 8,16\): choose one by --device"):
        log(tmp_path, both)
    chosen = log(tmp_path, both, device="8,16").services
    assert chosen.start_ns.tolist() == [1_000_000_000, 1_000_100_000, 1_000_400_000]


def test_blkparse_takes_issues_and_completions_also_of_parts(tmp_path: Path) -> None:
    read = log(tmp_path, BLKPARSE)
    assert found(read.services) == [("R", 1000, 8, 1_000, 201_000), ("W", 2000, 8, 300_000, 390_000)]


def test_fio_log_with_issue_times(tmp_path: Path) -> None:
    text = "9, 3882225, 0, 4096, 774144, 0, 5200000\n12, 1000000, 1, 8192, 4096, 0, 11000000\n"
    assert found(log(tmp_path, text, format="fio-lat").services) == [
        ("R", 1512, 8, 5_200_000, 9_082_225),
        ("W", 8, 16, 11_000_000, 12_000_000),
    ]


def test_fio_log_without_issue_times_says_what_it_lacks(tmp_path: Path) -> None:
    # The second cannot have begun before the first was done; the third is done in the millisecond 20.
    text = "9, 3882225, 0, 4096, 774144, 0\n9, 500000, 1, 4096, 0, 0\n20, 1000000, 0, 4096, 0, 0\n"
    read = log(tmp_path, text, format="fio-lat")
    assert found(read.services) == [
        ("R", 1512, 8, 9_000_000 - 3_882_225, 9_000_000),
        ("W", 0, 8, 9_000_000, 9_500_000),
        ("R", 0, 8, 19_000_000, 20_000_000),
    ]
    assert "taken as one request at a time" in read.reading.notes[0]
    assert read.services.depth == 1


def test_fio_log_of_overlapping_requests_needs_issue_times(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"x.log:30: without issue times .* must have been made one at a time, got"):
        log(tmp_path, "9, 2000000, 0, 4096, 0, 0\n" * 30, format="fio-lat")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"x.log: is empty"),
        ("hello\n", r"x.log:1: is no recording of service times"),
        ("9, 3882225, 0, 4096, 774144, 0\n", r"may be a log of fio: if it is one of latencies, say --format fio-lat"),
        (DRIVE + "R Hit 1 x 2.0 3.0\n", r"x.log:4: blocks must be"),
        (DRIVE + "X Hit 1 1 2.0 3.0\n", r"x.log:4: operation must be R or W"),
        ("start_us,end_us,op,sector,sectors\n5,4,R,0,8\n", r"x.log:2: a request must not end before it begins, got -1"),
        (DRIVE.replace("874.0", "-874.0"), r"x.log:2: a request must not end before it begins, got -874"),
        (DRIVE.replace("37426.5", "-1"), r"x.log:2: think time must not be negative, got -1"),
        (DRIVE.replace("  4    874", "  0    874"), r"x.log:2: a read or write must have at least 1 sector, got 0"),
        (PERF.splitlines()[0] + "\n", r"has no service times"),
        (PERF.replace("1000 + 8 [0]", "1000 + [0]"), r"x.log:4: is no block_rq_complete as Linux prints it"),
    ],
)
def test_damaged_recording_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        log(tmp_path, text)


FIO = "9, 3882225, 0, 4096, 774144, 0, 5200000\n12, 1000000, 1, 8192, 4096, 0, 11000000\n"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([(DRIVE, None), (PERF, None), (BLKPARSE, None), (FIO, "fio-lat")]),
    st.integers(0, 900),
    st.sampled_from(["", " ", "\n", "-", "9" * 30, "x", "\0", ".", ",", "é"]),
    st.booleans(),
)
def test_damaged_recording_is_read_or_refused(
    tmp_path: Path, recording: tuple[str, str | None], at: int, other: str, skip: bool
) -> None:
    text, name = recording
    at %= len(text)
    with contextlib.suppress(TraceError):
        services = log(tmp_path, text[:at] + other + text[at + 1 :], format=name, skip=skip).services
        assert np.all(services.end_ns >= services.start_ns)
        assert np.all(np.diff(services.start_ns) >= 0)


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"--format must be one of drive, services, block, blkparse, fio-lat"):
        log(tmp_path, DRIVE, format="msr")


def test_halves_are_those_in_time(tmp_path: Path) -> None:
    first, second = log(tmp_path, DRIVE).services.halves()
    assert (len(first), len(second)) == (1, 2)
    assert np.all(second.start_ns > first.start_ns)


# Lines of a real guest, where they are

REAL = Path(__file__).parents[2] / "shared" / "traces" / "kvm_logs" / "guest_virtio_blk_blktrace_2026.txt"


@pytest.mark.skipif(not REAL.is_file(), reason="needs ../shared/traces/kvm_logs")
@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("# --- blkparse, 5 lines of one request", [("R", 0, 8, 41_102, 343_403)]),
        ("# --- blkparse, issue+complete only", [("R", 0, 8, 0, 452_476), ("R", 8, 8, 675_399, 946_082)]),
        ("# --- ftrace, fio ioengine=sync", [("R", 0, 8, 0, 332_000), ("R", 8, 8, 372_000, 617_000)]),
    ],
)
def test_real_lines_are_read(tmp_path: Path, heading: str, expected: list[tuple[str, int, int, int, int]]) -> None:
    lines = REAL.read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(heading)) + 1
    end = next((n for n in range(begin, len(lines)) if lines[n].startswith("#")), len(lines))
    assert found(log(tmp_path, "\n".join(lines[begin:end]) + "\n").services) == expected
