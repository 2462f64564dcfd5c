"""replay = "ports": a guest's recorded port accesses, made again on the simulated device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import iosim
from iosim.model.errors import TraceError
from iosim.model.trace import Trace
from iosim.report.port_table import port_accesses
from iosim.results.result import Result
from iosim.results.terminal import headline
from iosim.simulation import run_and_tabulate
from iosim.traces.accesses import Access
from tests.access_rows import BM_COMMAND, BM_PRD, BM_STATUS, BUSY, CONTROL, DATA, DRQ, READY, STATUS, Recorder, recorded
from tests.support import STAGES, check, constant_profile, scenario
from tests.test_access_order import joined, recordings, simulated, without_busy_polls

MS = 1_000_000
DIFFERENCES = ("stalls", "missed_interrupts", "ignored_commands", "aborted_commands", "incomplete_commands")


def replay(
    trace: Trace, exact: bool = False, disk: str = "90us", drive: dict[str, Any] | None = None, **vm: Any
) -> Result:
    described = scenario(
        [{"replay": "ports", "size": "64MiB", **(drive or {})}],
        disks=[{"model": "constant", "service": disk}],
        run={"log": "ports", "exact_exits": exact},
        **vm,
    )
    result = run_and_tabulate(described, constant_profile(), {(0, 0): trace})
    check(result)
    return result


def made(result: Result) -> list[str]:
    """Direction and port of every access."""
    assert result.accesses is not None
    ports = zip(result.accesses["direction"], result.accesses["port"], strict=True)
    return [f"{'W' if direction == 'out' else 'R'}{port:x}" for direction, port in ports]


def written(rows: Sequence[Access]) -> list[str]:
    return [f"{'W' if row.write else 'R'}{row.port:x}" for row in rows]


def counts(result: Result) -> dict[str, int]:
    found: dict[str, int] = result.summary["traces"][0]["ports"]
    return found


# What was recorded of real guests (traces/accesses)


def shipped(name: str, recording: str, n_rows: int | None) -> list[Access]:
    rows = []
    for row in recordings(name)[recording][:n_rows]:
        write, value = row.direction == "out", -1 if row.value is None else row.value
        rows += [Access(0, 0, write, row.port, row.width, row.items, value, -1, False, 1)] * row.times
    return [row._replace(line=line) for line, row in enumerate(rows, start=1)]


LINUX = {"dma_seq_none_threads_full": 10_000, "pio32_seq_none_threads_full": 1_500, "pio16_seq_none_threads_full": 800}


@pytest.mark.parametrize("recording", LINUX)
def test_accesses_of_linux_guests_are_made_again(tmp_path: Path, recording: str) -> None:
    rows = shipped("linux.csv.gz", recording, LINUX[recording])
    result = replay(recorded(rows, tmp_path, multiple=16), drive={"multiple": 16})
    expected = recordings("linux.csv.gz")[recording][: LINUX[recording]]
    assert joined(simulated(result)) == joined(row[:5] for row in expected)
    commands = [row.value for row in rows if row.write and row.port == STATUS]
    assert result.summary["requests"]["done"] == len(result.requests) == len(commands)
    assert counts(result)["accesses"] == counts(result)["made"] == len(rows)
    assert not any(counts(result).get(key) for key in (*DIFFERENCES, "left_out"))


@pytest.mark.parametrize("recording", list(recordings("bare.csv.gz")))
def test_accesses_of_bare_metal_guests_are_made_again(tmp_path: Path, recording: str) -> None:
    """All but the reads that found the device busy: how many there are of these is up to the disk."""
    rows = shipped("bare.csv.gz", recording, None)
    polls = "irq" not in recording
    multiple = {"wc5_outw_8_none.ftl": 8, "rc4_repinsw_64_none.ftl": 16}.get(recording, 1)
    drive = {"multiple": multiple, "string": "rep" in recording}
    result = replay(recorded(rows, tmp_path, multiple=multiple), disk="0s", drive=drive)
    expected = joined(without_busy_polls(recordings("bare.csv.gz")[recording], bus_master=polls))
    assert joined(by_one_poll(simulated(result))) == joined(by_one_poll(expected))
    assert not any(counts(result)[key] for key in DIFFERENCES)


def by_one_poll(accesses: Sequence[tuple[str, int, int, int, int]]) -> list[tuple[str, int, int, int, int]]:
    """Reads of one status register in a row as one, on both sides."""
    kept: list[tuple[str, int, int, int, int]] = []
    for access in accesses:
        if not kept or access != kept[-1] or access[0] == "out" or access[1] not in (STATUS, BM_STATUS):
            kept.append(access)
    return kept


def test_recorded_accesses_take_as_long_as_those_of_the_described_driver() -> None:
    """One program: once as the accesses that it made, once as the description of its driver, on one profile and disk.

    The repetitions of the measurement differ by more (docs/validation.md).
    """
    folder = Path(__file__).parents[1] / "scenarios"
    means = {
        name: iosim.simulate(iosim.load(folder / name, ["run.slowest=0"])).summary["latency_ns"]["percentile"][
            "50.000000"
        ]
        for name in ("port-accesses.toml", "validation/dma_w_irq_8.toml")
    }
    replayed, described = means.values()
    assert abs(replayed / described - 1) < 0.06


# Times, by hand: every cost 100 ns, as in test_timelines


@pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])
def test_one_dma_write_with_recorded_times(tmp_path: Path, exact: bool) -> None:
    """Nine accesses up to the start, 1 us of guest code before each, then the interrupt and one status read.

    The time before the first access is no part of the request; that behind the interrupt is the profile's.
    """
    r = Recorder()
    r.dma(0)
    r.inp(STATUS, READY)
    trace = recorded([row._replace(guest_ns=1_000) for row in r.rows], tmp_path)
    (request,) = replay(trace, exact).requests.to_dict("records")
    assert {stage.removesuffix("_ns"): request[stage] for stage in STAGES if request[stage]} == {
        "guest_run": 8 * 1_000 + 100,
        "vm_exit": 10 * 700,
        "kvm_exit_handling": 10 * 600,
        "qemu_dispatch": 2 * 700 + 5 * 800 + 1_200 + 600 + 1_100,  # bus master, task file, command, start, status
        "qemu_submit": 800,
        "vm_entry": 8 * 500 + (500 + 100),
        "aio_wait": 500,
        "aio_worker": 500,
        "disk_service": 90_000,
        "completion_wait": 200,
        "completion": 600,
        "irq_delivery": 600,
    }
    assert (request["exits"], request["irqs"], request["status"]) == (10, 1, "ok")


def two_commands(**second: Any) -> list[Access]:
    r = Recorder()
    r.dma(0)
    r.inp(STATUS, READY)
    r.dma(8, **second)
    r.inp(STATUS, READY)
    return r.rows


def between(result: Result) -> int:
    first, second = result.requests.to_dict("records")
    return int(second["arrival_ns"] - first["done_ns"])


def test_a_pause_without_recorded_guest_time(tmp_path: Path) -> None:
    """10 ms between two accesses, less one write to the bus master: 7 + 6 + 7 + 5 costs of 100 ns."""
    result = replay(recorded(two_commands(after_us=10_000), tmp_path))
    assert between(result) == 10 * MS - 2_500


def test_a_pause_in_which_the_guest_computed(tmp_path: Path) -> None:
    result = replay(recorded(two_commands(after_us=10_000, guest_ns=3 * MS), tmp_path))
    assert between(result) == 3 * MS
    assert "HLT" in result.exits["reason"].tolist()  # while it waited for the interrupts


def test_a_pause_in_which_the_guest_halted(tmp_path: Path) -> None:
    """Of 10 ms it ran 1 ms; HLT and the wake-up come with it."""
    result = replay(recorded(two_commands(after_us=10_000, guest_ns=MS, halted=True), tmp_path))
    halts = result.exits[result.exits["reason"] == "HLT"]
    assert 10 * MS <= between(result) < 10 * MS + 5_000
    assert abs(int(halts["max_ns"].iloc[0]) - 9 * MS) < 1_000


def test_words_of_the_data_port_share_their_time(tmp_path: Path) -> None:
    """The guest's time adds up: 4 us and 255 times 1,003 ns before 256 words."""
    r = Recorder()
    r.task_file(1, 0)
    r.out(STATUS, 0x30)
    for number in range(256):
        r.add(True, DATA, 0, size=2, guest_ns=1_003 if number else 4_000)
    r.inp(STATUS, READY)
    result = replay(recorded(r.rows, tmp_path), drive={"string": False})
    guest_run = int(result.requests["guest_run_ns"].iloc[0])
    assert guest_run == 4_000 + 255 * 1_003 + 6 * 100  # five register writes behind the first, and the status read


