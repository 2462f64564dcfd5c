"""The guest's operating system around its disk driver: block queues, work, interrupts, halt."""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from iosim.guest.command import Command
from iosim.guest.cpu import GuestCpu, Halt, Interruptible, Ops
from iosim.host import SpinLock
from iosim.kvm import Access, Exit, ExitReason, Irq
from iosim.model import ata
from iosim.model.costs import Cost
from iosim.model.records import ERROR, FLUSH, NO_ERROR, OK, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, AccessKind, Binder, Item, Mode, Op, Path, Spin

EOI_EXIT = {"apic-access": ExitReason.APIC_ACCESS, "x2apic": ExitReason.MSR_WRITE, "none": None}
"""What ending an interrupt costs the guest: a write to the APIC's page, to its MSR, or no exit (PV EOI, APICv)."""

SD_MAX_RETRIES = 5
"""How often a failed command is repeated (drivers/scsi/sd.h; scsi_eh_flush_done_q counts)."""


class Driver(Protocol):
    """A guest's disk driver on one channel: its sequence of port accesses, as a description and little more."""

    ends_interrupt_first: bool
    """Whether the EOI comes before the handler (Linux, edge-triggered); otherwise the driver ends it itself."""
    recovers: bool
    """Whether an error handler looks at a command that failed, and may repeat it."""

    def issue(self, command: Command) -> Ops:
        """Issue a command; returns True if it also waited for it and saw it complete."""

    def needs_work(self, command: Command) -> bool:
        """Tell whether the work queue has something to do for an issued command."""

    def work(self, command: Command) -> Ops:
        """What the work queue does for an issued command."""

    def interrupt(self, command: Command) -> Ops:
        """Handle the channel's interrupt; returns True if the command is complete, or has failed."""

    def recover(self, command: Command) -> Ops:
        """What the error handler does to the device after *command* has failed."""


class Device(Protocol):
    """A device with a driver and an interrupt of its own (virtio-blk)."""

    ends_interrupt_first: bool

    def arrive(self, request: Request) -> None:
        """A request enters the device's queue in the block layer."""

    def interrupt(self, irq: Irq) -> Ops:
        """Handle the device's interrupt, interrupts off."""

    def die(self) -> None:
        """Forget everything."""

    def revive(self) -> None:
        """The guest has booted again, and finds the device as after power-on."""


class Drive:
    """An IDE drive as the guest's block layer sees it."""

    device: Device | None = None

    def __init__(
        self,
        vm: str,
        index: int,
        position: int,
        transfer: ata.Transfer,
        multiple: int,
        sectors: int,
        max_sectors: int,
        write_cache: bool,
        completed: Callable[[Request], None],
        vcpu: int = 0,
        retries: int = SD_MAX_RETRIES,
    ) -> None:
        self.vm = vm
        self.index = index
        self.slave = bool(position & 1)
        self.channel = position >> 1
        self.transfer = transfer
        self.multiple = multiple
        self.sectors = sectors
        self.max_sectors = max_sectors
        self.write_cache = write_cache
        self.completed = completed
        self.retries = retries
        self.vcpu = vcpu
        self.queue: ChannelQueue

    def vcpu_of(self, number: int) -> int:
        """Return the vCPU that makes the drive's requests."""
        return self.vcpu

    def commands(self, request: Request) -> deque[Command]:
        """Return the commands of a request: one for each part of at most max_sectors."""
        parts: deque[Command] = deque()
        if request.op == FLUSH:
            ext = self.sectors >= ata.LBA28_SECTORS
            parts.append(Command(request, 0, 0, self.transfer, self.multiple, ext, self.slave))
            return parts
        done = 0
        while done < request.sectors:
            n = min(self.max_sectors, request.sectors - done)
            sector = request.sector + done
            ext = not ata.lba_28_ok(sector, n)
            parts.append(Command(request, sector, n, self.transfer, self.multiple, ext, self.slave))
            done += n
        return parts


class ChannelQueue:
    """The requests that wait for one channel, first come, first served: master and slave share it.

    `command` is the one command that the channel works on; `failed` says that a part of its request was given up.
    `drivers` are by vCPU: each executes the same driver. `arriving` are the requests that their own vCPU has not looked
    at yet: no other one takes them.
    """

    def __init__(self, number: int, bus: Any, drivers: dict[int, Driver]) -> None:
        self.number = number
        self.bus = bus
        self.drivers = drivers
        self.waiting: deque[Request] = deque()
        self.arriving: set[Request] = set()
        self.parts: deque[Command] = deque()
        self.command: Command | None = None
        self.failed = False


