"""The IDE device as a guest sees it through its ports: status over a command, task file, bus master, interrupts."""

from collections.abc import Generator
from typing import Any

import pytest

from tests.port_guest import DISK_NS, PortGuest
from tests.support import Row, scenario, simulate

STATUS, COMMAND, ALT, DATA, ERROR = 0x1F7, 0x1F7, 0x3F6, 0x1F0, 0x1F1
BM_COMMAND, BM_STATUS, BM_PRD = 0xC000, 0xC002, 0xC004
BOTH = pytest.mark.parametrize("qemu", ["1.6", "7.2"])

Code = Generator[Any, Any, None]


def seen(program: Any, **machine: Any) -> tuple[list[int], PortGuest]:
    """What the program appended to its list, and the machine after it."""
    values: list[int] = []

    def code(guest: PortGuest) -> Code:
        yield from program(guest, values)

    return values, PortGuest(code, **machine).run()


# Status over a command


@BOTH
@pytest.mark.parametrize("command", [0x30, 0x34])
def test_status_over_a_pio_write_of_two_blocks(command: int, qemu: str) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        values.append((yield from guest.inb(ALT)))
        # The device takes the high-order bytes of LBA48 from the write before: none were written, they are 0.
        yield from guest.task_file(2)
        yield from guest.outb(COMMAND, command)
        values.append((yield from guest.inb(ALT)))
        yield from guest.outsw(255)
        values.append((yield from guest.inb(ALT)))
        yield from guest.outsw(1)
        values.append((yield from guest.inb(ALT)))
        yield from guest.wait_for_interrupts(1)
        values.append((yield from guest.inb(STATUS)))
        yield from guest.outsw(256)
        values.append((yield from guest.inb(ALT)))
        yield from guest.wait_for_interrupts(2)
        values.append((yield from guest.inb(STATUS)))

    statuses, guest = seen(program, qemu=qemu)
    assert statuses == [0x50, 0x58, 0x58, 0xD0, 0x58, 0xD0, 0x50]
    assert len(guest.interrupts) == 2


@BOTH
def test_status_over_a_pio_read_of_two_blocks(qemu: str) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.task_file(2)
        yield from guest.outb(COMMAND, 0x20)
        values.append((yield from guest.inb(ALT)))
        yield from guest.wait_for_interrupts(1)
        values.append((yield from guest.inb(STATUS)))
        yield from guest.insw(256)  # the last word begins the next read
        values.append((yield from guest.inb(ALT)))
        yield from guest.wait_for_interrupts(2)
        values.append((yield from guest.inb(STATUS)))
        yield from guest.insw(255)
        values.append((yield from guest.inb(ALT)))
        yield from guest.insw(1)
        values.append((yield from guest.inb(ALT)))

    statuses, guest = seen(program, qemu=qemu)
    assert statuses == [0xD0, 0x58, 0xD0, 0x58, 0x58, 0x50]
    assert len(guest.interrupts) == 2


@pytest.mark.parametrize(("qemu", "transferring"), [("1.6", 0xD8), ("7.2", 0x58)])
def test_status_over_a_dma_command(qemu: str, transferring: int) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.task_file(8)
        yield from guest.outb(BM_PRD, 4096, 4)
        yield from guest.outb(COMMAND, 0xCA)
        values += [(yield from guest.inb(ALT)), (yield from guest.inb(BM_STATUS))]
        yield from guest.outb(BM_COMMAND, 0x01)
        values += [(yield from guest.inb(ALT)), (yield from guest.inb(BM_STATUS))]
        yield from guest.wait_for_interrupts(1)
        values += [(yield from guest.inb(ALT)), (yield from guest.inb(BM_STATUS))]

    values, _ = seen(program, qemu=qemu)
    assert values == [transferring, 0x00, transferring, 0x01, 0x50, 0x04]


@pytest.mark.parametrize("command", [0xE7, 0xEA])
def test_status_over_a_flush(command: int) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.outb(COMMAND, command)
        values.append((yield from guest.inb(ALT)))
        yield from guest.wait_for_interrupts(1)
        values.append((yield from guest.inb(STATUS)))

    statuses, _ = seen(program, qemu="1.6")
    assert statuses == [0xC0, 0x50]


