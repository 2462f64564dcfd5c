"""Port accesses in perf script, trace-cmd report and ftrace: to ATA commands, from whole lines or damaged ones."""

import random
import re
from fractions import Fraction
from pathlib import Path

import pytest

from iosim.traces import ReadOptions, TraceStream, kernel_text, read_trace
from iosim.traces import source as source_module
from iosim.traces.accesses import UNKNOWN, Access
from iosim.traces.kvm import accesses, tables
from iosim.traces.reading import Reading
from iosim.traces.source import Source
from tests.trace_files import DATA, command, refused, requests, unpacked, written

FIRST_MASTER = [
    ("W", 0x0A0B0C0, 8),
    ("W", 2048, 1),
    ("W", 0x123456789A, 0x0102),
    ("R", 0x10000000, 16),
    ("F", 0, 0),
]
FIRST_SLAVE = [("R", 4096, 256), ("F", 0, 0)]
SECOND_MASTER = [("RW"[n % 2], 1000 + 8 * n, 8) for n in range(6)] + [("F", 0, 0)]
"""What ata_guest.c commands."""
PROGRAM = {"0x1f0 master": FIRST_MASTER, "0x1f0 slave": FIRST_SLAVE, "0x170 master": SECOND_MASTER}


# Port accesses.


@pytest.mark.parametrize("name", ["kvm-perf-script.txt.gz", "kvm-ftrace-tgid.txt.gz"])
@pytest.mark.parametrize("device", PROGRAM)
def test_a_guest_s_commands_come_out_as_it_wrote_them(name: str, device: str) -> None:
    assert requests(DATA / name, device=device) == PROGRAM[device]


def test_times_are_those_of_the_first_register_write_since_the_first_event() -> None:
    """Lines 13, 33, 77, 692, 710, 736, 764, 770: 40326.650779, .651541, .652808, .682703, .683718, .685179 ..."""
    path = DATA / "kvm-ftrace-tgid.txt.gz"
    assert [row[0] for row in read_trace(path, ReadOptions(device="0x1f0 master")).rows(0)] == [
        762_000,
        2_029_000,
        32_939_000,
        34_400_000,
        35_998_000,
    ]
    slave = read_trace(path, ReadOptions(device="0x1f0 slave"))
    assert slave.times_ns.tolist() == [31_924_000, 36_335_000]
    assert slave.lines is not None
    assert slave.lines.tolist() == [706, 772]


def test_a_clock_of_known_rate_gives_times() -> None:
    """Five 4 KiB DMA writes; 2596.136 MHz, first event 19036919997121 - 10 lines, register writes by hand."""
    path = DATA / "kvm-ftrace-tsc.txt.gz"
    trace = read_trace(path, ReadOptions(clock_hz=Fraction(2_596_136_000)))
    assert [row[1:] for row in trace.rows(0)] == [("W", 8 * n, 8) for n in range(5)]
    lines = unpacked("kvm-ftrace-tsc.txt.gz").splitlines()
    begin = next(int(line.split()[4][:-1]) for line in lines if not line.startswith("#") and "KVM-" in line)
    first = next(int(line.split()[4][:-1]) for line in lines if "pio_write at 0x1f6" in line)
    assert trace.times_ns[0] == pytest.approx((first - begin) / 2.596136, abs=1)


def test_a_clock_of_unknown_rate_is_refused() -> None:
    path = DATA / "kvm-ftrace-tsc.txt.gz"
    rule = "a time must be in seconds with a decimal point, or --clock must say how fast its clock counts"
    assert refused(path).startswith(f":13: {rule}, got '190369")


