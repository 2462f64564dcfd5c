"""A guest that does what was recorded: a sequence of port accesses with the guest's own time between them.

The driver is not described. What is known of it is which accesses it made (`iosim.model.ports`), so here it makes them
again, in this order, on the simulated device; only where it waited for the device, it waits for the simulated one.

* Wait.INTERRUPT: nothing is done until the interrupt has been taken; the vCPU halts meanwhile.
* Wait.POLL: the register is read until the device is ready, as often as that takes.
* Wherever else the device is at work though the recording found it ready, the guest halts until it is (a *stall*).

The guest does not wait for what cannot come: an interrupt that the device has not raised is counted as missed.
From the first access of a request to its end interrupts are off, but while the guest waits.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

from iosim.guest.cpu import GuestCpu, Ops
from iosim.guest.kernel import GuestKernel
from iosim.guest.replayed_access import AccessCosts, may_begin
from iosim.host import HostThread
from iosim.kvm import Irq
from iosim.model.ata import Reg
from iosim.model.ports import PortSequence, PortStep, Wait
from iosim.model.records import ERROR, OK, UNFINISHED, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Block, Steps

BUSY, DRQ = 0x80, 0x08
BM_ACTIVE = 0x01
EXT_DMA = (0x25, 0x35)
COUNTS = ("stalls", "missed_interrupts", "ignored_commands", "aborted_commands", "incomplete_commands")


class Feed(Protocol):
    """Who makes the requests of the sequence, and keeps the account of them."""

    def arrive(self, number: int) -> Request:
        """The guest begins request *number* at this instant."""

    def over(self) -> None:
        """The sequence has come to its end."""


class ReplayedDrive:
    """The drive as its requests know it. A flush command is one, whatever the device says of a write cache."""

    write_cache = True

    def __init__(self, vm: str, index: int, channel: int, vcpu: int, completed: Callable[[Request], None]) -> None:
        self.vm = vm
        self.index = index
        self.channel = channel
        self.vcpu = vcpu
        self.completed = completed
        self.device: PortReplay

    def vcpu_of(self, number: int) -> int:
        """Return the vCPU that makes the drive's requests."""
        return self.vcpu


class Written:
    """What a section writes: one value for each of its accesses."""

    __slots__ = ("values",)

    def __init__(self, values: tuple[int, ...]) -> None:
        self.values = values


class _Phase(Enum):
    """How far the present step has come."""

    WAIT = 0
    ACCESS = 1
    END = 2


