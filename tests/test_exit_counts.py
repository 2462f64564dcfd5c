"""Exits, interrupts and IRQ-line ioctls per request: the counts of libata on QEMU's IDE."""

from collections import Counter
from typing import Any, NamedTuple

import pytest

from iosim.results.result import Result
from tests.support import Row, constant_profile, scenario, simulate

MODES = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])
LBA48 = 1 << 28
AT = 1_000_000

SEED = {"transfer": "pio", "data_width": 16, "multiple": 1}
MULTIPLE = {"transfer": "pio", "data_width": 32, "multiple": 16}
DMA = {"transfer": "dma"}


class Case(NamedTuple):
    """A request and what it takes: userspace exits, interrupts, IRQ-line ioctls of QEMU 1.6 and 7.2."""

    drive: dict[str, Any]
    row: Row
    exits: int
    irqs: int
    ioctls_old: int
    ioctls_new: int


# With K blocks PIO mode reads the status 4 + K times: 4 + K + K ioctls in 1.6, 2 x (4 + K + 1 + K) in 7.2.
# DMA and a flush read it 4 times: 4 + 1 and 2 x (4 + 1 + 1).
WORKED = {
    "0x30, 1 sector, 16-bit (the seed)": Case(SEED, (AT, "W", 0, 1), 275, 1, 6, 14),
    "0xC5, 1 sector, 32-bit": Case(MULTIPLE, (AT, "W", 0, 1), 147, 1, 6, 14),
    "0xC5, 4 KiB, 32-bit": Case(MULTIPLE, (AT, "W", 0, 8), 1043, 1, 6, 14),
    "0x30, 4 KiB, 16-bit": Case(SEED, (AT, "W", 0, 8), 2102, 8, 20, 42),
    "0xCA, 4 KiB": Case(DMA, (AT, "W", 0, 8), 26, 1, 5, 12),
    "0x35, 4 KiB, LBA48": Case(DMA, (AT, "W", LBA48, 8), 31, 1, 5, 12),
    "0xE7": Case(DMA, (AT, "F", 0, 0), 12, 1, 5, 12),
    "0xC4, 1 sector": Case(MULTIPLE, (AT, "R", 0, 1), 20, 1, 6, 14),
    "0xC4, 40 sectors": Case(MULTIPLE, (AT, "R", 0, 40), 69, 3, 10, 22),
}
MEASURED = {
    "0x39, 1 sector, LBA48": Case(MULTIPLE, (AT, "W", LBA48, 1), 24 + 128, 1, 6, 14),
    "0xC5, 40 sectors in blocks of 16, 16, 8": Case(MULTIPLE, (AT, "W", 0, 40), 29 + 5120, 3, 10, 22),
    "0xC8, 40 sectors": Case(DMA, (AT, "R", 0, 40), 26, 1, 5, 12),
    "0x25, 1 sector, LBA48": Case(DMA, (AT, "R", LBA48, 1), 31, 1, 5, 12),
}
DATA_PHASE = {
    "write, 16-bit loop": Case({**SEED, "string": False}, (AT, "W", 0, 1), 19 + 256, 1, 6, 14),
    "write, 32-bit loop": Case({**MULTIPLE, "string": False}, (AT, "W", 0, 1), 19 + 128, 1, 6, 14),
    "read, 16-bit string": Case(SEED, (AT, "R", 0, 1), 19 + 1, 1, 6, 14),
    "read, 16-bit loop": Case({**SEED, "string": False}, (AT, "R", 0, 1), 19 + 256, 1, 6, 14),
    "read, 32-bit loop": Case({**MULTIPLE, "string": False}, (AT, "R", 0, 1), 19 + 128, 1, 6, 14),
    "read, 16-bit string, 0x20, 4 KiB": Case(SEED, (AT, "R", 0, 8), 14 + 5 * 8 + 8, 8, 20, 42),
}
CASES = {**WORKED, **MEASURED, **DATA_PHASE}


def run(case: Case, exact: bool = False, **vm: Any) -> Result:
    # A flush before any write has nothing to do in 7.2, and ends within its submission: a write goes before it.
    rows: list[Row] = [case.row]
    if case.row[1] == "F" and vm["qemu"] == "7.2":
        rows = [(0, "W", 0, 1), case.row]
    described = scenario(drives=[case.drive], run={"exact_exits": exact, "log": "ports"}, **vm)
    return simulate(described, rows, constant_profile())


