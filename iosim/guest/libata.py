"""Linux: libata's SFF driver (drivers/ata/libata-sff.c, libata-core.c; ata_piix on PIIX3), as a description.

Each constant is one function of libata with its accesses in order; `Libata` strings them together as ata_qc_issue,
ata_sff_pio_task and ata_bmdma_interrupt do. The delays are libata's own: udelay(10) before each status poll,
ndelay(400) after a command or a selection.
"""

from iosim.guest.access import AccessBinder, DataBlock, Section, Spec, read, write
from iosim.guest.command import Command
from iosim.guest.cpu import Channel, GuestCpu, Ops
from iosim.kvm import rep_ins_batches
from iosim.model.ata import Reg, Transfer
from iosim.model.steps import AccessKind, Delay, Mode, Path

UDELAY_10 = Delay(10_000, "udelay")
NDELAY_400 = Delay(400, "ndelay")

BUSY, DRQ = 0x80, 0x08

WAIT_IDLE = read(Reg.COMMAND, "ata_wait_idle", UDELAY_10)

ATA_DEV_SELECT: tuple[Spec, ...] = (
    WAIT_IDLE,
    write(Reg.DEVICE, "select", "ata_sff_dev_select"),
    read(Reg.CONTROL, "ata_sff_pause"),
    read(Reg.COMMAND, "ata_wait_idle", NDELAY_400, UDELAY_10),
)
ATA_SFF_TF_LOAD_HOB: tuple[Spec, ...] = (
    write(Reg.FEATURE, "zero", "ata_sff_tf_load"),
    write(Reg.NSECTOR, "hob_nsector", "ata_sff_tf_load"),
    write(Reg.SECTOR, "hob_lbal", "ata_sff_tf_load"),
    write(Reg.LCYL, "hob_lbam", "ata_sff_tf_load"),
    write(Reg.HCYL, "hob_lbah", "ata_sff_tf_load"),
)
ATA_SFF_TF_LOAD: tuple[Spec, ...] = (
    write(Reg.FEATURE, "zero", "ata_sff_tf_load"),
    write(Reg.NSECTOR, "nsector", "ata_sff_tf_load"),
    write(Reg.SECTOR, "lbal", "ata_sff_tf_load"),
    write(Reg.LCYL, "lbam", "ata_sff_tf_load"),
    write(Reg.HCYL, "lbah", "ata_sff_tf_load"),
    write(Reg.DEVICE, "device", "ata_sff_tf_load"),
    WAIT_IDLE,
)
ATA_SFF_TF_LOAD_NODATA: tuple[Spec, ...] = (write(Reg.DEVICE, "device", "ata_sff_tf_load"), WAIT_IDLE)
COMMAND: Spec = write(Reg.COMMAND, "command", "ata_sff_exec_command")
ATA_SFF_PAUSE: Spec = read(Reg.CONTROL, "ata_sff_pause")
ATA_BMDMA_SETUP: tuple[Spec, ...] = (
    write(Reg.BM_PRD, "prd", "ata_bmdma_setup"),
    read(Reg.BM_COMMAND, "ata_bmdma_setup"),
    write(Reg.BM_COMMAND, "direction", "ata_bmdma_setup"),
    COMMAND,
    ATA_SFF_PAUSE,
)
ATA_BMDMA_START_READ: Spec = read(Reg.BM_COMMAND, "ata_bmdma_start", NDELAY_400)
ATA_BMDMA_START: Spec = write(Reg.BM_COMMAND, "start", "ata_bmdma_start")
ATA_BMDMA_STOP: tuple[Spec, ...] = (
    read(Reg.BM_STATUS, "ata_bmdma_status"),
    read(Reg.BM_COMMAND, "ata_bmdma_stop"),
    write(Reg.BM_COMMAND, "direction", "ata_bmdma_stop"),
    read(Reg.CONTROL, "ata_sff_dma_pause"),
)
_PORT_INTR_REST: tuple[Spec, ...] = (
    read(Reg.COMMAND, "ata_sff_irq_status"),
    read(Reg.BM_STATUS, "ata_bmdma_irq_clear"),
    write(Reg.BM_STATUS, "irq_clear", "ata_bmdma_irq_clear"),
)
ATA_SFF_PORT_INTR: tuple[Spec, ...] = (read(Reg.CONTROL, "ata_sff_irq_status"), *_PORT_INTR_REST)
ATA_SFF_PORT_INTR_AFTER_PAUSE: tuple[Spec, ...] = (
    read(Reg.CONTROL, "ata_sff_irq_status", NDELAY_400),
    *_PORT_INTR_REST,
)
_READ_TASK_FILE: tuple[Spec, ...] = tuple(
    read(register, "ata_sff_tf_read") for register in (Reg.FEATURE, Reg.NSECTOR, Reg.SECTOR, Reg.LCYL, Reg.HCYL)
)
ATA_SFF_TF_READ: tuple[Spec, ...] = (
    read(Reg.COMMAND, "ata_sff_tf_read"),
    *_READ_TASK_FILE,
    read(Reg.DEVICE, "ata_sff_tf_read"),
)
ATA_SFF_TF_READ_HOB: tuple[Spec, ...] = (
    write(Reg.CONTROL, "hob_control", "ata_sff_tf_read"),
    *_READ_TASK_FILE,
    write(Reg.CONTROL, "control", "ata_sff_tf_read"),
)
ATA_SFF_DRAIN_FIFO: Spec = read(Reg.COMMAND, "ata_sff_drain_fifo")
PIO_TASK_STATUS: Spec = read(Reg.COMMAND, "ata_sff_busy_wait", UDELAY_10)
ATA_SFF_SYNC: Spec = read(Reg.CONTROL, "ata_sff_sync")


