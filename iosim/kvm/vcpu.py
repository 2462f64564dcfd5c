"""One vCPU in KVM: kvm_vcpu_ioctl(KVM_RUN), vcpu_run, vcpu_enter_guest, kvm_vcpu_block (arch/x86/kvm/x86.c)."""

import errno
from dataclasses import dataclass
from typing import Any

from iosim.cpu_vmx import LoadedVmcs, vmx_vcpu_run
from iosim.host.thread import HostThread
from iosim.kvm.exit_table import KvmExit
from iosim.kvm.exits import Access, Exit, ExitAccount
from iosim.kvm.handlers import Handlers
from iosim.kvm.irqchip import Irq
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import RESCHED, SYNC, Binder, Block, Check, Op, Path, Steps

HALT_POLL_NS_DEFAULT = {"3.10": 0, "6.1": 200_000}
"""KVM_HALT_POLL_NS_DEFAULT of arch/x86/include/asm/kvm_host.h; Linux 3.10 does not poll."""
HALT_POLL_NS_GROW_START = 10_000
HALT_POLL_NS_GROW = 2


@dataclass
class KvmRun:
    """struct kvm_run: what KVM_RUN leaves for userspace."""

    exit_reason: KvmExit = KvmExit.UNKNOWN
    io: Access | None = None
    gpa: int | None = None
    hardware_exit_reason: int = 0


