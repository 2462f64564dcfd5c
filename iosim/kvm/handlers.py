"""vmx_handle_exit and its handlers: what KVM does with an exit.

A handler returns 1 when the exit is finished and the guest may go on; otherwise it fills `vcpu.run` and returns 0 (or
a negative errno), and userspace continues. That is the contract of arch/x86/kvm/vmx.c.
"""

from typing import Any, TypeAlias

from iosim.kvm.exit_table import EXIT_TABLE, KERNEL_PORTS, NESTED_VMX, ExitReason, KvmExit
from iosim.kvm.exits import Exit
from iosim.kvm.ioeventfd import IoBus
from iosim.model.steps import Binder, Path, Steps

Handler: TypeAlias = Any
"""A generator function (vcpu, exit) -> Steps[int]."""

READ_AHEAD_BYTES = 1024
"""struct read_cache of arch/x86/kvm/emulate.c: what one rep ins fetches at most."""
PAGE_BYTES = 4096


def rep_ins_batches(kernel: str, width: int, items: int) -> list[int]:
    """Return how many items each exit of one rep ins fetches, into a buffer that begins at a page boundary.

    (Where a sector's buffer of 512 bytes lies in its page makes no difference: it never crosses a page.)
    """
    batches = []
    done = 0
    while done < items:
        batches.append(rep_ins_items(kernel, done * width, width, items - done))
        done += batches[-1]
    return batches


