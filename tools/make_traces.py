"""Make the files of traces/ (but traces/bare) from the public recordings.

    python tools/make_traces.py RECORDINGS

RECORDINGS is the folder of the public recordings. Prints a line of README's table for each file: name, rows, SHA-256.
The gzip files carry neither a name nor a time, so the same recordings give the same content.

Request traces are the recordings' own (`requests/<run>.csv`) with the four columns of the canonical format. QEMU logs
are the recordings' (`qemu_work.trace.gz`), unchanged. Access sequences are decoded from the port accesses of the `full`
runs, of the light traces and of the raw ftrace excerpts; equal accesses in a row are one line.
"""

import csv
import gzip
import hashlib
import io
import re
import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from iosim.traces import AccessStream, ReadOptions
from iosim.traces.access_reader import write_accesses

LINUX = "A_tcg_linux"
BARE = "B_kvm_baremetal"

REQUESTS = {
    "linux-ext4.csv": ("dma_ext4_none_threads_light", None),
    "dma-seq.csv": ("dma_seq_none_threads_a_light", None),
    "dma-rnd.csv": ("dma_rnd1_none_threads_a_light", None),
    "pio32-seq.csv": ("pio32_seq_none_threads_a_light", None),
    "pio32-rnd.csv": ("pio32_rnd1_none_threads_a_light", None),
    "pio16-seq.csv": ("pio16_seq_none_threads_a_light", None),
    "pio16-write-512.csv": ("pio16_seq_none_threads_a_light", 10),
}
"""Request traces: the run each comes from, and the phase of its workload if it is only that one."""

LOGS = {
    "dma-rnd.qemu.trace.gz": "dma_rnd1_none_threads_a_light",
    "pio32-rnd.qemu.trace.gz": "pio32_rnd1_none_threads_a_light",
}
"""QEMU logs, of the same runs as dma-rnd.csv and pio32-rnd.csv."""

LINUX_ACCESSES = ["dma_seq_none_threads_full", "pio32_seq_none_threads_full", "pio16_seq_none_threads_full"]
LINUX_EVENTS = ("pio_ide", "pio_bmdma", "pio_piix-bmdma")
DATA_PORT = 0x1F0
MARK_PORT = 0x172
"""The workload marks its phases by writes to this port of the empty secondary channel; they are not the driver's."""

BARE_ACCESSES = {
    "dma_w_irq_8_none.ftl": 20,
    "dma_w_8_none.ftl": 20,
    "dma_r_8_none.ftl": 20,
    "dma_w_flush1_8_none.ftl": 20,
    "w30_outw_irq_8_none.ftl": 3,
    "w30_outw_8_none.ftl": 3,
    "w30_outw_flush1_8_none.ftl": 1,
    "w30_outl_8_none.ftl": 2,
    "w30_repoutsw_8_none.ftl": 1,
    "w30_repoutsl_8_none.ftl": 2,
    "wc5_outw_8_none.ftl": 1,
    "r20_inw_8_none.ftl": 1,
    "r20_repinsw_8_none.ftl": 20,
    "r20_repinsw_irq_8_none.ftl": 20,
    "rc4_repinsw_64_none.ftl": 5,
}
"""Recordings of exits to QEMU, and how many of each one's read or write commands are kept."""

BARE_FTRACE = {"dma_w_irq_8_none.ftf.a": 20, "w30_outw_irq_8.s_none.ftf.a": 1}
"""Recordings of every kvm_pio, those that the kernel's own 8259 takes included."""

ACCESS_HEADER = ["recording", "direction", "port", "width", "items", "times", "value"]
_PIO = re.compile(r"kvm_pio: pio_(read|write) at (0x[0-9a-f]+) size (\d) count (\d+) val (0x[0-9a-f]+)")
_FIRST_REGISTER = {0x20: 0x1F6, 0x30: 0x1F6, 0xC4: 0x1F6, 0xC5: 0x1F6, 0xC8: 0xC004, 0xCA: 0xC004}

PORTS = {"accesses/dma_w_irq_8.ports.csv.gz": "dma_w_irq_8_none.ftf.a"}
"""Access tables, and the raw ftrace excerpts that they are made of."""
CLOCK_HZ = 2_596_136_000
"""The clock that their time stamps count (the recordings' README)."""

Access = tuple[str, int, int, int, int, str]
"""direction, port, width, items of one access, accesses in a row, value."""


