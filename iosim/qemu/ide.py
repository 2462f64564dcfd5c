"""QEMU's IDE device: task file, status, PIO and bus-master transfers (hw/ide/core.c, pci.c, piix.c).

The functions that change state take no time and return what begins (a submission) or None; the costs around them are
yielded by `IDEBus.access`. A coalesced run of accesses calls the same functions.
"""

import errno
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias

from iosim.host import HostThread
from iosim.kvm import Access, IrqChip
from iosim.model.ata import MAX_MULT_SECTORS, Reg
from iosim.model.records import FLUSH, READ, WRITE, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Path, Steps
from iosim.qemu.block import BlockBackend, BlockErrorAction, CompletionFunc
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.runstate import RunState
from iosim.qemu.versions import QemuVersion

BUSY, READY, SEEK, DRQ, ERR = 0x80, 0x40, 0x10, 0x08, 0x01
ABORTED = 0x04
"""ABRT_ERR of the error register."""
DISABLE_IRQ = 0x02
"""nIEN of the device control register."""
SOFT_RESET = 0x04
"""SRST of the device control register."""
BM_DMAING, BM_ERROR, BM_INT = 0x01, 0x02, 0x04
BM_CMD_START, BM_CMD_READ = 0x01, 0x08
WIN2K_DELAY_NS = 1_000_000
WIN2K_EVERY = 16

Submission: TypeAlias = Callable[[HostThread], Steps[None]]


class TaskFileLoad(Protocol):
    """Task-file writes in a row (`iosim.guest.access.TaskFileLoad`)."""

    registers: tuple[int, int]
    n_before: int
    writes: tuple[tuple[Reg, int], ...]
    last: Callable[[tuple[int, ...]], tuple[int, ...]] | None
    before: Callable[[tuple[int, ...]], tuple[int, ...]] | None