def rep_ins_items(kernel: str, page_offset: int, width: int, items_left: int) -> int:
    """pio_in_emulated: how many items of a rep ins one exit fetches, at least 1.

    3.10 takes the *bytes* to the end of the destination page, or 1024, in items; 6.1 compares the number of bytes to
    the end of the page with a number of items, and so is laxer by the factor *width*.
    """
    to_page_end = PAGE_BYTES - page_offset % PAGE_BYTES
    if kernel == "3.10":
        return max(1, min(min(to_page_end, READ_AHEAD_BYTES) // width, items_left))
    return max(1, min(to_page_end, READ_AHEAD_BYTES // width, items_left))


class Handlers:
    """kvm_vmx_exit_handlers of one vCPU: a handler per exit reason, found by look-up.

    `pio_bus` and `mmio_bus` are the VM's in-kernel devices beside the interrupt controllers: its ioeventfds.
    """

    def __init__(self, binder: Binder, kernel: str) -> None:
        self.pio_bus = IoBus(binder)
        self.mmio_bus = IoBus(binder)
        self._kernel = kernel
        self._handle_exit = binder.path("kvm.handle_exit")
        fast = "kvm_fast_pio_out" if kernel == "3.10" else "kvm_fast_pio"
        self._fast = binder.path("kvm.handle_io", ("kvm.fast_pio", fast), "kvm.kernel_pio")
        self._emulate = binder.path("kvm.handle_io", "kvm.emulate_instruction", "kvm.kernel_pio")
        self._fast_mmio = binder.path(("kvm.handle_io", "handle_ept_misconfig"), ("kvm.kernel_pio", "kvm_io_bus_write"))
        self._picdev = binder.path("kvm.picdev_write")
        self._eoi = {
            ExitReason.APIC_ACCESS: binder.path("kvm.apic_write_eoi"),
            ExitReason.MSR_WRITE: binder.path(("kvm.apic_write_eoi", "kvm_x2apic_msr_write")),
        }
        self._other: dict[ExitReason, Path] = {}
        self._table: dict[ExitReason, Handler] = {}
        own = {
            ExitReason.IO_INSTRUCTION: self.handle_io,
            ExitReason.EXTERNAL_INTERRUPT: self.handle_external_interrupt,
            ExitReason.PENDING_INTERRUPT: self.handle_interrupt_window,
            ExitReason.HLT: self.handle_halt,
            ExitReason.EPT_MISCONFIG: self.handle_ept_misconfig,
        }
        for reason, row in EXIT_TABLE.items():
            name = "handle_vmx_instruction" if reason in NESTED_VMX else row.handler
            key = {"handle_io": "handle_ept_misconfig"}.get(name, name)
            self._other[reason] = binder.path((f"kvm.{key}", row.handler))
            self._table[reason] = own.get(reason, self.handle_other)

    def vmx_handle_exit(self, vcpu: Any, exit_: Exit) -> Steps[int]:
        """Failed entries first, then the table; an exit without a handler goes to userspace as UNKNOWN."""
        yield self._handle_exit
        if exit_.failed_entry:
            vcpu.run.exit_reason = KvmExit.FAIL_ENTRY
            return 0
        if exit_.hardware_reason is not None:
            vcpu.run.exit_reason = KvmExit.UNKNOWN
            vcpu.run.hardware_exit_reason = exit_.hardware_reason
            return 0
        result: int = yield from self._table[exit_.reason](vcpu, exit_)
        return result

    def handle_io(self, vcpu: Any, exit_: Exit) -> Steps[int]:
        """Port I/O: fast path or emulator; in-kernel devices take it, or kvm_run is filled for QEMU.

        3.10 emulates every IN and every string instruction; 6.1 emulates strings only. rep outs is handed out item by
        item, rep ins in batches (`rep_ins_items`).
        """
        access = exit_.access
        if access is None:
            return (yield from self.handle_other(vcpu, exit_))
        kind = access.kind
        emulated = kind.string or (self._kernel == "3.10" and not kind.write)
        yield self._emulate if emulated else self._fast
        if kind.port in KERNEL_PORTS:
            yield self._picdev
            return 1
        if (signal := self.pio_bus.find(kind.port)) is not None:
            yield from self.pio_bus.ioeventfd_write(vcpu.thread, signal)
            return 1
        vcpu.run.exit_reason = KvmExit.IO
        vcpu.run.io = access
        if not kind.write:
            vcpu.complete_userspace_io = access
        return 0

    def handle_ept_misconfig(self, vcpu: Any, exit_: Exit) -> Steps[int]:
        """MMIO: an ioeventfd takes the write, in 6.1 without emulation (KVM_FAST_MMIO_BUS); other accesses go to QEMU.

        The fast way is about as fast as that of port I/O (commit 68c3b4d1676d), and costs the same here.
        """
        if exit_.gpa is None:
            return (yield from self.handle_other(vcpu, exit_))
        signal = self.mmio_bus.find(exit_.gpa)
        fast = signal is not None and self._kernel != "3.10"
        yield self._fast_mmio if fast else self._other[ExitReason.EPT_MISCONFIG]
        if signal is not None:
            yield from self.mmio_bus.ioeventfd_write(vcpu.thread, signal)
            return 1
        vcpu.run.exit_reason = KvmExit.MMIO
        vcpu.run.gpa = exit_.gpa
        return 0

    def handle_external_interrupt(self, vcpu: Any, exit_: Exit) -> Steps[int]:
        """The host's handler has run (for a kick: the reschedule IPI's)."""
        yield self._other[ExitReason.EXTERNAL_INTERRUPT]
        return 1

    def handle_interrupt_window(self, vcpu: Any, exit_: Exit) -> Steps[int]:
        """The guest can take an interrupt now: KVM_REQ_EVENT; declared exits may mean a userspace irqchip's window."""
        yield self._other[ExitReason.PENDING_INTERRUPT]
        if exit_.kvm_exit is not None:
            vcpu.run.exit_reason = exit_.kvm_exit
            return 0
        vcpu.irq_window = False
        vcpu.event = True
        return 1

    def handle_halt(self, vcpu: Any, exit_: Exit) -> Steps[int]:
        """In-kernel irqchip: the vCPU is halted and blocks in the kernel; declared otherwise: KVM_EXIT_HLT."""
        yield self._other[ExitReason.HLT]
        if exit_.kvm_exit is not None:
            vcpu.run.exit_reason = exit_.kvm_exit
            return 0
        vcpu.halted = True
        return 1

    def handle_other(self, vcpu: Any, exit_: Exit) -> Steps[int]:
        """Any other exit, as declared: its handler's cost, then the guest, userspace, or an error of KVM_RUN."""
        yield self._eoi[exit_.reason] if exit_.eoi else self._other[exit_.reason]
        if exit_.errno:
            return -exit_.errno
        if exit_.kvm_exit is not None:
            vcpu.run.exit_reason = exit_.kvm_exit
            vcpu.run.io = None
            vcpu.run.gpa = None
            return 0
        return 1
