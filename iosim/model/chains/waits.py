"""Where a request waits while no thread runs for it: the function that put it there, or in which a thread sleeps.

Functions of a thread that sleeps (the BQL, the CPU, dirty pages, ppoll) are in that thread's own chain.
"""

from iosim.model.chains.outline import outlines

OUTLINES = outlines(
    ("3.10", "6.1"),
    """
[WAITS]
(submit_bio)
  blk_mq_sched_insert_request
(ata_sff_queue_pio_task)
  queue_delayed_work
ata_qc_schedule_eh
virtqueue_kick
thread_pool_submit_aio
ioq_submit
io_wq_enqueue
qemu_co_queue_wait
qemu_co_mutex_lock
virtio_blk_handle_vq
virtio_blk_rw_complete
bdrv_io_limits_intercept
throttle_group_co_io_limits_intercept
qemu_bh_schedule
timer_mod
submit_bio
file_write_and_wait_range
(__apic_accept_irq)
  kvm_vcpu_kick
    kvm_vcpu_wake_up
vm_stop
""",
)
