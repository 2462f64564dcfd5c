"""Published datasets and fio's logs: lines as their publishers have them, units, devices, and what is refused."""

import csv
import gzip
import itertools
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from iosim.traces import ReadOptions, TraceStream, read_trace
from iosim.traces.columns import Layout
from iosim.traces.formats import FORMATS, GROUPS
from iosim.traces.reader import format_of
from tests.trace_files import DATA, refused, written

SHARED = Path(__file__).resolve().parents[2] / "shared" / "traces"

MSR = "128166372003061629,hm,0,Write,7014912,4096,26"
ALIBABA = "0,R,126703644672,4096,1577808000000626"
TENCENT = "1538323199,105352008,584,1,1576"
SPC = "0,20941264,8192,W,0.551706"
FIU = "89968195792462 20782 gzip 283193184 8 R 6 0 56f11b711d91a065a2b6458eca924523"
DISKSIM = "13.191135 30 0 5 1"
MQSIM = "4851300 1 524288 16 0"
HEIMDALL = "223.412 0 3159347200 36864 0"
FIO_LOG = "9, 3882225, 0, 4096, 774144, 0"

NEXT = {
    "msr": MSR.replace("3061629", "3061729").replace("Write", "Read"),
    "alibaba": ALIBABA.replace("000626", "000627").replace("R", "W"),
    "tencent": TENCENT.replace("199,", "201,").replace(",1,", ",0,"),
    "spc": SPC.replace("551706", "5517060004").replace("W", "r"),
    "fiu": FIU.replace("792462", "792463").replace("R", "W"),
    "disksim": DISKSIM.replace(".191135", ".1911359").replace(" 1", " 2").replace(" 2 ", " 1 "),
    "mqsim": MQSIM.replace("300 ", "301 ").replace(" 0", " 1"),
    "heimdall": HEIMDALL.replace(".412", ".4125").replace(" 36864 0", " 36864 1"),
    "fio-lat": "10, 1500000, 1, 4096, 774144, 0",
    "fio-bw": "10, 1055, 1, 4096, 774144, 0",
}
FIRST = {
    "msr": MSR, "alibaba": ALIBABA, "tencent": TENCENT, "spc": SPC, "fiu": FIU, "disksim": DISKSIM, "mqsim": MQSIM,
    "heimdall": HEIMDALL, "fio-lat": FIO_LOG, "fio-bw": FIO_LOG,
}  # fmt: skip
EXPECTED = {
    # 7014912 / 512 = 13701; 100 ticks of 100 ns
    "msr": [(0, "W", 13_701, 8), (10_000, "R", 13_701, 8)],
    # 126703644672 / 512 = 247468056
    "alibaba": [(0, "R", 247_468_056, 8), (1_000, "W", 247_468_056, 8)],
    "tencent": [(0, "W", 105_352_008, 584), (2_000_000_000, "R", 105_352_008, 584)],
    # the fraction of a nanosecond is rounded
    "spc": [(551_706_000, "W", 20_941_264, 16), (551_706_000, "R", 20_941_264, 16)],
    "fiu": [(0, "R", 283_193_184, 8), (1, "W", 283_193_184, 8)],
    "disksim": [(13_191_135, "R", 0, 5), (13_191_136, "W", 0, 5)],
    "mqsim": [(4_851_300, "W", 524_288, 16), (4_851_301, "R", 524_288, 16)],
    # 3159347200 / 512 = 6170600
    "heimdall": [(223_412_000, "W", 6_170_600, 72), (223_412_500, "R", 6_170_600, 72)],
    # 9.5 - 3.88 = 5.6, 10.5 - 1.5 = 9 ms; 774144 / 512 = 1512
    "fio-lat": [(5_000_000, "R", 1_512, 8), (9_000_000, "W", 1_512, 8)],
    "fio-bw": [(9_000_000, "R", 1_512, 8), (10_000_000, "W", 1_512, 8)],
}
HEADERS = {
    "msr": "Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime",
    "alibaba": "device_id,opcode,offset,length,timestamp",
}
ALONE = ["msr", "alibaba", "tencent", "spc", "fiu"]


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_the_publishers(tmp_path: Path, name: str, end: str) -> None:
    lines = [FIRST[name], NEXT[name]]
    path = written(tmp_path, lines, end)
    assert list(read_trace(path, ReadOptions(format=name)).rows(0)) == EXPECTED[name]
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert list(read_trace(path, ReadOptions(format=name)).rows(0)) == EXPECTED[name]