class Load(Protocol):
    """The guest's own load on one vCPU."""

    def guest_booted(self) -> None:
        """The guest has booted again."""


class Guest:
    """What the vCPUs of a guest share: channels, devices, libata's host lock, and whether there is a guest at all."""

    def __init__(self, levels: Any) -> None:
        self.levels = levels
        self.queues: dict[int, ChannelQueue] = {}
        self.devices: dict[int, Device] = {}
        self.kernels: list[GuestKernel] = []
        self.loads: list[Load] = []
        self.host_lock = SpinLock()
        self.dead = False

    def add_channel(self, queue: ChannelQueue) -> None:
        """Register a channel and its drivers."""
        self.queues[queue.number] = queue

    def add_device(self, gsi: int, device: Device) -> None:
        """Register a device that interrupts by *gsi*."""
        self.devices[gsi] = device

    def arrive(self, request: Request) -> None:
        """A request enters the guest's block layer on its vCPU."""
        self.kernels[request.vcpu].arrive(request)

    def die(self, now_ns: int) -> None:
        """The VM was reset or stopped: forget all work."""
        self.dead = True
        for queue in self.queues.values():
            queue.command = None
            queue.failed = False
            queue.waiting.clear()
            queue.arriving.clear()
            self.levels.busy(queue.number).set(now_ns, 0)
            self.levels.queue(queue.number).set(now_ns, 0)
        for device in self.devices.values():
            device.die()
        for kernel in self.kernels:
            kernel.forget()

    def revive(self) -> None:
        """The guest has booted again: its block layer is empty, nobody holds a lock."""
        self.dead = False
        self.host_lock.reset()
        for device in self.devices.values():
            device.revive()
        for kernel in self.kernels:
            kernel.revive()
        for load in self.loads:
            load.guest_booted()


