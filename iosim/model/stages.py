"""The stages of a request: at every instant one carrier charges the time to exactly one of them (docs/results.md)."""

from enum import IntEnum


class Stage(IntEnum):
    """Where the time of a request goes, in the order of the path and of the result's columns."""

    GUEST_QUEUE = 0
    """Waits in the guest's block layer for the device, or for its vCPU to be done with other work."""
    GUEST_RUN = 1
    """Guest instructions in non-root mode: driver, interrupt handler, the driver's own delays."""
    VM_EXIT = 2
    """Hardware exit: guest state saved, exit reason read (vmx_vcpu_run behind VMLAUNCH/VMRESUME)."""
    KVM_EXIT_HANDLING = 3
    """vmx_handle_exit, the handler, up to the end of KVM_RUN."""
    BQL_WAIT = 4
    """A thread of this request waits for the BQL."""
    QEMU_DISPATCH = 5
    """kvm_cpu_exec, kvm_handle_io ... down to the device's register handler."""
    QEMU_SUBMIT = 6
    """ide_sector_write / ide_dma_cb ... block layer ... up to thread_pool_submit_aio."""
    VM_ENTRY = 7
    """KVM_RUN ioctl, vcpu_enter_guest, VMLAUNCH/VMRESUME."""
    AIO_WAIT = 8
    """In the pool's request list: spawn or wake of a worker, queueing behind others."""
    AIO_WORKER = 9
    """The worker's own CPU time: system call and what surrounds it."""
    DISK_WAIT = 10
    """Queued at the host's disk."""
    DISK_SERVICE = 11
    """Served by the host's disk."""
    COMPLETION_WAIT = 12
    """Worker done, until the main loop runs the completion."""
    COMPLETION = 13
    """Bottom halves, coroutine, device callback, IRQ-line ioctl."""
    IRQ_DELIVERY = 14
    """Interrupt raised, until the guest's handler runs: kick or wake-up, injection, EOI."""
    CPU_WAIT = 15
    """A carrier is runnable and waits for a physical CPU."""
    SUBMIT_WAIT = 16
    """In the virtqueue: from the guest's kick (or the poll that finds it) until QEMU takes the request out."""
    THROTTLE_WAIT = 17
    """Held back by the drive's iops and bandwidth limits."""
    DIRTY_WAIT = 18
    """A writer is held back because the host's page cache has too many dirty pages (balance_dirty_pages)."""
    PAUSED = 19
    """The VM is stopped (werror=stop, enospc), until it goes on."""

    @property
    def label(self) -> str:
        """The name in tables and reports; the column of the result is this and ``_ns``."""
        return self.name.lower()


N_STAGES = len(Stage)
