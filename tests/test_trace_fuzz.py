"""Every reader takes any bytes: what it cannot use is a TraceError or counted, and it comes to an end."""

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from iosim.model.errors import TraceError
from iosim.model.trace import OPS
from iosim.traces import AccessStream, ReadOptions, TraceStream, TraceTable, read_trace, to_trace
from iosim.traces.access_reader import SCHEMA
from iosim.traces.formats import FORMATS
from iosim.traces.reading import PortDrive
from tests.access_rows import BM_COMMAND, BM_STATUS, READY, STATUS, Recorder
from tests.test_trace_datasets import FIRST, NEXT, v1, v2
from tests.trace_files import DATA

MANY = settings().max_examples // 2
"""Half as many cases as other tests have: there are many formats. More with ``make fuzz``."""
SHIPPED = Path(__file__).resolve().parents[1] / "traces"


def beginning(path: Path, n_lines: int) -> bytes:
    return b"".join(gzip.decompress(path.read_bytes()).splitlines(keepends=True)[:n_lines])


def a_parquet_file() -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table({"time_us": [0.0, 1.5], "op": ["R", "W"], "sector": [8, 0], "sectors": [8, 1]}), file)
    return file.getvalue()


def an_access_table() -> bytes:
    file = io.BytesIO()
    rows = [
        {
            "time_us": 0.0,
            "vcpu": 0,
            "write": True,
            "port": 0x1F6,
            "size": 1,
            "count": 1,
            "value": 0xE0,
            "halted": False,
        },
        {
            "time_us": 1.5,
            "vcpu": 0,
            "write": False,
            "port": 0x1F0,
            "size": 2,
            "count": 256,
            "guest_us": 3.5,
            "halted": True,
        },
    ]
    parquet.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), file)
    return file.getvalue()


def accesses_as_csv() -> bytes:
    """A DMA write, with its interrupt, and the head of another command."""
    r = Recorder()
    r.dma(8)
    r.inp(BM_STATUS, 4, guest_ns=1_500, halted=True)
    r.inp(STATUS, READY, guest_ns=700)
    r.out(BM_COMMAND, 0)
    r.task_file(1, 0)
    lines = [
        f"{row.at_ns / 1000:.3f},0,{str(row.write).lower()},{row.port},{row.size},{row.items},{row.value},"
        f"{'' if row.guest_ns < 0 else row.guest_ns / 1000},{str(row.halted).lower()}\n"
        for row in r.rows
    ]
    return "".join(["time_us,vcpu,write,port,size,count,value,guest_us,halted\n", *lines]).encode()


SAMPLES = {
    "csv": b"time_us,op,sector,sectors\n0,W,8,8\n1.5,R,16,8\n2,F,0,0\n",
    "parquet": a_parquet_file(),
    "qemu-log": beginning(SHIPPED / "pio32-rnd.qemu.trace.gz", 60) + beginning(DATA / "virtio-qemu.trace.gz", 40),
    "simpletrace": b"virtio_queue_notify 0.000 pid=812 vdev=0x1 n=0x0 vq=0x9\n"
    b"virtio_blk_handle_write 20.500 pid=812 vdev=0x1 req=0xa sector=0x18 nsectors=0x8\n"
    b"ide_ioport_write 1.000 pid=1 addr=0x1f7 reg=Command val=0xe7 bus=0x5 s=0x6\n",
    "kvm": beginning(DATA / "kvm-perf-script.txt.gz", 60)
    + b"CPU:1 [LOST 17 EVENTS]\nq-7 [000] 50000.000022: kvm_exit: vcpu 0 reason HLT rip 0x100 info 0 0\n",
    "block": beginning(DATA / "block-ftrace.txt.gz", 60),
    "blkparse": beginning(DATA / "blkparse.txt.gz", 20) + b"CPU0 (blk):\nSkips: 3 forward (12 -   0.4%)\n",
    "fio-iolog": b"".join((DATA / "fio-iolog-v3.txt").read_bytes().splitlines(keepends=True)[:12]),
    **{name: f"{FIRST[name]}\n{NEXT[name]}\n".encode() for name in FIRST},
    "vscsi": v1(1, 512, 0x2A, 5, 9) * 2 + v1(1, 512, 0x35, 5, 9),
    "vscsi v2": v2(1, 512, 0x2A, 5, 9) * 2,
    "accesses": accesses_as_csv(),
}  # fmt: skip