def test_accesses_of_a_guest_are_a_table() -> None:
    """One by one: 8 register writes of the first command, its status reads, and the words of the second."""
    with Source(DATA / "kvm-ftrace-tgid.txt.gz") as source:
        (table,) = tables(Reading(source, ReadOptions(), "kvm"))
    first = table.vcpus == 0
    shown = list(zip(table.writes[first], table.ports[first], table.values[first], table.counts[first], strict=True))
    assert shown[:5] == [
        (True, 0x3F6, 0x08, 1),
        (True, 0x1F6, 0xA0, 1),
        (True, 0x1F7, 0xEC, 1),
        (False, 0x1F7, 0x50, 1),
        (False, 0x1F0, 0x5050, 256),
    ]
    words = first & (table.ports == 0x1F0) & table.writes
    assert words.sum() == 256  # rep outsw is an exit for each word
    assert set(table.sizes[words].tolist()) == {2}
    assert set(table.guest_ns.tolist()) == {UNKNOWN}  # kvm_entry and kvm_exit were not recorded
    assert (table.times_ns[1:] >= table.times_ns[:-1]).all()
    assert set(table.vcpus.tolist()) == {0, 1}


def test_time_in_the_guest_is_from_entry_to_exit(tmp_path: Path) -> None:
    """12 us + 3 us in the guest before the second access, halted in between; a third right behind it."""
    lines = [
        "q-7 [000] 1.000000: kvm_entry: vcpu 3",
        "q-7 [000] 1.000005: kvm_exit: vcpu 3 reason IO_INSTRUCTION rip 0xff info1 0x1f60000 info2 0x0",
        "q-7 [000] 1.000006: kvm_pio: pio_write at 0x1f6 size 1 count 1 val 0xe0 ",
        "q-7 [000] 1.000010: kvm_entry: vcpu 3, rip 0x100",
        "q-7 [000] 1.000022: kvm_exit: reason HLT rip 0x100 info 0 0",
        "q-7 [000] 1.000100: kvm_entry: vcpu 3",
        "q-7 [000] 1.000103: kvm_exit: reason IO_INSTRUCTION rip 0x101 info 1f70008 0",
        "q-7 [000] 1.000110: kvm_pio: pio_read at 0x1f7 size 1 count 1 val 0x50 ",
        "q-7 [000] 1.000111: kvm_pio: pio_read at 0x1f7 size 1 count 1",
    ]
    with Source(written(tmp_path, lines)) as source:
        (found,) = accesses(Reading(source, ReadOptions(), "kvm"))
    # The first access follows none.
    assert found == [
        Access(6_000, 0, True, 0x1F6, 1, 1, 0xE0, UNKNOWN, False, 3),
        Access(110_000, 0, False, 0x1F7, 1, 1, 0x50, 15_000, True, 8),
        Access(111_000, 0, False, 0x1F7, 1, 1, UNKNOWN, 0, False, 9),
    ]


def test_time_in_the_guest_is_unknown_behind_lost_events(tmp_path: Path) -> None:
    read = "q-7 [000] 1.0000{:02}: kvm_pio: pio_read at 0x1f7 size 1 count 1 val 0x50 "
    entry, exit_ = ("q-7 [000] 1.0000{:02}: kvm_" + name for name in ("entry: vcpu 0", "exit: reason IO_INSTRUCTION"))
    lines = [
        *(entry.format(0), exit_.format(2), read.format(3)),
        *(entry.format(10), exit_.format(15), read.format(16)),
        *("CPU:0 [LOST 5 EVENTS]", entry.format(40), exit_.format(41), read.format(42)),
        *(entry.format(50), exit_.format(57), read.format(58)),
    ]
    with Source(written(tmp_path, lines)) as source:
        found = list(accesses(Reading(source, ReadOptions(skip=True), "kvm")))
    assert [None if part is None else [access.guest_ns for access in part] for part in found] == [
        [UNKNOWN, 5_000],
        None,
        [UNKNOWN, 7_000],
    ]


def test_a_block_of_text_without_accesses_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 1024)
    monkeypatch.setattr(source_module, "HEAD_BYTES", 1024)
    monkeypatch.setattr(kernel_text, "MOST_LATE", 1)
    first, second = command("1", 1.0)
    others = [f"q-1 [000] 1.{n:06}: kvm_entry: vcpu 0" for n in range(11, 100)]
    assert requests(written(tmp_path, [first, *others, second.replace("1.000010", "1.000100")])) == [("F", 0, 0)]