def requests(recordings: Path, run: str, phase: int | None) -> str:
    """Return the canonical CSV of *run*, or of one *phase* of it."""
    lines = ["time_us,op,sector,sectors"]
    with (recordings / LINUX / "requests" / f"{run}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if phase is None or int(row["phase"]) == phase:
                lines.append(f"{row['timestamp_us']},{row['op']},{row['lba']},{row['nsectors']}")
    return "\n".join(lines) + "\n"


def folded(accesses: Iterable[Access]) -> Iterator[Access]:
    """Yield *accesses* with equal ones in a row joined; a joined data access has no value."""
    last: Access | None = None
    for access in accesses:
        if last is not None and access[1] == DATA_PORT and access[:4] == last[:4]:
            last = (*last[:4], last[4] + access[4], "-")
            continue
        if last is not None:
            yield last
        last = access
    if last is not None:
        yield last


def linux_accesses(recordings: Path, run: str) -> Iterator[Access]:
    """Yield the accesses of the guest's driver in a `full` run (emulated: a string instruction item by item)."""
    with gzip.open(recordings / LINUX / run / "events.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["event"] in LINUX_EVENTS and int(row["port"], 16) != MARK_PORT:
                direction = "out" if row["dir"] == "W" else "in"
                yield direction, int(row["port"], 16), int(row["width"]), 1, int(row["n"]), row["value"]


def exits(recordings: Path, run: str) -> Iterator[Access]:
    """Yield the accesses that left KVM for QEMU in a light trace."""
    (path,) = (recordings / BARE / "light_trace" / run).glob("exits_first*.csv.gz")
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            direction = "out" if row["dir"] == "W" else "in"
            yield direction, int(row["port"], 16), int(row["size"]), int(row["count"]), 1, row["value"]


def kvm_pio(recordings: Path, run: str) -> Iterator[Access]:
    """Yield every kvm_pio of a raw ftrace excerpt."""
    with gzip.open(recordings / BARE / "raw_ftrace" / f"{run}.ftrace_first60000.gz", "rt") as file:
        for match in filter(None, map(_PIO.search, file)):
            direction, port, width, items, value = match.groups()
            yield "out" if direction == "write" else "in", int(port, 16), int(width), int(items), 1, value


def access_table(recordings: Path, run: str) -> bytes:
    """Return the access table of a raw ftrace excerpt, as CSV."""
    path = recordings / BARE / "raw_ftrace" / f"{run}.ftrace_first60000.gz"
    with AccessStream(path, ReadOptions(clock_hz=Fraction(CLOCK_HZ))) as stream, TemporaryDirectory() as folder:
        write_accesses(stream, Path(folder) / "a.csv")
        return (Path(folder) / "a.csv").read_bytes()


def commands(accesses: Iterable[Access], n: int) -> Iterator[Access]:
    """Yield the accesses of the first *n* read or write commands, and of the flushes between and behind them.

    A command begins with the bus master's PRD address (DMA) or the device register (PIO mode).
    """
    rows = list(accesses)
    begins = []
    for at, row in enumerate(rows):
        if row[:2] == ("out", 0x1F7) and int(row[5], 16) in _FIRST_REGISTER:
            first = ("out", _FIRST_REGISTER[int(row[5], 16)])
            begins.append(max(before for before in range(at) if rows[before][:2] == first))
    if len(begins) <= n:
        raise ValueError(f"the recording has {len(begins)} commands, the last one incomplete; {n} are wanted")
    yield from rows[begins[0] : begins[n]]


def table(named: Iterable[tuple[str, Iterable[Access]]]) -> str:
    """Return the CSV of access sequences."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(ACCESS_HEADER)
    for name, accesses in named:
        for direction, port, width, items, times, value in folded(accesses):
            writer.writerow([name, direction, hex(port), width, items, times, value])
    return out.getvalue()


def packed(data: bytes) -> bytes:
    """Return *data* as gzip without name and time."""
    return gzip.compress(data, compresslevel=9, mtime=0)


def files(recordings: Path) -> dict[str, bytes]:
    """Return the bytes of every file."""
    made = {name: requests(recordings, run, phase).encode() for name, (run, phase) in REQUESTS.items()}
    for name, run in LOGS.items():
        made[name] = packed(gzip.decompress((recordings / LINUX / run / "qemu_work.trace.gz").read_bytes()))
    linux = table((run, linux_accesses(recordings, run)) for run in LINUX_ACCESSES)
    bare = table(
        [(run, commands(exits(recordings, run), n)) for run, n in BARE_ACCESSES.items()]
        + [(run, commands(kvm_pio(recordings, run), n)) for run, n in BARE_FTRACE.items()]
    )
    made["accesses/linux.csv.gz"] = packed(linux.encode())
    made["accesses/bare.csv.gz"] = packed(bare.encode())
    for name, run in PORTS.items():
        made[name] = packed(access_table(recordings, run))
    return made


def rows(name: str, data: bytes) -> int:
    """Return the number of requests, accesses or log lines in a file: its lines without the header."""
    text = gzip.decompress(data) if name.endswith(".gz") else data
    return text.count(b"\n") - (".csv" in name)


def main() -> None:
    """Write the files, print what README says of them."""
    target = Path(__file__).resolve().parent.parent / "traces"
    for name, data in files(Path(sys.argv[1])).items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
        print(f"| `{name}` | {rows(name, data)} | `{hashlib.sha256(data).hexdigest()}` |")


if __name__ == "__main__":
    main()
