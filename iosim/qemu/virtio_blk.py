"""QEMU's virtio-blk device and its virtqueue (hw/block/virtio-blk.c, hw/virtio/virtio.c, dataplane of 7.2).

The queue is handled by the event loop that the ioeventfd belongs to (the main loop or an iothread), or, without
ioeventfd, by the vCPU inside its exit.
"""

import errno
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from iosim.host import HostThread
from iosim.kvm import Access
from iosim.model.draws import Subject
from iosim.model.records import FLUSH, READ, WRITE, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Path, Steps
from iosim.model.virtio import Element, Vring, Where
from iosim.qemu.block import BlockBackend, BlockErrorAction
from iosim.qemu.linux_aio import LinuxAio
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.runstate import RunState
from iosim.qemu.versions import QemuVersion
from iosim.qemu.virtio_merge import PAGE_SECTORS, VIRTIO_BLK_MAX_MERGE_REQS, Multiwrite, merged

QUEUE_NOTIFY, ISR = 0, 1
"""The device's registers, as far as requests use them."""


class GuestNotifier(Protocol):
    """How the device interrupts the guest (`iosim.kvm.irqfd`)."""

    is_irqfd: bool

    def notify(self, element: Element, left: Callable[[], None]) -> Steps[None]:
        """Raise the interrupt for *element*."""

    def acknowledge(self) -> Steps[None]:
        """The guest has read the ISR status."""


class VirtIOBlkConf(NamedTuple):
    """Properties of the device."""

    ioeventfd: bool
    request_merging: bool