# Task file


def transferred(registers: list[tuple[int, int]], command: int) -> tuple[int, int]:
    """Sectors and first sector that the device takes from these register writes and the command."""

    def program(guest: PortGuest, values: list[int]) -> Code:
        for port, value in registers:
            yield from guest.outb(port, value)
        yield from guest.outb(COMMAND, command)

    _, guest = seen(program)
    drive = guest.bus.drives[0]
    assert drive is not None
    return drive.nsector, drive.position


def test_lba28_address_is_in_three_registers_and_four_bits_of_the_device_register() -> None:
    written = [(0x1F2, 9), (0x1F3, 0x12), (0x1F4, 0x34), (0x1F5, 0x56), (0x1F6, 0xE7)]
    assert transferred(written, 0x30) == (9, 0x7563412)


def test_lba48_address_takes_each_register_twice_the_high_order_byte_first() -> None:
    high = [(0x1F2, 0x01), (0x1F3, 0xAB), (0x1F4, 0xCD), (0x1F5, 0xEF)]
    low = [(0x1F2, 0x02), (0x1F3, 0x12), (0x1F4, 0x34), (0x1F5, 0x56), (0x1F6, 0xE7)]
    assert transferred(high + low, 0x34) == (0x102, 0xEFCDAB563412)


def test_count_zero_is_256_sectors_and_65536_with_lba48() -> None:
    assert transferred([(0x1F2, 0), (0x1F6, 0xE0)], 0x30) == (256, 0)
    assert transferred([(0x1F2, 0), (0x1F2, 0), (0x1F6, 0xE0)], 0x34) == (65536, 0)
    assert transferred([(0x1F2, 1), (0x1F2, 0), (0x1F6, 0xE0)], 0x34) == (256, 0)


def test_task_file_and_commands_are_ignored_while_the_device_wants_data() -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.task_file(2)
        yield from guest.outb(COMMAND, 0x30)
        yield from guest.outb(0x1F2, 7)
        yield from guest.outb(COMMAND, 0x00)
        values += [(yield from guest.inb(0x1F2)), (yield from guest.inb(ALT))]
        yield from guest.outsw()
        yield from guest.outb(0x1F2, 7)
        yield from guest.outb(COMMAND, 0x00)
        values += [(yield from guest.inb(0x1F2)), (yield from guest.inb(ALT))]

    values, _ = seen(program)
    assert values == [2, 0x58, 2, 0xD0]


def test_master_and_slave_share_the_task_file_and_the_device_register_chooses() -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.task_file(2)
        yield from guest.outb(0x1F6, 0xF0)
        values.append((yield from guest.inb(0x1F2)))
        yield from guest.outb(COMMAND, 0x30)
        values.append((yield from guest.inb(ALT)))

    values, guest = seen(program, drives=2)
    assert values == [2, 0x58]
    master, slave = guest.bus.drives
    assert master is not None
    assert slave is not None
    assert (master.status, slave.status) == (0x50, 0x58)


# Commands that are refused


@BOTH
@pytest.mark.parametrize("command", [0x00, 0x33, 0xFF])
def test_unknown_command_is_aborted_with_an_interrupt(command: int, qemu: str) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.outb(COMMAND, command)
        yield from guest.wait_for_interrupts(1)
        values += [(yield from guest.inb(STATUS)), (yield from guest.inb(ERROR))]

    values, guest = seen(program, qemu=qemu)
    assert values == [0x41, 0x04]
    assert len(guest.interrupts) == 1


@pytest.mark.parametrize(
    ("count", "status"),
    [(0, 0x50), (1, 0x50), (2, 0x50), (3, 0x41), (8, 0x50), (12, 0x41), (16, 0x50), (17, 0x41), (32, 0x41)],
)
def test_set_multiple_takes_powers_of_two_up_to_16(count: int, status: int) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.outb(0x1F2, count)
        yield from guest.outb(COMMAND, 0xC6)
        yield from guest.wait_for_interrupts(1)
        values.append((yield from guest.inb(STATUS)))

    values, guest = seen(program)
    assert values == [status]
    drive = guest.bus.drives[0]
    assert drive is not None
    assert drive.mult_sectors == (count if status == 0x50 else 16)


