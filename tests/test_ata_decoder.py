"""The decoder of register writes: against the device's own account of its commands, and by hand."""

import csv
import gzip
import io
import itertools
import re
from pathlib import Path

import pytest

from iosim.model.errors import TraceError
from iosim.traces import ReadOptions, read_trace
from iosim.traces.accesses import UNKNOWN, Access, Decoder
from iosim.traces.ata import COMMAND, Channel, Command
from iosim.traces.reading import Reading
from iosim.traces.source import Source
from tests.test_trace_readers import ROOT

TRACES = ROOT / "traces"
PUBLIC = ROOT.parent / "shared" / "traces" / "recordings" / "public"
LIGHT = sorted(PUBLIC.glob("A_tcg_linux/[dp]*_light/qemu_work.trace.gz"))
FULL = sorted(PUBLIC.glob("A_tcg_linux/[dp]*_full/qemu_raw_excerpt.trace.gz"))
BARE = sorted(PUBLIC.glob("B_kvm_baremetal/qemu_log/*.trace.gz"))
EXITS = sorted(PUBLIC.glob("B_kvm_baremetal/light_trace/*.ftl/exits_first*.csv.gz"))

_COMMAND = re.compile(r"exec cmd: bus (\S+); state \S+; cmd 0x([0-9a-f]{2})$")
_DMA = re.compile(r"ide_dma_cb IDEState \S+; sector_num=(\d+) n=(\d+) cmd=DMA (READ|WRITE)$")
_PIO = re.compile(r"ide_sector_(read|write) sector=(\d+) nsectors=(\d+)$")
_DATA = {0x20, 0x30, 0xC4, 0xC5, 0xC8, 0xCA, 0x24, 0x34, 0x29, 0x39, 0x25, 0x35}


def device_account(path: Path) -> list[tuple[str, int, int]]:
    """What QEMU's device says of its own commands: operation, first sector, sectors; a block each in PIO mode.

    A command whose data phase is not in the log any more has 0 sectors.
    """
    found: list[tuple[str, int, int]] = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        if match := _COMMAND.search(line):
            code = int(match[2], 16)
            if code in (0xE7, 0xEA):
                found.append(("F", 0, 0))
            elif code in _DATA:
                found.append(("W" if code in (0x30, 0xC5, 0xCA, 0x34, 0x39, 0x35) else "R", -1, 0))
        elif (match := _DMA.search(line)) or (match := _PIO.search(line)):
            groups = match.groups()
            first, n = (int(groups[0]), int(groups[1])) if groups[0].isdigit() else (int(groups[1]), int(groups[2]))
            op, at, so_far = found[-1]
            found[-1] = (op, first if at < 0 else at, so_far + n)
    return found


@pytest.mark.parametrize(
    "path",
    [TRACES / "dma-rnd.qemu.trace.gz", TRACES / "pio32-rnd.qemu.trace.gz", *LIGHT, *FULL],
    ids=lambda path: path.parent.name if path.parent != TRACES else path.name,
)
def test_decoded_commands_are_those_that_the_device_ran(path: Path) -> None:
    decoded = [row[1:] for row in read_trace(path).rows(0)]
    account = device_account(path)
    assert len(decoded) == len(account) > 10
    *whole, last = zip(decoded, account, strict=True)
    assert all(mine == device for mine, device in whole)
    if last[0] != last[1]:  # an excerpt ends within a command
        assert last[0][0] == last[1][0]
        assert last[1][2] < last[0][2]


@pytest.mark.skipif(not FULL, reason="needs the shared recordings")
def test_commands_of_the_recordings_are_decoded_with_their_times() -> None:
    for path in LIGHT + FULL:
        with gzip.open(path.parent / "commands.csv.gz", "rt", newline="") as file:
            recorded = [
                (int(row["t_first"]), row["op"], int(row["lba"]), int(row["nsect"])) for row in csv.DictReader(file)
            ]
        decoded = list(read_trace(path).rows(0))
        assert len(decoded) == len(recorded) if path in LIGHT else len(decoded) > 10
        shift = decoded[0][0] - recorded[0][0] * 1000
        for mine, theirs in zip(decoded, recorded, strict=False):
            assert mine[1:] == theirs[1:], path.parent.name
            assert mine[0] - shift == theirs[0] * 1000, path.parent.name


