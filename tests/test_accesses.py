"""Port accesses as a table: out of kernel traces and QEMU logs, written and read again."""

import csv
import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from iosim.model.errors import TraceError
from iosim.traces import AccessStream, AccessTable, ReadOptions, read_trace
from iosim.traces.access_reader import write_accesses
from iosim.traces.accesses import UNKNOWN, Access
from tests.commandline import run
from tests.trace_files import DATA, command, written

PUBLIC = Path(__file__).resolve().parents[2] / "shared" / "traces" / "recordings" / "public"
FULL = sorted(PUBLIC.glob("A_tcg_linux/[dp]*_full/qemu_raw_excerpt.trace.gz"))
COLUMNS = list(AccessTable.__dataclass_fields__)


def read(path: Path, options: ReadOptions | None = None) -> AccessTable:
    with AccessStream(path, options) as stream:
        tables = list(stream)
    return AccessTable(*(np.concatenate([getattr(table, name) for table in tables]) for name in COLUMNS))


@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz", "csv.zst"])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    rows = [
        Access(0, 0, True, 0x1F6, 1, 1, 0xE0, UNKNOWN, False, 1),
        Access(1_500, 1, False, 0x1F0, 2, 256, UNKNOWN, 12_345, True, 2),
        Access(10**15 + 1, 0, True, 0xC000, 4, 1, 0xFFFFFFFF, 0, False, 3),
    ]
    path = tmp_path / f"a.{suffix}"
    write_accesses([AccessTable.of_rows(rows[:1]), AccessTable.of_rows(rows[1:])], path)
    table = read(path)
    first_line = 1 if suffix == "parquet" else 2
    expected = [row._replace(line=number) for number, row in enumerate(rows, start=first_line)]
    assert [list(getattr(table, name)) for name in COLUMNS] == [list(column) for column in zip(*expected, strict=True)]


HEADER = "time_us,vcpu,write,port,size,count,value,guest_us,halted"


def test_an_access_table_as_csv(tmp_path: Path) -> None:
    """Every column by hand, with CRLF, and without what was not recorded."""
    path = tmp_path / "a.csv"
    path.write_bytes(f"{HEADER}\r\n0.5,0,true,502,1,1,224,,false\r\n7,1,false,496,2,256,,12.345,true\r\n".encode())
    assert list(read(path).rows()) == [
        Access(500, 0, True, 0x1F6, 1, 1, 0xE0, UNKNOWN, False, 2),
        Access(7_000, 1, False, 0x1F0, 2, 256, UNKNOWN, 12_345, True, 3),
    ]
    write_accesses([read(path)], tmp_path / "b.csv")
    lines = [HEADER, "0.500,0,true,502,1,1,224,,false", "7.000,1,false,496,2,256,,12.345,true"]
    assert (tmp_path / "b.csv").read_text().splitlines() == lines


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0,0,yes,502,1,1,224,,false", "write must be true or false, got 'yes'"),
        ("0,0,true,65536,1,1,224,,false", "port must be from 0 to 65535, got 65536"),
        ("0,0,true,502,8,1,224,,false", "size must be from 1 to 4, got 8"),
        ("0,0,true,502,1,0,224,,false", "count must be at least 1, got 0"),
        ("0,0,true,0x1f6,1,1,224,,false", "port must be a whole number, got '0x1f6'"),
        ("0,0,true,502,1,1,224,-3,false", "guest_us must be at least 0, got -3000"),
        ("-1,0,true,502,1,1,224,,false", "time_us must be at least 0, got -1000"),
        ("0,0,true,502,1,1,224,false", "a line must have 9 fields, got 8"),
    ],
)
def test_rows_of_an_access_table_that_cannot_be(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}\n0,0,true,502,1,1,224,,false\n{row}\n")
    with pytest.raises(TraceError) as error:
        read(path)
    assert str(error.value) == f"{path}:3: {message}"


def test_a_kernel_trace_is_converted_into_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """381 kvm_pio of two vCPUs, as grep -c counts them."""
    target = tmp_path / "a.parquet"
    answer = run(capsys, "trace", "convert", "--accesses", str(DATA / "kvm-perf-script.txt.gz"), str(target))
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith(f"{target}: 381 port accesses over ")
    direct, table = read(DATA / "kvm-perf-script.txt.gz"), read(target)
    for name in COLUMNS[:-1]:
        assert getattr(table, name).tolist() == getattr(direct, name).tolist()
    assert table.lines.tolist() == list(range(1, 382))


MEMORY = "7@100.{:06}:memory_region_ops_{} cpu {} mr 0x5 addr 0x{:x} value 0x{:x} size {} name '{}'"