class IDEDrive:
    """IDEState: the task file and the transfer of one drive."""

    def __init__(self, bus: "IDEBus", unit: int, sectors: int, backend: BlockBackend | None) -> None:
        self.bus = bus
        self.unit = unit
        self.sectors = sectors
        self.backend = backend
        self.mult_sectors = MAX_MULT_SECTORS
        self.irq_count = 0
        self.ide_reset()

    def ide_reset(self) -> None:
        """The state of power-on. SET MULTIPLE MODE, which the guest's start sends again, is kept."""
        self.status = READY | SEEK
        self.error = 0
        self.regs: list[int] = [0] * 8
        self.hob: list[int] = [0] * 8
        self.lba48 = False
        self.nsector = 0
        self.position = 0
        self.req_nb_sectors = 0
        self.data_left = 0
        self.end_transfer: Callable[[], Submission | None] | None = None

    # Commands

    def ide_exec_cmd(self, command: int) -> Submission | None:
        """Run the command's handler; ignored while BUSY or DRQ. Returns the submission that it begins."""
        if self.status & (BUSY | DRQ):
            return None
        self.status = READY | BUSY
        self.error = 0
        handler = COMMANDS.get(command)
        if handler is None:
            return self._abort()
        return handler(self)

    def _abort(self) -> Submission | None:
        """A command that is not carried out: nothing begins; the interrupt comes with the command's own exit."""
        self.ide_abort_command()
        self.bus.wants_irq = True
        return None

    def ide_abort_command(self) -> None:
        """The command ends with ERR in the status and ABRT in the error register."""
        self.ide_transfer_stop()
        self.status = READY | ERR
        self.error = ABORTED

    def ide_handle_rw_error(
        self, ret: int, is_read: bool, retry: Callable[[], Submission | None], dma: bool = False
    ) -> Steps[bool]:
        """The backend has failed with *ret*: report it to the guest, ignore it, or stop the VM; False to ignore.

        When the VM goes on, *retry* begins again what has failed (ide_restart_bh).
        """
        assert self.backend is not None
        bus = self.bus
        yield SYNC
        request = bus.request
        error = errno.errorcode[-ret]
        action = self.backend.blk_get_error_action(is_read, -ret)
        if request is None and action is BlockErrorAction.STOP:
            action = BlockErrorAction.REPORT  # The VM has ended: nobody waits for it to go on.
        bus.runstate.note(action.value, request, error)
        if action is BlockErrorAction.IGNORE:
            return False
        if action is BlockErrorAction.STOP:
            bus.hold(retry)
            bus.runstate.vm_stop("io-error")
            return True
        if request is not None:
            request.error = error
        self.ide_abort_command()
        if dma:
            bus.ide_set_inactive(stay_active=False)
        yield from bus.ide_set_irq()
        return True

    def ide_cmd_lba48_transform(self, lba48: bool) -> None:
        """Take count and address from the task file; a count of 0 means 256, or 65536 with LBA48."""
        self.lba48 = lba48
        regs, hob = self.regs, self.hob
        self.nsector = (regs[2] | (hob[2] << 8 if lba48 else 0)) or (65536 if lba48 else 256)
        low = regs[3] | regs[4] << 8 | regs[5] << 16
        self.position = low | (hob[3] << 24 | hob[4] << 32 | hob[5] << 40 if lba48 else (regs[6] & 0x0F) << 24)

    def cmd_write_pio(self, sectors: int, lba48: bool) -> Submission | None:
        """WRITE SECTORS and WRITE MULTIPLE: DRQ for the first block, no interrupt."""
        if not sectors:
            return self._abort()
        self.ide_cmd_lba48_transform(lba48)
        self.req_nb_sectors = sectors
        self.status = READY | SEEK
        self._transfer_start(min(self.nsector, sectors), self.ide_sector_write)
        return None

    def cmd_read_pio(self, sectors: int, lba48: bool) -> Submission | None:
        """READ SECTORS and READ MULTIPLE: the first block is read from the backend."""
        if not sectors:
            return self._abort()
        self.ide_cmd_lba48_transform(lba48)
        self.req_nb_sectors = sectors
        return self.ide_sector_read()

    def cmd_dma(self, write: bool, lba48: bool) -> Submission | None:
        """READ DMA and WRITE DMA: the transfer begins when the bus master is started."""
        self.ide_cmd_lba48_transform(lba48)
        self.status = READY | SEEK | DRQ | (BUSY if self.bus.version.busy_during_dma else 0)
        return self.bus.bmdma_start_dma(self, write)

    def cmd_flush_cache(self) -> Submission | None:
        """FLUSH CACHE: BUSY until the backend has flushed."""
        return self._ide_flush_cache

    def cmd_set_multiple_mode(self) -> Submission | None:
        """SET MULTIPLE MODE: sectors per DRQ block, a power of two up to 16."""
        count = self.regs[2]
        if count > MAX_MULT_SECTORS or count & (count - 1):
            return self._abort()
        self.mult_sectors = count
        self.status = READY | SEEK
        self.bus.wants_irq = True
        return None

    # PIO data

    def _transfer_start(self, sectors: int, end: Callable[[], Submission | None]) -> None:
        self.data_left = sectors * 512
        self.end_transfer = end
        self.status |= DRQ

    def ide_transfer_stop(self) -> None:
        """No data phase is left."""
        self.status &= ~DRQ
        self.data_left = 0
        self.end_transfer = None

    def data(self, n_bytes: int) -> Submission | None:
        """Move *n_bytes* over the data port; the last word of a block runs end_transfer_func within the same exit."""
        if not self.status & DRQ or self.end_transfer is None:
            return None
        self.data_left -= n_bytes
        if self.data_left > 0:
            return None
        if self.bus.version.clears_drq_at_end:
            self.status &= ~DRQ
        return self.end_transfer()

    def ide_sector_write(self) -> Submission:
        """The block is in the buffer: BUSY, one write of it."""
        self.status = READY | SEEK | BUSY
        return self._submit_sector_write

    def ide_sector_read(self) -> Submission | None:
        """The block has been taken: read the next one, or stop after the last."""
        self.status = READY | SEEK
        if not self.nsector:
            self.ide_transfer_stop()
            return None
        self.status |= BUSY
        return self._submit_sector_read

    def _submit_sector_write(self, thread: HostThread) -> Steps[None]:
        n = min(self.nsector, self.req_nb_sectors)
        yield self.bus.paths.sector_write
        yield from self._submit(thread, (WRITE, self.position, n), self.ide_sector_write_cb)

    def _submit_sector_read(self, thread: HostThread) -> Steps[None]:
        n = min(self.nsector, self.req_nb_sectors)
        yield self.bus.paths.sector_read
        yield from self._submit(thread, (READ, self.position, n), self.ide_sector_read_cb)

    def ide_sector_write_cb(self, ret: int) -> Steps[None]:
        """A block is written: DRQ for the next one or end; then the interrupt, each 16th late with the win2k hack."""
        yield self.bus.paths.sector_write_cb
        if ret and (yield from self.ide_handle_rw_error(ret, False, self.ide_sector_write)):
            return
        n = min(self.nsector, self.req_nb_sectors)
        self.status &= ~BUSY
        self.nsector -= n
        if self.nsector:
            self._transfer_start(min(self.nsector, self.req_nb_sectors), self.ide_sector_write)
        else:
            self.ide_transfer_stop()
        self.position += n
        self.irq_count += 1
        if self.bus.win2k_install_hack and self.irq_count % WIN2K_EVERY == 0:
            yield SYNC
            self.bus.delay_irq()
        else:
            yield from self.bus.ide_set_irq()

    def ide_sector_read_cb(self, ret: int) -> Steps[None]:
        """A block is read: DRQ and the interrupt."""
        yield self.bus.paths.sector_read_cb
        if ret and (yield from self.ide_handle_rw_error(ret, True, self.ide_sector_read)):
            return
        n = min(self.nsector, self.req_nb_sectors)
        self.status &= ~BUSY
        self._transfer_start(n, self.ide_sector_read)
        self.nsector -= n
        self.position += n
        yield from self.bus.ide_set_irq()

    # Bus master and flush

    def ide_dma_cb(self, write: bool) -> Submission | None:
        """Read the PRD table and begin the transfer; with too short a table the command ends, without interrupt.

        After a transfer that is shorter than its table the bus master stays active.
        """
        n = self.nsector
        if self.bus.prd_bytes < n * 512:
            self.status = READY | SEEK
            self.bus.ide_set_inactive(stay_active=False)
            return None
        stay_active = self.bus.prd_bytes > n * 512
        op = WRITE if write else READ

        def submit(thread: HostThread) -> Steps[None]:
            yield self.bus.paths.dma_cb(n)
            done = partial(self._ide_dma_done, write, n, stay_active)
            yield from self._submit(thread, (op, self.position, n), done, dma=True)

        return submit

    def _ide_dma_done(self, write: bool, n: int, stay_active: bool, ret: int) -> Steps[None]:
        """ide_dma_cb at the end: the transfer is complete, the interrupt is raised, the bus master is idle."""
        yield self.bus.paths.dma_done
        if ret and (yield from self.ide_handle_rw_error(ret, not write, partial(self.ide_dma_cb, write), dma=True)):
            return
        self.position += n
        self.nsector -= n
        self.status = READY | SEEK
        self.bus.ide_set_inactive(stay_active)
        yield from self.bus.ide_set_irq()

    def _ide_flush_cache(self, thread: HostThread) -> Steps[None]:
        yield self.bus.paths.flush_cache
        yield from self._submit(thread, (FLUSH, 0, 0), self.ide_flush_cb)

    def ide_flush_cb(self, ret: int) -> Steps[None]:
        """The flush is done."""
        yield self.bus.paths.flush_cb
        if ret and (yield from self.ide_handle_rw_error(ret, False, self.cmd_flush_cache)):
            return
        self.status = READY | SEEK
        yield from self.bus.ide_set_irq()

    def _submit(
        self, thread: HostThread, io: tuple[str, int, int], complete: CompletionFunc, dma: bool = False
    ) -> Steps[None]:
        assert self.backend is not None
        yield SYNC
        request = self.bus.request
        if request is None:
            return  # Another vCPU has ended the VM while this one was on its way.
        self.bus.in_flight = self.bus.working = True
        self.bus.working_by_dma = dma
        self.bus.n_jobs += 1
        yield from self.backend.blk_aio_prwv(thread, request, io, complete)


