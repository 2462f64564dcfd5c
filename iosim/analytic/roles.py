"""What each stage of a request is for the analysis: service, hand-over or wait, and who serves in it."""

from enum import Enum

from iosim.model.scenario import DriveTable, VmTable
from iosim.model.stages import Stage


class Role(Enum):
    """What becomes of the time of a stage when the load changes."""

    SERVICE = "service"
    """Somebody works for the request, or the disk serves it: the time is the same at any load."""
    HANDOVER = "hand-over"
    """From one thread to another: a wake-up if that sleeps, a wait if it is busy; depends on the load."""
    WAIT = "wait"
    """Something is not free, or not allowed yet."""


ROLES = {
    Stage.GUEST_QUEUE: Role.WAIT,
    Stage.GUEST_RUN: Role.SERVICE,
    Stage.VM_EXIT: Role.SERVICE,
    Stage.KVM_EXIT_HANDLING: Role.SERVICE,
    Stage.BQL_WAIT: Role.WAIT,
    Stage.QEMU_DISPATCH: Role.SERVICE,
    Stage.QEMU_SUBMIT: Role.SERVICE,
    Stage.VM_ENTRY: Role.SERVICE,
    Stage.AIO_WAIT: Role.HANDOVER,
    Stage.AIO_WORKER: Role.SERVICE,
    Stage.DISK_WAIT: Role.WAIT,
    Stage.DISK_SERVICE: Role.SERVICE,
    Stage.COMPLETION_WAIT: Role.HANDOVER,
    Stage.COMPLETION: Role.SERVICE,
    Stage.IRQ_DELIVERY: Role.HANDOVER,
    Stage.CPU_WAIT: Role.WAIT,
    Stage.SUBMIT_WAIT: Role.HANDOVER,
    Stage.THROTTLE_WAIT: Role.WAIT,
    Stage.DIRTY_WAIT: Role.WAIT,
    Stage.PAUSED: Role.WAIT,
}

_VCPU = frozenset(
    {Stage.GUEST_RUN, Stage.VM_EXIT, Stage.KVM_EXIT_HANDLING, Stage.QEMU_DISPATCH, Stage.VM_ENTRY},
)


def vcpu_stages(table: VmTable, number: int) -> frozenset[Stage]:
    """Return the stages in which a vCPU works for a request of the VM's drive *number*."""
    drive = table.drive[number]
    return _VCPU if drive.is_virtio and drive.ioeventfd else _VCPU | {Stage.QEMU_SUBMIT}


def loop_stages(table: VmTable, number: int) -> frozenset[Stage]:
    """Return the stages in which the main loop, or the drive's iothread, works for a request of the drive."""
    drive = table.drive[number]
    submits = drive.is_virtio and drive.ioeventfd
    return frozenset({Stage.COMPLETION, Stage.QEMU_SUBMIT} if submits else {Stage.COMPLETION})


def certain_stages(table: VmTable, number: int) -> frozenset[Stage]:
    """Return the stages of service that contain no wait in the case of this drive.

    `qemu_submit` has the wait for the lock of a qcow2 image, and with virtio-blk the time that QEMU spends on others
    of the batch. `completion` has the timer of the win2k install hack, and that of others of a merged operation.
    """
    drive = table.drive[number]
    stages = {stage for stage, role in ROLES.items() if role is Role.SERVICE}
    if drive.is_virtio or drive.format == "qcow2":
        stages.discard(Stage.QEMU_SUBMIT)
    if table.win2k_install_hack or _merges(drive):
        stages.discard(Stage.COMPLETION)
    return frozenset(stages)


def own_stages(table: VmTable, number: int) -> frozenset[Stage]:
    """Return those of them in which somebody works for one request alone: not for an operation of merged ones."""
    shared = {Stage.AIO_WORKER, Stage.DISK_SERVICE} if _merges(table.drive[number]) else set()
    return certain_stages(table, number) - shared


def _merges(drive: DriveTable) -> bool:
    return drive.is_virtio and drive.request_merging
