"""What differs between the QEMU versions of the model (domain facts with their commits in docs/path.md)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class QemuVersion:
    """The semantics of one QEMU version."""

    name: str
    bql_per_access: bool
    """2.4 and later: the BQL is taken in prepare_mmio_access; before, it is held from KVM_RUN to KVM_RUN."""
    irq_ioctls: int
    """5.0 and later (64c033badd): two KVM_IRQ_LINE ioctls per level change."""
    command_lowers_irq: bool
    """After 5.1 (6f52e69f46): a command write lowers INTRQ."""
    cpu_io: bool
    """Up to 1.6: kvm_handle_io calls cpu_outb ... cpu_inl."""
    completion_bottom_half: bool
    """Up to 1.6 a finished request is handed to the device by one more bottom half (bdrv_co_em_bh)."""
    elides_flush: bool
    """2.7 and later (3ff2f67a7c): no fdatasync if nothing was written since the last one."""
    clears_drq_at_end: bool
    """2.4 and later (cb72cba830): DRQ falls before end_transfer_func runs."""
    busy_during_dma: bool
    """Up to 2.7 (9da82227ca): BUSY is set while the bus master transfers."""
    pool_completes_by_eventfd: bool
    """Up to 1.6 a worker signals an eventfd of its own; later it schedules a bottom half."""
    poll_keeps_bql: bool
    """Up to 1.6: the main loop keeps the BQL over a poll that does not wait."""
    run_error_aborts: bool
    """Up to 1.6 an unexpected error of KVM_RUN aborts QEMU; later the VM stops."""
    laio_max_events: int
    """Requests of aio=native that the kernel has at once."""
    laio_queues: bool
    """Up to 1.6 a request beyond that fails, and each file has its own context; later it waits, one per AioContext."""
    native_needs_direct: bool
    """Up to 1.6 aio=native without O_DIRECT silently means the thread pool; later it is refused."""
    virtio_suppresses_kicks: bool
    """virtio-blk switches notifications off while it empties the ring; 1.6 leaves them on."""
    virtio_merges_reads: bool
    """virtio-blk merges reads as well as writes (virtio_blk_submit_multireq); 1.6 only writes (bdrv_aio_multiwrite)."""
    virtio_notify_bh: bool
    """With ioeventfd and without EVENT_IDX, completions are notified in one bottom half (notify_guest_bh)."""

    @property
    def failed_flush_stays(self) -> bool:
        """After 1.6: when an fdatasync of the pool has failed without O_DIRECT, every later flush fails as well."""
        return not self.cpu_io


VERSIONS = {
    "1.6": QemuVersion(
        "1.6", False, 1, False, True, True, False, False, True, True, True, True, 128, False, False, False, False, False
    ),
    "7.2": QemuVersion(
        "7.2", True, 2, True, False, False, True, True, False, False, False, False, 1024, True, True, True, True, True
    ),
}