class PortReplay:
    """Makes the accesses of a sequence on one vCPU; to the guest's kernel a device with an interrupt.

    It runs as work of the kernel, from one wait to the next. `counts`: how often it waited where the recording did not
    (stalls), did not get an interrupt, and gave the device a command that it ignored, or aborted, or did not get to
    carry out because its data or the start of the bus master is missing in the recording.
    """

    def __init__(
        self,
        cpu: GuestCpu,
        irq_cpu: GuestCpu,
        kernel: GuestKernel,
        bus: Any,
        levels: Any,
        accesses: AccessCosts,
        sequence: PortSequence,
        feed: Feed,
    ) -> None:
        self.ends_interrupt_first = not sequence.ends_by_pic
        self.counts = dict.fromkeys(COUNTS, 0)
        self._cpu = cpu
        self._irq_cpu = irq_cpu
        self._kernel = kernel
        self._bus = bus
        self._levels = levels
        self._accesses = accesses
        self._steps = sequence.steps
        self._feed = feed
        self._timer: HostThread
        self._at = 0
        self._left = 0
        self._phase = _Phase.WAIT
        self._request: Request | None = None
        self._interrupted = False
        self._waiting = False
        self._was_idle = False
        self._ignored = False
        self._n_jobs = 0
        self._dead = False
        bus.on_unheard = self._look

    def begin(self, timer: HostThread) -> Steps[None]:
        """The guest begins. As the steps of *timer*, a stream: its alarm ends the guest's own pauses."""
        self._timer = timer
        while not self._dead:
            self._kernel.add_work(self._go_on, None)
            yield Block()

    # What the kernel asks (iosim.guest.kernel.Device)

    def arrive(self, request: Request) -> None:
        """A request begins with its first access; there is no queue."""

    def interrupt(self, irq: Irq) -> Ops:
        """The channel's interrupt has been taken: who waits for it goes on as soon as its vCPU can."""
        yield SYNC
        if irq.request is not None and self._irq_cpu.thread.request is irq.request:
            irq.request.wait_in(Stage.GUEST_QUEUE, self._cpu.thread.name)
        self._irq_cpu.put_down()
        self._interrupted = True
        self._look()

    def die(self) -> None:
        """There is no guest any more; one that boots again does something else."""
        self._dead = True
        self._waiting = False
        self._levels.busy(self._bus.number).set(self._cpu.thread.host.now_ns, 0)

    def revive(self) -> None:
        """See `die`."""

    # Waiting

    def _look(self) -> None:
        """Go on if the guest waits and the device is done."""
        if self._waiting and self._is_settled():
            self._waiting = False
            self._kernel.add_work(self._go_on, self._request)

    def _is_settled(self) -> bool:
        """Whether the device is done, and its interrupt has been taken if there was one."""
        return not self._bus.working and not any(irq.gsi == self._bus.gsi for irq in self._irq_cpu.vcpu.irr)

    def _stop(self, stall: bool) -> None:
        self.counts["stalls"] += stall and self._bus.working
        self._waiting = True
        self._put_down()

    def _put_down(self) -> None:
        """The thread works for nobody; a request that it has carried waits for the guest."""
        self._cpu.interrupts_on = True
        request = self._cpu.thread.request
        if request is not None:
            request.wait_in(Stage.GUEST_QUEUE, self._cpu.thread.name)
        self._cpu.put_down()

    def _take_up(self) -> None:
        """The thread works for the request that has begun, unless the device does."""
        request = self._request
        self._cpu.interrupts_on = request is None
        if request is not None and not self._bus.working:
            self._cpu.carry(request)

    # The sequence

    def _go_on(self) -> Ops:
        """Make accesses until the guest has to wait."""
        steps = self._steps
        yield SYNC
        self._take_up()
        while self._at < len(steps) and not self._dead:
            if self._phase is _Phase.WAIT:
                if not (yield from self._ready(steps[self._at])):
                    return
                self._phase, self._left = _Phase.ACCESS, steps[self._at].times
            if self._phase is _Phase.ACCESS:
                if not (yield from self._access(steps[self._at])):
                    return
                self._phase = _Phase.END
            if not (yield from self._end(steps[self._at])):
                return
            self._phase = _Phase.WAIT
            self._at += 1
        yield SYNC
        self._put_down()
        if self._at == len(steps) and not self._dead:
            self._feed.over()

    def _ready(self, step: PortStep) -> Ops:
        """Tell whether the guest may make the access now; if not, it waits from here on."""
        if step.idle_ns and not self._was_idle:
            yield SYNC
            self._was_idle = True
            self._put_down()
            self._timer.wake_at(self._cpu.thread.host.now_ns + step.idle_ns)
            return False
        self._was_idle = False
        if step.wait in (Wait.NONE, Wait.POLL):
            return True
        yield SYNC
        if not self._is_settled():
            self._stop(stall=step.wait is Wait.READY)
            return False
        if step.wait is Wait.INTERRUPT and not self._interrupted:
            self.counts["missed_interrupts"] += 1
        self._interrupted = False
        self._take_up()
        return True

    def _end(self, step: PortStep) -> Ops:
        """End the request that ends behind the step; False if its device is not done with it yet."""
        request = self._request
        if step.ends < 0 or request is None:
            return True
        yield SYNC
        if not self._is_settled():
            self._stop(stall=True)
            return False
        self._take_up()
        self._put_down()
        self._request = self._bus.request = None
        self._levels.busy(self._bus.number).set(self._cpu.thread.host.now_ns, 0)
        if self._bus.failed or self._ignored:
            request.error = request.error or "EIO"
            self._kernel.end(request, ERROR)
        elif self._bus.n_jobs == self._n_jobs:
            self.counts["incomplete_commands"] += 1
            self._kernel.end(request, UNFINISHED)
        else:
            self._kernel.end(request, OK)
        self._ignored = False
        return True

    def _begin(self, step: PortStep) -> Ops:
        """The guest's time before the access; behind it the request begins that begins with the access."""
        yield self._accesses.gap(step)
        yield SYNC
        if self._dead:
            return
        request = self._feed.arrive(step.begins)
        request.issue_ns = request.arrival_ns
        self._request = self._bus.request = request
        self._interrupted = False
        self._n_jobs = self._bus.n_jobs
        self._levels.busy(self._bus.number).set(request.arrival_ns, 1)
        self._take_up()

    # Accesses

    def _access(self, step: PortStep) -> Ops:
        """Make the accesses of the step, and those that follow it at once; False if the guest has to wait before."""
        if step.begins >= 0:
            yield from self._begin(step)
        if step.register is None:
            yield from self._cpu.exact_access(self._accesses.bound(step), step.value)
        elif step.wait is Wait.POLL:
            yield from self._poll(step)
        elif step.register is Reg.DATA:
            return (yield from self._data(step))
        elif may_begin(step):
            yield from self._alone(step)
        else:
            yield from self._section(step)
        return True

    def _alone(self, step: PortStep) -> Ops:
        """An access that may begin a submission or raise the interrupt within its own exit."""
        yield SYNC
        bus = self._bus
        if step.register is Reg.COMMAND:
            bus.prd_bytes = bus.command_sectors(step.value in EXT_DMA) * 512
            if bus.ignores_command():
                self._ignored = True
                self.counts["ignored_commands"] += 1
        yield from self._cpu.exact_access(self._accesses.bound(step), step.value)
        if step.register is Reg.COMMAND:
            yield SYNC
            self.counts["aborted_commands"] += not bus.working and bus.failed

    def _poll(self, step: PortStep) -> Ops:
        """Read until the device is ready; once if it is already, or if the register does not show it."""
        yield SYNC
        bus, register = self._bus, step.register
        mask = BM_ACTIVE if register is Reg.BM_STATUS else BUSY | DRQ if bus.working_by_dma else BUSY
        shows = register is not Reg.BM_STATUS or bus.working_by_dma
        if not bus.working or not shows or self._request is None:
            yield from self._cpu.exact_access(self._accesses.bound(step))
        else:
            loop, first = self._accesses.poll(step)
            if first is not None:
                yield first
            yield from self._cpu.poll(loop, bus, lambda value: not value & mask)
        yield SYNC
        self._interrupted = False
        self._take_up()

    def _data(self, step: PortStep) -> Ops:
        """Words of the data port, together as long as they only fill or empty the buffer; False to wait."""
        access = self._accesses.bound(step)
        n_bytes = step.width * step.items
        while self._left:
            yield SYNC
            if self._bus.working:
                self._stop(stall=True)
                return False
            n = min(self._left, self._bus.bytes_within_block() // n_bytes)
            if n and not self._cpu.interrupts_on:
                yield from self._cpu.repeated(access, n, self._bus)
            else:
                n = 1
                yield from self._cpu.exact_access(access)
            self._left -= n
        return True

    def _section(self, first: PortStep) -> Ops:
        """Register accesses, up to the next one that needs more care or ends a request."""
        chosen = [first]
        while chosen[-1].ends < 0 and self._at + 1 < len(self._steps) and _follows(self._steps[self._at + 1]):
            self._at += 1
            chosen.append(self._steps[self._at])
        yield SYNC
        if self._bus.working or self._cpu.interrupts_on:
            for step in chosen:
                value = self._bus.prd_bytes if step.register is Reg.BM_PRD else step.value
                yield from self._cpu.exact_access(self._accesses.bound(step), value)
            return
        section = self._accesses.section(chosen)
        # What is written to the PRD register is the address of a table in the guest's memory.
        values = [self._bus.prd_bytes if step.register is Reg.BM_PRD else step.value for step in chosen]
        yield from self._cpu.section(section, Written(tuple(values)), self._bus)


def _follows(step: PortStep) -> bool:
    """Tell whether the step may be made together with those before it."""
    simple = step.register is not None and step.register is not Reg.DATA and not may_begin(step)
    return simple and step.wait is Wait.NONE and not step.idle_ns and step.begins < 0
