"""Reading needs the same memory for a file of any length: scaled down here, with 1 GB by ``make test-large``."""

import gzip
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from iosim.traces import ReadOptions, TraceStream, kernel_text, order, source
from iosim.traces.table import TraceTable
from iosim.traces.writer import write_trace
from tests.test_trace_datasets import v1

BLKPARSE = "254,0    0 {0:8d} {1:14.9f} 10676  Q  WS {0} + 8 [fio]\n"
PIO = "  CPU 0/KVM-7 [000] ..... {0:.6f}: kvm_pio: pio_write at 0x{1:x} size 1 count 1 val 0x{2:x} \n"


def csv(n: int) -> str:
    return f"{n * 1.5:.3f},W,{n * 8},8\n"


def log(n: int) -> str:
    return f"7@100{n // 1000}.{n % 1000:03}000:virtio_blk_handle_read vdev 0x1 req 0x{n % 9} sector {n} nsectors 8\n"


def blkparse(n: int) -> str:
    return BLKPARSE.format(n, n / 1e3)


def pio(n: int) -> str:
    """A flush every ten writes of the features register."""
    register, value = {8: (6, 0xA0), 9: (7, 0xE7)}.get(n % 10, (1, 0))
    return PIO.format(n / 1e3, 0x1F0 + register, value)


LINES: dict[str, Callable[[int], str]] = {
    "csv": csv,
    "qemu-log": log,
    "blkparse": blkparse,
    "kvm": pio,
    "heimdall": lambda n: f"{n}.5 0 {n * 512} 512 1\n",
    "fio-iolog": lambda n: f"{n} /a.img read {n * 512} 512\n",
}
HEADS = {"csv": "time_us,op,sector,sectors\n", "fio-iolog": "fio version 3 iolog\n"}


def write(path: Path, name: str, n: int) -> None:
    path.write_text(HEADS.get(name, "") + "".join(map(LINES[name], range(n))))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and what is held back for order, a small part of their size."""
    monkeypatch.setattr(source, "BLOCK_BYTES", 8192)
    monkeypatch.setattr(source, "HEAD_BYTES", 8192)
    for module in (order, kernel_text):
        monkeypatch.setattr(module, "MOST_LATE", 100)


def peak_bytes(path: Path, name: str) -> int:
    """The most memory at a time while the file is read, Arrow's included."""
    arrow = 0
    tracemalloc.start()
    try:
        with TraceStream(path, ReadOptions(format=name)) as stream:
            for _ in stream:
                arrow = max(arrow, pa.total_allocated_bytes())
        return tracemalloc.get_traced_memory()[1] + arrow
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", LINES)
def test_four_times_the_lines_need_no_more_memory(tmp_path: Path, name: str) -> None:
    peaks, sizes = [], []
    for n in (2_000, 2_000, 8_000):  # the first warms caches up
        path = tmp_path / f"{n}"
        write(path, name, n)
        peaks.append(peak_bytes(path, name))
        sizes.append(path.stat().st_size)
    assert peaks[2] - peaks[1] < (sizes[2] - sizes[1]) / 10


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("packed", [False, True])
def test_four_times_the_records_need_no_more_memory(tmp_path: Path, packed: bool) -> None:
    peaks = []
    for n in (5_000, 5_000, 20_000):
        data = b"".join(v1(at, 512, 0x2A, at, 9 * at) for at in range(n))
        path = tmp_path / f"{n}"
        path.write_bytes(gzip.compress(data, 1) if packed else data)
        peaks.append(peak_bytes(path, "vscsi"))
    assert peaks[2] - peaks[1] < 32 * 15_000 / 10


def test_a_parquet_file_is_read_in_batches(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    rows = [(1000 * at, 1, at, 1, 0) for at in range(50_000)]
    write_trace((TraceTable.of_rows(rows)[at : at + 50_000] for at in (0,)), path)
    with TraceStream(path) as stream:
        assert [len(table) for table in stream] == [50_000]
    # Four groups of rows are four tables of at most 131,072.
    write_trace(
        (TraceTable.of_rows([(ns + 50_000_000 * part, 1, at, 1, 0) for ns, _, at, _, _ in rows]) for part in range(4)),
        path,
    )
    with TraceStream(path) as stream:
        lengths = [len(table) for table in stream]
    assert sum(lengths) == 200_000
    assert max(lengths) <= 131_072


MEASURED = """
import sys
from iosim.cli import main
try:
    main(sys.argv[1:])
finally:
    status = open("/proc/self/status").read()
    print("KiB", status.split("VmHWM:")[1].split()[0], file=sys.stderr)
"""
GIGABYTE = 1 << 30


@pytest.mark.large
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["csv", "kvm", "blkparse", "heimdall", "vscsi"])
def test_a_gigabyte_is_converted_in_constant_memory(tmp_path: Path, name: str) -> None:
    """At most 320 MiB in all, of which Python and its libraries take about 130."""
    path = tmp_path / "large"
    n = 0
    with path.open("wb") as file:
        file.write(HEADS.get(name, "").encode())
        while file.tell() < GIGABYTE:
            if name == "vscsi":
                file.write(b"".join(v1(at & 0xFFFF, 512, 0x2A, at, 9 * at) for at in range(n, n + 100_000)))
            else:
                file.write("".join(map(LINES[name], range(n, n + 100_000))).encode())
            n += 100_000
    target = tmp_path / "t.parquet"
    command = [sys.executable, "-c", MEASURED, "trace", "convert", str(path), str(target), "--format", name]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = n // 10 if name == "kvm" else n
    assert f": {expected:,} requests over " in answer.stdout
    assert int(answer.stderr.split("KiB")[1]) < 320 * 1024