def test_threads_of_two_guests_are_not_mixed(tmp_path: Path) -> None:
    path = written(tmp_path, command("11/12", 1.0) + command("21/22", 2.0))
    expected = ": threads of several guests use ports of disks (12, 22): choose those of one guest with --threads"
    assert refused(path) == expected
    for threads in ({11}, {12}, {22, 21}):
        assert requests(path, threads=frozenset(threads)) == [("F", 0, 0)]


def test_threads_that_nothing_brings_together_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, command("12", 1.0) + command("13", 2.0))
    rule = ": threads use ports of disks, and nothing tells that they are of one guest"
    assert refused(path) == f"{rule} (12, 13): choose those of one guest with --threads"
    assert requests(path, threads=frozenset({12, 13})) == [("F", 0, 0)] * 2


@pytest.mark.parametrize(
    "told",
    [
        ["q 12 [000] 0.5: kvm:kvm_entry: vcpu 0, rip 0x1", "q 13 [000] 0.6: kvm:kvm_entry: vcpu 1, rip 0x1"],
        ["q 12 [000] 0.5: kvm:kvm_exit: vcpu 0 reason HLT", "q 13 [000] 0.6: kvm:kvm_exit: vcpu 1 reason HLT"],
    ],
)
def test_different_vcpu_numbers_are_one_guest(tmp_path: Path, told: list[str]) -> None:
    path = written(tmp_path, told + command("12", 1.0) + command("13", 2.0))
    assert requests(path) == [("F", 0, 0)] * 2


def test_the_same_vcpu_number_twice_is_two_guests(tmp_path: Path) -> None:
    told = ["q 12 [000] 0.5: kvm:kvm_entry: vcpu 0", "q 13 [000] 0.6: kvm:kvm_entry: vcpu 0"]
    path = written(tmp_path, told + command("12", 1.0) + command("13", 2.0))
    assert "threads of several guests use ports of disks (12, 13)" in refused(path)


@pytest.mark.parametrize(
    "prefix",
    [
        "qemu-system-x86 27878 [001]  1751.990002: kvm:kvm_pio: ",
        "qemu-system-x86 27875/27878 [001]  1751.990002154: kvm:kvm_pio: ",
        "CPU 0/KVM 27878 [001]  1751.990002:          1 kvm:kvm_pio: ",
        "qemu-system-x86 27878  1751.990002: kvm:kvm_pio: ",
        "qemu-system-x86-27878  [007]   1751.990002: kvm_pio:              ",
        "qemu-system-x86-27878 [003] d..1 1751.990002: kvm_pio: ",
        "  qemu-system-x86-27878 [003] ..... 1751.990002: kvm_pio: ",
        "  CPU 0/KVM-27878    (  27875) [003] d..2. 1751.990002: kvm_pio: ",
        "  a-b 4 c-27878    (-------) [003] d..2. 1751.990002: kvm_pio: ",
        "\xe9\xff 1-27878 [003] .... 1751.990002: kvm_pio: ",
    ],
)
def test_every_line_format_is_read(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "trace.txt"
    lines = [f"{prefix}pio_write at 0x1f{port} size 1 count 1 val 0x{value:x} " for port, value in ((6, 160), (7, 231))]
    path.write_bytes("\n".join(lines).encode("latin-1") + b"\n")
    assert requests(path) == [("F", 0, 0)]


def test_kernels_that_do_not_record_values_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ["q-1 [0] 1.5: kvm_pio: pio_write at 0x1f7 size 1 count 1"])
    assert refused(path) == ":1: a register write must have its value (old kernels, such as 3.10, do not record it)"


def test_accesses_without_a_command_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ["q-1 [0] 1.5: kvm_pio: pio_write at 0x80 size 1 count 1 val 0x1 "])
    assert refused(path) == ": has no read, write or flush command among its port accesses (kvm_pio to 0x1f7 or 0x177)"


# Damaged ones.


def test_lost_events_are_refused_or_make_registers_unknown() -> None:
    """The first 1,251 events are missing: the slave's read is the first command that is whole."""
    path = DATA / "kvm-trace-pipe-lost.txt.gz"
    assert refused(path) == ":1: events were lost here, got 1,251"
    assert requests(path, skip=True, device="0x1f0 master") == FIRST_MASTER[2:]
    assert requests(path, skip=True, device="0x1f0 slave") == FIRST_SLAVE