class GuestKernel:
    """What the guest does on one vCPU: interrupts first, then ready work, then its own load, then HLT.

    Work, first come first served, is: a request that can be issued, the PIO task of libata's work queue, a declared
    background exit. Work runs with interrupts on except for the driver's sections. With several vCPUs these take
    libata's host lock (ata_host.lock). The load is bursts of computing, which any work interrupts.
    """

    def __init__(self, cpu: GuestCpu, binder: Binder, eoi: str, guest: Guest, locks: bool = False) -> None:
        self._cpu = cpu
        self._guest = guest
        self._number: int = len(guest.kernels)
        guest.kernels.append(self)
        self._eoi_reason = EOI_EXIT[eoi]
        self._levels = guest.levels
        self._lock = Spin(guest.host_lock) if locks else None
        self._ready: deque[tuple[Callable[[], Ops], Request | None]] = deque()
        self._burst: Path | None = None
        self._burst_done: Callable[[], None] | None = None
        self._computing = False
        self._halt = Halt(binder.path("guest.idle", mode=Mode.GUEST))
        self._workqueue = binder.path("guest.workqueue", mode=Mode.GUEST)
        self._complete = binder.path("guest.complete", mode=Mode.GUEST)
        self._interrupt_entry = binder.path("guest.interrupt_entry", mode=Mode.GUEST)
        self._eoi = binder.path("guest.eoi", mode=Mode.GUEST)
        self._error_thread = binder.path("guest.error_handler", mode=Mode.GUEST)
        self._background = binder.path("guest.background", mode=Mode.GUEST)

    # What comes from outside

    def arrive(self, request: Request) -> None:
        """A request enters the guest's block layer; a halted vCPU wakes up for it."""
        if request.op == FLUSH and not request.drive.write_cache:
            # The device reports no write cache (IDENTIFY word 85): the block layer sends no flush.
            request.issue_ns = request.arrival_ns
            self.end(request, OK)
            return
        if request.drive.device is not None:
            request.drive.device.arrive(request)
            return
        queue: ChannelQueue = request.drive.queue
        now = self._cpu.thread.host.now_ns
        request.wait_in(Stage.GUEST_QUEUE, self._cpu.thread.name)
        queue.waiting.append(request)
        queue.arriving.add(request)
        self._levels.queue(queue.number).set(now, len(queue.waiting))
        self.add_work(lambda: self._arrived(queue, request), request)

    def background_exit(self, exit_: Exit) -> None:
        """A declared exit is due: the guest takes it when it has nothing more urgent to do."""
        self.add_work(lambda: self._background_exit(exit_), None)

    def compute(self, ns: int, done: Callable[[], None]) -> None:
        """The guest's own load: *ns* of computing when there is nothing better to do; *done* is called at its end."""
        self._burst = Path(
            [Item(Op.SPEND, Stage.GUEST_RUN, "user code", Cost("user code", ns), Mode.GUEST)], Mode.GUEST
        )
        self._burst_done = done
        self._cpu.vcpu.wake_up()

    def add_work(self, work: Callable[[], Ops], request: Request | None) -> None:
        """The vCPU has *work* to do when its turn comes; halted, it wakes up for it, on behalf of *request*."""
        self._ready.append((work, request))
        if not self._cpu.vcpu.wake_up() and self._computing and not self._cpu.in_handler:
            self._cpu.thread.kick()

    def forget(self) -> None:
        """There is no guest any more."""
        self._ready.clear()
        self._burst = None

    def revive(self) -> None:
        """The guest has booted again: the vCPU is where it was at the start."""
        self._computing = False
        self._burst_done = None
        self._cpu.reset()

    # What KVM asks (iosim.guest.cpu.Kernel)

    def has_work(self) -> bool:
        """Tell whether a halted vCPU has something to do."""
        return bool(self._ready) or self._burst is not None

    def first_arrival(self) -> Request | None:
        """Return the request whose arrival wakes the vCPU, if one does."""
        return self._ready[0][1] if self._ready else None

    def main(self) -> Ops:
        """The main loop: a pending interrupt window first, then ready work, then HLT."""
        cpu = self._cpu
        while True:
            yield SYNC
            vcpu = cpu.vcpu
            if vcpu.irq_window:
                vcpu.begin_delivery(vcpu.irr[0])
                yield Exit(ExitReason.PENDING_INTERRUPT, request=vcpu.irr[0].request)
            elif self._ready:
                work, _ = self._ready.popleft()
                yield from work()
            elif self._burst is not None:
                yield from self._compute(self._burst)
            else:
                cpu.put_down()
                yield self._halt

    def _compute(self, burst: Path) -> Ops:
        """Compute until the burst is over or something takes the vCPU out of the guest."""
        cpu = self._cpu
        cpu.put_down()
        self._computing = True
        self._burst = yield Interruptible(burst)
        yield SYNC
        self._computing = False
        if self._burst is None and self._burst_done is not None:
            self._burst_done()

    def _enter_section(self) -> Ops:
        """spin_lock_irqsave(ap->lock)."""
        self._cpu.interrupts_on = False
        if self._lock is not None:
            yield SYNC
            yield self._lock

    def _leave_section(self) -> Ops:
        """spin_unlock_irqrestore(ap->lock)."""
        if self._lock is not None:
            yield SYNC
            self._guest.host_lock.release()
        self._cpu.interrupts_on = True

    def interrupt(self, irq: Irq) -> Ops:
        """An interrupt: entry, EOI where it comes first, the driver's handler, completion."""
        device = self._guest.devices.get(irq.gsi)
        if device is not None:
            yield from self._take_interrupt(irq, device.ends_interrupt_first)
            self._cpu.thread.delivering = False
            yield from device.interrupt(irq)
            return
        cpu = self._cpu
        queue = self._guest.queues[irq.gsi - 14]
        driver = queue.drivers[self._number]
        yield from self._take_interrupt(irq, driver.ends_interrupt_first)
        if self._lock is not None:
            yield SYNC
            yield self._lock
        cpu.thread.delivering = False
        command = queue.command
        complete = False
        if command is None:
            cpu.put_down()
        else:
            complete = yield from driver.interrupt(command)
        if self._lock is not None:
            yield SYNC
            self._guest.host_lock.release()
        if complete:
            yield from self._command_done(queue)

    def _take_interrupt(self, irq: Irq, ends_first: bool) -> Ops:
        """Up to the driver's handler: the vector's entry, and the EOI where it comes first."""
        yield self._interrupt_entry
        if ends_first and self._eoi_reason is not None:
            yield self._eoi
            yield Exit(self._eoi_reason, request=irq.request, eoi=True)
            yield SYNC

    # Work

    def _arrived(self, queue: ChannelQueue, request: Request) -> Ops:
        """The vCPU looks at a request that has arrived."""
        queue.arriving.discard(request)
        yield from self._dispatch(queue)

    def _dispatch(self, queue: ChannelQueue) -> Ops:
        """Issue the first request that waits, if the channel is free."""
        cpu = self._cpu
        if queue.command is not None or not queue.waiting or queue.waiting[0] in queue.arriving:
            cpu.put_down()
            return
        yield from self._start(queue)

    def _start(self, queue: ChannelQueue) -> Ops:
        now = self._cpu.thread.host.now_ns
        request = queue.waiting.popleft()
        self._levels.queue(queue.number).set(now, len(queue.waiting))
        self._levels.busy(queue.number).set(now, 1)
        queue.parts = request.drive.commands(request)
        request.issue_ns = now
        yield from self._next_part(queue)

    def _next_part(self, queue: ChannelQueue) -> Ops:
        """Issue the next command of the request in turn; its PIO task, if it has one, goes to the work queue."""
        cpu = self._cpu
        queue.command = queue.parts.popleft()
        cpu.carry(queue.command.request)
        yield from self._issue(queue, queue.command)

    def _issue(self, queue: ChannelQueue, command: Command) -> Ops:
        cpu = self._cpu
        queue.bus.request = command.request
        driver = queue.drivers[self._number]
        yield from self._enter_section()
        complete = yield from driver.issue(command)
        yield from self._leave_section()
        if complete:
            yield from self._command_done(queue)
            return
        if driver.needs_work(command):
            self._ready.append((lambda: self._pio_task(queue, command), None))
            command.request.wait_in(Stage.GUEST_QUEUE, cpu.thread.name, "queue_delayed_work")
        cpu.put_down()

    def _pio_task(self, queue: ChannelQueue, command: Command) -> Ops:
        """ata_sff_pio_task: the first block of a PIO-mode write."""
        cpu = self._cpu
        cpu.carry(command.request)
        yield self._workqueue
        yield from self._enter_section()
        yield from queue.drivers[self._number].work(command)
        yield from self._leave_section()
        cpu.put_down()

    def _command_done(self, queue: ChannelQueue) -> Ops:
        """ata_qc_complete: the next part of the request, or its end; then the next request of the channel.

        A command that failed goes to the error handler's thread first (ata_qc_schedule_eh), or is given up at once.
        """
        cpu = self._cpu
        command = queue.command
        assert command is not None
        request = command.request
        if queue.bus.failed:
            if queue.drivers[self._number].recovers:
                request.wait_in(Stage.GUEST_QUEUE, cpu.thread.name, "ata_qc_schedule_eh")
                self._ready.append((lambda: self._error_handler(queue, command), None))
                cpu.put_down()
                return
            queue.failed = True
        yield from self._command_ended(queue, request)

    def _error_handler(self, queue: ChannelQueue, command: Command) -> Ops:
        """scsi_error_handler: the command is repeated (ata_eh_worth_retry), or given up after so many times."""
        cpu = self._cpu
        cpu.carry(command.request)
        yield self._error_thread
        yield from self._enter_section()
        yield from queue.drivers[self._number].recover(command)
        yield from self._leave_section()
        if command.retries < command.request.drive.retries:
            command.begin_again()
            yield SYNC
            yield from self._issue(queue, command)
            return
        queue.failed = True
        yield SYNC
        yield from self._command_ended(queue, command.request)

    def _command_ended(self, queue: ChannelQueue, request: Request) -> Ops:
        cpu = self._cpu
        queue.command = None
        queue.bus.request = None
        now = cpu.thread.host.now_ns
        if queue.parts:
            request.wait_in(Stage.GUEST_QUEUE, cpu.thread.name)
            self._ready.appendleft((lambda: self._next_part(queue), None))
            cpu.put_down()
            return
        self._levels.busy(queue.number).set(now, 0)
        cpu.put_down()
        status = ERROR if queue.failed else OK
        queue.failed = False
        self.end(request, status)
        yield self._complete
        if queue.waiting:
            self._ready.append((lambda: self._dispatch(queue), None))

    def _background_exit(self, exit_: Exit) -> Ops:
        cpu = self._cpu
        cpu.put_down()
        cpu.background = True
        yield self._background
        yield exit_
        yield SYNC
        cpu.background = False

    def end(self, request: Request, status: str) -> None:
        """The request is over."""
        request.status = status
        if status == OK:
            request.error = NO_ERROR
        request.done_ns = self._cpu.thread.host.now_ns
        request.drive.completed(request)


def pic_eoi(port: int) -> Access:
    """Return the write that ends an interrupt at one of the two 8259 controllers."""
    return Access(AccessKind(port, True, 1, 1, False), 0x20)
