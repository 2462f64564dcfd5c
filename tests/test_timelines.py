"""Timelines worked out by hand: every cost 100 ns, the disk 90 us (500 us for a flush), requests from 1 ms on.

The guest sleeps in HLT when the first request comes, and the aio pool has no thread yet. What one port access costs,
in units of 100 ns (functions by their cost keys):

* VM_EXIT 7: vm_exit, save_guest_registers, read_idt_vectoring_info, read_exit_reason, complete_atomic_exit,
  recover_nmi_blocking, complete_interrupts.
* KVM 6: leave_guest, handle_exit, handle_io, fast_pio or emulate_instruction, kernel_pio, return_to_userspace.
* DISPATCH 8: post_run, handle_io, address_space_rw, mutex_lock, memory_region_dispatch, portio, the register's
  function, mutex_unlock (7.2); mutex_lock, post_run, handle_io, cpu_io, address_space_rw, memory_region_dispatch,
  portio, the register's function (1.6). A bus-master register has no portio: 7.
* ENTRY 5: pre_run, vcpu_ioctl, enter_guest, load_guest_registers, vmresume; 1.6 also mutex_unlock: 6.
  A read has complete_userspace_io more.

A status read also lowers INTRQ: irq_lower and one ioctl per level change, two in 7.2. The command write is exec_cmd
more, and in 7.2 it lowers INTRQ too. An access that begins a submission is charged up to the device's function: without
mutex_unlock (7.2) and without the entry behind it, which run beside the worker.
"""

from typing import Any

import pytest

from iosim.results.result import Result
from tests.support import STAGES, Row, constant_profile, scenario, simulate

pytestmark = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])

NS = 100
EXIT, KVM = 7 * NS, 6 * NS
NEW, NEW_BM, NEW_STATUS, NEW_COMMAND = 8 * NS, 7 * NS, 11 * NS, 12 * NS
OLD, OLD_BM, OLD_STATUS, OLD_COMMAND = 8 * NS, 7 * NS, 10 * NS, 9 * NS
NEW_ENTRY, OLD_ENTRY, IN = 5 * NS, 6 * NS, 1 * NS
UNLOCK = 1 * NS

UDELAY, NDELAY = 10_000, 400
SELECT_AND_LOAD_DELAYS = 3 * UDELAY + NDELAY
"""Before each of three idle polls, and behind ata_dev_select's pause."""

ARRIVAL = 1_000_000
WAKE_FOR_ARRIVAL = 4 * NS
"""wake_asleep, enter_guest, load_guest_registers, vmresume: irq_delivery, then the request is issued."""
INTERRUPT_TO_HALTED = 6 * NS
"""wake_asleep, enter_guest, inject_pending_event, load_guest_registers, vmresume, interrupt_entry."""
EOI_BY_APIC_ACCESS = 1 * NS + EXIT + 3 * NS + 3 * NS
"""guest.eoi, the exit, (leave_guest, handle_exit, apic_write_eoi), (enter_guest, load_guest_registers, vmresume)."""

AIO_COLD_NEW = 5 * NS
"""main_loop.wake, (wait for the BQL until submit_return and mutex_unlock are done: 1), dispatch, spawn, start."""
AIO_COLD_OLD = 6 * NS
"""As above; the vCPU keeps the BQL for pre_run as well."""
AIO_WARM = 1 * NS
"""worker_wake."""
WORKER = 3 * NS + 2 * NS
"""dequeue, pread or pwrite, one page; syscall_return, notify."""
DISK, DISK_FLUSH = 90_000, 500_000
COMPLETION_WAIT = 2 * NS
"""main_loop.wake, dispatch."""
COMPLETION_NEW = 6 * NS
"""thread_pool_completion, coroutine_resume, the device's callback, ide_set_irq, irq_line, deliver_edge."""
COMPLETION_OLD = 9 * NS
"""As above, and for the extra bottom half poll, dispatch, bdrv_co_em_bh."""


