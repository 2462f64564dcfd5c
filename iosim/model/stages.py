"""The stages of a request: at every instant one carrier charges the time to exactly one of them (docs/results.md)."""

from enum import IntEnum


class Stage(IntEnum):
    """Where the time of a request goes, in the order of the path and of the result's columns."""

    GUEST_QUEUE = 0
    GUEST_RUN = 1
    VM_EXIT = 2
    KVM_EXIT_HANDLING = 3
    BQL_WAIT = 4
    QEMU_DISPATCH = 5
    QEMU_SUBMIT = 6
    VM_ENTRY = 7
    AIO_WAIT = 8
    AIO_WORKER = 9
    DISK_WAIT = 10
    DISK_SERVICE = 11
    COMPLETION_WAIT = 12
    COMPLETION = 13
    IRQ_DELIVERY = 14
    CPU_WAIT = 15

    @property
    def label(self) -> str:
        """The name in tables and reports; the column of the result is this and ``_ns``."""
        return self.name.lower()


STAGE_MEANING: dict[Stage, str] = {
    Stage.GUEST_QUEUE: "waits in the guest's block layer for the device, or for its vCPU to be done with other work",
    Stage.GUEST_RUN: "guest instructions in non-root mode: driver, interrupt handler, the driver's own delays",
    Stage.VM_EXIT: "hardware exit: guest state saved, exit reason read (vmx_vcpu_run behind VMLAUNCH/VMRESUME)",
    Stage.KVM_EXIT_HANDLING: "vmx_handle_exit, the handler, up to the end of KVM_RUN",
    Stage.BQL_WAIT: "a thread of this request waits for the BQL",
    Stage.QEMU_DISPATCH: "kvm_cpu_exec, kvm_handle_io ... down to the device's register handler",
    Stage.QEMU_SUBMIT: "ide_sector_write / ide_dma_cb ... block layer ... up to thread_pool_submit_aio",
    Stage.VM_ENTRY: "KVM_RUN ioctl, vcpu_enter_guest, VMLAUNCH/VMRESUME",
    Stage.AIO_WAIT: "in the pool's request list: spawn or wake of a worker, queueing behind others",
    Stage.AIO_WORKER: "the worker's own CPU time: system call and what surrounds it",
    Stage.DISK_WAIT: "queued at the host's disk",
    Stage.DISK_SERVICE: "served by the host's disk",
    Stage.COMPLETION_WAIT: "worker done, until the main loop runs the completion",
    Stage.COMPLETION: "bottom halves, coroutine, device callback, IRQ-line ioctl",
    Stage.IRQ_DELIVERY: "interrupt raised, until the guest's handler runs: kick or wake-up, injection, EOI",
    Stage.CPU_WAIT: "a carrier is runnable and waits for a physical CPU",
}

N_STAGES = len(Stage)
