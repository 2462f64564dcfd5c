"""Linux: the virtio-blk driver (drivers/block/virtio_blk.c, drivers/virtio/virtio_ring.c, virtio_pci_common.c).

Requests go to the ring as long as it has room, several at once; what came while the vCPU was busy is dispatched in one
batch, with one kick at its end (virtblk_request of 3.10, commit_rqs of 6.1), and that only if the device wants it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from iosim.guest.cpu import GuestCpu, Ops
from iosim.guest.kernel import EOI_EXIT, GuestKernel
from iosim.host import Level
from iosim.kvm import Access, Exit, ExitReason, Irq
from iosim.model.records import ERROR, FLUSH, OK, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, AccessKind, Binder, Mode
from iosim.model.virtio import Element, Vring, Where

PAGE_SECTORS = 8


class Transport(NamedTuple):
    """Where the driver rings the doorbell and, with an interrupt line, reads the ISR status.

    Both are ports (legacy) or, with *mmio*, guest physical addresses (virtio 1.0).
    """

    doorbell: int
    mmio: bool
    isr: int | None


class VirtioDrive:
    """A virtio-blk drive as the guest's block layer sees it; requests are split at *max_sectors*."""

    channel: int | None = None

    def __init__(
        self,
        vm: str,
        index: int,
        max_sectors: int,
        write_cache: bool,
        completed: Callable[[Request], None],
        vcpus: Sequence[int],
    ) -> None:
        self.vm = vm
        self.index = index
        self.max_sectors = max_sectors
        self.write_cache = write_cache
        self.completed = completed
        self.vcpus = vcpus
        self.device: HwQueues

    def vcpu_of(self, number: int) -> int:
        """Return the vCPU that makes a request: those of the drive's queues in turn."""
        return self.vcpus[number % len(self.vcpus)]

    def parts(self, request: Request) -> Element:
        """Return the first part of a request, linked to those that follow; a flush has one."""
        if request.op == FLUSH:
            return Element(request, FLUSH, 0, 0)
        parts = [
            Element(request, request.op, request.sector + done, min(self.max_sectors, request.sectors - done))
            for done in range(0, request.sectors, self.max_sectors)
        ]
        for position in range(1, len(parts)):
            parts[position - 1].rest = parts[position]
        return parts[0]


class HwQueues:
    """blk_mq_hw_ctx: the queues of one device, each used by one vCPU."""

    def __init__(self, by_vcpu: "dict[int, VirtioBlk]") -> None:
        self._by_vcpu = by_vcpu

    def arrive(self, request: Request) -> None:
        """A request enters the queue of its vCPU."""
        self._by_vcpu[request.vcpu].arrive(request)


