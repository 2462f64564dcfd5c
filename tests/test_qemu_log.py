"""QEMU's log in all its prefixes: virtio-blk requests and flushes, damaged lines, simpletrace.py's text."""

import csv
import gzip
from pathlib import Path

import pytest

from iosim.model.errors import TraceError
from iosim.traces import ReadOptions, TraceStream, read_trace
from tests.trace_files import DATA, refused, requests, written

RECORDED = DATA / "virtio-qemu.trace.gz"
PUBLIC = Path(__file__).resolve().parents[2] / "shared" / "traces" / "recordings" / "public" / "A_tcg_linux"
VIRTIO = sorted(path.parent.name for path in PUBLIC.glob("virtio_*_light/qemu_work.trace.gz"))


def recorded(path: Path) -> list[tuple[int, str, int, int]]:
    with path.open(newline="") as file:
        return [
            (int(row["timestamp_us"]) * 1000, row["op"], int(row["lba"]), int(row["nsectors"]))
            for row in csv.DictReader(file)
        ]


def same(log: Path, table: Path) -> None:
    """The log gives the requests that the recordings' own parser found, kicks as arrivals, flushes included."""
    found, expected = list(read_trace(log).rows(0)), recorded(table)
    shift = found[0][0] - expected[0][0]
    assert [(at - shift, *rest) for at, *rest in found] == expected


def test_virtio_requests_are_those_of_the_recording() -> None:
    same(RECORDED, DATA / "virtio-requests.csv")


@pytest.mark.skipif(not VIRTIO, reason="needs the shared recordings")
@pytest.mark.parametrize("run", VIRTIO)
def test_virtio_requests_of_every_recording(run: str) -> None:
    same(PUBLIC / run / "qemu_work.trace.gz", PUBLIC / "requests" / f"{run}.csv")


def test_iso_stamps_give_the_same_requests(tmp_path: Path) -> None:
    """QEMU 10.2: 2026-11-22T14:52:23.824883Z instead of TID@1795359143.824883; GLib leaves out a fraction of zero."""
    lines = gzip.decompress(RECORDED.read_bytes()).decode().splitlines()
    new = []
    for line in lines:
        stamp, _, rest = line.partition(":")
        seconds, _, us = stamp.partition("@")[2].partition(".")
        minute, second = divmod(int(seconds) - 1_795_359_120, 60)
        assert minute == 0
        new.append(f"2026-11-22T14:52:{second:02}.{us}Z {rest}")
    path = written(tmp_path, new)
    assert list(read_trace(path).rows(0)) == list(read_trace(RECORDED).rows(0))


@pytest.mark.parametrize(
    ("stamps", "gap_ns"),
    [
        (("2026-01-05T10:11:12Z", "2026-01-05T10:11:12.000001Z"), 1_000),
        (("2026-01-05T23:59:59.999999Z", "2026-01-06T00:00:00Z"), 1_000),
        (("2026-01-05T10:11:12.5+01:00", "2026-01-05T09:11:13Z"), 500_000_000),
    ],
)
def test_iso_stamps_to_the_microsecond(tmp_path: Path, stamps: tuple[str, str], gap_ns: int) -> None:
    path = written(
        tmp_path, [f"{stamp} virtio_blk_handle_read vdev 0x1 req 0x2 sector 0 nsectors 8" for stamp in stamps]
    )
    assert read_trace(path).times_ns.tolist() == [0, gap_ns]


def log(*events: tuple[int, str]) -> list[str]:
    """Lines of events (microseconds, text)."""
    return [f"7@100.{us:06}:{text}" for us, text in events]


def test_the_first_of_a_batch_has_the_time_of_the_kick(tmp_path: Path) -> None:
    lines = log(
        (10, "virtio_queue_notify vdev 0x1 n 0 vq 0x9"),
        (30, "virtio_blk_handle_write vdev 0x1 req 0xa sector 8 nsectors 8"),
        (31, "virtio_blk_handle_read vdev 0x1 req 0xb sector 16 nsectors 8"),
        (90, "virtio_blk_handle_read vdev 0x1 req 0xc sector 24 nsectors 8"),
    )
    assert list(read_trace(written(tmp_path, lines)).rows(0)) == [
        (0, "W", 8, 8),
        (21_000, "R", 16, 8),
        (80_000, "R", 24, 8),
    ]