@pytest.mark.parametrize("command", [0xC4, 0x29, 0xC5, 0x39])
def test_multiple_commands_are_aborted_after_set_multiple_0(command: int) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.outb(0x1F2, 0)
        yield from guest.outb(COMMAND, 0xC6)
        yield from guest.wait_for_interrupts(1)
        yield from guest.inb(STATUS)
        yield from guest.task_file(8)
        yield from guest.outb(COMMAND, command)
        yield from guest.wait_for_interrupts(2)
        values.append((yield from guest.inb(STATUS)))

    assert seen(program)[0] == [0x41]


def test_write_multiple_takes_as_many_sectors_as_set_multiple_said() -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.outb(0x1F2, 2)
        yield from guest.outb(COMMAND, 0xC6)
        yield from guest.wait_for_interrupts(1)
        yield from guest.inb(STATUS)
        yield from guest.task_file(3)
        yield from guest.outb(COMMAND, 0xC5)
        for words, interrupts in ((512, 2), (256, 3)):
            yield from guest.outsw(words - 1)
            values.append((yield from guest.inb(ALT)))
            yield from guest.outsw(1)
            values.append((yield from guest.inb(ALT)))
            yield from guest.wait_for_interrupts(interrupts)
            values.append((yield from guest.inb(STATUS)))

    assert seen(program)[0] == [0x58, 0xD0, 0x58, 0x58, 0xD0, 0x50]


# Bus master


def test_only_a_change_of_start_begins_a_transfer_and_read_is_stored() -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.outb(BM_COMMAND, 0x08)
        values += [(yield from guest.inb(BM_COMMAND)), (yield from guest.inb(BM_STATUS))]
        yield from guest.outb(BM_COMMAND, 0xFF)
        values += [(yield from guest.inb(BM_COMMAND)), (yield from guest.inb(BM_STATUS))]
        yield from guest.outb(BM_COMMAND, 0x00)
        values += [(yield from guest.inb(BM_COMMAND)), (yield from guest.inb(BM_STATUS))]

    assert seen(program)[0] == [0x08, 0x00, 0x09, 0x01, 0x00, 0x00]


def test_transfer_begins_with_the_command_if_the_bus_master_was_started_before() -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.task_file(1)
        yield from guest.outb(BM_PRD, 512, 4)
        yield from guest.outb(BM_COMMAND, 0x01)
        yield from guest.outb(COMMAND, 0xCA)
        yield from guest.wait_for_interrupts(1)
        values += [(yield from guest.inb(STATUS)), (yield from guest.inb(BM_STATUS))]

    assert seen(program)[0] == [0x50, 0x04]


def test_second_start_without_a_stop_begins_nothing() -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        for number in (1, 2):
            yield from guest.task_file(1)
            yield from guest.outb(BM_PRD, 512, 4)
            yield from guest.outb(COMMAND, 0xCA)
            yield from guest.outb(BM_COMMAND, 0x01)
            if number == 1:
                yield from guest.wait_for_interrupts(1)
                yield from guest.inb(STATUS)
        values.append((yield from guest.inb(BM_STATUS)))

    values, guest = seen(program)
    assert values == [0x04]
    assert len(guest.interrupts) == 1


def test_bus_master_status_bits_1_and_2_are_cleared_by_ones_and_5_and_6_are_stored() -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.task_file(1)
        yield from guest.outb(BM_PRD, 512, 4)
        yield from guest.outb(COMMAND, 0xCA)
        yield from guest.outb(BM_COMMAND, 0x01)
        yield from guest.wait_for_interrupts(1)
        for written in (0x60, 0x22, 0x04, 0xFF):
            yield from guest.outb(BM_STATUS, written)
            values.append((yield from guest.inb(BM_STATUS)))

    assert seen(program)[0] == [0x64, 0x24, 0x00, 0x60]