class DataPhase:
    """How a driver moves one block: width, string instruction or loop.

    One string instruction or loop moves one sector for libata (ata_pio_sector), the whole block for the bare-metal
    guests. *function* prepares it, *move* moves it.
    """

    def __init__(self, binder: AccessBinder, kernel: str, width: int, string: bool, function: str, move: str) -> None:
        port = binder.ports[Reg.DATA]
        path = binder.binder.path
        form = "rep" if string else "loop"
        out, into = ((f"guest.data_{way}_{form}", move) for way in ("out", "in"))
        self._kernel = kernel
        self._width = width
        self._string = string
        self._port = port
        block = ("guest.data_block", function)
        self._first_out = path(block, out, mode=Mode.GUEST)
        self._next_out = path(out, mode=Mode.GUEST)
        self._first_in = path(block, into, mode=Mode.GUEST)
        self._next_in = path(into, mode=Mode.GUEST)

    def block(self, is_write: bool, sectors: int, per_string: int) -> DataBlock:
        """Return one block of *sectors* sectors, *per_string* of them moved by each string instruction or loop."""
        first, following = (self._first_out, self._next_out) if is_write else (self._first_in, self._next_in)
        result: list[tuple[AccessKind, Path, int]] = []
        left = sectors
        while left:
            n = min(per_string, left)
            left -= n
            items = n * 512 // self._width
            if is_write or not self._string:
                kind = AccessKind(self._port, is_write, self._width, 1, self._string)
                result += [(kind, first, 1), (kind, following, items - 1)]
                continue
            for position, batch in enumerate(rep_ins_batches(self._kernel, self._width, items)):
                kind = AccessKind(self._port, False, self._width, batch, True)
                result.append((kind, following if position else first, 1))
        return DataBlock(result)


