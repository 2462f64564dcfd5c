"""KVM: the vCPU's run loop, the exit handlers, the in-kernel interrupt controllers (arch/x86/kvm)."""

from iosim.kvm.exit_table import EXIT_TABLE, KERNEL_PORTS, ExitReason, ExitRow, KvmExit
from iosim.kvm.exits import Access, Exit, ExitAccount, PortLog
from iosim.kvm.handlers import rep_ins_batches, rep_ins_items
from iosim.kvm.irqchip import Irq, IrqChip
from iosim.kvm.vcpu import KvmRun, Vcpu

__all__ = [
    "EXIT_TABLE",
    "KERNEL_PORTS",
    "Access",
    "Exit",
    "ExitAccount",
    "ExitReason",
    "ExitRow",
    "Irq",
    "IrqChip",
    "KvmExit",
    "KvmRun",
    "PortLog",
    "Vcpu",
    "rep_ins_batches",
    "rep_ins_items",
]
