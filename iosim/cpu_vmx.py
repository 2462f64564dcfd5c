"""The CPU's part of a VM exit and entry: vmx_vcpu_run of arch/x86/kvm/vmx.c (Linux 3.8, the seed's)."""

from typing import Any

from iosim.model.steps import Binder, Call, Mode, Op, Path, Steps


class LoadedVmcs:
    """The VMCS of one vCPU and the CPU that it is loaded on.

    `launched` decides between VMLAUNCH and VMRESUME: set after every run, cleared when the VMCS is new or moves to
    another CPU (loaded_vmcs_clear).
    """

    def __init__(self, binder: Binder, kernel: str) -> None:
        registers = "vmx_vcpu_run" if kernel == "3.10" else "__vmx_vcpu_run"
        load = ("cpu.load_guest_registers", registers)
        self.launched = False
        self.cpu: int | None = None
        self.launch = binder.path(Op.ENTRY, load, "cpu.vmlaunch", mode=Mode.ENTERING)
        self.resume = binder.path(Op.ENTRY, load, "cpu.vmresume", mode=Mode.ENTERING)
        self.exit = binder.path(
            "cpu.vm_exit",
            ("cpu.save_guest_registers", registers),
            "cpu.read_idt_vectoring_info",
            "cpu.read_exit_reason",
            Op.EXIT,
            "cpu.complete_atomic_exit",
            "cpu.recover_nmi_blocking",
            "cpu.complete_interrupts",
        )

    def vmx_vcpu_load(self, cpu: int) -> None:
        """Make the VMCS current on *cpu*; coming from another one it has to be launched again."""
        if self.cpu != cpu:
            self.launched = False
            self.cpu = cpu

    def entry(self, cpu: int) -> Path:
        """Return the path of the next entry, made on *cpu*."""
        self.vmx_vcpu_load(cpu)
        return self.resume if self.launched else self.launch


def vmx_vcpu_run(vcpu: Any) -> Steps[Any]:
    """Enter the guest, let it run, and come back with the `Exit` that ended it.

    1. kvm_entry; guest registers loaded; VMLAUNCH or VMRESUME;
    2. the guest, in non-root mode;
    3. the hardware saves the guest's state; registers stored; IDT-vectoring info; `launched` set; exit reason read;
    4. kvm_exit; vmx_complete_atomic_exit, vmx_recover_nmi_blocking, vmx_complete_interrupts.

    Returns None if a coalesced run came back from the check of a later vcpu_enter_guest: that entry then goes on.
    """
    vmcs = vcpu.vmcs
    if not vcpu.guest.mid_entry:
        yield vmcs.entry(vcpu.thread.cpu)
    exit_ = yield Call(vcpu.guest.run(vcpu))
    if exit_ is None:
        return None
    vcpu.exit = exit_
    vmcs.launched = True
    yield vmcs.exit
    return exit_