def last(result: Result) -> Any:
    return result.requests.iloc[-1]


VERSIONS = [("1.6", "3.10", True), ("1.6", "3.10", False), ("7.2", "6.1", True), ("7.2", "6.1", False)]
CROSSED = [("1.6", "6.1", False), ("7.2", "3.10", False)]


@pytest.mark.parametrize(
    ("name", "qemu", "kernel", "exact"),
    [(name, *each) for name in CASES for each in VERSIONS] + [(name, *each) for name in WORKED for each in CROSSED],
)
def test_exits_interrupts_and_ioctls_of_a_request(name: str, qemu: str, kernel: str, exact: bool) -> None:
    case = CASES[name]
    request = last(run(case, exact, qemu=qemu, kernel=kernel))
    assert request["status"] == "ok"
    assert request["userspace_exits"] == case.exits
    assert request["irqs"] == case.irqs
    assert request["irq_line_ioctls"] == (case.ioctls_old if qemu == "1.6" else case.ioctls_new)


def test_nine_worked_cases() -> None:
    assert [case.exits for case in WORKED.values()] == [275, 147, 1043, 2102, 26, 31, 12, 20, 69]


# Hardware exits beside those to userspace: the sleeping vCPU is woken without an exit, each interrupt ends by an EOI.
@MODES
@pytest.mark.parametrize(("eoi", "reason"), [("apic-access", "APIC_ACCESS"), ("x2apic", "MSR_WRITE"), ("none", None)])
@pytest.mark.parametrize("name", ["0x30, 4 KiB, 16-bit", "0xCA, 4 KiB", "0xC4, 40 sectors"])
def test_end_of_interrupt_is_one_exit_that_stays_in_the_kernel(
    name: str, eoi: str, reason: str | None, exact: bool
) -> None:
    case = CASES[name]
    result = run(case, exact, qemu="1.6", kernel="3.10", eoi=eoi)
    ends = case.irqs if reason else 0
    assert last(result)["exits"] == case.exits + ends
    counted: dict[Any, Any] = result.exits.set_index(["reason", "userspace"])["count"].to_dict()
    assert counted.pop(("IO_INSTRUCTION", True)) == case.exits
    counted.pop(("HLT", False))
    assert counted == ({(reason, False): ends} if reason else {})


@pytest.mark.parametrize(("kernel", "exits"), [("3.10", 27), ("6.1", 26)])
def test_default_end_of_interrupt_depends_on_the_kernel(kernel: str, exits: int) -> None:
    request = last(run(CASES["0xCA, 4 KiB"], qemu="7.2", kernel=kernel))
    assert (request["exits"], request["userspace_exits"]) == (exits, 26)


def per_port(result: Result) -> dict[str, int]:
    """Accesses of the last request by direction and port."""
    assert result.accesses is not None
    mine = result.accesses[result.accesses["request"] == last(result)["request"]]
    return dict(Counter(f"{'W' if r.direction == 'out' else 'R'} {r.port:x}" for r in mine.itertuples()))


def task_file(times: int) -> dict[str, int]:
    return {f"W 1f{n}": times for n in range(1, 6)} if times else {}


@MODES
@pytest.mark.parametrize(("sectors", "blocks"), [(1, 1), (16, 1), (17, 2), (40, 3)])
@pytest.mark.parametrize(("sector", "loads"), [(0, 1), (LBA48, 2)])
@pytest.mark.parametrize("op", ["R", "W"])
def test_accesses_per_port_of_a_pio_mode_command(
    op: str, sector: int, loads: int, sectors: int, blocks: int, exact: bool
) -> None:
    result = run(Case(MULTIPLE, (AT, op, sector, sectors), 0, 0, 0, 0), exact, qemu="7.2", kernel="6.1")
    assert per_port(result) == {
        "R 1f7": 4 + blocks,
        "R 3f6": 2 + 2 * blocks,
        **task_file(loads),
        "W 1f6": 2,
        "W 1f7": 1,
        "R c002": blocks,
        "W c002": blocks,
        **({"W 1f0": 128 * sectors} if op == "W" else {"R 1f0": sectors}),
    }