# Waiting


def polling(busy: Sequence[int], control: int | None = 0x0A) -> list[Access]:
    """A DMA write whose guest polls the bus master: 10 us of its own before the first read, 2 us between two."""
    r = Recorder()
    if control is not None:
        r.out(CONTROL, control)
    r.dma(0)
    for number, value in enumerate([*busy, 4]):
        r.inp(BM_STATUS, value, guest_ns=2_000 if number else 10_000)
    r.inp(STATUS, READY)
    r.out(BM_COMMAND, 0)
    return r.rows


@pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])
def test_a_loop_lasts_until_the_device_is_ready(tmp_path: Path, exact: bool) -> None:
    """A read takes 2.6 us in the host and 2 us in the guest: with a disk of 90 us some twenty of them, not three."""
    trace = recorded(polling([1, 1]), tmp_path)
    result = replay(trace, exact)
    reads = made(result).count(f"R{BM_STATUS:x}")
    assert (90_000 - 10_000) / 4_600 < reads < (100_000 - 10_000) / 4_600 + 1
    assert counts(result)["busy_reads"] == 2
    assert made(replay(trace, exact, disk="0s")).count(f"R{BM_STATUS:x}") < reads / 2
    assert result.requests["irqs"].tolist() == [0]


def test_a_guest_that_polls_with_interrupts_on_gets_none(tmp_path: Path) -> None:
    """Two reads in a row that find the device busy are a loop: the interrupt is raised, but masked."""
    result = replay(recorded(polling([1, 1], control=0x08), tmp_path))
    assert made(result).count(f"R{BM_STATUS:x}") > 10
    request = result.requests.iloc[0]
    assert (request["irqs"], request["irq_line_ioctls"]) == (0, 2 + 2 + 2)  # command, end, status read
    assert set(result.exits["reason"]) == {"IO_INSTRUCTION"}