@pytest.mark.parametrize(
    "line",
    [
        "CPU:1 [LOST 17 EVENTS]",
        "CPU:1 [17 EVENTS DROPPED]",
        "   perf 1 [000] 1.5: PERF_RECORD_LOST lost 17",
        "Processed 900 events and lost 17 chunks!",
    ],
)
def test_lost_events_within_a_command_spoil_it_alone(tmp_path: Path, line: str) -> None:
    lines = unpacked("kvm-perf-script.txt.gz").splitlines()
    # Behind the sector count of the second command of the first channel: its registers before are unknown.
    at = [n for n, text in enumerate(lines) if "pio_write at 0x1f2" in text][1]
    path = written(tmp_path, [*lines[: at + 1], line, *lines[at + 1 :]])
    assert refused(path, device="0x1f0 master") == f":{at + 2}: events were lost here, got 17"
    assert requests(path, device="0x1f0 master", skip=True) == [FIRST_MASTER[0], *FIRST_MASTER[2:]]


def test_events_that_were_overwritten_are_noted(tmp_path: Path) -> None:
    path = written(tmp_path, ["# entries-in-buffer/entries-written: 2/1,252   #P:2".replace(",", ""), *command("1", 1)])
    with TraceStream(path) as stream:
        list(stream)
    assert stream.reading.notes == ["1,250 events before the first were overwritten in ftrace's buffer"]


@pytest.mark.parametrize("keep", [1, 20, 40, 60, 90])
def test_a_line_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    lines = unpacked("kvm-perf-script.txt.gz").splitlines()[:-1]
    assert "kvm_pio: pio_read at 0x1f7" in lines[-1]
    path = written(tmp_path, [*lines[:-1], lines[-1][:keep]])
    if lines[-1][:keep].strip():
        rule = re.escape("a line must be of perf script, trace-cmd report or ftrace")
        pattern = rf":{len(lines)}: ({rule}|is no kvm_pio as Linux prints it), got "
        assert re.match(pattern, refused(path, device="0x1f0 slave"))
    assert requests(path, device="0x1f0 slave", skip=True) == FIRST_SLAVE


def test_the_buffers_of_two_cpus_one_after_the_other_are_put_in_order(tmp_path: Path) -> None:
    lines = unpacked("kvm-perf-script.txt.gz").splitlines()
    by_thread = sorted(lines, key=lambda line: "CPU 0/KVM" in line)
    path = written(tmp_path, by_thread)
    for device, program in PROGRAM.items():
        assert requests(path, device=device) == program


def test_lines_in_any_order_give_the_same_requests(tmp_path: Path) -> None:
    """Stamps are unique to the microsecond within a thread but for a few; those stay in order of the file."""
    lines = unpacked("kvm-ftrace-tgid.txt.gz").splitlines()[12:]
    stamped = [(re.search(r" (\d+\.\d+): ", line), line) for line in lines]
    assert all(match for match, _ in stamped)
    order = list(range(0, len(lines), 2))
    random.Random(1).shuffle(order)
    shuffled = [line for at in order for line in lines[at : at + 2]]
    path = written(tmp_path, shuffled)
    assert requests(path, device="0x1f0 slave") == FIRST_SLAVE


def test_carriage_returns_and_foreign_bytes_do_no_harm(tmp_path: Path) -> None:
    text = unpacked("kvm-perf-script.txt.gz").replace("CPU 0/KVM", "CPU 0/K\xff\xfeM").replace("\n", "\r\n")
    path = tmp_path / "trace.txt"
    path.write_bytes(text.encode("latin-1"))
    options = {"device": "0x170 master", "threads": frozenset({9497, 9498})}
    assert requests(path, **options) == SECOND_MASTER


def test_utf16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text("\n".join(command("1", 1.0)), encoding="utf-16")
    assert refused(path, format="kvm") == ": is UTF-16, not UTF-8"