def stages(row: Any) -> dict[str, int]:
    """The stages that took time."""
    return {stage.removesuffix("_ns"): int(row[stage]) for stage in STAGES if row[stage]}


def times(result: Result) -> list[tuple[int, int, int]]:
    columns = result.requests[["arrival_ns", "issue_ns", "done_ns"]]
    return list(columns.itertuples(index=False, name=None))


def run(drives: list[dict[str, Any]], row: Row, exact: bool, **vm: Any) -> Result:
    described = scenario(
        drives=drives,
        disks=[{"model": "constant", "service": "90us", "flush": "500us"}],
        run={"exact_exits": exact},
        **vm,
    )
    return simulate(described, [row], constant_profile(NS))


PIO_WRITE = {
    "guest_run": NS  # block_layer
    + 13 * NS  # SEL 4, TF 7, CMD 2
    + SELECT_AND_LOAD_DELAYS
    + NDELAY  # behind the command
    + NS  # workqueue
    + UDELAY
    + NS  # its status poll
    + NS  # data_block
    + 256 * NS  # rep outsw
    + 4 * NS,  # IRQ
    "vm_exit": (13 + 1 + 256 + 4) * EXIT,
    "kvm_exit_handling": (13 + 1 + 256 + 4) * KVM,
    "qemu_dispatch": 4 * OLD_STATUS  # 2 of SEL, 1 of TF, the task's
    + 7 * OLD  # W 1f6; W 1f1 to 1f6
    + 2 * OLD  # R 3f6 of SEL and CMD
    + OLD_COMMAND
    + 256 * OLD  # words; the last one's way down to ide_data_writew is charged like the others'
    + (OLD + OLD_STATUS + 2 * OLD_BM),  # IRQ: R 3f6, R 1f7, R bm+2, W bm+2
    "qemu_submit": 7 * NS,  # ide_sector_write, bdrv_aio_writev, coroutine, two nodes, paio_submit, thread pool
    "vm_entry": (13 + 1 + 255) * OLD_ENTRY + 6 * IN  # 4 status and 2 alternate status reads
    + 4 * OLD_ENTRY + 3 * IN,
    "aio_wait": AIO_COLD_OLD,
    "aio_worker": WORKER,
    "disk_service": DISK,
    "completion_wait": COMPLETION_WAIT,
    "completion": COMPLETION_OLD,
    "irq_delivery": WAKE_FOR_ARRIVAL + INTERRUPT_TO_HALTED + EOI_BY_APIC_ACCESS,
}  # fmt: skip


def test_one_pio_write_of_the_seed(exact: bool) -> None:
    drive = {"transfer": "pio", "data_width": 16, "multiple": 1}
    result = run([drive], (ARRIVAL, "W", 0, 1), exact, qemu="1.6", kernel="3.10")
    assert stages(result.requests.iloc[0]) == PIO_WRITE
    assert times(result) == [(1_000_000, 1_000_400, 1_000_000 + sum(PIO_WRITE.values()))]
    assert sum(PIO_WRITE.values()) == 904_800