@pytest.mark.parametrize(
    ("busy", "control", "completion", "waits"),
    [
        ([], None, "auto", "interrupt"),
        ([1], 0x08, "auto", "interrupt"),
        ([1, 1], None, "auto", "poll"),
        ([], 0x0A, "auto", "poll"),
        ([1, 1], 0x08, "interrupt", "interrupt"),
        ([], 0x08, "poll", "poll"),
    ],
)
def test_how_the_guest_waits(tmp_path: Path, busy: list[int], control: int | None, completion: str, waits: str) -> None:
    rows = polling(busy, control)
    result = replay(recorded(rows, tmp_path, completion=completion))
    halted = "HLT" in result.exits["reason"].tolist()
    assert (waits == "interrupt") == halted == bool(result.requests["irqs"].iloc[0])
    if halted:
        assert made(result) == written(rows)  # reads that found the device busy are made as often as they were


def test_the_device_is_waited_for_where_the_recording_does_not_show_how(tmp_path: Path) -> None:
    """With interrupts off the guest goes on without a look at the device, which was faster when it was recorded."""
    r = Recorder()
    r.out(CONTROL, 0x0A)
    r.dma(0)
    r.dma(8)
    r.inp(STATUS, READY)
    result = replay(recorded(r.rows, tmp_path), disk="2ms")
    assert made(result)[: len(r.rows)] == written(r.rows)
    assert (result.requests["latency_ns"] > 2 * MS).all()
    assert counts(result)["stalls"] == 1