def test_accesses_in_a_qemu_log(tmp_path: Path) -> None:
    lines = [
        MEMORY.format(5, "write", 0, 0xFEE000B0, 0, 4, "apic-msi"),
        MEMORY.format(10, "write", 1, 0x1F6, 0xE0, 1, "ide"),
        "7@100.000011:ide_ioport_write IDE PIO wr @ 0x1f6 (Device/Head); val 0xe0; bus 0x5 IDEState 0x6",
        MEMORY.format(12, "read", 0, 0x1F0, 0xFFFF5050, 2, "ide"),
    ]
    with AccessStream(written(tmp_path, lines)) as stream:
        (table,) = stream
    assert list(zip(*(getattr(table, name).tolist() for name in COLUMNS), strict=True)) == [
        (0, 1, True, 0x1F6, 1, 1, 0xE0, UNKNOWN, False, 2),
        (2_000, 0, False, 0x1F0, 2, 1, 0x5050, UNKNOWN, False, 4),
    ]
    assert stream.reading.beside == {"access of memory": 1, "other line": 1}


@pytest.mark.skipif(not FULL, reason="needs the shared recordings")
@pytest.mark.parametrize("path", FULL, ids=lambda path: path.parent.name)
def test_accesses_are_those_that_the_recordings_found(path: Path) -> None:
    """By port and direction, with runs of equal words as many as they were; the excerpt is the begin of the run."""
    with gzip.open(path.parent / "events.csv.gz", "rt", newline="") as file:
        events = [row for row in csv.DictReader(file) if row["event"].startswith("pio_") and len(row["port"]) <= 6]
    table = read(path)
    found = Counter(zip(table.ports.tolist(), table.writes.tolist(), strict=True))
    recorded: Counter[tuple[int, bool]] = Counter()
    for row in events:
        recorded[int(row["port"], 16), row["dir"] == "W"] += int(row["n"])
    assert found <= recorded
    assert found.total() > 1_000
    registers = [
        (int(row["port"], 16), row["dir"] == "W", int(row["value"], 16)) for row in events if row["port"] != "0x1f0"
    ]
    mine = list(zip(table.ports.tolist(), table.writes.tolist(), table.values.tolist(), strict=True))
    mine = [access for access in mine if access[0] != 0x1F0]
    assert mine == registers[: len(mine)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["nothing"], ": has no port accesses that can be read: it must be one of csv, kvm, qemu-log, parquet"),
        ([MEMORY.format(5, "write", 0, 0xFEE000B0, 0, 4, "apic-msi")], ": has no port accesses"),
        (
            [MEMORY.format(5, "write", 0, 0x1F6, 0, 1, "x")[:-9]],
            ":1: is no memory_region_ops_write as QEMU prints it, ",
        ),
        ([MEMORY.format(us, "write", 0, 0x1F6, 0, 1, "x") for us in (5, 3)], ":2: time must not go back"),
    ],
)
def test_accesses_that_cannot_be_read(tmp_path: Path, lines: list[str], message: str) -> None:
    path = written(tmp_path, lines)
    with pytest.raises(TraceError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}{message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("t.txt", "b.json"), "b.json: must end in one of .csv, .csv.gz, .csv.zst, .parquet"),
        (("t.txt",), "trace convert --accesses needs one trace to read and the table to write"),
        (("t.txt", "b.parquet", "--from", "1s"),
         "--accesses takes all accesses as they are: no device, window, scaling or stacking"),
        (("t.csv", "b.parquet"),
         "t.csv: has no port accesses that can be read: it must be one of csv, kvm, qemu-log, parquet"),
    ],
)  # fmt: skip
def test_accesses_that_cannot_be_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    written(tmp_path, command("1", 1.0)).rename("t.txt")
    Path("t.csv").write_text("time_us,op,sector,sectors\n0,W,0,8\n")
    assert run(capsys, "trace", "convert", "--accesses", *arguments) == (2, "", f"iosim: {message}\n")
    assert not list(tmp_path.glob("b.*"))


@pytest.mark.parametrize("suffix", ["csv.gz", "parquet"])
def test_the_requests_of_an_access_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    """The same as of the kernel trace that it was made of; in Parquet only by name."""
    source, target = DATA / "kvm-perf-script.txt.gz", tmp_path / f"a.{suffix}"
    run(capsys, "trace", "convert", "--accesses", str(source), str(target))
    for device in ("0x1f0 master", "0x170 master"):
        direct = read_trace(source, ReadOptions(device=device))
        named = "accesses" if suffix == "parquet" else None
        table = read_trace(target, ReadOptions(device=device, format=named))
        assert list(table.rows(0)) == list(direct.rows(0))
        assert len(table) > 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "q-1 [000] 1.000001: kvm_pio: pio_write at 0x1f7 size 1 count 1 val 0xe7\n".encode("utf-16"),
            "is UTF-16, not UTF-8",
        ),
        (
            b"q-1 [000] 1.000001: kvm_exit: reason IO_INSTRUCTION rip 0x1 info 600048 0\n",
            "is a kernel trace without port accesses (kvm_pio) and without requests of block devices",
        ),
    ],
)
def test_files_that_are_nearly_a_trace(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(TraceError) as error:
        read_trace(path)
    assert str(error.value) == f"{path}: {message}"


def test_a_request_trace_in_parquet_is_no_access_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("time_us,op,sector,sectors\n0,W,0,8\n")
    run(capsys, "trace", "convert", str(tmp_path / "t.csv"), str(tmp_path / "t.parquet"))
    with pytest.raises(TraceError, match=r"t\.parquet: the columns must be time_us, vcpu, write, port, size, count"):
        read(tmp_path / "t.parquet")