@pytest.mark.parametrize("name", ALONE)
def test_a_format_of_its_own_is_recognised(tmp_path: Path, name: str) -> None:
    assert format_of(written(tmp_path, [FIRST[name], NEXT[name]])) == name


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_is_no_request(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, [HEADERS[name], FIRST[name], NEXT[name]])
    assert list(read_trace(path).rows(0)) == EXPECTED[name]


@pytest.mark.parametrize(
    ("line", "names"),
    [(DISKSIM, "disksim, heimdall"), (MQSIM, "disksim, mqsim, heimdall"), (FIO_LOG, "fio-lat, fio-bw")],
)
def test_lines_that_do_not_say_their_units_need_a_name(tmp_path: Path, line: str, names: str) -> None:
    assert refused(written(tmp_path, [line])) == f": may be any of {names}: say which by --format or trace_format"


def test_every_group_names_formats() -> None:
    for names in GROUPS.values():
        assert set(names) <= set(FORMATS)


@pytest.mark.parametrize("name", ["disksim", "mqsim", "heimdall"])
def test_blanks_and_tabs_between_numbers(tmp_path: Path, name: str) -> None:
    lines = [f"  {FIRST[name].replace(' ', chr(9))}  ", NEXT[name].replace(" ", "   "), ""]
    path = written(tmp_path, lines)
    assert list(read_trace(path, ReadOptions(format=name)).rows(0)) == EXPECTED[name]


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("msr", MSR.replace("Write", "Trim"), "type must be Read or Write, got 'Trim'"),
        ("msr", MSR.replace("7014912", "7014913"), "offset must be a multiple of 512 bytes, got 7014913"),
        ("msr", MSR.replace(",4096", ",0"), "a read or write must have at least 1 sector, got 0"),
        ("msr", MSR.replace("128166", "x28166"), "timestamp must be a whole number, got 'x28166372003061629'"),
        ("msr", MSR.rpartition(",")[0], "a line must have 7 fields, got 6"),
        ("alibaba", ALIBABA.replace("R", "D"), "opcode must be R or W, got 'D'"),
        ("tencent", TENCENT.replace(",1,", ",2,"), "io type must be 0 or 1, got '2'"),
        ("tencent", TENCENT.replace("584", "0x10"), "size must be a whole number, got '0x10'"),
        ("spc", SPC.replace("8192", "8191"), "size must be a multiple of 512 bytes, got 8191"),
        ("spc", SPC.replace("0.55", "O.55"), "timestamp must be a decimal number of seconds, got 'O.551706'"),
        ("fiu", FIU.replace("R", "X"), "operation must be R or W, got 'X'"),
        ("disksim", DISKSIM.replace("13.", "-13."), "time must not be negative, got -13191.135 us"),
        ("mqsim", MQSIM.replace(" 0", " 7"), "type must be 0 or 1, got '7'"),
        ("fio-lat", FIO_LOG.replace(", 0,", ", 2,", 1), "a request must be a read or write, got 2"),
        ("fio-lat", FIO_LOG.replace("4096", "0"),
         "a line must be of one request, not of a time window (log_avg_msec), got block size 0"),
        ("fio-bw", FIO_LOG.replace("774144", "774145"), "offset must be a multiple of 512 bytes, got 774145"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_or_counted(tmp_path: Path, name: str, line: str, message: str) -> None:
    path = written(tmp_path, [FIRST[name], line, NEXT[name]])
    assert refused(path, format=name) == f":2: {message}"
    with TraceStream(path, ReadOptions(format=name, skip=True)) as stream:
        assert sum(map(len, stream)) == 2
    rule = message.partition(", got ")[0]
    assert [(found, entry.count, entry.line) for found, entry in stream.reading.skipped.items()] == [(rule, 1, 2)]


@pytest.mark.parametrize("name", ALONE)
def test_every_line_is_a_request_or_counted(tmp_path: Path, name: str) -> None:
    """In a large file too, where most blocks are read at once and bad ones line by line."""
    lines = [FIRST[name] if n % 1000 else "junk" for n in range(60_000)]
    path = written(tmp_path, [FIRST[name], *lines, ""])
    with TraceStream(path, ReadOptions(format=name, skip=True)) as stream:
        n = sum(map(len, stream))
    assert (n, stream.reading.n_skipped, stream.reading.beside.total()) == (59_941, 60, 1)
    assert {entry.line for entry in stream.reading.skipped.values()} == {2}


def test_devices_of_a_dataset_need_a_choice(tmp_path: Path) -> None:
    lines = [MSR, MSR.replace("hm,0", "hm,1").replace("7014912", "512"), MSR.replace("hm,0", "prn,1")]
    path = written(tmp_path, lines)
    assert (
        refused(path) == ": has requests of several devices (hm_0, hm_1, prn_1): choose one by --device or trace_device"
    )
    assert list(read_trace(path, ReadOptions(device="hm_1")).rows(0)) == [(0, "W", 1, 8)]


def test_what_another_device_has_wrong_does_not_matter(tmp_path: Path) -> None:
    path = written(tmp_path, [MSR, MSR.replace("hm,0", "hm,1").replace("7014912", "511")])
    assert list(read_trace(path, ReadOptions(device="hm_0")).rows(0)) == [(0, "W", 13_701, 8)]


def test_a_dataset_out_of_order_is_put_in_order_and_begins_at_0(tmp_path: Path) -> None:
    """The second line is 16 ticks before the first."""
    path = written(tmp_path, [MSR, MSR.replace("3061629", "3061613").replace("Write", "Read"), NEXT["msr"]])
    with TraceStream(path) as stream:
        (table,) = stream
    assert table.times_ns.tolist() == [0, 1_600, 11_600]
    assert table.lines.tolist() == [2, 1, 3]
    assert stream.reading.n_late == 1


def test_a_line_far_out_of_order_is_refused(tmp_path: Path) -> None:
    lines = [f"{n / 1e3:.3f} 0 0 512 0" for n in range(140_000)]
    path = written(tmp_path, [*lines, "5.000 0 0 512 1"])
    assert refused(path, format="heimdall") == ":140001: time must not go back over 65,536 requests, got 5000.000 us"


@pytest.mark.parametrize(("place", "fine"), [(65_536, True), (65_537, False)])
def test_how_far_a_line_may_stand_out_of_order(tmp_path: Path, place: int, fine: bool) -> None:
    """The request at 5 ms stands behind 65,535 or 65,536 later ones, wherever blocks of the file begin."""
    lines = [f"{n}.000 0 0 512 0" for n in range(100_000)]
    lines.insert(place + 5, "5.000 0 0 1024 1")
    path = written(tmp_path, lines)
    if fine:
        assert read_trace(path, ReadOptions(format="heimdall")).ops[5:8].tolist() == [1, 0, 1]
    else:
        assert "time must not go back over 65,536 requests" in refused(path, format="heimdall")


# vSCSI.


def v1(sn: int, length: int, command: int, lbn: int, us: int, ver: int = 0x0100) -> bytes:
    return struct.pack("<IIIHHQQ", sn, length, 1, command, ver, lbn, us)


def v2(sn: int, length: int, command: int, lbn: int, us: int, ver: int = 0x0200) -> bytes:
    return struct.pack("<HHIIIQQQ", command, ver, sn, length, 1, lbn, us, 99)


@pytest.mark.parametrize("make", [v1, v2])
def test_vscsi_records(tmp_path: Path, make: Callable[[int, int, int, int, int], bytes]) -> None:
    path = tmp_path / "trace.vscsi"
    path.write_bytes(
        make(1, 512, 0x2A, 42_932_745, 5_633_898)
        + make(2, 4096, 0x88, 7, 5_633_900)
        + make(3, 36, 0x12, 0, 5_633_901)
        + make(4, 0, 0x35, 99, 5_633_902)
    )
    assert format_of(path) == "vscsi"
    with TraceStream(path) as stream:
        (table,) = stream
    assert table.times_ns.tolist() == [0, 2_000, 4_000]
    assert table.ops.tolist() == [1, 0, 2]
    assert table.sectors_first.tolist() == [42_932_745, 7, 0]
    assert table.sectors_count.tolist() == [1, 8, 0]
    assert table.lines.tolist() == [1, 2, 4]
    assert stream.reading.beside == {"command that moves no data of the disk": 1}


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (v1(2, 4096, 0x28, 7, 9)[:20], "a record must have 32 bytes, got 20"),
        (v1(2, 4096, 0x28, 7, 9, ver=0x0300), "the version must be 1, got 0x0300"),
        (v1(2, 4096, 0x42, 7, 9), "a command must be a read, write or flush, got 0x42"),
        (v1(2, 100, 0x28, 7, 9), "len must be a multiple of 512 bytes, got 100"),
        (v1(2, 4096, 0x28, 1 << 63, 9), "sector must not be negative, got -9223372036854775808"),
        (v1(2, 4096, 0x28, 7, 1 << 63), "time must be below 142 years, got -9223372036854775808 us"),
    ],
)
def test_damaged_vscsi_records(tmp_path: Path, damaged: bytes, message: str) -> None:
    path = tmp_path / "trace.vscsi"
    path.write_bytes(v1(1, 512, 0x2A, 0, 8) * 200 + damaged)
    assert refused(path) == f":201: {message}"
    with TraceStream(path, ReadOptions(skip=True)) as stream:
        assert sum(map(len, stream)) == 200


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared traces")
def test_the_vscsi_trace_is_its_csv() -> None:
    trace = read_trace(SHARED / "cloudphysics" / "cloudPhysicsIO.vscsi.gz")
    with gzip.open(SHARED / "cloudphysics" / "cloudPhysicsIO.csv.gz", "rt", newline="") as file:
        expected = [
            (int(row["t_us"]) * 1000, row["op"], int(row["lbn512"]), int(row["len_bytes"]) // 512)
            for row in csv.DictReader(file)
        ]
    # The file has its records almost in order of time.
    assert sorted(trace.rows(0)) == sorted(expected)
    assert len(expected) == 113_872


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared traces")
def test_the_msr_cut_has_the_counts_of_its_statistics() -> None:
    """Total IO 10000, duration 242 s, R:W ratio 20/80."""
    trace = read_trace(SHARED / "msr" / "msr.cut.per_10k.rw_20_80.105.trace.gz", ReadOptions(format="heimdall"))
    assert len(trace) == 10_000
    assert trace.times_ns[-1] // 10**9 == 242
    assert round((trace.ops == 0).mean() * 100) == 20


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared traces")
def test_the_devices_of_the_mqsim_trace_add_up() -> None:
    path = SHARED / "mqsim" / "tpcc-small.trace.gz"
    lengths = [len(read_trace(path, ReadOptions(format="mqsim", device=str(device)))) for device in range(16)]
    assert sum(lengths) == 6_999


# fio.


def test_a_recorded_iolog(tmp_path: Path) -> None:
    """40 reads and writes, 10 fsyncs; lines 4 and 5: 165 read 61440, 14480 read 774144."""
    rows = list(read_trace(DATA / "fio-iolog-v3.txt").rows(0))
    assert rows[:2] == [(165_000, "R", 120, 8), (14_480_000, "R", 1_512, 8)]
    text = (DATA / "fio-iolog-v3.txt").read_text()
    assert [op for _, op, _, _ in rows].count("F") == text.count(" sync ")
    assert len(rows) == text.count(" sync ") + 40


def test_the_latency_log_of_a_run_has_the_requests_of_its_iolog() -> None:
    """The same offsets in the same order; arrivals to a millisecond."""
    iolog = [row for row in read_trace(DATA / "fio-iolog-v3.txt").rows(0) if row[1] != "F"]
    found = list(read_trace(DATA / "fio-lat.log", ReadOptions(format="fio-lat")).rows(0))
    assert [row[1:] for row in found] == [row[1:] for row in iolog]
    shift = iolog[0][0]
    for mine, theirs in zip(found, iolog, strict=True):
        assert abs(mine[0] - (theirs[0] - shift)) <= 1_000_000


def test_the_bandwidth_log_of_a_run_has_the_same_requests() -> None:
    found = [read_trace(DATA / f"fio-{kind}.log", ReadOptions(format=f"fio-{kind}")) for kind in ("lat", "bw")]
    assert [row[1:] for row in found[0].rows(0)] == [row[1:] for row in found[1].rows(0)]


def test_an_issue_time_is_the_arrival(tmp_path: Path) -> None:
    path = written(tmp_path, ["9, 3882225, 0, 4096, 774144, 0, 5123456", "10, 999, 1, 512, 0, 0, 9000001"])
    for name in ("fio-lat", "fio-bw"):
        trace = read_trace(path, ReadOptions(format=name))
        assert list(trace.rows(0)) == [(5_123_456, "R", 1_512, 8), (9_000_001, "W", 0, 1)]


@pytest.mark.parametrize("line", ["1, 206081, 0, 4096", "1, 206081, 0, 4096, 0"])
def test_a_log_without_offsets_is_refused(tmp_path: Path, line: str) -> None:
    """With five columns the last is a priority since fio 3.20, and was an offset before."""
    rule = "a line must have an offset and a priority (fio: log_offset=1; before 3.20 there is no priority)"
    assert refused(written(tmp_path, [line]), format="fio-lat") == f":1: {rule}, got {line!r}"


V2 = ["fio version 2 iolog", "/a.img add", "/a.img open"]


def test_version_2_of_the_iolog_has_waits(tmp_path: Path) -> None:
    lines = [*V2, "/a.img read 0 4096", "/a.img wait 1000 0", "/a.img write 4096 512", "/a.img wait 5 0",
             "/a.img datasync 0 0", "/a.img close"]  # fmt: skip
    path = written(tmp_path, lines)
    assert format_of(path) == "fio-iolog"
    assert list(read_trace(path, ReadOptions(format="fio")).rows(0)) == [
        (0, "R", 0, 8),
        (1_000_000, "W", 8, 1),
        (1_005_000, "F", 0, 0),
    ]


def test_files_of_an_iolog_are_devices(tmp_path: Path) -> None:
    path = written(tmp_path, [*V2, "/b.img open", "/a.img read 0 4096", "/b.img read 512 4096"])
    assert refused(path) == ": has requests of several devices (/a.img, /b.img): choose one by --device or trace_device"
    assert list(read_trace(path, ReadOptions(device="/b.img")).rows(0)) == [(0, "R", 1, 8)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/a.img trim 0 4096", "an action must be read, write, sync or datasync, got 'trim'"),
        ("/a.img read 0", "a line must be file action offset length, got '/a.img read 0'"),
        ("/a.img read 0 -5", "a line must be file action offset length, got '/a.img read 0 -5'"),
        ("/a.img", "a line must be file action offset length, got '/a.img'"),
        ("/a.img read 100 4096", "offset must be a multiple of 512 bytes, got 100"),
        ("/a.img read 0 100", "length must be a multiple of 512 bytes, got 100"),
        ("/a.img read 0 0", "a read or write must have at least 1 sector, got 0"),
        (f"/a.img wait {10**18} 0", f"a line must be file action offset length, got '/a.img wait {10**18} 0'"),
    ],
)
def test_damaged_iologs(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path, [*V2, "/a.img read 0 512", line, "/a.img read 512 512"])
    assert refused(path) == f":5: {message}"
    with TraceStream(path, ReadOptions(skip=True)) as stream:
        assert sum(map(len, stream)) == 2