@MODES
@pytest.mark.parametrize(("sector", "loads"), [(0, 1), (LBA48, 2)])
@pytest.mark.parametrize("op", ["R", "W"])
def test_accesses_per_port_of_a_dma_command(op: str, sector: int, loads: int, exact: bool) -> None:
    result = run(Case(DMA, (AT, op, sector, 40), 0, 0, 0, 0), exact, qemu="7.2", kernel="6.1")
    assert per_port(result) == {
        "R 1f7": 4,
        "R 3f6": 4,
        **task_file(loads),
        "W 1f6": 2,
        "W 1f7": 1,
        "R c000": 3,
        "W c000": 3,
        "R c002": 2,
        "W c002": 1,
        "W c004": 1,
    }


@MODES
@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_accesses_per_port_of_a_flush(qemu: str, exact: bool) -> None:
    result = run(CASES["0xE7"], exact, qemu=qemu, kernel="3.10")
    assert per_port(result) == {"R 1f7": 4, "R 3f6": 3, "W 1f6": 2, "W 1f7": 1, "R c002": 1, "W c002": 1}


@MODES
def test_flush_of_a_large_drive_has_as_many_exits(exact: bool) -> None:
    result = run(Case({**DMA, "size": "200GiB"}, (AT, "F", 0, 0), 12, 1, 5, 12), exact, qemu="1.6", kernel="3.10")
    assert last(result)["userspace_exits"] == 12


@MODES
@pytest.mark.parametrize(("multiple", "blocks"), [(1, 16), (2, 8), (4, 4), (8, 2), (16, 1)])
@pytest.mark.parametrize("op", ["R", "W"])
def test_device_and_driver_agree_on_the_sectors_of_a_block(op: str, multiple: int, blocks: int, exact: bool) -> None:
    drive = {**MULTIPLE, "multiple": multiple}
    request = last(run(Case(drive, (AT, op, 0, 16), 0, 0, 0, 0), exact, qemu="7.2", kernel="6.1"))
    assert request["irqs"] == blocks
    assert request["userspace_exits"] == 14 + 5 * blocks + (16 * 128 if op == "W" else 16)


# 300 sectors at sector 0 do not fit LBA28's count: EXT, one command of 19 blocks. Split in two they are LBA28 both.
@MODES
@pytest.mark.parametrize(("max_sectors", "commands", "loads"), [(1024, 1, 2), (256, 2, 1)])
def test_each_part_of_a_split_request_is_a_command(max_sectors: int, commands: int, loads: int, exact: bool) -> None:
    drive = {**DMA, "max_sectors": max_sectors}
    result = run(Case(drive, (AT, "W", 0, 300), 0, 0, 0, 0), exact, qemu="7.2", kernel="6.1")
    assert last(result)["userspace_exits"] == commands * (21 + 5 * loads)
    assert last(result)["irqs"] == commands


# The bare-metal guest moves a whole block of 16 sectors by one string instruction: 1024 bytes per exit.
@MODES
@pytest.mark.parametrize(("width", "per_exit"), [(16, 512), (32, 256)])
def test_one_rep_ins_over_eight_kib_takes_eight_exits(width: int, per_exit: int, exact: bool) -> None:
    drive = {"driver": "bare-poll", "transfer": "pio", "data_width": width, "multiple": 16}
    result = run(Case(drive, (AT, "R", 0, 16), 0, 0, 0, 0), exact, qemu="7.2", kernel="6.1")
    assert result.accesses is not None
    data = result.accesses[result.accesses["port"] == 0x1F0]
    assert data["count"].tolist() == [per_exit] * 8


@pytest.mark.parametrize("driver", ["bare-poll", "bare-irq"])
def test_bare_metal_dma_command_has_thirteen_accesses_and_its_polls(driver: str) -> None:
    drive = {"driver": driver, "transfer": "dma", "multiple": 1}
    result = run(Case(drive, (AT, "W", 0, 8), 0, 0, 0, 0), qemu="7.2", kernel="6.1")
    counts = per_port(result)
    polls = 0
    if driver == "bare-poll":
        polls = counts["R c002"] - 1
        counts["R c002"] = 1
    eois = {"W a0": 1, "W 20": 1} if driver == "bare-irq" else {}
    assert counts == {
        "W c004": 1,
        "W c000": 3,
        "W c002": 1,
        "W 1f6": 1,
        **{f"W 1f{n}": 1 for n in (2, 3, 4, 5)},
        "W 1f7": 1,
        "R 1f7": 1,
        "R c002": 1,
        **eois,
    }
    assert sum(counts.values()) - len(eois) == 13
    assert (polls > 0) == (driver == "bare-poll")