def test_words_wait_for_a_device_with_smaller_blocks(tmp_path: Path) -> None:
    """Four sectors in a row; a device with blocks of two is busy behind the first, and the guest has to wait."""
    r = Recorder()
    r.task_file(4, 0)
    r.out(STATUS, 0xC5)
    for _ in range(4 * 256):
        r.add(True, DATA, 0, size=2)
    r.inp(STATUS, READY)
    for multiple, stalls in ((4, 0), (2, 1)):
        result = replay(recorded(r.rows, tmp_path, multiple=4), drive={"multiple": multiple})
        assert made(result) == written(r.rows)
        assert counts(result)["stalls"] == stalls
        assert result.requests["status"].tolist() == ["ok"]


def test_an_interrupt_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    """A command without its data: nothing is under way, so the status read is made at once."""
    r = Recorder()
    r.dma(0)
    r.inp(STATUS, READY)
    r.task_file(1, 0)
    r.out(STATUS, 0x30)
    r.add(True, DATA, 0, size=2)
    r.dma(16)
    r.inp(STATUS, READY)
    result = replay(recorded(r.rows, tmp_path))
    assert made(result) == written(r.rows)
    assert result.requests["status"].tolist() == ["ok", "unfinished", "error"]
    assert (counts(result)["incomplete_commands"], counts(result)["ignored_commands"]) == (1, 1)
    assert counts(result)["missed_interrupts"] == 1


def test_commands_that_are_no_requests(tmp_path: Path) -> None:
    """IDENTIFY: the device aborts it with an interrupt; its 256 words are read. SET MULTIPLE MODE is carried out."""
    r = Recorder()
    r.out(0x1F6, 0xE0)
    r.out(STATUS, 0xEC)
    r.inp(STATUS, DRQ)
    r.add(False, DATA, 0, size=2, items=256)
    r.out(0x1F2, 4)
    r.out(STATUS, 0xC6)
    r.inp(STATUS, READY)
    r.task_file(8, 0)
    r.out(STATUS, 0xC4)
    for _ in range(2):
        r.inp(STATUS, DRQ)
        r.add(False, DATA, 0, size=2, items=1024)
    result = replay(recorded(r.rows, tmp_path), drive={"multiple": 16})
    assert made(result) == written(r.rows)
    assert result.requests[["op", "sectors", "irqs", "status"]].to_numpy().tolist() == [["R", 8, 2, "ok"]]
    assert counts(result)["aborted_commands"] == 1
    assert counts(result)["missed_interrupts"] == 0


# Whose accesses


def with_others() -> list[Access]:
    r = Recorder()
    r.out(0x3F8, 65)
    r.dma(0)
    r.out(0x172, 0xA1)
    r.inp(STATUS, READY)
    r.out(0xA0, 0x20)
    r.out(0x20, 0x20)
    r.vcpu = 1
    r.inp(0x60, 0)
    return r.rows


@pytest.mark.parametrize("other_channel", [True, False])
def test_accesses_of_other_ports(tmp_path: Path, other_channel: bool) -> None:
    """The serial port and the 8259s are of no channel; vCPU 1 uses no disk at all."""
    rows = with_others()
    result = replay(recorded(rows, tmp_path, other_channel=other_channel))
    left_out = ["R60"] if other_channel else ["R60", "W172"]
    assert made(result) == [access for access in written(rows) if access not in left_out]
    found = counts(result)
    assert (found["accesses"], found["left_out"], found["of_other_channel"]) == (len(rows), len(left_out), 1)
    by_reason = result.exits.set_index(["reason", "userspace"])["count"]
    assert by_reason["IO_INSTRUCTION", False] == 2  # the kernel's own 8259s


def test_a_drive_may_have_another_place_than_the_recorded_one(tmp_path: Path) -> None:
    """The secondary slave, with its bus master at 0xf048, on the primary master."""
    r = Recorder()
    r.dma(8)
    r.inp(BM_STATUS, 4)
    r.inp(STATUS, READY)
    r.out(BM_COMMAND, 0)
    ports = {BM_COMMAND: 0xF048, BM_STATUS: 0xF04A, BM_PRD: 0xF04C}
    rows = [
        row._replace(
            port=ports.get(row.port, row.port - 0x80), value=row.value | 0x10 if row.port == 0x1F6 else row.value
        )
        for row in r.rows
    ]
    result = replay(recorded(rows, tmp_path))
    assert made(result) == written(r.rows)
    assert result.requests[["op", "sector", "sectors", "status"]].to_numpy().tolist() == [["W", 8, 8, "ok"]]