class Vcpu:
    """struct kvm_vcpu with its VMX part, and what is pending for it.

    `irr` holds raised interrupts that have not been injected, oldest edge first; `event` is KVM_REQ_EVENT;
    `irq_window` says that the guest could not take one and an exit will tell when it can. With `apicv` (posted
    interrupts) an interrupt that the guest can take needs no exit, and one that it cannot take yet no window.
    `signal_pending` makes KVM_RUN return EINTR. A fault makes the guest's next stay end in that exit. `halted` is
    KVM_MP_STATE_HALTED: a signal leaves it as it is; `asleep` says that the thread waits in HLT, in the kernel or in
    QEMU.
    """

    def __init__(
        self, thread: HostThread, binder: Binder, kernel: str, guest: Any, account_log: Any = None, number: int = 0
    ) -> None:
        self.thread = thread
        self.number = number
        self.kernel = kernel
        self._binder = binder
        self.guest = guest
        self.vmcs = LoadedVmcs(binder, kernel)
        self.handlers = Handlers(binder, kernel)
        self.account: Any = ExitAccount(thread, self, account_log)
        thread.tracer = self.account
        self.run = KvmRun()
        self.exit: Exit | None = None
        self.halted = False
        self.asleep = False
        self.irr: list[Irq] = []
        self.event = False
        self.irq_window = False
        self.apicv = False
        self.signal_pending = False
        self.fault: Exit | None = None
        self.complete_userspace_io: Access | None = None
        self._halt_poll_max_ns: int = HALT_POLL_NS_DEFAULT[kernel]
        self._halt_poll_ns = 0
        self._ioctl = binder.path("kvm.vcpu_ioctl")
        old = kernel == "3.10"
        fast = "complete_emulated_pio" if old else "complete_fast_pio_in"
        self._complete_io = {
            True: binder.path("kvm.complete_userspace_io"),
            False: binder.path(("kvm.complete_userspace_io", fast)),
        }
        self.enter = binder.path("kvm.enter_guest")
        self.check = Check(self)
        self._leave = binder.path("kvm.leave_guest")
        inject = "inject_pending_event" if old else "kvm_check_and_inject_events"
        self._inject = binder.path(("kvm.inject_pending_event", inject))
        self._window = binder.path(("kvm.enable_irq_window", "enable_irq_window" if old else "vmx_enable_irq_window"))
        self._signal = binder.path("kvm.signal")
        self._block = binder.path("kvm.vcpu_block")
        self._wake_polling = binder.path(("kvm.wake_polling", "kvm_vcpu_halt"))
        self._wake_asleep = binder.path("kvm.wake_asleep")
        self._userspace_exit = binder.path(Op.USERSPACE)
        self._return = binder.path("kvm.return_to_userspace")
        self._blocked_ns = 0
        self._halt = Block(then=self._woken)

    def reset(self) -> None:
        """kvm_vcpu_reset: nothing is pending any more, the vCPU is not halted."""
        self.exit = None
        self.halted = self.asleep = False
        self.irr = []
        self.event = self.irq_window = self.signal_pending = False
        self.fault = None
        self.complete_userspace_io = None
        self.account.forget()

    def subject_of(self, request: Request | None) -> Subject:
        """Return who draws what the vCPU spends for *request*, or for nobody."""
        return self.thread.own_subject if request is None else request.on_vcpu(self.number)

    # What others ask of the vCPU

    def pending(self) -> bool:
        """Whether vcpu_enter_guest has something to do before the entry (requests, a signal, a fault)."""
        if self.apicv and self.irr and self.guest.interruptible:
            return True
        return self.event or self.signal_pending or (self.fault is not None and not self.thread.kicked)

    def runnable(self) -> bool:
        """Whether a vCPU that waits in HLT has a reason to wake up: something to do, or a signal."""
        return self.signal_pending or self.has_work()

    def has_work(self) -> bool:
        """kvm_arch_vcpu_runnable, cpu_has_work: whether a halted vCPU is halted no more. A signal is no reason."""
        return bool(self.irr) or self.fault is not None or self.guest.has_work()

    def accept_irq(self, irq: Irq) -> None:
        """__apic_accept_irq: set IRR and KVM_REQ_EVENT, wake the vCPU or kick it out of the guest.

        With APICv vmx_deliver_posted_interrupt: set PIR, wake the vCPU or have its processor deliver it.
        """
        irq.queued_behind = self.guest.working_for(irq.request)
        self.irr.append(irq)
        self.event = not self.apicv
        if irq.request is not None:
            stage = Stage.GUEST_QUEUE if irq.queued_behind else Stage.IRQ_DELIVERY
            irq.request.wait_in(stage, self.thread.name)
        if not self.apicv or self.guest.interruptible:
            self.kick()

    def kick(self) -> None:
        """kvm_vcpu_kick: wake a halted vCPU, send an IPI to one in the guest; in root mode do nothing."""
        if not self.wake_up():
            self.thread.kick()

    def wake_up(self) -> bool:
        """kvm_vcpu_wake_up: wake the vCPU if it sleeps in HLT; tell whether it did."""
        if self.asleep and self.thread.blocked:
            self.thread.wake()
            return True
        return False

    # KVM_RUN

    def kvm_vcpu_ioctl(self) -> Steps[int]:
        """ioctl(KVM_RUN): 0 with `run` filled, or a negative errno.

        complete_userspace_io first (the value of an IN is copied at the start of the next KVM_RUN), then vcpu_run.
        """
        yield self._ioctl
        access = self.complete_userspace_io
        if access is not None:
            self.complete_userspace_io = None
            yield self._complete_io[access.kind.string]
            if access.kind.string:
                yield self._binder.repeated("kvm.rep_ins_item", access.kind.items)
        r = yield from self.vcpu_run()
        yield self._return
        return r

    def vcpu_run(self) -> Steps[int]:
        """vcpu_run (__vcpu_run in 3.10): enter the guest or block, until userspace has something to do."""
        while True:
            if self.thread.need_resched:
                yield RESCHED
            if self.halted:
                yield from self.kvm_vcpu_block()
            r = yield from self.vcpu_enter_guest()
            if r <= 0:
                if r == 0:
                    yield self._userspace_exit
                elif r == -errno.EINTR:
                    yield SYNC
                    self.account.interrupted()
                return r

    def vcpu_enter_guest(self) -> Steps[int]:
        """One entry and the exit that ends it. 1: go on in the kernel; 0: to userspace; negative: errno.

        1. requests and events are looked at, until none is left the moment before the entry;
        2. vmx_vcpu_run;
        3. back in root mode: statistics, the host's interrupt handler for an external interrupt;
        4. vmx_handle_exit.
        """
        yield self.enter
        exit_ = None
        while exit_ is None:
            while (yield self.check):
                if self.signal_pending:
                    yield from self._cancel_for_signal()
                    return -errno.EINTR
                yield from self.process_requests()
            if self.guest.drawn_apart is not None:
                yield SYNC
                self.guest.end_apart()
            exit_ = yield from vmx_vcpu_run(self)
        yield self._leave
        return (yield from self.handlers.vmx_handle_exit(self, exit_))

    def _cancel_for_signal(self) -> Steps[None]:
        """The last look before the entry finds a signal: the entry is cancelled, KVM_RUN returns EINTR."""
        self.run.exit_reason = KvmExit.INTR
        self.guest.draw_apart()
        yield self._signal

    def process_requests(self) -> Steps[None]:
        """KVM_REQ_EVENT: inject_pending_event, or request an interrupt window; a fault shows itself in the guest."""
        thread = self.thread
        if self.fault is not None:
            thread.kicked = True
        if not self.event and not self.apicv:
            return
        self.event = False
        subject = thread.subject
        if self.irr:
            thread.subject = self.subject_of(self.irr[0].request)
            if self.guest.interruptible:
                irq = self.irr.pop(0)
                self.begin_delivery(irq)
                yield self._inject
                yield SYNC
                self.guest.inject(irq)
                subject = thread.subject
            if self.irr and not self.irq_window and not self.apicv:
                self.irq_window = True
                yield self._window
                yield SYNC
        thread.subject = subject

    def begin_delivery(self, irq: Irq) -> None:
        """From now on the thread works to bring *irq* to the guest: the time is its request's irq_delivery."""
        thread = self.thread
        request: Request | None = irq.request
        if request is not None and thread.request is not request:
            request.stop_waiting(thread.host.now_ns)
        self.guest.set_aside()
        thread.request = thread.owner = request
        thread.delivering = request is not None
        thread.subject = self.subject_of(request)

    # HLT

    def kvm_vcpu_block(self) -> Steps[None]:
        """kvm_vcpu_block / kvm_vcpu_halt: poll for a while (6.1), then sleep, until the vCPU is runnable.

        The polling window grows and shrinks by the rule of kvm_vcpu_halt (virt/kvm/kvm_main.c). A wake-up within it
        costs kvm.wake_polling, a later one kvm.wake_asleep.
        """
        yield self._block
        yield SYNC
        yield from self.sleep_until_runnable()

    def sleep_until_runnable(self) -> Steps[None]:
        """The wait itself, and the wake-up."""
        self._blocked_ns = self.thread.host.now_ns
        if self.runnable():
            self._go_on()
            self._adjust_polling(0)
        else:
            self.asleep = True
            self._halt.poll_ns = self._halt_poll_ns
            yield self._halt

    def _woken(self) -> Path:
        """The vCPU is woken: how it waited decides what the wake-up costs."""
        self.asleep = False
        halted_ns = self.thread.host.now_ns - self._blocked_ns
        self._go_on()
        path = self._wake_polling if self._polls(halted_ns) else self._wake_asleep
        self._adjust_polling(halted_ns)
        return path

    def _polls(self, halted_ns: int) -> bool:
        """Whether the vCPU, halted for that long, still polls: its window is not over and nobody took its CPU."""
        cpus = self.thread.cpus
        return halted_ns <= self._halt_poll_ns and (cpus is None or cpus.polls(self.thread))

    def _go_on(self) -> None:
        """Not halted any more: from here on the thread works for what ended the halt. A signal ends only the sleep."""
        if not self.has_work():
            return
        self.halted = False
        if self.irr:
            self.begin_delivery(self.irr[0])
        elif not self.signal_pending and self.fault is None:
            self.guest.begin_wake()

    def _adjust_polling(self, halted_ns: int) -> None:
        """grow_halt_poll_ns and shrink_halt_poll_ns (halt_poll_ns_shrink = 0: back to nothing)."""
        longest = self._halt_poll_max_ns
        if not longest or halted_ns <= self._halt_poll_ns:
            return
        if self._halt_poll_ns and halted_ns > longest:
            self._halt_poll_ns = 0
        elif self._halt_poll_ns < longest and halted_ns < longest:
            grown = max(self._halt_poll_ns * HALT_POLL_NS_GROW, HALT_POLL_NS_GROW_START)
            self._halt_poll_ns = min(grown, longest)