class VirtioBlk:
    """The driver of one queue of a device, on the vCPU that uses it; *queue* and *in_flight* are sums over the device.

    The first request of a batch pays for the kick: it is carried through it, unless the device has taken it already,
    and the exit counts for it.
    """

    def __init__(
        self,
        cpu: GuestCpu,
        kernel: GuestKernel,
        binder: Binder,
        version: str,
        vring: Vring,
        transport: Transport,
        eoi: str,
        queue: Level,
        in_flight: Level,
    ) -> None:
        self.vring = vring
        self._cpu = cpu
        self._kernel = kernel
        self._kicks_unlocked = version != "3.10"
        self._transport = transport
        self.ends_interrupt_first = transport.isr is None
        self._eoi_reason = EOI_EXIT[eoi] or ExitReason.APIC_ACCESS
        self._queue = queue
        self._in_flight = in_flight
        self._waiting: deque[Element] = deque()
        self._issued: set[Element] = set()
        self._dispatching = False
        self._n_waiting = self._n_in_use = 0
        queue_rq = "do_virtblk_request" if version == "3.10" else "virtio_queue_rq"
        self._queue_rq = binder.path(("guest.virtio_queue_rq", queue_rq), "guest.virtqueue_add", mode=Mode.GUEST)
        self._kick_prepare = binder.path("guest.virtqueue_kick_prepare", mode=Mode.GUEST)
        self._vp_notify = binder.path("guest.vp_notify", mode=Mode.GUEST)
        self._vp_interrupt = binder.path("guest.vp_interrupt", mode=Mode.GUEST)
        self._vring_interrupt = binder.path("guest.vring_interrupt", mode=Mode.GUEST)
        self._get_buf = binder.path("guest.virtqueue_get_buf", mode=Mode.GUEST)
        self._complete = binder.path(("guest.complete", "blk_mq_end_request"), mode=Mode.GUEST)
        self._eoi = binder.path("guest.eoi", mode=Mode.GUEST)

    # What comes from outside

    def arrive(self, request: Request) -> None:
        """A request enters the queue; it is dispatched when the vCPU comes to it, if the ring has room."""
        request.wait_in(Stage.GUEST_QUEUE, self._cpu.thread.name)
        self._waiting.append(request.drive.parts(request))
        self._count()
        self._run_hw_queue(request)

    def die(self) -> None:
        """The VM is no more."""
        self._issued.clear()
        self._waiting.clear()
        self.vring.reset()
        self._count()

    def revive(self) -> None:
        """The guest has booted again."""
        self._dispatching = False

    # Submission

    def _run_hw_queue(self, request: Request | None = None) -> None:
        """blk_mq_run_hw_queue: have the vCPU dispatch what waits, unless it will do so anyway or has no room for it."""
        if self._waiting and not self._dispatching and not self.vring.full:
            self._dispatching = True
            self._kernel.add_work(self._dispatch, request)

    def _dispatch(self) -> Ops:
        """blk_mq_dispatch_rq_list: virtio_queue_rq for each request while there is room, then the kick.

        The queue's lock is taken with interrupts off: by 6.1 for virtio_queue_rq, by 3.10 for the kick as well.
        """
        cpu = self._cpu
        thread = cpu.thread
        first: Element | None = None
        cpu.put_down()
        cpu.interrupts_on = False
        while self._waiting and not self.vring.full:
            element = self._waiting.popleft()
            yield from self._virtio_queue_rq(element)
            if first is None:
                first = element
        self._dispatching = False
        if first is None:
            cpu.interrupts_on = True
            return
        payer = first.request
        if first.where is Where.AVAIL:
            cpu.carry(payer)
            first.take(cpu)
        thread.owner = payer
        thread.subject = cpu.vcpu.subject_of(payer)
        yield self._kick_prepare
        yield SYNC
        if self.vring.kick_prepare():
            cpu.interrupts_on = self._kicks_unlocked
            yield from self._notify(payer)
            yield SYNC
        if thread.request is not None:
            thread.request.wait_in(Stage.SUBMIT_WAIT, thread.name)
            first.holder = None
        cpu.interrupts_on = True
        cpu.put_down()

    def _virtio_queue_rq(self, element: Element) -> Ops:
        """virtio_queue_rq: the descriptors are written, the element becomes available."""
        cpu = self._cpu
        request = element.request
        self._issued.add(element)
        self._count()
        cpu.carry(request)
        if request.issue_ns < 0:
            request.issue_ns = cpu.thread.host.now_ns
        yield self._queue_rq
        yield SYNC
        cpu.put_down()
        request.wait_in(Stage.SUBMIT_WAIT, cpu.thread.name)
        self.vring.add(element)
        self._count()

    def _notify(self, payer: Request) -> Ops:
        """vp_notify: the queue's number is written to the doorbell."""
        yield self._vp_notify
        yield self._access(self._transport.doorbell, True, payer if payer.done_ns < 0 else None)

    def _access(self, address: int, is_write: bool, request: Request | None) -> Exit:
        """Return the exit of an access to one of the device's registers: 16 bits written, or 8 read."""
        if self._transport.mmio:
            return Exit(ExitReason.EPT_MISCONFIG, request=request, gpa=address)
        access = Access(AccessKind(address, is_write, 2 if is_write else 1, 1, False))
        return Exit(ExitReason.IO_INSTRUCTION, access, request=request)

    # Interrupt

    def interrupt(self, irq: Irq) -> Ops:
        """vring_interrupt, virtblk_done: callbacks off, everything used is completed, callbacks on; again if needed.

        With a line: vp_interrupt reads the ISR status first, which lowers the line, and the EOI comes last. (The line
        is level-triggered: no paravirtual EOI, so it is an exit whatever edges cost.)
        """
        cpu = self._cpu
        if self._transport.isr is not None:
            yield self._vp_interrupt
            yield self._access(self._transport.isr, False, cpu.thread.owner)
        yield self._vring_interrupt
        yield SYNC
        while True:
            self.vring.disable_cb()
            while (element := self.vring.get_buf()) is not None:
                yield from self._request_done(element)
            if self.vring.enable_cb():
                break
        cpu.put_down()
        if self._transport.isr is not None:
            yield self._eoi
            yield Exit(self._eoi_reason, eoi=True)
            yield SYNC
        self._run_hw_queue()

    def _request_done(self, element: Element) -> Ops:
        """virtblk_request_done: the request ends, or its next part goes to the head of the queue."""
        cpu = self._cpu
        thread = cpu.thread
        request = element.request
        element.take(cpu)
        if thread.request is not request:
            if thread.request is not None:
                thread.request.wait_in(Stage.IRQ_DELIVERY, thread.name)
            cpu.carry(request)
        yield self._get_buf
        yield SYNC
        self._issued.discard(element)
        cpu.put_down()
        for irq in cpu.vcpu.irr:
            if irq.request is request:
                irq.request = None
        if element.rest is not None and not element.ret:
            request.wait_in(Stage.GUEST_QUEUE, thread.name)
            self._waiting.appendleft(element.rest)
        else:
            self._kernel.end(request, ERROR if element.ret else OK)
        self._count()
        yield self._complete
        yield SYNC

    def _count(self) -> None:
        """Set the levels: what waits in the block layer, what is on the ring."""
        now = self._cpu.thread.host.now_ns
        waiting, in_use = len(self._waiting), self.vring.n_in_use
        self._queue.change(now, waiting - self._n_waiting)
        self._in_flight.change(now, in_use - self._n_in_use)
        self._n_waiting, self._n_in_use = waiting, in_use