DMA_BEFORE_SUBMISSION = {
    "guest_run": NS  # block_layer
    + 18 * NS  # SEL 4, TF 7, W bm+4, R bm+0, W bm+0, W 1f7, R 3f6, R bm+0, W bm+0
    + SELECT_AND_LOAD_DELAYS
    + NDELAY,  # behind the command
    "vm_exit": 18 * EXIT,
    "kvm_exit_handling": 18 * KVM,
    "qemu_dispatch": 3 * NEW_STATUS
    + 7 * NEW  # W 1f6; W 1f1 to 1f6
    + 2 * NEW  # R 3f6
    + 4 * NEW_BM  # W bm+4, R bm+0, W bm+0, R bm+0
    + NEW_COMMAND
    + (NEW_BM - UNLOCK),  # W bm+0 with START
    "qemu_submit": 8 * NS,  # ide_dma_cb, one page mapped, blk_aio_prwv, coroutine, two nodes, raw_co_prw, thread pool
    "vm_entry": 17 * NEW_ENTRY + 7 * IN,
}
DMA_INTERRUPT = {
    "guest_run": 8 * NS + NDELAY,
    "vm_exit": 8 * EXIT,
    "kvm_exit_handling": 8 * KVM,
    "qemu_dispatch": 5 * NEW_BM + 2 * NEW + NEW_STATUS,  # R bm+2, R/W bm+0, R/W bm+2; R 3f6 twice; R 1f7
    "vm_entry": 8 * NEW_ENTRY + 6 * IN,
}
DMA_GUEST = {stage: ns + DMA_INTERRUPT.get(stage, 0) for stage, ns in DMA_BEFORE_SUBMISSION.items()}
BEHIND_SUBMISSION = {
    "aio_worker": WORKER,
    "disk_service": DISK,
    "completion_wait": COMPLETION_WAIT,
    "completion": COMPLETION_NEW,
}
DMA_WRITE = {
    **DMA_GUEST,
    "aio_wait": AIO_COLD_NEW,
    **BEHIND_SUBMISSION,
    "irq_delivery": WAKE_FOR_ARRIVAL + INTERRUPT_TO_HALTED,
}


def test_one_dma_write(exact: bool) -> None:
    result = run([{"transfer": "dma"}], (ARRIVAL, "W", 0, 1), exact)
    assert stages(result.requests.iloc[0]) == DMA_WRITE
    assert times(result) == [(1_000_000, 1_000_400, 1_000_000 + sum(DMA_WRITE.values()))]
    assert sum(DMA_WRITE.values()) == 196_400


PIO_READ = {
    "guest_run": NS  # block_layer
    + 12 * NS  # SEL 4, TF 7, W 1f7
    + SELECT_AND_LOAD_DELAYS
    + 4 * NS  # IRQ
    + 2 * NS  # data_block, rep insl
    + NS  # R 3f6
    + UDELAY
    + NS,  # ata_wait_idle
    "vm_exit": (12 + 7) * EXIT,
    "kvm_exit_handling": (12 + 7) * KVM,
    "qemu_dispatch": 3 * NEW_STATUS
    + 7 * NEW  # W 1f6; W 1f1 to 1f6
    + NEW  # R 3f6 of SEL
    + (NEW_COMMAND - UNLOCK)
    + (NEW + NEW_STATUS + 2 * NEW_BM)  # IRQ
    + 2 * NS + 6 * NS + 127 * NS  # post_run, handle_io; the first item from address_space_rw to mutex_unlock; pio_item
    + NEW  # R 3f6
    + NEW_STATUS,
    "qemu_submit": 7 * NS,  # ide_sector_read, blk_aio_prwv, coroutine, two nodes, raw_co_prw, thread pool
    "vm_entry": 11 * NEW_ENTRY + 4 * IN
    + 7 * NEW_ENTRY + 6 * IN
    + 128 * NS,  # rep_ins_item
    "aio_wait": AIO_COLD_NEW,
    **BEHIND_SUBMISSION,
    "irq_delivery": WAKE_FOR_ARRIVAL + INTERRUPT_TO_HALTED,
}  # fmt: skip


def test_one_pio_read(exact: bool) -> None:
    result = run([{"transfer": "pio"}], (ARRIVAL, "R", 0, 1), exact)
    assert stages(result.requests.iloc[0]) == PIO_READ
    assert times(result) == [(1_000_000, 1_000_400, 1_000_000 + sum(PIO_READ.values()))]
    assert sum(PIO_READ.values()) == 213_000


