"""trace convert: the same requests in every canonical form, changed and merged as asked, whole or not at all."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iosim.model.errors import TraceError
from iosim.traces import TraceTable, read_trace
from iosim.traces.transform import Scaled, Window, merged
from iosim.traces.writer import SUFFIXES, write_trace
from tests.commandline import run

HEADER = "time_us,op,sector,sectors\n"


def rows_of(path: Path) -> list[tuple[int, str, int, int]]:
    return list(read_trace(path).rows(0))


def write(path: Path, *lines: str) -> Path:
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


LARGEST_US = 4_000_000_000_000
"""Parquet has times as float64."""


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.integers(0, LARGEST_US * 1000 - 1),
            st.one_of(
                st.tuples(st.sampled_from([0, 1]), st.integers(0, (1 << 48) - 65536), st.integers(1, 65536)),
                st.just((2, 0, 0)),
            ),
        ),
        min_size=1,
    )
)
def test_what_is_written_is_read_again(
    tmp_path: Path, suffix: str, requests: list[tuple[int, tuple[int, int, int]]]
) -> None:
    requests.sort(key=lambda request: request[0])
    path = tmp_path / f"trace{suffix}"
    table = TraceTable.of_rows([(ns, op, sector, sectors, 0) for ns, (op, sector, sectors) in requests])
    half = len(table) // 2
    write_trace([table[:half], table[half:]], path)
    assert rows_of(path) == [(ns, "RWF"[op], sector, sectors) for ns, (op, sector, sectors) in requests]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_trace_converted_twice_is_the_same(folder: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    write(folder / "a.csv", "0.5,W,8,1", "0.5,R,0,256", "1000.001,F,0,0")
    answer = run(capsys, "trace", "convert", "a.csv", f"b{suffix}")
    assert answer == (0, f"b{suffix}: 3 requests over 1.00 ms\n", "")
    assert run(capsys, "trace", "convert", f"b{suffix}", "c.csv").status == 0
    expected = f"{HEADER}0.500,W,8,1\n0.500,R,0,256\n1000.001,F,0,0\n"
    assert (folder / "c.csv").read_text() == expected
    assert sorted(path.name for path in folder.iterdir()) == sorted({"a.csv", f"b{suffix}", "c.csv"})


def test_a_window_counts_from_its_begin(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "a.csv", "0,W,0,8", "1000,W,8,8", "1999.999,W,16,8", "2000,W,24,8")
    run(capsys, "trace", "convert", "a.csv", "b.csv", "--from", "1ms", "--to", "2ms")
    assert rows_of(folder / "b.csv") == [(0, "W", 8, 8), (999_999, "W", 16, 8)]


@pytest.mark.parametrize("cut", range(5))
def test_a_window_does_not_depend_on_chunks(cut: int) -> None:
    table = TraceTable.of_rows([(ns, 1, 0, 8, 1) for ns in (0, 10, 20, 30)])
    inside = TraceTable.joined(list(Window(10, 30).applied([table[:cut], table[cut:]])))
    assert inside.times_ns.tolist() == [0, 10]


def test_times_and_addresses_are_scaled_and_sizes_are_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "a.csv", "0.010,W,80,8", "0.011,W,81,8", "9,F,0,0")
    run(capsys, "trace", "convert", "a.csv", "b.csv", "--scale-time", "1/4", "--scale-address", "0.3")
    # 10 / 4 = 2.5 and 11 / 4 = 2.75 ns, both rounded up; 80 * 0.3 = 24, a multiple of 8; 81 * 0.3 = 24.3.
    assert rows_of(folder / "b.csv") == [(3, "W", 24, 8), (3, "W", 24, 8), (2250, "F", 0, 0)]


def test_aligned_requests_stay_aligned_when_scaled() -> None:
    table = TraceTable.of_rows([(0, 1, sector, 8, 1) for sector in (8, 16, 17, 1 << 47)])
    (scaled,) = Scaled(address=Fraction(2, 3)).applied([table])
    # 5.33 -> 5 -> 0, 10.67 -> 10 -> 8, 11.33 -> 11 (was not aligned), 2^48 / 3 -> down to a multiple of 8
    assert scaled.sectors_first.tolist() == [0, 8, 11, (2**48 // 3) // 8 * 8]


def test_scaling_beyond_int64_on_the_way_is_exact() -> None:
    table = TraceTable.of_rows([(1 << 60, 1, 0, 8, 1)])
    (scaled,) = Scaled(time=Fraction(999_999_999, 1_000_000_000)).applied([table])
    assert scaled.times_ns.tolist() == [(2**60 * 999_999_999 + 500_000_000) // 10**9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.csv",), "trace convert needs the trace to read and the one to write"),
        (("a.csv", "b.txt"), "b.txt: must end in one of .csv, .csv.gz, .csv.zst, .parquet"),
        (("a.csv", "a.csv"), "a.csv: is a trace that is to be read; choose another name"),
        (("a.csv", "no/b.csv"), "no/b.csv: No such file or directory"),
        (("a.csv", "b.csv", "--from", "2s"), "a.csv: no requests are left in the window of time"),
        (("a.csv", "b.csv", "--from", "2"), "--from must have one of the units ns, us, ms, s, min, h, got '2'"),
        (("a.csv", "b.csv", "--from", "2s", "--to", "2s"), "--to must be later than --from, got '2s'"),
        (("a.csv", "b.csv", "--scale-time", "0"), "--scale-time must be above 0 and at most 10^9, got '0'"),
        (("a.csv", "b.csv", "--scale-time", "x"), "--scale-time must be a number such as 0.5 or 1/3, got 'x'"),
        (("a.csv", "b.csv", "--scale-address", "1e9"), "the sector 2000000000 is too large to be multiplied by 1e+09"),
        (("a.csv", "b.csv", "--stack", "4KiB"), "a.csv:3: sectors must end at or before 8 (--stack), got 2000000008"),
        (("bad.csv", "b.csv"), "bad.csv:3: op must be R, W or F, got 'D'"),
        (("a.csv", "bad.csv", "b.csv"), "bad.csv:3: op must be R, W or F, got 'D'"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    write(folder / "a.csv", "0,W,0,8", "1000,W,2000000000,8")
    write(folder / "bad.csv", "0,W,0,8", "1000,D,8,8")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run(capsys, "trace", "convert", *arguments) == (2, "", f"iosim: {message}\n")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_trace_that_fails_leaves_the_old_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "bad.csv", "0,W,0,8", "1000,D,8,8")
    (folder / "b.csv").write_text("old")
    assert run(capsys, "trace", "convert", "bad.csv", "b.csv").status == 2
    assert (folder / "b.csv").read_text() == "old"


def test_parquet_refuses_what_a_float_cannot_hold(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "a.csv", f"{LARGEST_US}.001,W,0,8")
    answer = run(capsys, "trace", "convert", "a.csv", "b.parquet")
    expected = "b.parquet: Parquet takes times below 46 days, which a float64 has exactly; write .csv"
    assert (answer.status, answer.err) == (2, f"iosim: {expected}\n")
    assert run(capsys, "trace", "convert", "a.csv", "b.csv").status == 0
    assert rows_of(folder / "b.csv") == [(LARGEST_US * 1000 + 1, "W", 0, 8)]


# Merging.


def test_merged_traces_are_in_order_and_the_first_named_comes_first(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "a.csv", "0,W,0,1", "5,W,1,1", "5,W,2,1", "9,W,3,1")
    write(folder / "b.csv", "5,R,0,2", "7,R,1,2")
    run(capsys, "trace", "convert", "b.csv", "a.csv", "both.csv")
    assert [row[:3] for row in rows_of(folder / "both.csv")] == [
        (0, "W", 0),
        (5000, "R", 0),
        (5000, "W", 1),
        (5000, "W", 2),
        (7000, "R", 1),
        (9000, "W", 3),
    ]


def test_stacked_traces_have_ranges_of_their_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        write(folder / f"{name}.csv", "0,W,100,8", "1,F,0,0")
    run(capsys, "trace", "convert", "a.csv", "b.csv", "c.csv", "all.csv", "--stack", "1MiB")
    found = [row[1:] for row in rows_of(folder / "all.csv")]
    assert found == [("W", 100, 8), ("W", 2148, 8), ("W", 4196, 8)] + [("F", 0, 0)] * 3


@settings(max_examples=60)
@given(
    st.lists(
        st.lists(st.lists(st.integers(0, 6), max_size=4), max_size=4), min_size=1, max_size=3
    )
)  # fmt: skip
def test_merging_in_chunks_is_a_stable_sort(streams: list[list[list[int]]]) -> None:
    """Each stream is a list of chunks of times; a request's line tells its stream and its place in it."""
    tables, expected = [], []
    for number, chunks in enumerate(streams):
        times = sorted(time for chunk in chunks for time in chunk)
        rows = [(time, 1, 0, 8, 1000 * number + place) for place, time in enumerate(times)]
        expected += rows
        lengths = [len(chunk) for chunk in chunks]
        ends = [sum(lengths[: at + 1]) for at in range(len(lengths))]
        tables.append([TraceTable.of_rows(rows[end - n : end]) for n, end in zip(lengths, ends, strict=True)])
    expected.sort(key=lambda row: (row[0], row[4]))
    found = TraceTable.joined(list(merged(tables)))
    assert list(zip(found.times_ns.tolist(), found.lines.tolist(), strict=True)) == [
        (row[0], row[4]) for row in expected
    ]