def _read(sectors: int | None, lba48: bool) -> Callable[[IDEDrive], Submission | None]:
    return lambda s: s.cmd_read_pio(s.mult_sectors if sectors is None else sectors, lba48)


def _write(sectors: int | None, lba48: bool) -> Callable[[IDEDrive], Submission | None]:
    return lambda s: s.cmd_write_pio(s.mult_sectors if sectors is None else sectors, lba48)


def _dma(write: bool, lba48: bool) -> Callable[[IDEDrive], Submission | None]:
    return lambda s: s.cmd_dma(write, lba48)


COMMANDS: dict[int, Callable[[IDEDrive], Submission | None]] = {
    0x20: _read(1, False),
    0x21: _read(1, False),
    0x24: _read(1, True),
    0xC4: _read(None, False),
    0x29: _read(None, True),
    0x30: _write(1, False),
    0x31: _write(1, False),
    0x34: _write(1, True),
    0xC5: _write(None, False),
    0x39: _write(None, True),
    0xC8: _dma(False, False),
    0xC9: _dma(False, False),
    0x25: _dma(False, True),
    0xCA: _dma(True, False),
    0xCB: _dma(True, False),
    0x35: _dma(True, True),
    0xE7: IDEDrive.cmd_flush_cache,
    0xEA: IDEDrive.cmd_flush_cache,
    0xC6: IDEDrive.cmd_set_multiple_mode,
}
"""ide_cmd_table, as far as block requests use it."""


