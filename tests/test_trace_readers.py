"""Readers: the same requests from every form of a trace, and the line or row of what is wrong in one line."""

import gzip
import hashlib
import io
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest
from pyarrow import parquet

from iosim.model.errors import TraceError
from iosim.model.scenario import TraceFormat
from iosim.simulation import read_traces
from iosim.traces import ReadOptions, TraceStream, read_trace
from iosim.traces.formats import FORMATS, GROUPS
from iosim.traces.reader import format_of
from tests.support import scenario

ROOT = Path(__file__).resolve().parents[1]
TEXT = "time_us,op,sector,sectors\n0,W,8,1\n0.5,R,268435455,256\n1000.001,F,0,0\n"
ROWS = [(0, "W", 8, 1), (500, "R", 268_435_455, 256), (1_000_001, "F", 0, 0)]
COLUMNS: dict[str, list[Any]] = {
    "time_us": [0.0, 0.5, 1000.001],
    "op": ["W", "R", "F"],
    "sector": [8, 268_435_455, 0],
    "sectors": [1, 256, 0],
}


def rows(path: Path, format_name: str | None = None) -> list[tuple[int, str, int, int]]:
    trace = read_trace(path, ReadOptions(format=format_name))
    return list(trace.rows(0))


def zst(text: str) -> bytes:
    packed = pa.compress(text.encode(), codec="zstd", asbytes=True)
    assert isinstance(packed, bytes)
    return packed


def as_parquet(columns: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "format_name"),
    [
        (TEXT.encode(), "csv"),
        (TEXT.replace("\n", "\r\n").encode(), "csv"),
        (TEXT.removesuffix("\n").encode(), "csv"),
        (gzip.compress(TEXT.encode()), "csv"),
        (zst(TEXT), "csv"),
        (zst(TEXT[:40]) + zst(TEXT[40:]), "csv"),
        (as_parquet(COLUMNS), "parquet"),
        (as_parquet({"extra": [7, 8, 9]} | {name: COLUMNS[name] for name in reversed(COLUMNS)}), "parquet"),
        (as_parquet(COLUMNS | {"time_us": [Decimal("0"), Decimal("0.5"), Decimal("1000.001")]}), "parquet"),
        (as_parquet(COLUMNS | {"op": pa.array(["W", "R", "F"]).dictionary_encode()}), "parquet"),
        (as_parquet(COLUMNS | {"sector": pa.array([8, 268_435_455, 0], pa.uint32())}), "parquet"),
        (gzip.compress(as_parquet(COLUMNS)), "parquet"),
    ],
    ids=[
        "csv",
        "carriage returns",
        "no newline at the end",
        "gz",
        "zst",
        "zst of two frames",
        "parquet",
        "parquet in another order with another column",
        "parquet with decimal times",
        "parquet with a dictionary",
        "parquet with unsigned sectors",
        "gz of parquet",
    ],
)
def test_the_same_requests_from_every_form(tmp_path: Path, content: bytes, format_name: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    assert rows(path) == rows(path, format_name) == ROWS
    assert format_of(path) == format_name


@pytest.mark.parametrize(
    ("time_us", "ns"),
    [
        ("4000000000000.001", 4_000_000_000_000_001),
        ("3999999999999.999", 3_999_999_999_999_999),
        ("1795359131431863.007", 1_795_359_131_431_863_007),
        ("0.001", 1),
        ("1e3", 1_000_000),
        (" 7 ", 7000),
    ],
)
def test_times_are_read_to_the_nanosecond(tmp_path: Path, time_us: str, ns: int) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(f"time_us,op,sector,sectors\n{time_us},W,0,1\n")
    assert rows(path) == [(ns, "W", 0, 1)]


def test_parquet_times_beyond_a_float_are_read_to_the_nanosecond(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    path.write_bytes(as_parquet(COLUMNS | {"time_us": [0, 1, 1_795_359_131_431_863]}))
    assert [ns for ns, *_ in rows(path)] == [0, 1000, 1_795_359_131_431_863_000]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"time_us": [0.0, None, 1.0]}, "2: time_us must be a decimal number of microseconds, got 'None'"),
        ({"time_us": [0.0, float("nan"), 1.0]}, "2: time_us must be a decimal number of microseconds, got 'nan'"),
        ({"time_us": [0.0, 0.0001, 1.0]}, "2: time_us must be a whole number of nanoseconds, got '0.0001'"),
        ({"time_us": [1.0, 2.0, 0.5]}, "3: time must not go back, got 0.5 us after 2 us"),
        ({"op": ["W", "R", "D"]}, "3: op must be R, W or F, got 'D'"),
        ({"sector": [8.5, 0.0, 0.0]}, "1: sector must be a whole number, got '8.5'"),
        ({"sector": [8, -1, 0]}, "2: sector must not be negative, got -1"),
        (
            {"sectors": pa.array([1, 1 << 63, 0], pa.uint64())},
            "2: sectors must be at most 2^48, got '9223372036854775808'",
        ),
    ],
)
def test_a_bad_row_of_parquet_is_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = tmp_path / "trace.parquet"
    path.write_bytes(as_parquet(COLUMNS | changed))
    with pytest.raises(TraceError) as error:
        read_trace(path)
    assert str(error.value) == f"{path}:{message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zst(TEXT)[:-3], "is cut short: its zstd data has no end"),
        (zst(TEXT) + b"more", "is a damaged zstd file"),
        (zst(""), "is empty"),
        (as_parquet(COLUMNS)[:-3], "is a damaged Parquet file"),
        (b"PAR1", "is a damaged Parquet file"),
        (as_parquet({name: [] for name in COLUMNS}), "has no requests"),
        (
            as_parquet({"time_us": [0.0], "lba": [0]}),
            "the columns must be time_us, op, sector, sectors, got 'time_us, lba'",
        ),
    ],
)
def test_a_file_that_cannot_be_unpacked_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(TraceError) as error:
        read_trace(path)
    assert str(error.value) == f"{path}: {message}"