# Order.


def test_a_canonical_trace_out_of_order_is_refused_or_put_in_order(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "a.csv", "5,W,0,8", "3,W,8,8", "5,W,16,8", "1,W,24,8")
    refused = "iosim: a.csv:3: time must not go back, got 3 us after 5 us\n"
    assert run(capsys, "trace", "convert", "a.csv", "b.csv") == (2, "", refused)
    answer = run(capsys, "trace", "convert", "a.csv", "b.csv", "--sort")
    assert answer == (0, "b.csv: 4 requests over 4.00 us\na.csv: 2 requests were put in order\n", "")
    assert [row[2] for row in rows_of(folder / "b.csv")] == [24, 8, 0, 16]


def test_what_is_skipped_is_counted_by_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "a.csv", "0,W,0,8", "x,W,8,8", "1,W,0,8,9", "2,D,0,8", "3,W,0,0", "1,D,0,8", "4,R,8,8")
    answer = run(capsys, "trace", "convert", "a.csv", "b.csv", "--skip")
    assert answer.status == 0
    assert answer.out.splitlines() == [
        "b.csv: 2 requests over 4.00 us",
        "a.csv: skipped 1: time_us must be a decimal number of microseconds (first: line 3)",
        "a.csv: skipped 1: a line must have 4 fields (first: line 4)",
        "a.csv: skipped 2: op must be R, W or F (first: line 5)",
        "a.csv: skipped 1: a read or write must have at least 1 sector (first: line 6)",
    ]
    assert rows_of(folder / "b.csv") == [(0, "W", 0, 8), (4000, "R", 8, 8)]


def test_one_wild_time_is_skipped_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "a.csv", "0,W,0,8", "1e300,W,8,8", "-5,W,8,8", "4,R,8,8", "3,R,8,8")
    answer = run(capsys, "trace", "check", "a.csv", "--skip")
    assert answer.out.splitlines() == [
        "a.csv: usable, 3 skipped: 2 requests over 4.00 us",
        "  1: time_us must be below 146 years (first: line 3)",
        "  1: time must not be negative (first: line 4)",
        "  1: time must not go back (first: line 6)",
    ]


def test_a_trace_of_which_nothing_is_left_is_refused(folder: Path) -> None:
    from iosim.traces import ReadOptions

    path = write(folder / "a.csv", "0,D,0,8")
    with pytest.raises(TraceError) as error:
        read_trace(path, ReadOptions(skip=True))
    assert str(error.value) == f"{path}: has no requests; 1 were skipped, first at line 2: op must be R, W or F"