def test_a_flush_among_others_takes_the_kick_that_nobody_claimed(tmp_path: Path) -> None:
    lines = log(
        (10, "virtio_queue_notify vdev 0x1 n 0 vq 0x9"),
        (20, "virtio_queue_notify vdev 0x1 n 0 vq 0x9"),
        (30, "virtio_blk_handle_write vdev 0x1 req 0xa sector 8 nsectors 8"),
        (50, "virtio_blk_rw_complete vdev 0x1 req 0xa ret 0"),
        (51, "virtio_blk_req_complete vdev 0x1 req 0xa status 0"),
        (70, "virtio_blk_req_complete vdev 0x1 req 0xf status 0"),
    )
    assert list(read_trace(written(tmp_path, lines)).rows(0)) == [(0, "F", 0, 0), (10_000, "W", 8, 8)]


def test_what_was_under_way_when_the_log_began_is_no_flush(tmp_path: Path) -> None:
    lines = log(
        (50, "virtio_blk_rw_complete vdev 0x1 req 0xa ret 0"),
        (51, "virtio_blk_req_complete vdev 0x1 req 0xa status 0"),
        (60, "virtio_blk_handle_read vdev 0x1 req 0xc sector 24 nsectors 8"),
    )
    assert requests(written(tmp_path, lines)) == [("R", 24, 8)]


def test_what_the_device_does_not_support_is_no_flush(tmp_path: Path) -> None:
    lines = log(
        (51, "virtio_blk_req_complete vdev 0x1 req 0xa status 2"),
        (60, "virtio_blk_handle_read vdev 0x1 req 0xc sector 24 nsectors 8"),
    )
    assert requests(written(tmp_path, lines)) == [("R", 24, 8)]


def test_requests_of_qemu_1_6_name_no_device(tmp_path: Path) -> None:
    lines = log((60, "virtio_blk_handle_write req 0x7f5d sector 24 nsectors 8"))
    assert requests(written(tmp_path, lines), device="virtio-blk") == [("W", 24, 8)]


def test_two_virtio_devices_need_a_choice(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        log(*((n, f"virtio_blk_handle_read vdev 0x{n} req 0xc sector {n} nsectors 8") for n in (1, 2))),
    )
    assert (
        refused(path)
        == ": has requests of several devices (vdev 0x1, vdev 0x2): choose one by --device or trace_device"
    )
    assert requests(path, device="vdev 0x2") == [("R", 2, 8)]


IDE = "ide_ioport_write IDE PIO wr @ 0x{:x} (Register); val 0x{:02x}; bus {} IDEState 0x6"


def test_a_bus_that_shows_only_register_numbers_has_its_pointer_for_a_name(tmp_path: Path) -> None:
    """PCI native mode, as in the log of a VIA controller: @ 0x7 (Command)."""
    events = [(n, IDE.format(register, 0xA0 if register == 6 else 0xE7, bus)) for n, (register, bus) in
              enumerate([(6, "0x5a"), (6, "0x5b"), (7, "0x5b"), (7, "0x5a")])]  # fmt: skip
    path = written(tmp_path, log(*events))
    assert requests(path, device="bus 0x5a master") == requests(path, device="bus 0x5b master") == [("F", 0, 0)]


@pytest.mark.parametrize("event", ["ide_ctrl_write", "ide_cmd_write"])
def test_a_soft_reset_makes_registers_unknown(tmp_path: Path, event: str) -> None:
    """The event was renamed in QEMU 5.2."""
    events = [
        (1, IDE.format(0x1F6, 0xA0, "0x5")),
        (2, f"{event} IDE PIO wr @ 0x3f6 (Device Control); val 0x04; bus 0x5"),
        (3, IDE.format(0x1F7, 0xE7, "0x5")),
    ]
    rule = "register 6 must have been written since the trace began, events were lost, or a reset"
    assert refused(written(tmp_path, log(*events))) == f":3: {rule}, got command 0xe7 without it"


# Damaged ones.