@pytest.mark.parametrize("prd_bytes", [0, 7 * 512])
def test_too_short_a_prd_table_ends_the_command_without_an_interrupt(prd_bytes: int) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.task_file(8)
        yield from guest.outb(BM_PRD, prd_bytes, 4)
        yield from guest.outb(COMMAND, 0xCA)
        yield from guest.outb(BM_COMMAND, 0x01)
        values += [(yield from guest.inb(ALT)), (yield from guest.inb(BM_STATUS))]

    values, guest = seen(program)
    assert values == [0x50, 0x00]
    assert guest.interrupts == []


def test_bus_master_stays_active_after_a_transfer_shorter_than_its_prd_table() -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.task_file(1)
        yield from guest.outb(BM_PRD, 1024, 4)
        yield from guest.outb(COMMAND, 0xCA)
        yield from guest.outb(BM_COMMAND, 0x01)
        yield from guest.wait_for_interrupts(1)
        values += [(yield from guest.inb(STATUS)), (yield from guest.inb(BM_STATUS))]

    assert seen(program)[0] == [0x50, 0x05]


# Interrupts


@pytest.mark.parametrize(("control", "interrupts"), [(0x08, 1), (0x0A, 0)])
def test_nien_keeps_the_interrupt_away(control: int, interrupts: int) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.outb(ALT, control)
        yield from guest.task_file(1)
        yield from guest.outb(COMMAND, 0x30)
        yield from guest.outsw()

    _, guest = seen(program)
    assert len(guest.interrupts) == interrupts
    assert guest.bus.bm_status == (0x04 if interrupts else 0x00)
    assert guest.request.irqs == interrupts


# From the last word to the interrupt all writes are alike, but the first, for which a worker is created.
@pytest.mark.parametrize(("hack", "late"), [(False, []), (True, [16, 32])])
def test_every_16th_write_interrupt_is_a_millisecond_late_with_the_win2k_hack(hack: bool, late: list[int]) -> None:
    sent: list[int] = []

    def program(guest: PortGuest, values: list[int]) -> Code:
        for done in range(33):
            yield from guest.task_file(1)
            yield from guest.outb(COMMAND, 0x30)
            yield from guest.outsw(255)
            sent.append(guest.now_ns)
            yield from guest.outsw(1)
            yield from guest.wait_for_interrupts(done + 1)
            yield from guest.inb(STATUS)

    _, guest = seen(program, win2k_install_hack=hack)
    took = [at - begun for (at, _), begun in zip(guest.interrupts, sent, strict=True)]
    usual = took[1]
    assert DISK_NS < usual < DISK_NS + 10_000
    for number, ns in enumerate(took[1:], start=2):
        if number in late:
            # The callback ends without ide_set_irq; 1 ms later: main_loop.wake, dispatch, timer, then ide_set_irq.
            assert ns == usual + 1_000_000 + 3 * 100, number
        else:
            assert ns == usual, number


# One per change of level: 1 in 1.6, 2 in 7.2. A status read lowers the line, pending interrupt or not.
@pytest.mark.parametrize(("qemu", "per_read"), [("1.6", 1), ("7.2", 2)])
def test_every_status_read_lowers_the_line(qemu: str, per_read: int) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        for _ in range(3):
            yield from guest.inb(STATUS)

    assert seen(program, qemu=qemu)[1].request.irq_line_ioctls == 3 * per_read


@BOTH
def test_alternate_status_and_other_registers_leave_the_line_alone(qemu: str) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        for port in (ALT, 0x1F1, 0x1F2, 0x1F6, BM_STATUS, BM_COMMAND):
            yield from guest.inb(port)
        yield from guest.task_file(1)
        yield from guest.outb(BM_STATUS, 0x06)

    assert seen(program, qemu=qemu)[1].request.irq_line_ioctls == 0


@pytest.mark.parametrize(("qemu", "ioctls"), [("1.6", 0), ("7.2", 2)])
def test_command_write_lowers_the_line_since_6f52e69f46(qemu: str, ioctls: int) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        yield from guest.task_file(1)
        yield from guest.outb(COMMAND, 0x30)

    assert seen(program, qemu=qemu)[1].request.irq_line_ioctls == ioctls


