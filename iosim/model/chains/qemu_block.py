"""QEMU's block layer as call chains: from the device's submission to the worker, and the coroutine's end.

1.6 and 7.2. Coroutines as in `iosim.model.chains.qemu`.
"""

from iosim.model.chains.outline import outlines

OUTLINES = outlines(
    ("1.6", "7.2"),
    """
[SUBMIT]
bdrv_aio_readv @1.6 @R
  (bdrv_co_aio_rw_vector)
    + COROUTINE
bdrv_aio_writev @1.6 @W
  (bdrv_co_aio_rw_vector)
    + COROUTINE
bdrv_aio_flush @1.6 @F
  + COROUTINE
(blk_aio_preadv) @7.2 @R
  blk_aio_prwv
    + COROUTINE
(blk_aio_pwritev) @7.2 @W
  blk_aio_prwv
    + COROUTINE
(blk_aio_flush) @7.2 @F
  blk_aio_prwv
    + COROUTINE

[COROUTINE]
qemu_coroutine_create
(qemu_coroutine_enter)
  + BODY
qemu_coroutine_yield

[BODY]
(bdrv_co_do_rw) @1.6 @!F
  bdrv_co_do_readv @R
    bdrv_io_limits_intercept
    + RAW_READ @raw
    (qcow2_co_readv) @qcow2
      + QCOW2
  bdrv_co_do_writev @W
    bdrv_io_limits_intercept
    + RAW_WRITE @raw
    (qcow2_co_writev) @qcow2
      + QCOW2
    + FLUSH
(bdrv_aio_flush_co_entry) @1.6 @F
  + FLUSH
(blk_aio_read_entry) @7.2 @R
  (blk_co_do_preadv_part)
    throttle_group_co_io_limits_intercept
    bdrv_co_preadv_part
      (bdrv_aligned_preadv)
        (bdrv_driver_preadv)
          + RAW_READ @raw
          (qcow2_co_preadv_part) @qcow2
            + QCOW2
  + COMPLETE @!vcpu
(blk_aio_write_entry) @7.2 @W
  (blk_co_do_pwritev_part)
    throttle_group_co_io_limits_intercept
    bdrv_co_pwritev_part
      (bdrv_aligned_pwritev)
        (bdrv_driver_pwritev)
          + RAW_WRITE @raw
          (qcow2_co_pwritev_part) @qcow2
            + QCOW2
          + FLUSH
  + COMPLETE @!vcpu
(blk_aio_flush_entry) @7.2 @F
  (blk_co_do_flush)
    + FLUSH
  + COMPLETE @!vcpu

[RAW_READ]
(raw_co_readv / raw_co_preadv)
  + FILE_READ

[RAW_WRITE]
(raw_co_writev / raw_co_pwritev)
  + FILE_WRITE

[FILE_READ]
(bdrv_co_readv) @1.6
  (bdrv_co_do_readv)
    bdrv_co_readv_em
      (bdrv_co_io_em)
        (raw_aio_readv)
          + RAW_AIO_SUBMIT
bdrv_co_preadv_part @7.2
  (bdrv_aligned_preadv)
    (bdrv_driver_preadv)
      (raw_co_preadv)
        + RAW_CO_PRW

[FILE_WRITE]
(bdrv_co_writev) @1.6
  (bdrv_co_do_writev)
    bdrv_co_writev_em
      (bdrv_co_io_em)
        (raw_aio_writev)
          + RAW_AIO_SUBMIT
bdrv_co_pwritev_part @7.2
  (bdrv_aligned_pwritev)
    (bdrv_driver_pwritev)
      (raw_co_pwritev)
        + RAW_CO_PRW
bdrv_co_pwrite_zeroes @7.2
  (bdrv_co_do_pwrite_zeroes)
    (raw_co_pwrite_zeroes)
      raw_do_pwrite_zeroes
        + POOL

[FLUSH]
bdrv_co_flush
  (qcow2_co_flush_to_os) @qcow2
    + QCOW2_TABLE
  (raw_aio_flush / raw_co_flush_to_disk)
    (paio_submit / -)
      + POOL
    + LURING @7.2

[RAW_AIO_SUBMIT]
raw_aio_submit
  paio_submit
    + POOL
  laio_submit
    + IO_SUBMIT

[RAW_CO_PRW]
raw_co_prw
  + POOL
  (laio_co_submit)
    laio_do_submit
      (ioq_submit) @ide
        + IO_SUBMIT
  + LURING

[LURING]
(luring_co_submit)
  luring_do_submit
    (ioq_submit) @ide
      + IO_URING_SUBMIT

[POOL]
(- / raw_thread_pool_submit)
  (- / thread_pool_submit_co)
    thread_pool_submit_aio

[IO_SUBMIT]
io_submit
  get_user_pages

[IO_URING_SUBMIT]
(io_uring_submit)
  io_uring_enter
    get_user_pages copy_page_to_iter

[QCOW2]
qcow2_get_cluster_offset / qcow2_get_host_offset
  + QCOW2_TABLE
qcow2_alloc_cluster_offset / qcow2_alloc_host_offset
  + QCOW2_TABLE
qcow2_alloc_cluster_link_l2
  + QCOW2_TABLE
+ QCOW2_TABLE
bdrv_co_do_readv @1.6
  + RAW_READ
qemu_co_mutex_lock qemu_co_queue_wait
+ FILE_READ
+ FILE_WRITE

[QCOW2_TABLE]
qcow2_cache_do_get
  + FILE_READ
  + FILE_WRITE
bdrv_co_flush
  (raw_aio_flush / raw_co_flush_to_disk)
    (paio_submit / -)
      + POOL
    + LURING @7.2

[COMPLETE]
(blk_aio_complete)
  + CALLBACK
""",
)
