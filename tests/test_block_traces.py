"""Block tracepoints and blkparse's text to requests: recordings, flags, devices, and damaged lines."""

import itertools
import re
from pathlib import Path

import pytest

from iosim.traces import ReadOptions, TraceStream, read_trace
from tests.trace_files import DATA, command, refused, requests, unpacked, written

# Block events.


def test_block_requests_of_a_recording(tmp_path: Path) -> None:
    """The queued ones as grep finds them: 33 writes, 38 + 3 reads, 6 flushes, and discards, which are refused."""
    path = DATA / "block-ftrace.txt.gz"
    assert refused(path) == ":16: a request must be a read, write or flush, got 'DS'"
    queued = re.findall(r"([\d.]+): block_bio_queue: 254,0 (\w+) (\d+) \+ (\d+)", unpacked(path.name))
    expected = [
        ("F", 0, 0) if flags == "FWS" else (flags[0], int(sector), int(n))
        for _, flags, sector, n in queued
        if not flags.startswith("D")
    ]
    assert requests(path, skip=True) == expected
    assert len(expected) == 81
    trace = read_trace(path, ReadOptions(skip=True))
    times = [round(float(at) * 1e6) for at, flags, _, _ in queued if not flags.startswith("D")]
    assert (trace.times_ns[1:] - trace.times_ns[:-1]).tolist() == [1000 * (b - a) for a, b in itertools.pairwise(times)]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["bio_queue: 254,0 WS 8 + 8"], [("W", 8, 8)]),
        (["rq_issue: 254,0 WS 4096 () 8 + 8 be,0,4"], [("W", 8, 8)]),
        (["rq_issue: 254,0 RA 0 () 8 + 8"], [("R", 8, 8)]),
        (["rq_insert: 254,0 R 4096 () 8 + 8 0x2,0,4"], [("R", 8, 8)]),
        (
            ["bio_queue: 254,0 R 8 + 8", "rq_insert: 254,0 R 4096 () 8 + 8", "rq_issue: 254,0 R 1 () 8 + 8"],
            [("R", 8, 8)],
        ),
        (["rq_insert: 254,0 R 4096 () 8 + 8", "rq_issue: 254,0 R 1 () 8 + 8"], [("R", 8, 8)]),
        (["rq_issue: 254,0 FF 0 () 18446744073709551615 + 0 none,0,0"], [("F", 0, 0)]),
        (["bio_queue: 254,0 FN 0 + 0"], [("F", 0, 0)]),
        (["bio_queue: 254,0 FWFSM 8 + 16"], [("F", 0, 0), ("W", 8, 16), ("F", 0, 0)]),
        (["bio_queue: 254,0 WFS 8 + 16"], [("W", 8, 16), ("F", 0, 0)]),
        (["rq_issue: 254,0 N 36 (12 00 00) 0 + 0", "rq_issue: 254,0 R 1 () 8 + 8"], [("R", 8, 8)]),
        (["rq_issue: 254,0 N 0 () 0 + 0", "rq_issue: 254,0 R 1 () 8 + 8"], [("R", 8, 8)]),
    ],
)
def test_block_events_to_requests(tmp_path: Path, lines: list[str], expected: list[tuple[str, int, int]]) -> None:
    path = written(
        tmp_path, [f"kworker/0:1H-44 [000] ..... {1 + n / 1e6:.6f}: block_{line} [k w]" for n, line in enumerate(lines)]
    )
    assert requests(path) == expected


def test_requests_of_several_disks_need_a_choice(tmp_path: Path) -> None:
    lines = [f"q-1 [000] 1.{n}: block_bio_queue: 8,{n} R 8 + {n + 1} [q]" for n in (0, 16)]
    path = written(tmp_path, lines)
    assert refused(path) == ": has requests of several devices (8,0, 8,16): choose one by --device or trace_device"
    assert requests(path, device="8,16") == [("R", 8, 17)]
    assert refused(path, device="8,32") == ": has no requests of the device '8,32': it has 8,0, 8,16"


def test_a_trace_of_guest_and_disk_needs_a_choice(tmp_path: Path) -> None:
    path = written(tmp_path, [*command("1", 1.0), "q 1 [000] 2.0: block:block_bio_queue: 8,0 R 8 + 8 [q]"])
    expected = ": has port accesses of a guest (kvm_pio) and requests of block devices: choose one by "
    for name in (None, "perf-script"):
        assert refused(path, format=name) == f"{expected}--format or trace_format"
    assert requests(path, format="kvm") == [("F", 0, 0)]
    assert requests(path, format="block") == [("R", 8, 8)]


# blkparse.


def test_blkparse_agrees_with_its_own_summary() -> None:
    """Reads Queued: 38, 152KiB; Writes Queued: 39, 132KiB (of which 6 are flushes)."""
    found = requests(DATA / "blkparse.txt.gz")
    reads, writes = ([n for op, _, n in found if op == kind] for kind in "RW")
    flushes = [op for op, _, _ in found if op == "F"]
    assert (len(reads), sum(reads) * 512) == (38, 152 * 1024)
    assert (len(writes) + len(flushes), sum(writes) * 512) == (39, 132 * 1024)
    assert len(flushes) == 6


def test_blkparse_without_queue_events_gives_the_dispatched_ones(tmp_path: Path) -> None:
    """Read Dispatches: 27, 108KiB; Write Dispatches: 39, 132KiB."""
    path = written(tmp_path, [line for line in unpacked("blkparse.txt.gz").splitlines() if "  Q " not in line])
    found = requests(path)
    assert sum(op == "R" for op, _, _ in found) == 27
    assert sum(op != "R" for op, _, _ in found) == 39
    assert sum(n for op, _, n in found if op == "R") * 512 == 108 * 1024


BLKPARSE = "  8,0    3        {:>8}     {:.9f}   697  {:<2} {} {} [kjournald]"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  8,0    3        2     0.000000001   697  Q   W 223490 + 8", "a line must be of blkparse"),
        ("  8,0    3        2     0.000000001   697  Q   W 2234", "a line must be of blkparse"),
        ("  8,0    3        2     0.0000", "a line must be of blkparse"),
        ("  8,0    3        2     0.000000001   697  Q   D 8 + 8 [x]", "a request must be a read, write or flush"),
        ("  8,0    3        2     0.000000001   697  Q   W 8 + 0 [x]", "a read or write must have at least 1 sector"),
        ("Skips: 3 forward (12 -   0.4%)", "no events may be lost, as blkparse says they were"),
    ],
)
def test_damaged_blkparse_is_refused_or_counted(tmp_path: Path, line: str, message: str) -> None:
    whole = BLKPARSE.format(1, 0, "Q", "W", "223490 + 8")
    path = written(tmp_path, [whole, line, BLKPARSE.format(3, 1, "Q", "R", "0 + 8")])
    assert refused(path).startswith(f":2: {message}")
    with TraceStream(path, ReadOptions(skip=True)) as stream:
        assert sum(map(len, stream)) == 2
    assert [(rule, entry.count, entry.line) for rule, entry in stream.reading.skipped.items()] == [(message, 1, 2)]


def test_queue_events_after_dispatched_ones_were_taken_are_refused(tmp_path: Path) -> None:
    """Whether a device has Q events is settled with the first 4 MiB of text."""
    lines = [BLKPARSE.format(n, n / 1e6, "D", "W", f"{8 * n} + 8") for n in range(70_000)]
    path = written(tmp_path, [*lines, BLKPARSE.format(70_000, 1, "Q", "W", "0 + 8")])
    assert refused(path) == ":70001: requests are taken from D events, there were none of Q before, got Q"