def test_a_wait_has_no_place_in_version_3(tmp_path: Path) -> None:
    path = written(tmp_path, ["fio version 3 iolog", "5 /a.img wait 1 0"])
    assert refused(path) == ":2: an action must be read, write, sync or datasync, got 'wait'"


def test_other_versions_of_the_iolog_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ["fio version 4 iolog", "5 /a.img read 1 0"])
    assert refused(path) == ":1: the first line must be fio version 2 iolog, or 3, got 'fio version 4 iolog'"


def test_requests_of_one_millisecond_stay_in_order(tmp_path: Path) -> None:
    """Their latencies would scatter them, but the log does not tell what happened within a millisecond."""
    latencies = [400_000, 90_000, 250_000, 120_000]
    path = written(tmp_path, [f"7, {ns}, 0, 512, {512 * n}, 0" for n, ns in enumerate(latencies)])
    trace = read_trace(path, ReadOptions(format="fio-lat"))
    assert trace.sectors_first.tolist() == [0, 1, 2, 3]
    assert all(a <= b for a, b in itertools.pairwise(trace.times_ns.tolist()))


def test_an_x_in_a_name_does_not_slow_reading_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines with hexadecimal numbers are read one by one; a host may be called prxy."""
    monkeypatch.setattr(Layout, "of_cells", None)
    path = written(tmp_path, [MSR.replace("hm", "prxy")])
    assert list(read_trace(path, ReadOptions(device="prxy_0")).rows(0)) == [(0, "W", 13_701, 8)]
