"""QEMU's call chains: vCPU thread, main loop, iothread, workers, devices (1.6 and 7.2).

A coroutine is shown below who entered it, although its stack is one of its own. Which way an address space is accessed
is not known yet where the BQL is taken for it (7.2), so prepare_mmio_access hangs below address_space_rw; coroutines
that were put off are shown from their own begin.
"""

from iosim.model.chains.outline import outlines

OUTLINES = outlines(
    ("1.6", "7.2"),
    """
[VCPU]
(qemu_kvm_cpu_thread_fn / kvm_vcpu_thread_fn)
  qemu_kvm_wait_io_event / qemu_wait_io_event
  schedule
  (kvm_cpu_exec)
    kvm_arch_put_registers kvm_arch_pre_run
    qemu_mutex_unlock_iothread @1.6
    + KVM_RUN
    qemu_mutex_lock_iothread @1.6
    kvm_arch_post_run
    kvm_handle_io
      cpu_outb|cpu_outw|cpu_outl @1.6
        (address_space_write)
          address_space_rw
            (io_mem_write)
              + DISPATCH_WRITE
      cpu_inb|cpu_inw|cpu_inl @1.6
        (address_space_read)
          address_space_rw
            (io_mem_read)
              + DISPATCH_READ
      + ADDRESS_SPACE_RW @7.2
    cpu_physical_memory_rw @1.6
    + ADDRESS_SPACE_RW @7.2
    kvm_arch_handle_exit qemu_system_reset_request kvm_handle_internal_error

[ADDRESS_SPACE_RW]
address_space_rw
  (prepare_mmio_access)
    qemu_mutex_lock_iothread
  (address_space_write)
    (flatview_write)
      (flatview_write_continue)
        + DISPATCH_WRITE
        qemu_mutex_unlock_iothread
  (address_space_read_full)
    (flatview_read)
      (flatview_read_continue)
        + DISPATCH_READ
        qemu_mutex_unlock_iothread

[DISPATCH_WRITE]
memory_region_dispatch_write
  (access_with_adjusted_size)
    (memory_region_write_accessor)
      portio_write
        ide_data_writew|ide_data_writel
          ide_sector_write @pio @W
            + SUBMIT
        ide_ioport_write
          qemu_irq_lower
            + IDE_IRQ
          ide_exec_cmd
            (cmd_read_pio) @pio @R
              + IDE_SECTOR_READ
            (cmd_flush_cache) @ide @F
              + IDE_FLUSH_CACHE
            + IDE_SET_IRQ
        ide_cmd_write / ide_ctrl_write
      bmdma_write
        bmdma_cmd_writeb
          + IDE_DMA_CB @dma
      (virtio_pci_config_write / virtio_pci_notify_write) @virtio
        virtio_queue_notify
          (virtio_queue_notify_vq)
            + VIRTIO_BLK

[DISPATCH_READ]
memory_region_dispatch_read
  (access_with_adjusted_size)
    (memory_region_read_accessor)
      portio_read
        ide_data_readw|ide_data_readl
          + IDE_SECTOR_READ @pio @R
        ide_ioport_read
          qemu_irq_lower
            + IDE_IRQ
        ide_status_read
      bmdma_read
      virtio_pci_isr_read
        + PCI_IRQ

[IDE_SECTOR_READ]
ide_sector_read
  (- / ide_buffered_readv)
    + SUBMIT

[IDE_FLUSH_CACHE]
ide_flush_cache
  + SUBMIT

[IDE_DMA_CB]
ide_dma_cb
  (dma_bdrv_io / dma_blk_io)
    (dma_bdrv_cb / dma_blk_cb)
      dma_memory_map
      + SUBMIT

[CALLBACK]
ide_sector_read_cb|ide_sector_write_cb|ide_flush_cb @ide
  + IDE_SET_IRQ
  timer_mod
(dma_bdrv_cb / dma_blk_cb) @dma
  (dma_complete)
    ide_dma_cb
      + IDE_SET_IRQ
virtio_blk_rw_complete|virtio_blk_flush_complete @virtio
  (virtio_blk_req_complete)
    virtqueue_push
    + VIRTIO_NOTIFY

[IDE_SET_IRQ]
ide_set_irq
  + IDE_IRQ

[IDE_IRQ]
(bmdma_irq)
  + GSI

[PCI_IRQ]
pci_set_irq
  (piix3_set_irq)
    + GSI

[GSI]
(kvm_pc_gsi_handler / gsi_handler)
  (kvm_pic_set_irq)
    (kvm_set_irq)
      + IRQ_LINE_IOCTL

[VIRTIO_NOTIFY]
virtio_notify|virtio_notify_irqfd
  (event_notifier_set)
    + IRQFD
  + PCI_IRQ

[VIRTIO_BLK]
(virtio_blk_handle_output)
  (- / virtio_blk_handle_vq)
    (- / virtio_blk_get_request)
      virtqueue_pop
        virtqueue_map_desc
    virtio_blk_handle_request
      + SUBMIT
    virtio_submit_multiwrite / virtio_blk_submit_multireq
      + SUBMIT
    (blk_io_unplug) @7.2
      (ioq_submit)
        + IO_SUBMIT
        + IO_URING_SUBMIT

[MAIN_LOOP]
(main_loop / qemu_main_loop)
  (main_loop_wait)
    os_host_main_loop_wait
      qemu_poll_ns
      qemu_mutex_lock_iothread
      (glib_pollfds_poll)
        (g_main_context_dispatch)
          (aio_ctx_dispatch)
            (aio_poll / aio_dispatch)
              + HANDLERS
    (qemu_run_all_timers / qemu_clock_run_all_timers)
      + TIMERS
  schedule

[IOTHREAD]
(iothread_run)
  (aio_poll)
    run_poll_handlers
      run_poll_handlers_once
    qemu_poll_ns
    + HANDLERS
    (timerlistgroup_run_timers)
      + TIMERS
  schedule

[HANDLERS]
aio_bh_poll
  thread_pool_completion_bh @7.2
    (thread_pool_co_cb)
      + RESUME
  bdrv_co_em_bh @1.6
    + CALLBACK
  blk_aio_complete_bh @7.2
    + COMPLETE
  (notify_guest_bh) @virtio
    + VIRTIO_NOTIFY
  (bmdma_restart_bh / ide_restart_bh) @ide
    ide_sector_write @pio @W
      + SUBMIT
    + IDE_SECTOR_READ @pio @R
    + IDE_DMA_CB @dma
    + IDE_FLUSH_CACHE @F
  (virtio_blk_dma_restart_bh) @virtio
    virtio_blk_handle_request
      + SUBMIT
    virtio_submit_multiwrite / virtio_blk_submit_multireq
      + SUBMIT
  (new_thread_bh / spawn_thread_bh_fn)
    do_spawn_thread
event_notifier_ready @1.6
  + RESUME
qemu_laio_completion_cb @1.6
  + RESUME
(qemu_laio_completion_cb) @7.2
  qemu_laio_process_completions
    + RESUME
  (ioq_submit)
    + IO_SUBMIT
(qemu_luring_completion_cb) @7.2
  luring_process_completions
    + RESUME
  (ioq_submit)
    + IO_URING_SUBMIT
virtio_queue_host_notifier_read @virtio
  (virtio_queue_notify_vq)
    + VIRTIO_BLK

[RESUME]
bdrv_co_io_em_complete / aio_co_wake
  (qemu_coroutine_enter)
    + BODY

[TIMERS]
bdrv_block_timer / timer_cb
  (qemu_co_enter_next / throttle_group_restart_queue_entry)
    (qemu_coroutine_enter)
      + BODY
ide_sector_write_timer_cb @ide
  + IDE_SET_IRQ

[WORKER]
worker_thread
  (aio_worker / -)
    (handle_aiocb_rw)
      handle_aiocb_rw_linear
        + FILE_IO
      + FILE_IO
    handle_aiocb_flush
      + FILE_SYNC
    handle_aiocb_write_zeroes
  event_notifier_set @1.6
  qemu_bh_schedule @7.2
    event_notifier_set
  do_spawn_thread
  schedule
""",
)