class VirtIOBlock:
    """One device with one queue in use.

    An element that has been taken out of the ring is carried by the thread that handles the queue, or waits for that
    thread (qemu_submit) until its operation begins. Elements that are merged into one operation follow its first one
    (`Request.follow`) until the operation is done.
    """

    def __init__(
        self,
        binder: Binder,
        version: QemuVersion,
        vring: Vring,
        backend: BlockBackend,
        loop: MainLoop,
        notifier: GuestNotifier,
        conf: VirtIOBlkConf,
        runstate: RunState,
        aio: LinuxAio | None = None,
    ) -> None:
        self.vring = vring
        self.loop = loop
        self.dead = False
        self._version = version
        self._backend = backend
        self._notifier = notifier
        self._conf = conf
        self._aio = aio if version.laio_queues else None
        self._batches_notifications = version.virtio_notify_bh and conf.ioeventfd and not vring.event_idx
        self._to_notify: list[Element] = []
        dataplane = version.virtio_notify_bh and conf.ioeventfd
        self._notifies_main_loop = dataplane and not notifier.is_irqfd
        self._signalled: list[Element] = []
        self._runstate = runstate
        runstate.add_vm_change_state_handler(self.dma_restart_cb)
        self._failed: list[Element] = []
        self._restart_path = binder.path("qemu.virtio_blk_handle_request")
        self._binder = binder
        self._notify_read = binder.path("main_loop.host_notifier_read")
        self._doorbell = binder.path("qemu.memory_region_dispatch", "qemu.virtio_queue_notify")
        read = ("qemu.memory_region_dispatch", "memory_region_dispatch_read")
        self._isr_read = binder.path(read, "qemu.virtio_pci_isr_read")
        submit = "virtio_blk_submit_multireq" if version.virtio_merges_reads else "virtio_submit_multiwrite"
        self._submit_path = binder.path(("qemu.virtio_blk_submit_multireq", submit))
        self._rw_done = binder.path("main_loop.virtio_blk_rw_complete", "main_loop.virtqueue_push")
        flush_done = ("main_loop.virtio_blk_rw_complete", "virtio_blk_flush_complete")
        self._flush_done = binder.path(flush_done, "main_loop.virtqueue_push")
        notify = "virtio_notify_irqfd" if dataplane else "virtio_notify"
        self._virtio_notify = binder.path(("main_loop.virtio_notify", notify))
        self._event_notifier_set = binder.path("main_loop.event_notifier_set")
        read = ("main_loop.host_notifier_read", "virtio_queue_guest_notifier_read")
        self._guest_notifier_read = binder.path(read, stage=Stage.COMPLETION)
        self._pop_paths: dict[int, Path] = {}

    # Who tells the device

    def eventfd_signal(self, subject: Subject | None) -> None:
        """The doorbell's ioeventfd has been signalled."""
        self.loop.event_notifier_set(self.host_notifier_read, subject)

    def host_notifier_read(self) -> Steps[None]:
        """virtio_queue_host_notifier_read: the event loop finds the eventfd readable."""
        yield self._notify_read
        yield from self.handle_vq(self.loop.thread)

    def poll_ready(self) -> Steps[None]:
        """virtio_queue_host_notifier_aio_poll_ready: the polling event loop finds the ring not empty."""
        yield from self.handle_vq(self.loop.thread)

    @property
    def watch(self) -> Callable[[Request], None] | None:
        """What is called when an element becomes available, while the loop polls."""
        return self.vring.watch

    @watch.setter
    def watch(self, watch: Callable[[Request], None] | None) -> None:
        self.vring.watch = watch

    def io_poll(self) -> bool:
        """virtio_queue_host_notifier_aio_poll: tell whether the ring is not empty."""
        return bool(self.vring.avail)

    def io_poll_begin(self) -> None:
        """virtio_queue_host_notifier_aio_poll_begin: no kicks, please."""
        self.vring.set_notification(False)

    def io_poll_end(self) -> None:
        """virtio_queue_host_notifier_aio_poll_end: kicks are wanted again."""
        self.vring.set_notification(True)

    def access(
        self, thread: HostThread, register: int, access: Access | None = None, further: bool = False
    ) -> Steps[None]:
        """A register access that came to userspace, in the vCPU thread under the BQL."""
        if register == ISR:
            yield self._isr_read
            yield SYNC
            yield from self._notifier.acknowledge()
            return
        yield self._doorbell
        yield SYNC
        if thread.request is not None:
            thread.request.wait_in(Stage.SUBMIT_WAIT, thread.name)
            thread.request = None
        subject = thread.subject
        yield from self.handle_vq(thread)
        yield SYNC
        thread.subject = subject

    # The queue

    def handle_vq(self, thread: HostThread) -> Steps[None]:
        """virtio_blk_handle_vq (virtio_blk_handle_output in 1.6): everything in the ring is taken out and submitted.

        7.2 wants no kicks meanwhile, and looks again once it has asked for them; while the loop polls they are off
        anyway and stay off. What it submits by aio=native or io_uring goes to the kernel together (blk_io_plug).
        """
        vring = self.vring
        batch: list[Element] = []
        yield SYNC
        suppress = self._version.virtio_suppresses_kicks and vring.notification
        if self._aio is not None:
            self._aio.io_plug()
        while True:
            if suppress:
                vring.set_notification(False)
            while (element := vring.pop()) is not None:
                yield from self._virtio_blk_handle_request(thread, element, batch, self._pop(element.sectors))
            if suppress:
                vring.set_notification(True)
            if not vring.avail:
                break
        yield from self._submit_multireq(thread, batch)
        self._put_down(thread)
        if self._aio is not None:
            yield from self._aio.io_unplug(thread)

    def _virtio_blk_handle_request(
        self, thread: HostThread, element: Element, batch: list[Element], path: Path
    ) -> Steps[None]:
        """virtio_blk_get_request, virtio_blk_handle_request: collect it, submitting first what it does not go with."""
        self._take(thread, element)
        yield path
        yield SYNC
        self._set_aside(thread, element)
        if element.op == FLUSH:
            if batch and batch[0].op == WRITE:
                yield from self._submit_multireq(thread, batch)
            yield from self._submit(thread, [element])
        elif element.op != WRITE and not self._version.virtio_merges_reads:
            yield from self._submit(thread, [element])
        else:
            if batch and (
                len(batch) == VIRTIO_BLK_MAX_MERGE_REQS or element.op != batch[0].op or not self._conf.request_merging
            ):
                yield from self._submit_multireq(thread, batch)
            batch.append(element)

    def _submit_multireq(self, thread: HostThread, batch: list[Element]) -> Steps[None]:
        """virtio_blk_submit_multireq: sorted by sector, what is contiguous becomes one operation.

        Up to 1.6 (bdrv_aio_multiwrite) what overlaps as well, and all of the operations are done when the last one is.
        """
        asked = list(batch)
        batch.clear()
        elements = sorted(asked, key=lambda element: element.sector)
        groups = [[element] for element in elements]
        overlap = not self._version.virtio_merges_reads
        if self._conf.request_merging:
            groups = merged(elements, overlap)
        multiwrite = Multiwrite(self, asked, len(groups)) if overlap and asked else None
        for group in groups:
            yield from self._submit(thread, group, multiwrite)

    def _submit(
        self, thread: HostThread, group: Sequence[Element], multiwrite: Multiwrite | None = None
    ) -> Steps[None]:
        """Behind a SYNC: submit_requests, one operation of the block layer for *group*, in 1.6 of the *multiwrite*."""
        now = thread.host.now_ns
        leader = group[0]
        self._take(thread, leader)
        for element in group[1:]:
            element.request.stop_waiting(now)
            element.request.follow(leader.request)
        if leader.op == WRITE or (leader.op == READ and self._version.virtio_merges_reads):
            yield self._submit_path
        io = (leader.op, leader.sector, group[-1].sector + group[-1].sectors - leader.sector)
        complete = partial(self._rw_complete, group) if multiwrite is None else partial(multiwrite.done, group)
        yield from self._backend.blk_aio_prwv(thread, leader.request, io, complete)
        yield SYNC
        thread.request = None
        leader.holder = None

    def _pop(self, sectors: int) -> Path:
        """Return the cost of taking an element out: one mapping per 4 KiB."""
        pages = -(-sectors // PAGE_SECTORS)
        path = self._pop_paths.get(pages)
        if path is None:
            maps = [("qemu.dma_map_page", "virtqueue_map_desc")] * pages
            path = self._binder.path("qemu.virtqueue_pop", *maps, "qemu.virtio_blk_handle_request")
            self._pop_paths[pages] = path
        return path

    # Completion, in the event loop

    def _rw_complete(self, group: Sequence[Element], ret: int) -> Steps[None]:
        """virtio_blk_rw_complete, virtio_blk_req_complete for each element: onto the used ring, interrupt if wanted."""
        yield SYNC
        self._part(group)
        yield from self._complete(group, ret)

    def multiwrite_cb(self, group: Sequence[Element]) -> None:
        """Behind a SYNC: one operation of a multiwrite is done, others are not; *group* waits for them."""
        self._set_aside(self.loop.thread, group[0], Stage.COMPLETION_WAIT, "")

    def multiwrite_user_cb(
        self, groups: Sequence[Sequence[Element]], asked: Sequence[Element], ret: int
    ) -> Steps[None]:
        """Behind a SYNC: the last operation of a multiwrite is done; its elements are, in the order of the ring."""
        thread = self.loop.thread
        now = thread.host.now_ns
        for group in groups:
            self._part(group)
            leader = group[0].request
            if leader is not thread.request:
                leader.stop_waiting(now)
                leader.wait_in(Stage.COMPLETION, thread.name, "virtio_blk_rw_complete")
        self._set_aside(thread, groups[-1][0], Stage.COMPLETION, "virtio_blk_rw_complete")
        yield from self._complete(asked, ret)

    def _part(self, group: Sequence[Element]) -> None:
        """The operation of *group* is over: behind its first element, which is carried or waits, the others wait."""
        thread = self.loop.thread
        for element in group[1:]:
            element.request.stop_waiting(thread.host.now_ns)
            element.request.wait_in(Stage.COMPLETION, thread.name, "virtio_blk_rw_complete")

    def _complete(self, elements: Sequence[Element], ret: int) -> Steps[None]:
        """virtio_blk_rw_complete, virtio_blk_req_complete for each element."""
        thread = self.loop.thread
        for element in elements:
            if self.dead:
                return
            element.ret = ret
            self._take(thread, element)
            if ret and (yield from self.virtio_blk_handle_rw_error(thread, element)):
                continue
            yield self._flush_done if element.op == FLUSH else self._rw_done
            yield SYNC
            if self.dead:
                return
            self.vring.push(element)
            if self._batches_notifications:
                self._set_aside(thread, element, Stage.COMPLETION, "qemu_bh_schedule")
                self._to_notify.append(element)
                self.loop.qemu_bh_schedule(self.notify_guest_bh, element.request)
            else:
                yield from self._notify(element)

    def virtio_blk_handle_rw_error(self, thread: HostThread, element: Element) -> Steps[bool]:
        """The policy for errors: report it, ignore it, or stop the VM and keep the request; True if it is kept."""
        yield SYNC
        error = errno.errorcode[-element.ret]
        action = self._backend.blk_get_error_action(element.op == READ, -element.ret)
        self._runstate.note(action.value, element.request, error)
        if action is BlockErrorAction.STOP:
            self._set_aside(thread, element, Stage.PAUSED, "")
            self._failed.append(element)
            self._runstate.vm_stop("io-error")
            return True
        if action is BlockErrorAction.IGNORE:
            element.ret = 0
        else:
            element.request.error = error
        return False

    def dma_restart_cb(self) -> None:
        """virtio_blk_dma_restart_cb: the VM goes on; a bottom half begins again what has failed."""
        if not self._failed:
            return
        thread = self.loop.thread
        for element in self._failed:
            element.request.stop_waiting(thread.host.now_ns)
            element.request.wait_in(Stage.COMPLETION_WAIT, thread.name)
        self.loop.qemu_bh_schedule(self.dma_restart_bh, self._failed[-1].request)

    def dma_restart_bh(self) -> Steps[None]:
        """virtio_blk_dma_restart_bh: handle them again, the last that failed first."""
        thread = self.loop.thread
        failed, self._failed = self._failed, []
        batch: list[Element] = []
        for element in reversed(failed):
            yield from self._virtio_blk_handle_request(thread, element, batch, self._restart_path)
            yield SYNC
        yield from self._submit_multireq(thread, batch)
        yield SYNC
        self._put_down(thread)

    def _notify(self, element: Element) -> Steps[None]:
        """virtio_notify: an interrupt, if the driver wants one for what has been pushed."""
        thread = self.loop.thread
        left = partial(self._set_aside, thread, element, Stage.IRQ_DELIVERY, "")
        yield self._virtio_notify
        yield SYNC
        if self.dead or not self.vring.should_notify():
            left()
        elif self._notifies_main_loop:
            yield from self._signal_main_loop(element)
        else:
            yield from self._notifier.notify(element, left)

    def _signal_main_loop(self, element: Element) -> Steps[None]:
        """The guest notifier's eventfd, which KVM does not watch: the main loop raises the line in a later turn."""
        yield self._event_notifier_set
        yield SYNC
        self._set_aside(self.loop.thread, element, Stage.COMPLETION_WAIT, "")
        if not self.dead:
            self._signalled.append(element)
            self.loop.event_notifier_set(self.guest_notifier_read, element.request)

    def guest_notifier_read(self) -> Steps[None]:
        """virtio_queue_guest_notifier_read, virtio_irq: raise the line, once for all signals since then."""
        thread = self.loop.thread
        signalled, self._signalled = self._signalled, []
        waiting = [element for element in signalled if element.where is Where.USED]
        for element in waiting[1:]:
            element.request.stop_waiting(thread.host.now_ns)
            element.request.wait_in(Stage.IRQ_DELIVERY, thread.name)
        if waiting:
            self._take(thread, waiting[0])
        yield self._guest_notifier_read
        yield SYNC
        if self.dead or not signalled:
            self._put_down(thread)
            return
        first = (waiting or signalled)[0]
        yield from self._notifier.notify(first, partial(self._set_aside, thread, first, Stage.IRQ_DELIVERY, ""))

    def notify_guest_bh(self) -> Steps[None]:
        """notify_guest_bh: one notification for all that has been pushed since the last one."""
        thread = self.loop.thread
        pushed = [element for element in self._to_notify if element.where is Where.USED]
        self._to_notify.clear()
        now = thread.host.now_ns
        for element in pushed[1:]:
            element.request.stop_waiting(now)
            element.request.wait_in(Stage.IRQ_DELIVERY, thread.name)
        if not pushed:
            yield self._virtio_notify
            return
        self._take(thread, pushed[0])
        yield from self._notify(pushed[0])

    def reset(self) -> None:
        """The VM is no more: what is under way ends without anybody being told."""
        self.dead = True
        self._to_notify.clear()
        self._signalled.clear()
        self._failed.clear()

    def system_reset(self) -> None:
        """virtio_reset, when nothing is in flight any more: the device as after power-on."""
        self.dead = False

    # Whose time it is

    def let_go(self, request: Request) -> None:
        """The driver has found the request on the used ring while the event loop still works for it."""
        thread = self.loop.thread
        if thread.request is request:
            thread.charge_under_way()
            thread.request = None

    def _take(self, thread: HostThread, element: Element) -> None:
        """The thread works for *element* from here on."""
        request = element.request
        element.take(self)
        if thread is self.loop.thread:
            self.loop.carry(request)
        else:
            request.stop_waiting(thread.host.now_ns)
            thread.request = thread.subject = request

    def _set_aside(
        self,
        thread: HostThread,
        element: Element,
        stage: Stage = Stage.QEMU_SUBMIT,
        function: str = "virtio_blk_handle_vq",
    ) -> None:
        """The thread works for something else now; the element waits for it in *function*, or for the guest."""
        if thread.request is element.request:
            element.request.wait_in(stage, thread.name, function)
            element.holder = None
        self._put_down(thread)

    def _put_down(self, thread: HostThread) -> None:
        if thread is self.loop.thread:
            self.loop.put_down()
        else:
            thread.request = None
