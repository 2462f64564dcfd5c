"""``python -m benchmarks.traces``: how fast each format of trace is read, in rows or lines per second of CPU time."""

import gzip
import re
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from iosim.traces import ReadOptions, TraceStream
from iosim.traces.writer import write_trace

ROUNDS = 3
ROWS = 1_000_000
LINES = 400_000
DATA = Path(__file__).resolve().parents[1] / "tests" / "data" / "traces"
SHIPPED = Path(__file__).resolve().parents[1] / "traces"

_SECONDS = re.compile(r"(?<=[@ ])(\d+)(?=\.\d{6}:)")
Lines = Callable[[int], str]
CSV_FORMATS: dict[str, Lines] = {
    "csv": lambda n: f"{n * 1.5:.3f},{'RW'[n & 1]},{n * 7919 % 100_000_000},{n % 64 + 1}",
    "msr": lambda n: f"{128166372003061629 + 977 * n},hm,0,{('Read', 'Write')[n & 1]},{n * 7919 % 10**8 * 512},4096,26",
    "alibaba": lambda n: f"0,{'RW'[n & 1]},{n * 7919 % 10**8 * 512},4096,{1577808000000626 + 97 * n}",
    "tencent": lambda n: f"{1538323199 + n // 100},{n * 7919 % 10**8},584,{n & 1},1576",
    "spc": lambda n: f"0,{n * 7919 % 10**8},8192,{'RW'[n & 1]},{n / 1e4:.6f}",
    "fiu": lambda n: f"{89968195792462 + 977 * n} 20782 gzip {n * 7919 % 10**8} 8 {'RW'[n & 1]} 6 0 {n:032x}",
    "disksim": lambda n: f"{n / 10:.6f} 0 {n * 7919 % 10**8} 5 {n & 1}",
    "mqsim": lambda n: f"{n * 977} 0 {n * 7919 % 10**8} 16 {n & 1}",
    "heimdall": lambda n: f"{n / 10:.3f} 0 {n * 7919 % 10**8 * 512} 4096 {n & 1}",
    "fio-lat": lambda n: f"{n // 10}, {100_000 + n % 977}, {n & 1}, 4096, {n * 7919 % 10**8 * 512}, 0",
}


def blkparse(n: int) -> str:
    event = "QGIDC"[n % 5]
    comm = "0" if event == "C" else "fio"
    return f"254,0    0 {n:8d} {n / 1e5:14.9f} 10676  {event}  WS {n // 5 * 7919 % 10**8} + 8 [{comm}]"


def iolog(n: int) -> str:
    return f"{n * 97} /images/guest.img {('read', 'write')[n & 1]} {n * 7919 % 10**8 * 512} 4096"


def repeated(name: str) -> Iterator[str]:
    """Yield the lines of a recording again and again, each time later."""
    data = (DATA / name if (DATA / name).exists() else SHIPPED / name).read_bytes()
    lines = [line for line in gzip.decompress(data).decode().splitlines() if not line.startswith("#")]
    parts = [_SECONDS.split(line, maxsplit=1) for line in lines]
    for later in range(0, 1 + LINES // len(lines)):
        for before, seconds, behind in parts:
            yield f"{before}{int(seconds) + 10 * later}{behind}"


def main() -> None:
    """Write a file of each format, read it, and print the best of some rounds."""
    console = Console()
    table = Table(title=f"Reading a trace, per second of CPU time (best of {ROUNDS})", title_justify="left")
    for name in ("format", "rows or lines", "per second", "MB/s"):
        table.add_column(name, justify="left" if name == "format" else "right")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        for name, lines in CSV_FORMATS.items():
            head = "time_us,op,sector,sectors\n" if name == "csv" else ""
            path.write_text(head + "".join(f"{lines(n)}\n" for n in range(ROWS)))
            table.add_row(name, *_measured(path, ReadOptions(format=name), ROWS))
            if name == "csv":
                packed = Path(folder) / "trace.csv.gz"
                with TraceStream(path) as stream:
                    write_trace(stream, packed)
                table.add_row("csv, gz", *_measured(packed, ReadOptions(), ROWS))
                parquet = Path(folder) / "trace.parquet"
                with TraceStream(path) as stream:
                    write_trace(stream, parquet)
                table.add_row("parquet", *_measured(parquet, ReadOptions(), ROWS))
        record = struct.Struct("<IIIHHQQ")
        path.write_bytes(b"".join(record.pack(n, 4096, 1, 0x2A, 256, 8 * n, 97 * n) for n in range(ROWS)))
        table.add_row("vscsi", *_measured(path, ReadOptions(), ROWS))
        for name, make in (("blkparse", blkparse), ("fio-iolog", iolog)):
            head = "fio version 3 iolog\n" if name == "fio-iolog" else ""
            path.write_text(head + "".join(f"{make(n)}\n" for n in range(LINES)))
            table.add_row(name, *_measured(path, ReadOptions(), LINES))
        skip = ReadOptions(skip=True, device="0x1f0 master")
        for title, name, options in (
            ("kvm, perf script", "kvm-perf-script.txt.gz", skip),
            ("kvm, ftrace", "kvm-ftrace-tgid.txt.gz", skip),
            ("block, ftrace", "block-ftrace.txt.gz", ReadOptions(skip=True)),
            ("qemu-log, IDE", "dma-rnd.qemu.trace.gz", skip),
            ("qemu-log, virtio-blk", "virtio-qemu.trace.gz", ReadOptions(skip=True)),
        ):
            text = "".join(f"{line}\n" for line in repeated(name))
            path.write_text(text)
            table.add_row(title, *_measured(path, options, text.count("\n")))
    console.print(table)


def _measured(path: Path, options: ReadOptions, n: int) -> tuple[str, str, str]:
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        with TraceStream(path, options) as stream:
            for _ in stream:
                pass
        best = min(best, time.process_time() - begin)
    return f"{n:,}", f"{n / best:,.0f}", f"{path.stat().st_size / best / 1e6:,.0f}"


if __name__ == "__main__":
    main()
