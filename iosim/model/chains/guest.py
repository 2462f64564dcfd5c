"""The guest's own call chains: block layer, libata (ata_piix), virtio-blk, the bare-metal programs.

Linux 6.1; 3.10 where names are given in pairs (block/blk-mq.c, drivers/ata/libata-{core,sff,eh}.c,
drivers/block/virtio_blk.c, drivers/virtio/virtio_ring.c, virtio_pci_common.c).
"""

from iosim.model.chains.outline import outlines

OUTLINES = outlines(
    ("3.10", "6.1"),
    """
[LIBATA]
(submit_bio)
  (generic_make_request / blk_mq_submit_bio)
    (blk_queue_bio / blk_mq_run_hw_queue)
      (__blk_run_queue / blk_mq_sched_dispatch_requests)
        scsi_request_fn / blk_mq_dispatch_rq_list
          (scsi_dispatch_cmd / scsi_queue_rq)
            (ata_scsi_queuecmd)
              _raw_spin_lock_irqsave
              (ata_qc_issue)
                (ata_bmdma_qc_issue)
                  + LIBATA_DMA_ISSUE @dma
                  (ata_sff_qc_issue) @!dma
                    + LIBATA_PIO_ISSUE
(kthread)
  (worker_thread)
    (process_one_work)
      (ata_sff_pio_task)
        ata_sff_busy_wait
          udelay
        + LIBATA_HSM
  scsi_error_handler
    (ata_scsi_error)
      (ata_bmdma_error_handler)
        ata_bmdma_status
        ata_bmdma_stop
          ata_sff_dma_pause
            ndelay
        (ata_sff_error_handler)
          ata_sff_drain_fifo
common_interrupt
  (handle_edge_irq)
    ack_apic_edge
    (handle_irq_event)
      (ata_bmdma_interrupt)
        _raw_spin_lock_irqsave
        (ata_bmdma_port_intr)
          ata_bmdma_status
          ata_bmdma_stop
            ata_sff_dma_pause
              ndelay
          (__ata_sff_port_intr)
            ata_sff_irq_status
            ata_bmdma_irq_clear
            + LIBATA_HSM
+ GUEST_OTHER

[LIBATA_SELECT]
(ata_dev_select)
  ata_wait_idle
    udelay
    ata_sff_check_status
  ata_sff_dev_select
    ata_sff_pause
      ndelay
      ata_sff_altstatus

[LIBATA_COMMAND]
ata_sff_exec_command
  ata_sff_pause
    ndelay
    ata_sff_altstatus

[LIBATA_TASK_FILE]
ata_sff_tf_load
  ata_wait_idle
    udelay
    ata_sff_check_status

[LIBATA_PIO_ISSUE]
+ LIBATA_SELECT
(ata_tf_to_host)
  + LIBATA_TASK_FILE
  + LIBATA_COMMAND
ata_sff_queue_pio_task => ata_sff_pio_task

[LIBATA_DMA_ISSUE]
+ LIBATA_SELECT
+ LIBATA_TASK_FILE
ata_bmdma_setup
  + LIBATA_COMMAND
ata_bmdma_start

[LIBATA_HSM]
(ata_sff_hsm_move)
  (ata_pio_sectors)
    ata_pio_sector
      ata_sff_data_xfer ata_sff_data_xfer32
    ata_sff_sync
  ata_wait_idle
    udelay
  (ata_hsm_qc_complete)
    ata_qc_complete
      (fill_result_tf)
        (ata_sff_qc_fill_rtf)
          ata_sff_tf_read

[VIRTIO]
(submit_bio)
  (generic_make_request / blk_mq_submit_bio)
    (blk_queue_bio / blk_mq_run_hw_queue)
      (__blk_run_queue / blk_mq_sched_dispatch_requests)
        (- / blk_mq_dispatch_rq_list)
          virtio_queue_rq @6.1
            (virtblk_add_req)
              virtqueue_add
          (virtio_commit_rqs) @6.1
            + VIRTIO_KICK
          do_virtblk_request @3.10
            (do_req)
              (virtblk_add_req)
                virtqueue_add
            (virtqueue_kick)
              + VIRTIO_KICK
common_interrupt
  (handle_edge_irq)
    ack_apic_edge
    (handle_irq_event)
      + VRING_INTERRUPT
      vp_interrupt
        (vp_vring_interrupt)
          + VRING_INTERRUPT
+ GUEST_OTHER

[VIRTIO_KICK]
virtqueue_kick_prepare
(virtqueue_notify)
  vp_notify

[VRING_INTERRUPT]
vring_interrupt
  (virtblk_done)
    virtqueue_get_buf
    (blk_mq_complete_request)
      blk_mq_end_request

[BARE]
(main)
  next_request bm_prd bm_direction bm_clear task_file command bm_start bm_active bm_status bm_stop waitnb data_block
common_interrupt
  irq14
    ack_apic_edge
  iret
+ GUEST_OTHER

[GUEST_OTHER]
POSTED_INTR_VECTOR
(cpu_startup_entry)
  (do_idle)
    default_idle
guest_other_work
""",
)