# The line of the first interrupt is never lowered. 1.6: the second raise finds it high. 7.2: the command lowers it.
@pytest.mark.parametrize(("qemu", "interrupts", "ioctls"), [("1.6", 1, 2), ("7.2", 2, 8)])
def test_high_line_is_no_second_interrupt(qemu: str, interrupts: int, ioctls: int) -> None:
    def program(guest: PortGuest, values: list[int]) -> Code:
        for _ in range(2):
            yield from guest.task_file(1)
            yield from guest.outb(COMMAND, 0x30)
            yield from guest.outsw()
            while (yield from guest.inb(ALT)) != 0x50:
                pass

    _, guest = seen(program, qemu=qemu)
    assert len(guest.interrupts) == guest.request.irqs == interrupts
    assert guest.request.irq_line_ioctls == ioctls


# Flush, and the bottom halves of completions


def at_the_disk(rows: list[Row], qemu: str, cache: str = "none") -> list[int]:
    """How long each request was served by the disk, where a write takes 90 us and a flush 500 us."""
    disks = [{"model": "constant", "service": "90us", "flush": "500us"}]
    table = simulate(scenario(drives=[{"cache": cache}], disks=disks, qemu=qemu), rows).requests
    assert (table["status"] == "ok").all()
    return table["disk_service_ns"].tolist()


@pytest.mark.parametrize(("qemu", "again"), [("1.6", 500_000), ("7.2", 0)])
def test_flush_reaches_the_disk_since_2_7_only_after_a_write(qemu: str, again: int) -> None:
    rows: list[Row] = [(0, "F", 0, 0), (0, "W", 0, 1), (0, "F", 0, 0), (0, "F", 0, 0), (0, "R", 0, 1), (0, "F", 0, 0)]
    assert at_the_disk(rows, qemu) == [again, 90_000, 500_000, again, 90_000, again]


@BOTH
def test_directsync_flushes_after_every_write_and_needs_no_flush_of_the_guest(qemu: str) -> None:
    rows: list[Row] = [(0, "W", 0, 1), (0, "F", 0, 0), (0, "R", 0, 1), (0, "W", 0, 1)]
    assert at_the_disk(rows, qemu, "directsync") == [590_000, 0, 90_000, 590_000]


# What the main loop runs from the worker's end to the interrupt.
@pytest.mark.parametrize(
    ("qemu", "functions"),
    [
        (
            "1.6",
            [
                "event_notifier_ready",
                "bdrv_co_io_em_complete",
                "qemu_bh_schedule",
                "bdrv_co_em_bh",
                "ide_sector_write_cb",
                "ide_set_irq",
                "kvm_vm_ioctl_irq_line",
                "__apic_accept_irq",
            ],
        ),
        (
            "7.2",
            [
                "thread_pool_completion_bh",
                "aio_co_wake",
                "ide_sector_write_cb",
                "ide_set_irq",
                "kvm_vm_ioctl_irq_line",
                "__apic_accept_irq",
            ],
        ),
    ],
)
def test_up_to_1_6_a_completion_takes_one_more_bottom_half(qemu: str, functions: list[str]) -> None:
    drive = {"transfer": "pio", "multiple": 1}
    result = simulate(scenario(drives=[drive], qemu=qemu), [(1_000_000, "W", 0, 1)])
    spans = result.spans[result.spans["stage"] == "completion"]
    assert spans["function"].tolist() == functions
    # 1.6: poll and dispatch of one more turn, without another wake-up.
    assert result.requests["completion_ns"].tolist() == [100 * len(functions) + (100 if qemu == "1.6" else 0)]


# A flush that has nothing to do ends in the vCPU thread: the main loop is woken for the callback, and waits for the BQL
# until submit_return and mutex_unlock are done.
def test_flush_without_work_completes_by_a_bottom_half_in_7_2() -> None:
    request = simulate(scenario(), [(1_000_000, "F", 0, 0)]).requests.iloc[0]
    assert (request["aio_wait_ns"], request["aio_worker_ns"], request["disk_service_ns"]) == (0, 0, 0)
    assert request["completion_wait_ns"] == 200  # wake, dispatch
    assert request["bql_wait_ns"] == 100
    assert request["completion_ns"] == 500  # blk_aio_complete_bh, ide_flush_cb, ide_set_irq, irq_line, deliver_edge