@pytest.mark.skipif(not BARE, reason="needs the shared recordings")
@pytest.mark.parametrize("path", BARE, ids=lambda path: path.name.split(".q_")[0])
def test_commands_of_bare_metal_guests_are_those_that_qemu_ran(path: Path) -> None:
    """Two vCPUs with a channel each: every device by itself, in order of the commands."""
    text = gzip.decompress(path.read_bytes()).decode()
    channel_of = dict(re.findall(r"ide_ioport_write IDE PIO wr @ 0x(1[f7])\d \([^)]*\); val \S+; bus (\S+)", text))
    bus_of = {bus: f"0x{base}0 master" for base, bus in channel_of.items()}
    expected: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := _COMMAND.search(line):
            code = int(match[2], 16)
            if code in _DATA:
                operation = "W" if code in (0x30, 0xC5, 0xCA) else "R"
                expected.setdefault(bus_of[match[1]], []).append(operation)
            elif code in (0xE7, 0xEA):
                expected.setdefault(bus_of[match[1]], []).append("F")
    for device, operations in expected.items():
        decoded = [row[1] for row in read_trace(path, ReadOptions(device=device)).rows(0)]
        # The log is cut, perhaps between the register write and the device's event.
        assert operations in (decoded, decoded[:-1])


@pytest.mark.skipif(not EXITS, reason="needs the shared recordings")
def test_exits_of_the_recordings_are_decoded_as_their_programs_wrote_them(tmp_path: Path) -> None:
    """The programs write or read sequentially from sector 0; their names say what, and how many sectors each."""
    n_commands = 0
    for path in EXITS:
        name = path.parent.name
        match = re.match(r"(?:two_)?(w30|wc5|r20|rc4|dma_w|dma_r)_(?:.*?_)?(\d+)_none", name)
        if match is None or "flush" in name:
            continue
        expected_op = "W" if match[1] in ("w30", "wc5", "dma_w") else "R"
        expected_code = {"w30": 0x30, "wc5": 0xC5, "r20": 0x20, "rc4": 0xC4, "dma_w": 0xCA, "dma_r": 0xC8}[match[1]]
        rows = csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode()))
        logs = {base: Log() for base in (0x1F0, 0x170)}
        commands: dict[int, list[Command]] = {0x1F0: [], 0x170: []}
        for number, row in enumerate(rows):
            port, value = int(row["port"], 16), int(row["value"], 16)
            base = port & ~7
            if row["dir"] != "W" or base not in logs or port & 7 == 0:
                continue
            if port & 7 != COMMAND:
                logs[base].channel.register(port & 7, value, number)
            elif value == expected_code:
                found = logs[base].channel.command(value, number, number)
                assert found is not None
                commands[base].append(found)
        assert not any(log.refused for log in logs.values())
        for found_ in filter(None, commands.values()):
            n_commands += len(found_)
            sectors = int(match[2])
            assert {command.op for command in found_} == {"RW".index(expected_op)}, name
            assert {command.sectors for command in found_} == {sectors}, name
            firsts = [command.sector for command in found_]
            steps = {b - a for a, b in itertools.pairwise(firsts)}
            assert steps <= {sectors} or all(step % sectors == 0 for step in steps), name
    assert n_commands > 1000


# By hand.


class Log:
    """What a channel refuses and counts."""

    def __init__(self) -> None:
        self.refused: list[tuple[int, str, str]] = []
        self.beside: list[str] = []
        self.channel = Channel(self._refuse, self.beside.append)

    def _refuse(self, line: int, rule: str, got: str) -> None:
        self.refused.append((line, rule, got))

    def write(self, *pairs: tuple[int, int]) -> None:
        """Write registers at 1, 2, 3 ... ns."""
        for at, (number, value) in enumerate(pairs, start=1):
            self.channel.register(number, value, at)


def test_lba28() -> None:
    log = Log()
    log.write((2, 8), (3, 0x04), (4, 0x03), (5, 0x02), (6, 0xF1))
    assert log.channel.command(0xC8, 9, 77) == Command(1, 9, 1, 0xC8, 0, 0x01020304, 8, 77)


@pytest.mark.parametrize(("code", "expected"), [(0xC4, 256), (0x29, 65536)])
def test_a_count_of_zero_is_the_most(code: int, expected: int) -> None:
    log = Log()
    for _ in range(2):
        log.write((2, 0), (3, 0), (4, 0), (5, 0), (6, 0xE0))
    command = log.channel.command(code, 9, 1)
    assert command is not None
    assert command.sectors == expected