class Libata:
    """libata's way through one command. One block is sent from the work queue, the others from the handler."""

    ends_interrupt_first = True
    recovers = True

    def __init__(
        self, cpu: GuestCpu, channel: Channel, binder: AccessBinder, kernel: str, width: int, string: bool
    ) -> None:
        self._cpu = cpu
        self._channel = channel
        move = "ata_sff_data_xfer32" if width == 4 else "ata_sff_data_xfer"
        self._data = DataPhase(binder, kernel, width, string, "ata_pio_sector", move)
        self._blocks: dict[tuple[bool, int], DataBlock] = {}
        self._prepare: dict[tuple[bool, bool], Section] = {}
        self._pio_write: dict[bool, Section] = {}
        dispatch = "scsi_request_fn" if kernel == "3.10" else "blk_mq_dispatch_rq_list"
        queued = binder.binder.path(("guest.block_layer", dispatch), mode=Mode.GUEST)
        for ext in (False, True):
            load = (*ATA_SFF_TF_LOAD_HOB, *ATA_SFF_TF_LOAD) if ext else ATA_SFF_TF_LOAD
            self._prepare[False, ext] = binder.section(*ATA_DEV_SELECT, *load, before=queued)
            self._prepare[True, ext] = binder.section(
                *ATA_DEV_SELECT, *load, *ATA_BMDMA_SETUP, ATA_BMDMA_START_READ, before=queued
            )
            self._pio_write[ext] = binder.section(*ATA_DEV_SELECT, *load, COMMAND, ATA_SFF_PAUSE, before=queued)
        self._ndelay_400 = binder.binder.path(NDELAY_400, mode=Mode.GUEST)
        self._nodata = binder.section(*ATA_DEV_SELECT, *ATA_SFF_TF_LOAD_NODATA, before=queued)
        self._command = binder.access(COMMAND)
        self._pause = binder.section(ATA_SFF_PAUSE)
        self._start = binder.access(ATA_BMDMA_START, "guest.bm_start")
        self._stop = binder.section(*ATA_BMDMA_STOP, *ATA_SFF_PORT_INTR_AFTER_PAUSE)
        self._port_intr = binder.section(*ATA_SFF_PORT_INTR)
        self._task_status = binder.access(PIO_TASK_STATUS)
        self._sync = binder.section(ATA_SFF_SYNC)
        self._wait_idle = binder.access(WAIT_IDLE)
        self._tf_read = {
            False: binder.section(*ATA_SFF_TF_READ),
            True: binder.section(*ATA_SFF_TF_READ, *ATA_SFF_TF_READ_HOB),
        }
        self._stop_bmdma = binder.section(*ATA_BMDMA_STOP)
        self._drain_fifo = binder.section(ATA_SFF_DRAIN_FIFO)

    def issue(self, command: Command) -> Ops:
        """ata_qc_issue: select, task file, command; for DMA also ata_bmdma_setup and ata_bmdma_start."""
        cpu, channel = self._cpu, self._channel
        if command.is_flush:
            yield from cpu.section(self._nodata, command, channel, more=True)
            yield from cpu.submitting_access(self._command, command, channel, more=True)
            yield from cpu.section(self._pause, command, channel)
        elif command.transfer is Transfer.DMA:
            yield from cpu.section(self._prepare[True, command.ext], command, channel, more=True)
            yield from cpu.submitting_access(self._start, command, channel)
        elif command.is_write:
            yield from cpu.section(self._pio_write[command.ext], command, channel)
            yield self._ndelay_400
        else:
            yield from cpu.section(self._prepare[False, command.ext], command, channel, more=True)
            yield from cpu.submitting_access(self._command, command, channel, more=True)
            yield from cpu.section(self._pause, command, channel)
        return False

    def needs_work(self, command: Command) -> bool:
        """Only a PIO-mode write has a first block to send."""
        return command.transfer is Transfer.PIO and command.is_write

    def work(self, command: Command) -> Ops:
        """ata_sff_pio_task: wait until not busy, send the first block."""
        yield from self._cpu.poll(self._task_status, self._channel, lambda status: not status & BUSY, more=True)
        yield from self._block(command)

    def interrupt(self, command: Command) -> Ops:
        """ata_bmdma_interrupt: stop the bus master or move the next block; True when the command is complete.

        With ERR in the status it is (ata_sff_hsm_move: HSM_ST_ERR), and its registers are read (ata_qc_complete).
        """
        cpu, channel = self._cpu, self._channel
        if channel.failed:
            dma = command.transfer is Transfer.DMA and not command.is_flush
            yield from cpu.section(self._stop if dma else self._port_intr, command, channel, more=True)
            yield from cpu.section(self._tf_read[command.ext], command, channel)
            return True
        if command.is_flush:
            yield from cpu.section(self._port_intr, command, channel)
            return True
        if command.transfer is Transfer.DMA:
            yield from cpu.section(self._stop, command, channel)
            return True
        last = command.is_write and not command.sectors_left
        yield from cpu.section(self._port_intr, command, channel, more=not last)
        if last:
            return True
        yield from self._block(command)
        if command.is_write or command.sectors_left:
            return False
        yield from cpu.poll(self._wait_idle, channel, lambda status: not status & (BUSY | DRQ))
        return True

    def recover(self, command: Command) -> Ops:
        """ata_bmdma_error_handler, ata_sff_error_handler: the bus master is stopped, what was to be read is drained."""
        if command.transfer is Transfer.DMA and not command.is_flush:
            yield from self._cpu.section(self._stop_bmdma, command, self._channel)
        if not command.is_write:
            yield from self._cpu.section(self._drain_fifo, command, self._channel)

    def _block(self, command: Command) -> Ops:
        """ata_pio_sectors: one DRQ block, sector by sector, then ata_sff_sync."""
        sectors = min(command.block_sectors, command.sectors_left)
        command.sectors_left -= sectors
        key = (command.is_write, sectors)
        if key not in self._blocks:
            self._blocks[key] = self._data.block(command.is_write, sectors, 1)
        yield from self._cpu.data(self._blocks[key], self._channel, more=True)
        yield from self._cpu.section(self._sync, command, self._channel)