def test_accesses_of_two_vcpus_are_made_in_their_order(tmp_path: Path) -> None:
    """The command on vCPU 1, its interrupt on vCPU 0."""
    r = Recorder()
    for lba in (0, 8):
        r.vcpu = 1
        r.dma(lba)
        r.vcpu = 0
        r.inp(BM_STATUS, 4)
        r.inp(STATUS, READY)
    result = replay(recorded(r.rows, tmp_path), vcpus=2, drive={"vcpu": 1})
    assert made(result) == written(r.rows)
    assert result.accesses is not None
    assert set(result.accesses["vcpu"]) == {1}
    assert result.requests["status"].tolist() == ["ok", "ok"]


def test_the_run_goes_on_behind_the_last_request(tmp_path: Path) -> None:
    r = Recorder()
    r.dma(0)
    r.inp(STATUS, READY)
    r.out(0x3F8, 65)
    r.out(0x3F8, 66)
    assert made(replay(recorded(r.rows, tmp_path))) == written(r.rows)


def test_a_vm_that_ends_makes_no_more_accesses(tmp_path: Path) -> None:
    rows = two_commands(after_us=10_000)
    result = replay(recorded(rows, tmp_path), event=[{"at": "5ms", "kind": "shutdown"}])
    assert made(result) == written(rows)[:10]
    assert result.requests["status"].tolist() == ["ok"]


def test_the_account_is_shown(tmp_path: Path) -> None:
    """On the terminal and on the page; the table has no row for what there was none of."""
    rows = with_others()
    rows += [row._replace(at_ns=MS) for row in rows[1:9]]  # up to the command, without the start of the bus master
    result = replay(recorded(rows, tmp_path))
    assert "\nport accesses: 23 recorded; left out: 1; incomplete commands: 1" in headline(result).plain
    table = port_accesses(result)
    assert table is not None
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["recorded", "23"],
        ["left out", "1"],
        ["with the guest's recorded time", "0"],
        ["of other devices' ports", "4"],
        ["of the other channel", "1"],
        ["commands without their data or start", "1"],
    ]


# What cannot be replayed


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda r: r.out(STATUS, 0xEC), "a.csv: has no read, write or flush command among its port accesses"),
        (
            lambda r: (r.task_file(8, 0), r.out(STATUS, 0xCA)),
            "a.csv:7: a DMA command must be followed by the write that starts the bus master",
        ),
        (lambda r: (r.task_file(8, 0), r.add(True, STATUS, -1)), "a.csv:7: a register write must have its value"),
        (
            lambda r: (r.dma(0), r.task_file(8, 0, 0xF0), r.out(STATUS, 0x20)),
            "a.csv: has requests of several devices (0x1f0 master, 0x1f0 slave)",
        ),
    ],
)
def test_recordings_that_cannot_be_replayed(tmp_path: Path, rows: Any, message: str) -> None:
    r = Recorder()
    rows(r)
    with pytest.raises(TraceError) as error:
        recorded(r.rows, tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/{message}")


def test_status_reads_between_two_commands_are_parted_by_the_longest_pause(tmp_path: Path) -> None:
    """R 3f6 of the one 10 us behind its end, a second later R 1f7 of the next, as libata makes them."""
    r = Recorder()
    r.dma(0)
    r.inp(STATUS, READY)
    r.inp(CONTROL, READY)
    r.inp(STATUS, READY, after_us=1_000_000)
    r.dma(8)
    r.inp(STATUS, BUSY)
    r.inp(STATUS, READY)
    sequence = recorded(r.rows, tmp_path).ports
    assert sequence is not None
    marked = [(at, step.begins, step.ends) for at, step in enumerate(sequence.steps)]
    assert [mark for mark in marked if mark[1:] != (-1, -1)] == [(0, 0, -1), (10, -1, 0), (11, 1, -1), (22, -1, 1)]