def test_lba48_has_the_high_half_from_the_writes_before() -> None:
    log = Log()
    log.write((2, 0x01), (3, 0x04), (4, 0x05), (5, 0x06), (2, 0x02), (3, 0x01), (4, 0x02), (5, 0x03), (6, 0x40))
    assert log.channel.command(0x35, 20, 1) == Command(1, 20, 0, 0x35, 1, 0x060504030201, 0x0102, 1)


def test_registers_keep_their_values_for_the_next_command() -> None:
    log = Log()
    log.write((2, 8), (3, 0x10), (4, 0), (5, 0), (6, 0xE0))
    log.channel.command(0xCA, 9, 1)
    log.channel.register(3, 0x18, 50)
    assert log.channel.command(0xCA, 60, 2) == Command(50, 60, 0, 0xCA, 1, 0x18, 8, 2)


def test_a_command_alone_begins_with_itself() -> None:
    log = Log()
    log.write((6, 0xA0))
    log.channel.command(0xE7, 5, 1)
    assert log.channel.command(0xE7, 60, 2) == Command(60, 60, 0, 0xE7, 2, 0, 0, 2)


def test_cylinder_head_and_sector_are_refused() -> None:
    log = Log()
    log.write((2, 8), (3, 1), (4, 0), (5, 0), (6, 0xA0))
    assert log.channel.command(0x20, 9, 5) is None
    assert log.refused == [(5, "a command must address by LBA, not by cylinder, head and sector", "device 0xa0")]


RULE = "register {} must have been written since the trace began, events were lost, or a reset"


@pytest.mark.parametrize(
    ("written", "code", "number"),
    [
        ([], 0xE7, 6),
        ([(2, 8), (3, 0), (4, 0), (5, 0)], 0xC8, 6),
        ([(2, 8), (3, 0), (4, 0), (6, 0xE0)], 0xC8, 5),
        ([(3, 0), (4, 0), (5, 0), (6, 0xE0)], 0xC8, 2),
        ([(2, 8), (3, 0), (4, 0), (5, 0), (6, 0xE0)], 0x25, 2),
        ([(2, 8), (2, 8), (3, 0), (3, 0), (4, 0), (5, 0), (5, 0), (6, 0xE0)], 0x25, 4),
    ],
)
def test_a_register_that_is_not_known_is_not_guessed(written: list[tuple[int, int]], code: int, number: int) -> None:
    log = Log()
    log.write(*written)
    assert log.channel.command(code, 9, 3) is None
    assert log.refused == [(3, RULE.format(number), f"command 0x{code:02x} without it")]


@pytest.mark.parametrize("how", ["forget", "reset"])
def test_lost_events_and_resets_make_registers_unknown(how: str) -> None:
    log = Log()
    log.write((2, 8), (3, 0), (4, 0), (5, 0), (6, 0xE0))
    if how == "reset":
        log.channel.control(0x04)
    else:
        log.channel.forget()
    assert log.channel.command(0xC8, 9, 3) is None
    assert log.refused == [(3, RULE.format(6), "command 0xc8 without it")]


def test_interrupts_switched_off_reset_nothing() -> None:
    log = Log()
    log.write((6, 0xA0))
    log.channel.control(0x02)
    assert log.channel.command(0xEA, 9, 3) is not None


def test_other_commands_are_counted_by_name() -> None:
    log = Log()
    log.write((6, 0xA0))
    for code in (0xEC, 0xEF, 0xFE):
        assert log.channel.command(code, 9, 1) is None
    assert log.beside == ["command IDENTIFY DEVICE", "command SET FEATURES", "command 0xfe"]
    assert log.refused == []


def test_trim_and_queued_commands_are_refused() -> None:
    log = Log()
    log.channel.command(0x06, 1, 4)
    log.channel.command(0x60, 1, 5)
    rule = "a command must be a read, write or flush"
    assert log.refused == [(4, rule, "0x06 DATA SET MANAGEMENT (trim)"), (5, rule, "0x60 READ FPDMA QUEUED (NCQ)")]


def test_a_write_without_its_value_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with Source(tmp_path / "x") as source:
        decoder = Decoder(Reading(source, ReadOptions(), "kvm"))
        with pytest.raises(TraceError, match=r"x:12: a register write must have its value \(old kernels"):
            decoder.requests([Access(0, 0, True, 0x1F6, 1, 1, UNKNOWN, UNKNOWN, False, 12)])