GOOD = "7@100.000000:virtio_blk_handle_read vdev 0x1 req 0xc sector 24 nsectors 8"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("7@100.0000", "a stamp must be followed by an event"),
        ("7@100.000001:", "a stamp must be followed by an event"),
        ("2026-01-05T10:11:1", "a stamp must be followed by an event"),
        ("7@100.000001:virtio_blk_handle_read vdev 0x1 req 0xc sec", "is no virtio_blk_handle_read as QEMU prints it"),
        ("7@100.000001:virtio_blk_handle_read vdev 0x7@100.000001:virtio_notify vdev 0x1 vq 0x3",
         "is no virtio_blk_handle_read as QEMU prints it"),
        ("7@100.000001:virtio_blk_handle_read", "is no virtio_blk_handle_read as QEMU prints it"),
        ("virtio_blk_handle_read vdev 0x1 req 0xc sector 24 nsectors 8",
         "the log has no time stamps (QEMU: -msg timestamp=on)"),
        ("7@100.000001:virtio_blk_handle_read vdev 0x1 req 0xc sector 24 nsectors 0",
         "a read or write must have at least 1 sector"),
        ("7@9999999999100.000001:virtio_blk_handle_read vdev 0x1 req 0xc sector 24 nsectors 8",
         "time must be below 146 years"),
    ],
)  # fmt: skip
def test_a_damaged_line_is_refused_or_counted(tmp_path: Path, line: str, rule: str) -> None:
    path = written(tmp_path, [GOOD, line, GOOD])
    assert refused(path).startswith(f":2: {rule}")
    with TraceStream(path, ReadOptions(skip=True)) as stream:
        assert sum(map(len, stream)) == 2
    assert [(found, entry.count, entry.line) for found, entry in stream.reading.skipped.items()] == [(rule, 1, 2)]


def test_other_text_between_the_events_is_counted(tmp_path: Path) -> None:
    lines = [GOOD, "qemu-system-x86_64: warning: \xe9", "char device redirected to pts/3", "", GOOD]
    path = tmp_path / "log"
    path.write_bytes("\r\n".join(lines).encode("latin-1"))
    with TraceStream(path) as stream:
        assert sum(map(len, stream)) == 2
    assert stream.reading.beside == {"other text": 2}


def test_lines_of_two_threads_may_stand_out_of_order(tmp_path: Path) -> None:
    lines = log(
        *((us, f"virtio_blk_handle_read vdev 0x1 req 0xc sector {us} nsectors 8") for us in (5, 9, 7, 8, 30, 2))
    )
    path = written(tmp_path, lines)
    with TraceStream(path) as stream:
        (table,) = stream
    assert table.sectors_first.tolist() == [2, 5, 7, 8, 9, 30]
    assert table.times_ns.tolist() == [0, 3_000, 5_000, 6_000, 7_000, 28_000]
    assert stream.reading.n_late == 3


# simpletrace.py.


def test_simpletrace_has_times_since_the_event_before(tmp_path: Path) -> None:
    lines = [
        "virtio_queue_notify 0.000 pid=812 vdev=0x1 n=0x0 vq=0x9",
        "virtio_blk_handle_write 20.500 pid=812 vdev=0x1 req=0xa sector=0x18 nsectors=0x8",
        "thread_pool_submit 3.000 pid=812 pool=0x1 req=0x2 opaque=0x3",
        "virtio_blk_handle_read 0.250 vdev=0x1 req=0xb sector=0x20 nsectors=0x10",
        "virtio_blk_handle_read -1.000 req=0xb sector=0x28 nsectors=0x10",
    ]
    path = written(tmp_path, lines[:4])
    assert list(read_trace(path).rows(0)) == [(0, "W", 24, 8), (23_750, "R", 32, 16)]
    # QEMU 1.6 wrote no vdev and no pid.
    path = written(tmp_path, [lines[1], lines[4]])
    assert list(read_trace(path, ReadOptions(device="virtio-blk")).rows(0)) == [(19_500, "R", 40, 16)]


def test_simpletrace_of_ide(tmp_path: Path) -> None:
    lines = [
        "ide_ioport_write 0.000 pid=1 addr=0x1f6 reg=Device/Head val=0xa0 bus=0x5 s=0x6",
        "ide_ioport_write 1.000 pid=1 addr=0x1f7 reg=Command val=0xe7 bus=0x5 s=0x6",
        "ide_ioport_write 1.000 pid=1 addr=0x1f7 reg=Command val=0xe7",
        "ide_iop",
    ]
    assert requests(written(tmp_path, lines[:2])) == [("F", 0, 0)]
    assert refused(written(tmp_path, lines[:3])).startswith(":3: is no ide_ioport_write as simpletrace.py prints it")
    rule = "a line must be an event, microseconds and arguments"
    assert refused(written(tmp_path, [*lines[:2], lines[3]])) == f":3: {rule}, got 'ide_iop'"


def test_a_log_of_the_stderr_back_end_has_no_times(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r":1: the log has no time stamps"):
        read_trace(written(tmp_path, ["virtio_blk_handle_read req 0xc sector 24 nsectors 8"]))