FLUSH = {
    "guest_run": NS + 7 * NS + SELECT_AND_LOAD_DELAYS + 4 * NS,  # block_layer; SEL 4, W 1f6, R 1f7, W 1f7; IRQ
    "vm_exit": (7 + 4) * EXIT,
    "kvm_exit_handling": (7 + 4) * KVM,
    "qemu_dispatch": 3 * OLD_STATUS
    + 2 * OLD  # W 1f6
    + OLD  # R 3f6
    + OLD_COMMAND
    + (OLD + OLD_STATUS + 2 * OLD_BM),  # IRQ
    "qemu_submit": 5 * NS,  # ide_flush_cache, bdrv_aio_flush, coroutine, bdrv_co_flush, thread pool
    "vm_entry": 6 * OLD_ENTRY + 4 * IN
    + 4 * OLD_ENTRY + 3 * IN,
    "aio_wait": AIO_COLD_OLD,
    "aio_worker": WORKER - NS,  # no page
    "disk_service": DISK_FLUSH,
    "completion_wait": COMPLETION_WAIT,
    "completion": COMPLETION_OLD,
    "irq_delivery": WAKE_FOR_ARRIVAL + INTERRUPT_TO_HALTED + EOI_BY_APIC_ACCESS,
}  # fmt: skip


def test_one_flush(exact: bool) -> None:
    result = run([{}], (ARRIVAL, "F", 0, 0), exact, qemu="1.6", kernel="3.10")
    assert stages(result.requests.iloc[0]) == FLUSH
    assert times(result) == [(1_000_000, 1_000_400, 1_000_000 + sum(FLUSH.values()))]
    assert sum(FLUSH.values()) == 567_100


def test_slave_waits_until_the_master_is_done(exact: bool) -> None:
    result = run([{"index": 0}, {"index": 1}], (ARRIVAL, "W", 0, 1), exact)
    master, slave = (stages(result.requests.iloc[n]) for n in (0, 1))
    assert master == DMA_WRITE
    complete = NS  # ata_qc_complete of the master, then the queue is looked at
    assert slave == {
        "guest_queue": sum(DMA_WRITE.values()) + complete,
        **DMA_GUEST,
        "aio_wait": AIO_WARM,
        **BEHIND_SUBMISSION,
        "irq_delivery": INTERRUPT_TO_HALTED,  # the vCPU is awake when the slave's request is issued
    }
    assert times(result) == [
        (1_000_000, 1_000_400, 1_196_400),
        (1_000_000, 1_196_500, 1_196_500 + 196_400 - WAKE_FOR_ARRIVAL - (AIO_COLD_NEW - AIO_WARM)),
    ]


def test_channels_work_side_by_side_and_meet_at_the_disk(exact: bool) -> None:
    result = run([{"index": 0}, {"index": 2}], (ARRIVAL, "W", 0, 1), exact)
    primary, secondary = (stages(result.requests.iloc[n]) for n in (0, 1))
    assert primary == DMA_WRITE
    to_submission = sum(DMA_BEFORE_SUBMISSION.values())
    assert to_submission == 81_200
    # From its submission the vCPU takes submit_return, mutex_unlock and an entry to get back to the guest.
    way_back = 2 * NS + NEW_ENTRY
    # Both wait for a worker equally long: the first worker is at the disk, the second one has to be created.
    submitted_later = way_back + to_submission
    disk_wait = DISK - submitted_later
    assert disk_wait == 8_100
    assert secondary == {
        "guest_queue": WAKE_FOR_ARRIVAL + to_submission + way_back,
        **DMA_GUEST,
        "aio_wait": AIO_COLD_NEW,
        "disk_wait": disk_wait,
        **BEHIND_SUBMISSION,
        "irq_delivery": INTERRUPT_TO_HALTED,
    }
    submission = 1_000_400 + to_submission + way_back + to_submission
    # Spawn to disk 500 + 300, wait, disk, back 200, 200 + 600 to the interrupt, 600 to the handler, its accesses.
    handler = sum(DMA_INTERRUPT.values())
    assert handler == 22_400
    assert times(result) == [
        (1_000_000, 1_000_400, 1_196_400),
        (1_000_000, 1_082_300, submission + 800 + disk_wait + 90_000 + 200 + 800 + 600 + handler),
    ]