JUNK = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"\n", b"\r\n", b"\r", b"\0", b",", b" ", b"0", b"-1", b"9" * 25, b"1e9", b"0x1f7", b"nan", b"\xff\xfe", b"\t",
         b"R", b"W", b"F", b"[", b"]", b"#", b"18446744073709551615", b"\n\n", b"; val ", b"\xe2\x80\xa8"]
    ),
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, sample: bytes) -> bytes:
    """*sample* with pieces cut out, put in, said twice, swapped, or with its end missing."""
    data = sample
    for _ in range(draw(st.integers(0, 4))):
        at, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        kind = draw(st.sampled_from(["cut", "put", "twice", "swap", "end"]))
        if kind == "cut":
            data = data[:at] + data[min(end, at + 40) :]
        elif kind == "put":
            data = data[:at] + draw(JUNK) + data[at:]
        elif kind == "twice":
            data = data[:end] + data[at:end] + data[end:]
        elif kind == "swap":
            lines = data.splitlines(keepends=True)
            if lines:
                lines.append(lines.pop(draw(st.integers(0, len(lines) - 1))))
            data = b"".join(lines)
        else:
            data = data[:end]
    return data


def read(path: Path, options: ReadOptions) -> TraceTable | None:
    """The requests, None if the file is refused with one line that names it; and the rules hold for what is read."""
    message = str(path)
    table = None
    try:
        with TraceStream(path, options) as stream:
            table = TraceTable.joined(list(stream))
    except TraceError as error:
        message = str(error)
    assert message.startswith(str(path))
    assert "\n" not in message
    if table is None:
        return None
    to_trace(table, str(path), "")
    assert set(table.ops.tolist()) <= set(range(len(OPS)))
    assert stream.reading.n_requests == len(table)
    return table


@pytest.mark.parametrize("sample", SAMPLES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=MANY)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(tmp_path: Path, sample: str, data: st.DataObject) -> None:
    path = tmp_path / "trace"
    path.write_bytes(data.draw(damaged(SAMPLES[sample])))
    name = sample.split()[0]
    strict = read(path, ReadOptions(format=name))
    skipping = read(path, ReadOptions(format=name, skip=True))
    read(path, ReadOptions(skip=True))
    if strict is not None:
        assert skipping is not None
        assert skipping.times_ns.tolist() == strict.times_ns.tolist()


@pytest.mark.parametrize("name", FORMATS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=MANY // 2)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    read(path, ReadOptions(format=name, skip=True))


ACCESSES = {
    "kvm": SAMPLES["kvm"],
    "qemu-log": b"7@100.000005:memory_region_ops_write cpu 0 mr 0x5 addr 0x1f6 value 0xe0 size 1 name 'ide'\n"
    b"7@100.000009:memory_region_ops_read cpu -1 mr 0x5 addr 0x1f0 value 0x5050 size 2 name 'ide'\n",
    "parquet": an_access_table(),
    "csv": accesses_as_csv(),
}


@pytest.mark.parametrize("name", ACCESSES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=MANY)
@given(data=st.data())
def test_damaged_accesses_are_read_or_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    path = tmp_path / "trace"
    path.write_bytes(data.draw(damaged(ACCESSES[name])))
    message = str(path)
    for skip in (False, True):
        try:
            with AccessStream(path, ReadOptions(format=name, skip=skip)) as stream:
                for table in stream:
                    assert (table.ports < 1 << 16).all()
        except TraceError as error:
            message = str(error)
        assert message.startswith(str(path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=MANY)
@given(data=st.data())
def test_damaged_accesses_are_replayed_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever is left makes a sequence in which every request of the trace begins once and ends once, in order."""
    path = tmp_path / "trace"
    path.write_bytes(data.draw(damaged(ACCESSES["csv"])))
    drive = PortDrive(0, 0, 16, True, data.draw(st.sampled_from(["auto", "poll", "interrupt"])))
    trace, message = None, str(path)
    try:
        trace = read_trace(path, ReadOptions(ports=drive))
    except TraceError as error:
        message = str(error)
    assert message.startswith(str(path))
    if trace is None:
        return
    assert trace.ports is not None
    for marks in ([step.begins for step in trace.ports.steps], [step.ends for step in trace.ports.steps]):
        assert [mark for mark in marks if mark >= 0] == list(range(len(trace)))
    assert sum(step.times for step in trace.ports.steps) == trace.ports.found["made"]


@pytest.mark.parametrize("name", sorted({sample.split()[0] for sample in SAMPLES} - {"parquet"}))
def test_a_sample_is_a_trace_of_its_format(tmp_path: Path, name: str) -> None:
    """So that the damage is done to something that would be read."""
    path = tmp_path / "trace"
    path.write_bytes(SAMPLES[name])
    options = {"qemu-log": "0x1f0 master", "kvm": "0x1f0 master"}
    assert read(path, ReadOptions(format=name, skip=True, device=options.get(name))) is not None
