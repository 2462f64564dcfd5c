"""The recorded bare-metal guests (real mode, no operating system): bare-poll and bare-irq, as a description.

From their assembly, which is recorded with them (traces/README.md): registers in order, a loop or one string
instruction per DRQ block, and either status polls with nIEN set or HLT with an interrupt handler that reads the
status and ends the interrupt at both 8259s.
"""

from iosim.guest.access import AccessBinder, DataBlock, Spec, read, write
from iosim.guest.command import Command
from iosim.guest.cpu import Channel, GuestCpu, Ops
from iosim.guest.kernel import pic_eoi
from iosim.guest.libata import BUSY, DataPhase
from iosim.kvm import Exit, ExitReason
from iosim.model.ata import Reg, Transfer
from iosim.model.steps import Mode

BM_ACTIVE = 0x01
PIC_SLAVE, PIC_MASTER = 0xA0, 0x20

DMA_SETUP: tuple[Spec, ...] = (
    write(Reg.BM_PRD, "prd", "bm_prd"),
    write(Reg.BM_COMMAND, "direction", "bm_direction"),
    write(Reg.BM_STATUS, "bm_clear", "bm_clear"),
)
TASK_FILE: tuple[Spec, ...] = (
    write(Reg.DEVICE, "device", "task_file"),
    write(Reg.NSECTOR, "nsector", "task_file"),
    write(Reg.SECTOR, "lbal", "task_file"),
    write(Reg.LCYL, "lbam", "task_file"),
    write(Reg.HCYL, "lbah", "task_file"),
)
COMMAND: Spec = write(Reg.COMMAND, "command", "command")
DMA_START: Spec = write(Reg.BM_COMMAND, "start", "bm_start")
DMA_END: tuple[Spec, ...] = (read(Reg.BM_STATUS, "bm_status"), write(Reg.BM_COMMAND, "zero", "bm_stop"))
WAIT_NOT_BUSY: Spec = read(Reg.COMMAND, "waitnb")
WAIT_BM_IDLE: Spec = read(Reg.BM_STATUS, "bm_active")
IRQ_STATUS: Spec = read(Reg.COMMAND, "irq14")


class Bare:
    """A bare-metal guest's way through one command; *polls* chooses between status polls and interrupts."""

    ends_interrupt_first = False
    recovers = False

    def __init__(
        self,
        cpu: GuestCpu,
        channel: Channel,
        binder: AccessBinder,
        kernel: str,
        width: int,
        string: bool,
        polls: bool,
    ) -> None:
        self._cpu = cpu
        self._channel = channel
        self._polls = polls
        self._data = DataPhase(binder, kernel, width, string, "data_block", "data_block")
        self._blocks: dict[tuple[bool, int], DataBlock] = {}
        queued = binder.binder.path(("guest.block_layer", "next_request"), mode=Mode.GUEST)
        self._queued = queued
        self._dma = binder.section(*DMA_SETUP, *TASK_FILE, COMMAND, before=queued)
        self._pio_write = binder.section(*TASK_FILE, COMMAND, before=queued)
        self._task_file = binder.section(*TASK_FILE, before=queued)
        self._command = binder.access(COMMAND)
        self._start = binder.access(DMA_START, "guest.bm_start")
        self._end = binder.section(*DMA_END)
        self._waitnb = binder.access(WAIT_NOT_BUSY)
        self._bm_idle = binder.access(WAIT_BM_IDLE)
        self._irq_status = binder.section(IRQ_STATUS)
        self._return = binder.binder.path("guest.interrupt_return", mode=Mode.GUEST)
        self._eoi = binder.binder.path("guest.eoi", mode=Mode.GUEST)

    def issue(self, command: Command) -> Ops:
        """Registers and command; then, if it polls, everything up to the end. True if the command is complete."""
        cpu, channel = self._cpu, self._channel
        if command.is_flush:
            yield self._queued
            yield from cpu.submitting_access(self._command, command, channel)
        elif command.transfer is Transfer.DMA:
            yield from cpu.section(self._dma, command, channel, more=True)
            yield from cpu.submitting_access(self._start, command, channel)
            if self._polls:
                yield from cpu.poll(self._bm_idle, channel, lambda status: not status & BM_ACTIVE)
                yield from self._wait_not_busy()
                yield from cpu.section(self._end, command, channel)
                return True
            return False
        elif command.is_write:
            yield from cpu.section(self._pio_write, command, channel)
            yield from self._wait_not_busy()
            yield from self._block(command)
        else:
            yield from cpu.section(self._task_file, command, channel, more=True)
            yield from cpu.submitting_access(self._command, command, channel)
        if not self._polls:
            return False
        complete = False
        while not complete:
            yield from self._wait_not_busy()
            complete = yield from self._goes_on(command)
        return True

    def needs_work(self, command: Command) -> bool:
        """There is no work queue."""
        return False

    def work(self, command: Command) -> Ops:
        """There is no work queue."""
        yield from ()

    def interrupt(self, command: Command) -> Ops:
        """irq14: status read, both EOIs; then the code that HLT had stopped goes on."""
        cpu = self._cpu
        yield from cpu.section(self._irq_status, command, self._channel)
        for port in (PIC_SLAVE, PIC_MASTER):
            yield self._eoi
            yield Exit(ExitReason.IO_INSTRUCTION, pic_eoi(port), request=command.request)
        yield self._return
        if command.transfer is Transfer.DMA and not command.is_flush:
            yield from cpu.section(self._end, command, self._channel)
            return True
        return (yield from self._goes_on(command))

    def recover(self, command: Command) -> Ops:
        """It has no error handler."""
        yield from ()

    def _goes_on(self, command: Command) -> Ops:
        """The device is ready: move the next block, if there is one; True when the command is complete, or failed."""
        if command.is_flush or self._channel.failed:
            return True
        if command.is_write and not command.sectors_left:
            return True
        yield from self._block(command)
        return not command.is_write and not command.sectors_left

    def _wait_not_busy(self) -> Ops:
        yield from self._cpu.poll(self._waitnb, self._channel, lambda status: not status & BUSY)

    def _block(self, command: Command) -> Ops:
        sectors = min(command.block_sectors, command.sectors_left)
        command.sectors_left -= sectors
        key = (command.is_write, sectors)
        if key not in self._blocks:
            self._blocks[key] = self._data.block(command.is_write, sectors, sectors)
        yield from self._cpu.data(self._blocks[key], self._channel)