def test_csv_is_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(TEXT)
    with pytest.raises(TraceError) as error:
        read_trace(path, ReadOptions(format="parquet"))
    assert str(error.value) == f"{path}: is a damaged Parquet file"


# QEMU's log: registers as the device decodes them.


def log(*accesses: tuple[int, int, int]) -> str:
    """A log of register writes (microseconds, port, value), between lines of other events."""
    lines = ["11@100.000000:bmdma_write bmdma: writeb 0x0 : 0x00"]
    for us, port, value in accesses:
        stamp = f"11@100.{us:06}"
        lines.append(
            f"{stamp}:ide_ioport_write IDE PIO wr @ 0x{port:x} (Register); val 0x{value:02x}; bus 0x5 IDEState 0x6"
        )
        lines.append(f"{stamp}:ioapic_set_irq vector: 14 level: 0")
    return "\n".join(lines) + "\n"


def task_file(us: int, *values: int, command: int) -> list[tuple[int, int, int]]:
    """Writes of the registers 1f2 to 1f6, one a microsecond, and the command."""
    return [(us + n, 0x1F2 + n, value) for n, value in enumerate(values)] + [(us + 9, 0x1F7, command)]


def test_log_lba28_with_device_bits_and_a_count_of_zero(tmp_path: Path) -> None:
    path = tmp_path / "q.trace"
    path.write_text(log(*task_file(10, 0, 0x01, 0x02, 0x03, 0xE4, command=0xCA)))
    assert rows(path) == [(10_000, "W", 0x04030201, 256)]


def test_log_lba48_takes_the_registers_written_before(tmp_path: Path) -> None:
    path = tmp_path / "q.trace"
    high = task_file(10, 0x01, 0x0A, 0x0B, 0x0C, command=0)[:4]
    path.write_text(log(*high, *task_file(20, 0x02, 0x01, 0x02, 0x03, 0xE0, command=0x25)))
    assert rows(path) == [(10_000, "R", 0x0C0B0A030201, 0x0102)]


def test_log_flush_and_a_command_that_is_no_request(tmp_path: Path) -> None:
    path = tmp_path / "q.trace"
    path.write_text(log((5, 0x1F6, 0xA0), (6, 0x1F7, 0xEC), (50, 0x1F6, 0xA0), (60, 0x1F7, 0xE7)))
    assert rows(path) == [(50_000, "F", 0, 0)]


def test_log_of_two_drives_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.trace"
    path.write_text(log((5, 0x1F6, 0xA0), (6, 0x1F7, 0xE7), (50, 0x1F6, 0xB0), (60, 0x1F7, 0xE7)))
    with pytest.raises(TraceError) as error:
        read_trace(path)
    expected = (
        f"{path}: has requests of several devices (0x1f0 master, 0x1f0 slave): choose one by --device or trace_device"
    )
    assert str(error.value) == expected


@pytest.mark.parametrize(("end", "notes"), [("\n", 0), ("", 1)])
def test_a_last_line_without_an_end_is_noted(tmp_path: Path, end: str, notes: int) -> None:
    """The 8 may have been an 80."""
    path = tmp_path / "trace.csv"
    path.write_text(f"time_us,op,sector,sectors\n0,W,0,8{end}")
    with TraceStream(path) as stream:
        list(stream)
    assert len(stream.reading.notes) == notes


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst", "a.parquet"])
def test_a_checksum_is_that_of_the_file_as_it_lies_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    contents = {"a.csv": TEXT.encode(), "a.csv.gz": gzip.compress(TEXT.encode()), "a.csv.zst": zst(TEXT)}
    path.write_bytes(contents.get(name) or as_parquet(COLUMNS))
    assert read_trace(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_line_longer_than_a_mebibyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(TEXT + "1" * 6_000_000)
    with pytest.raises(TraceError, match=r"trace\.csv:5: the line is longer than 1 MiB$"):
        read_trace(path)


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert rows(path) == ROWS


# In a scenario.


def test_the_formats_of_the_scenario_are_those_that_are_read() -> None:
    assert set(get_args(TraceFormat)) == {"auto", *FORMATS, *GROUPS}


def test_a_scenario_reads_a_device_of_any_format(tmp_path: Path) -> None:
    """Two drives of a VM out of one log of fio: each its own file."""
    log_text = ["fio version 3 iolog", "5 /a.img read 0 4096", "7 /b.img write 512 512", "9 /b.img sync 0 0"]
    (tmp_path / "fio.log").write_text("\n".join(log_text) + "\n")
    drives = [{"trace": "fio.log", "trace_device": f"/{name}.img"} for name in "ab"]
    traces = read_traces(scenario([{**drives[0], "trace_format": "fio"}, drives[1]]), tmp_path)
    assert list(traces[0, 0].rows(0)) == [(5_000, "R", 0, 8)]
    assert list(traces[0, 1].rows(0)) == [(7_000, "W", 1, 1), (9_000, "F", 0, 0)]
    with pytest.raises(TraceError) as error:
        read_traces(scenario([{"trace": "fio.log"}]), tmp_path)
    expected = "has requests of several devices (/a.img, /b.img): choose one by --device or trace_device"
    assert str(error.value) == f"{tmp_path / 'fio.log'}: {expected}"


def test_the_format_of_a_scenario_counts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TEXT)
    with pytest.raises(TraceError, match=r"t\.csv: has no requests; |t\.csv:1: a line must have 5 fields, got 4"):
        read_traces(scenario([{"trace": "t.csv", "trace_format": "tencent"}]), tmp_path)