class IDEPaths:
    """The costs of the device's functions: per register access, at submission, at completion."""

    def __init__(self, binder: Binder, version: QemuVersion) -> None:
        self._binder = binder
        self._version = version
        self.irq_lower = binder.path("qemu.irq_lower")
        self.exec_cmd = binder.path("qemu.ide_exec_cmd")
        self.sector_write = binder.path("qemu.ide_sector_write")
        self.sector_read = binder.path("qemu.ide_sector_read")
        self.flush_cache = binder.path("qemu.ide_flush_cache")
        self.sector_write_cb = binder.path("main_loop.ide_sector_write_cb")
        self.sector_read_cb = binder.path("main_loop.ide_sector_read_cb")
        self.dma_done = binder.path("main_loop.ide_dma_cb")
        self.flush_cb = binder.path("main_loop.ide_flush_cb")
        self.set_irq = binder.path("main_loop.ide_set_irq")
        self.timer = binder.path("main_loop.timer")
        self._access: dict[tuple[Reg, bool, int], Path] = {}
        self._dma_cb: dict[int, Path] = {}

    def dma_cb(self, sectors: int) -> Path:
        """Return the path through ide_dma_cb at the begin of a transfer, which maps the guest's pages."""
        n = -(-sectors // 8)
        path = self._dma_cb.get(n)
        if path is None:
            path = self._dma_cb[n] = self._binder.path("qemu.ide_dma_cb", *["qemu.dma_map_page"] * n)
        return path

    def access(self, register: Reg, write: bool, width: int) -> Path:
        """Return the way from the address space down to the register's function."""
        key = (register, write, width)
        if key not in self._access:
            suffix = "write" if write else "read"
            dispatch = ("qemu.memory_region_dispatch", f"memory_region_dispatch_{suffix}")
            portio = ("qemu.portio", f"portio_{suffix}")
            if register in (Reg.BM_STATUS, Reg.BM_COMMAND, Reg.BM_PRD):
                keys: list[str | tuple[str, str]] = [dispatch]
            else:
                keys = [dispatch, portio]
            control = "ide_cmd_write" if self._version.cpu_io else "ide_ctrl_write"
            self._access[key] = self._binder.path(*keys, _function(register, write, width, control))
        return self._access[key]


def _function(register: Reg, write: bool, width: int, control: str) -> str | tuple[str, str]:
    """Return the cost key of the register's function; *control* is what writes the device control register."""
    if register is Reg.DATA:
        return f"qemu.ide_data_{'write' if write else 'read'}{'w' if width == 2 else 'l'}"
    if register is Reg.CONTROL:
        return ("qemu.ide_ioport_write", control) if write else "qemu.ide_status_read"
    if register is Reg.BM_COMMAND and write:
        return "qemu.bmdma_cmd_writeb"
    if register in (Reg.BM_STATUS, Reg.BM_COMMAND, Reg.BM_PRD):
        return "qemu.bmdma_write" if write else "qemu.bmdma_read"
    return "qemu.ide_ioport_write" if write else "qemu.ide_ioport_read"


class IDEBus:
    """One channel: two drives, the device control register, the bus master, the interrupt line.

    `request` is the guest's request that the channel works for, set by the guest when it issues it (the device knows
    no more than its registers; the account needs to know whose time it is). `in_flight` is true while the backend has
    a job of it: then, and only then, other threads may change the channel's state. `working` says the same for
    somebody who looks without the BQL: it changes when all costs before have been spent. `retry` is what begins again
    when the VM goes on (error_status): the request is held in the device meanwhile.
    """

    def __init__(
        self,
        binder: Binder,
        version: QemuVersion,
        number: int,
        irqchip: IrqChip,
        main_loop: MainLoop,
        runstate: RunState,
        win2k_install_hack: bool,
    ) -> None:
        self.version = version
        self.number = number
        self.gsi = 14 + number
        self.paths = IDEPaths(binder, version)
        self.win2k_install_hack = win2k_install_hack
        self.drives: list[IDEDrive | None] = [None, None]
        self.runstate = runstate
        self.control = 0
        self._delayed = 0
        self.working_by_dma = False
        self.n_jobs = 0
        """How many the backend has got."""
        self.on_unheard: Callable[[], None] | None = None
        """Called when a command has come to its end without an interrupt."""
        self._irqchip = irqchip
        self._main_loop = main_loop
        self.reset()
        runstate.add_vm_change_state_handler(self.ide_restart_cb)

    def reset(self) -> None:
        """The state of power-on. The guest's driver has set the control register when it found the channel."""
        self.request: Request | None = None
        self.retry: Callable[[], Submission | None] | None = None
        self.in_flight = self.working = False
        self.wants_irq = False
        self.unit = 0
        self.bm_status = 0
        self.bm_command = 0
        self.prd_bytes = 0
        self._dma: Callable[[], Submission | None] | None = None
        self._delayed += 1
        for drive in self.drives:
            if drive is not None:
                drive.ide_reset()

    # Registers

    def write(self, register: Reg, value: int) -> Submission | None:
        """Write a register other than data. Returns the submission that it begins."""
        if register is Reg.COMMAND:
            drive = self.drives[self.unit]
            if self.version.command_lowers_irq:
                self._irqchip.kvm_set_irq(self.gsi, 0)
            return None if drive is None else drive.ide_exec_cmd(value)
        if register is Reg.CONTROL:
            if value & ~self.control & SOFT_RESET and not self.in_flight:
                self._soft_reset()
            self.control = value
        elif register is Reg.BM_COMMAND:
            return self.bmdma_cmd_writeb(value)
        elif register is Reg.BM_STATUS:
            self.bm_status = (
                (value & 0x60) | (self.bm_status & BM_DMAING) | (self.bm_status & ~value & (BM_ERROR | BM_INT))
            )
        elif register is Reg.BM_PRD:
            self.prd_bytes = value
        else:
            self._task_file(register, value)
        return None

    def _soft_reset(self) -> None:
        """SRST: no command is under way any more, drive 0 is selected."""
        self.unit = 0
        self._dma = None
        for drive in self.drives:
            if drive is not None:
                drive.ide_reset()

    def apply(self, effects: tuple[tuple[Reg, int, TaskFileLoad | None], ...], values: tuple[int, ...]) -> None:
        """Do what a coalesced section does (`iosim.guest.access.Section.effects`); none of it begins a submission."""
        for register, field, load in effects:
            if load is not None:
                self._load_task_file(load, values)
            elif field == -1:
                self._irqchip.kvm_set_irq(self.gsi, 0)
            else:
                begun = self.write(register, values[field])
                assert begun is None

    def _load_task_file(self, load: TaskFileLoad, values: tuple[int, ...]) -> None:
        """Do several writes to the task file, the same as one by one."""
        if load.last is None:
            for register, field in load.writes:
                self._task_file(register, values[field])
            return
        drive = self.drives[self.unit]
        if drive is not None and drive.status & (BUSY | DRQ):
            return
        low, high = load.registers
        new = load.last(values)
        for each in self.drives:
            if each is None:
                continue
            each.hob[low:high] = each.regs[low:high]
            if load.before is not None:
                each.hob[low : low + load.n_before] = load.before(values)
            each.regs[low:high] = new
        if high > Reg.DEVICE:
            self.unit = (new[-1] >> 4) & 1

    def _task_file(self, register: Reg, value: int) -> None:
        """ide_ioport_write, registers 1 to 6: both drives see them; ignored while BUSY or DRQ."""
        drive = self.drives[self.unit]
        if drive is not None and drive.status & (BUSY | DRQ):
            return
        for each in self.drives:
            if each is not None:
                each.hob[register] = each.regs[register]
                each.regs[register] = value
        if register is Reg.DEVICE:
            self.unit = (value >> 4) & 1

    def read(self, register: Reg) -> int:
        """Read a register other than data. Reading the status lowers INTRQ, pending or not."""
        drive = self.drives[self.unit]
        if register is Reg.COMMAND:
            self._irqchip.kvm_set_irq(self.gsi, 0)
            return 0 if drive is None else drive.status
        if register is Reg.CONTROL:
            return 0 if drive is None else drive.status
        if register is Reg.BM_STATUS:
            return self.bm_status
        if register is Reg.BM_COMMAND:
            return self.bm_command
        if drive is None:
            return 0
        return drive.error if register is Reg.FEATURE else drive.regs[register]

    def data(self, n_bytes: int) -> Submission | None:
        """Move *n_bytes* over the data port."""
        drive = self.drives[self.unit]
        return None if drive is None else drive.data(n_bytes)

    def bytes_within_block(self) -> int:
        """Return how many bytes can be moved at least without coming to the end of a block."""
        drive = self.drives[self.unit]
        if drive is None or not drive.status & DRQ or drive.end_transfer is None:
            return 1 << 48
        return drive.data_left - 1

    def ignores_command(self) -> bool:
        """Tell whether the selected drive would ignore a command that is written now."""
        drive = self.drives[self.unit]
        return drive is None or bool(drive.status & (BUSY | DRQ))

    def command_sectors(self, lba48: bool) -> int:
        """Return how many sectors a command would ask for that is written now."""
        drive = self.drives[self.unit]
        if drive is None:
            return 0
        return (drive.regs[2] | (drive.hob[2] << 8 if lba48 else 0)) or (65536 if lba48 else 256)

    @property
    def failed(self) -> bool:
        """Whether the last command of the selected drive has ended with ERR in the status."""
        drive = self.drives[self.unit]
        return drive is not None and drive.status & (BUSY | ERR) == ERR

    def lowers_irq(self, register: Reg, write: bool) -> bool:
        """Tell whether the access lowers INTRQ."""
        return register is Reg.COMMAND and (not write or self.version.command_lowers_irq)

    def access(self, thread: HostThread, register: Reg, access: Access, further: bool = False) -> Steps[None]:
        """One item of a port access, in the vCPU thread under the BQL: state first, then costs, then a submission.

        The cost of a *further* item of one exit has been spent already.
        """
        kind = access.kind
        submission = None
        if register is Reg.DATA:
            submission = self.data(kind.width)
        elif kind.write:
            submission = self.write(register, access.value)
        else:
            access.value = self.read(register)
        if not further:
            yield self.paths.access(register, kind.write, kind.width)
        if self.lowers_irq(register, kind.write):
            yield self.paths.irq_lower
            yield from self._irqchip.lower()
        if register is Reg.COMMAND and kind.write:
            yield self.paths.exec_cmd
            if self.wants_irq:
                self.wants_irq = False
                yield SYNC
                thread.request = None
                yield from self.ide_set_irq(by_vcpu=True)
        if submission is not None:
            yield from submission(thread)

    # Bus master

    def bmdma_start_dma(self, drive: IDEDrive, write: bool) -> Submission | None:
        """Remember the transfer; begin it at once if the bus master has been started before the command."""
        self._dma = lambda: drive.ide_dma_cb(write)
        return self._dma() if self.bm_status & BM_DMAING else None

    def bmdma_cmd_writeb(self, value: int) -> Submission | None:
        """START 0 -> 1 begins the transfer; clearing it makes the bus master idle."""
        changed = (value ^ self.bm_command) & BM_CMD_START
        self.bm_command = value & (BM_CMD_START | BM_CMD_READ)
        if not changed:
            return None
        if not value & BM_CMD_START:
            self.bm_status &= ~BM_DMAING
            return None
        self.bm_status |= BM_DMAING
        return None if self._dma is None else self._dma()

    def ide_set_inactive(self, stay_active: bool) -> None:
        """The transfer is over."""
        self._dma = None
        if not stay_active:
            self.bm_status &= ~BM_DMAING

    # Errors

    def hold(self, retry: Callable[[], Submission | None]) -> None:
        """The VM is about to be stopped: keep the request until it goes on.

        QEMU has cleared BUSY of a PIO-mode command by now; the vCPU is stopped before it looks, here it could not be
        sure, so BUSY stays.
        """
        self.retry = retry
        self._main_loop.put_down()
        if self.request is not None:
            self.request.wait_in(Stage.PAUSED, self._main_loop.thread.name)

    def ide_restart_cb(self) -> None:
        """The VM goes on: a bottom half begins again what has failed."""
        if self.retry is None or self.request is None:
            return
        self.request.stop_waiting(self._main_loop.thread.host.now_ns)
        self.request.wait_in(Stage.COMPLETION_WAIT, self._main_loop.thread.name)
        self._main_loop.qemu_bh_schedule(self.ide_restart_bh, self.request)

    def ide_restart_bh(self) -> Steps[None]:
        """Submit again from the begin of the transfer, or of the block in PIO mode. It may fail again."""
        retry, self.retry = self.retry, None
        if retry is None or self.request is None:
            return
        drive = self.drives[self.unit]
        assert drive is not None
        assert drive.backend is not None
        self._main_loop.carry(self.request)
        drive.backend.blk_inc_in_flight()
        submission = retry()
        assert submission is not None
        yield from submission(self._main_loop.thread)
        yield SYNC
        self._main_loop.put_down()
        drive.backend.blk_dec_in_flight()

    # Interrupt

    def ide_set_irq(self, by_vcpu: bool = False) -> Steps[None]:
        """Raise INTRQ unless nIEN is set: bmdma_irq, then the ioctls. The job of the channel is over either way.

        *by_vcpu*: a command has ended within its own exit; otherwise the main loop raises it.
        """
        request = self.request
        self.in_flight = False
        heard = False
        if self.control & DISABLE_IRQ:
            yield SYNC
            self._let_go(request, by_vcpu)
        else:
            yield self.paths.set_irq
            self.bm_status |= BM_INT
            heard = yield from self._irqchip.raise_line(self.gsi, request, lambda: self._let_go(request, by_vcpu))
        if not heard and self.on_unheard is not None:
            yield SYNC
            self.on_unheard()

    def _let_go(self, request: Request | None, by_vcpu: bool) -> None:
        """The main loop is done with the request; the interrupt, or the guest's polling, carries it on."""
        self.working = False
        if not by_vcpu:
            self._main_loop.put_down()
        if request is not None:
            request.wait_in(Stage.IRQ_DELIVERY, "vcpu")

    def delay_irq(self) -> None:
        """The win2k install hack: a timer of 1 ms raises the interrupt."""
        request = self.request
        self._main_loop.put_down()
        if request is not None:
            request.wait_in(Stage.COMPLETION, self._main_loop.thread.name)
        now = self._main_loop.thread.host.now_ns
        self._main_loop.timer_mod(now + WIN2K_DELAY_NS, partial(self._sector_write_timer_cb, self._delayed))

    def _sector_write_timer_cb(self, delayed: int) -> Steps[None]:
        if delayed != self._delayed:
            return  # A reset has deleted the timer.
        if self.request is not None:
            self._main_loop.carry(self.request)
        yield self.paths.timer
        yield from self.ide_set_irq()
        self._main_loop.put_down()
