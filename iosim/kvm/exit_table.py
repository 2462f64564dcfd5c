"""kvm_vmx_exit_handlers of the seed's kernel (Linux 3.8, arch/x86/kvm/vmx.c) as data, and the KVM_EXIT codes.

Numbers are those of arch/x86/include/uapi/asm/vmx.h. *kernel* says what usually becomes of the exit: True, handled in
the kernel (the handler returns 1); False, passed to userspace (it returns 0). *userspace* lists the KVM_EXIT codes
that the handler may pass to userspace, the usual one first.
"""

from enum import IntEnum
from typing import NamedTuple


class KvmExit(IntEnum):
    """KVM_EXIT_* of include/uapi/linux/kvm.h, as far as x86 and Linux 3.10 know them."""

    UNKNOWN = 0
    EXCEPTION = 1
    IO = 2
    HYPERCALL = 3
    DEBUG = 4
    HLT = 5
    MMIO = 6
    IRQ_WINDOW_OPEN = 7
    SHUTDOWN = 8
    FAIL_ENTRY = 9
    INTR = 10
    SET_TPR = 11
    TPR_ACCESS = 12
    NMI = 16
    INTERNAL_ERROR = 17


class ExitReason(IntEnum):
    """EXIT_REASON_*: the VMX basic exit reasons of the seed's table."""

    EXCEPTION_NMI = 0
    EXTERNAL_INTERRUPT = 1
    TRIPLE_FAULT = 2
    PENDING_INTERRUPT = 7
    NMI_WINDOW = 8
    TASK_SWITCH = 9
    CPUID = 10
    HLT = 12
    INVD = 13
    INVLPG = 14
    RDPMC = 15
    VMCALL = 18
    VMCLEAR = 19
    VMLAUNCH = 20
    VMPTRLD = 21
    VMPTRST = 22
    VMREAD = 23
    VMRESUME = 24
    VMWRITE = 25
    VMOFF = 26
    VMON = 27
    CR_ACCESS = 28
    DR_ACCESS = 29
    IO_INSTRUCTION = 30
    MSR_READ = 31
    MSR_WRITE = 32
    MWAIT_INSTRUCTION = 36
    MONITOR_INSTRUCTION = 39
    PAUSE_INSTRUCTION = 40
    MCE_DURING_VMENTRY = 41
    TPR_BELOW_THRESHOLD = 43
    APIC_ACCESS = 44
    EPT_VIOLATION = 48
    EPT_MISCONFIG = 49
    WBINVD = 54
    XSETBV = 55


class ExitRow(NamedTuple):
    """One line of kvm_vmx_exit_handlers."""

    reason: ExitReason
    handler: str
    kernel: bool
    userspace: tuple[KvmExit, ...]


_R, _K = ExitReason, KvmExit
_EMULATES = (_K.IO, _K.MMIO, _K.INTERNAL_ERROR)
"""What x86_emulate_instruction may end in, for handlers that emulate."""

EXIT_TABLE: dict[ExitReason, ExitRow] = {
    row.reason: row
    for row in (
        ExitRow(_R.EXCEPTION_NMI, "handle_exception", True, (_K.DEBUG, _K.EXCEPTION, _K.INTERNAL_ERROR, _K.MMIO)),
        ExitRow(_R.EXTERNAL_INTERRUPT, "handle_external_interrupt", True, ()),
        ExitRow(_R.TRIPLE_FAULT, "handle_triple_fault", False, (_K.SHUTDOWN,)),
        ExitRow(_R.PENDING_INTERRUPT, "handle_interrupt_window", True, (_K.IRQ_WINDOW_OPEN,)),
        ExitRow(_R.NMI_WINDOW, "handle_nmi_window", True, ()),
        ExitRow(_R.TASK_SWITCH, "handle_task_switch", True, (_K.INTERNAL_ERROR,)),
        ExitRow(_R.CPUID, "handle_cpuid", True, ()),
        ExitRow(_R.HLT, "handle_halt", True, (_K.HLT,)),
        ExitRow(_R.INVD, "handle_invd", True, _EMULATES),
        ExitRow(_R.INVLPG, "handle_invlpg", True, ()),
        ExitRow(_R.RDPMC, "handle_rdpmc", True, ()),
        ExitRow(_R.VMCALL, "handle_vmcall", True, ()),
        ExitRow(_R.VMCLEAR, "handle_vmclear", True, ()),
        ExitRow(_R.VMLAUNCH, "handle_vmlaunch", True, ()),
        ExitRow(_R.VMPTRLD, "handle_vmptrld", True, ()),
        ExitRow(_R.VMPTRST, "handle_vmptrst", True, ()),
        ExitRow(_R.VMREAD, "handle_vmread", True, ()),
        ExitRow(_R.VMRESUME, "handle_vmresume", True, ()),
        ExitRow(_R.VMWRITE, "handle_vmwrite", True, ()),
        ExitRow(_R.VMOFF, "handle_vmoff", True, ()),
        ExitRow(_R.VMON, "handle_vmon", True, ()),
        ExitRow(_R.CR_ACCESS, "handle_cr", True, (_K.SET_TPR, _K.UNKNOWN)),
        ExitRow(_R.DR_ACCESS, "handle_dr", True, (_K.DEBUG,)),
        ExitRow(_R.IO_INSTRUCTION, "handle_io", False, (_K.IO,)),
        ExitRow(_R.MSR_READ, "handle_rdmsr", True, ()),
        ExitRow(_R.MSR_WRITE, "handle_wrmsr", True, ()),
        ExitRow(_R.MWAIT_INSTRUCTION, "handle_invalid_op", True, ()),
        ExitRow(_R.MONITOR_INSTRUCTION, "handle_invalid_op", True, ()),
        ExitRow(_R.PAUSE_INSTRUCTION, "handle_pause", True, ()),
        ExitRow(_R.MCE_DURING_VMENTRY, "handle_machine_check", True, ()),
        ExitRow(_R.TPR_BELOW_THRESHOLD, "handle_tpr_below_threshold", True, ()),
        ExitRow(_R.APIC_ACCESS, "handle_apic_access", True, _EMULATES),
        ExitRow(_R.EPT_VIOLATION, "handle_ept_violation", True, (_K.MMIO, _K.UNKNOWN)),
        ExitRow(_R.EPT_MISCONFIG, "handle_ept_misconfig", False, (_K.MMIO, _K.INTERNAL_ERROR)),
        ExitRow(_R.WBINVD, "handle_wbinvd", True, ()),
        ExitRow(_R.XSETBV, "handle_xsetbv", True, ()),
    )
}

NESTED_VMX = frozenset(r for r in ExitReason if _R.VMCLEAR <= r <= _R.VMON)
"""VMX instructions of a guest: their handlers share one cost key, kvm.handle_vmx_instruction."""

KERNEL_PORTS = frozenset((0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1, 0x40, 0x41, 0x42, 0x43, 0x61))
"""Ports that in-kernel devices take (PIC, PIT, speaker): their exits stay in the kernel."""
