"""Timelines of the cache modes, worked out by hand: every cost 100 ns, the disk 90 us (500 us for a flush).

Unless said otherwise a DMA guest with QEMU 7.2: what lies in front of the submission, and the interrupt, are those of
tests/test_timelines.py. A new thread of the pool takes 50 us to start, so that the vCPU is back in HLT by the time the
request is done.
"""

from typing import Any

import pytest

from iosim.results.result import Result
from tests.support import Row, constant_profile, scenario, simulate
from tests.test_timelines import (
    AIO_COLD_NEW,
    AIO_WARM,
    COMPLETION_NEW,
    COMPLETION_WAIT,
    DISK,
    DISK_FLUSH,
    DMA_GUEST,
    INTERRUPT_TO_HALTED,
    NS,
    WAKE_FOR_ARRIVAL,
    stages,
)

pytestmark = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])

START = 50_000
COLD = AIO_COLD_NEW - NS + START
MS = 1_000_000


def run(cache: str, rows: list[Row], exact: bool, page_cache: dict[str, Any] | None = None, **vm: Any) -> Result:
    described = scenario(
        drives=[{"cache": cache, "size": "1MiB"}],
        disks=[{"model": "constant", "service": "90us", "flush": "500us"}],
        run={"exact_exits": exact},
        page_cache=page_cache,
        **vm,
    )
    return simulate(described, rows, constant_profile(NS, pool__thread_start=START))


def row(result: Result, number: int = 0) -> dict[str, int]:
    return stages(result.requests.iloc[number])


ALIKE = {
    **DMA_GUEST,
    "completion_wait": COMPLETION_WAIT,
    "completion": COMPLETION_NEW,
    "irq_delivery": WAKE_FOR_ARRIVAL + INTERRUPT_TO_HALTED,
}

HIT = {
    **ALIKE,
    "aio_wait": AIO_WARM,
    "aio_worker": 4 * NS,
    "irq_delivery": WAKE_FOR_ARRIVAL + 11 * NS,
}
"""A hit with a warm pool: dequeue, the call, one page, notify. It is done before the vCPU sleeps.

From the submission on: worker 100 + 400, main loop 200 + 600, so the interrupt is raised at 1300. The vCPU comes back
to the guest at 700 (submit_return, mutex_unlock, five of the entry), goes idle (100) and exits for HLT (700): 200 of
that exit remain, then leave_guest, handle_exit, handle_halt, vcpu_block (400), and five to the handler: enter_guest,
inject_pending_event, load_guest_registers, vmresume, interrupt_entry.
"""


@pytest.mark.parametrize("cache", ["writeback", "unsafe"])
def test_write_is_done_when_it_is_in_the_page_cache(cache: str, exact: bool) -> None:
    result = run(cache, [(MS, "W", 0, 8)], exact)
    # worker: dequeue, pwrite, one page, notify; the disk has nothing to do with it
    assert row(result) == {**ALIKE, "aio_wait": COLD, "aio_worker": 4 * NS}
    assert result.resources.set_index("resource").loc["disk/sda", "busy_ns"] == 0
    assert result.summary["page_cache"]["dirty_at_end"] == 1


def test_write_of_a_part_of_a_page_reads_the_page_first(exact: bool) -> None:
    result = run("writeback", [(MS, "W", 7, 1), (5 * MS, "W", 3, 1), (9 * MS, "W", 8, 9)], exact)
    # dequeue, pwrite, the system call of the disk's read is over, one page, notify
    assert row(result) == {**ALIKE, "aio_wait": COLD, "aio_worker": 5 * NS, "disk_service": DISK}
    # the page is there by now
    assert row(result, 1) == HIT
    # sectors 8 to 16: page 1 is covered whole, page 2 is not: one read, two pages written
    third = row(result, 2)
    assert (third["aio_worker"], third["disk_service"]) == (6 * NS, DISK)
    counts = result.summary["page_cache"]
    assert (counts["filled"], counts["dirtied"]) == (2, 3)


def test_write_up_to_the_end_of_the_image_needs_no_read(exact: bool) -> None:
    drives = [{"cache": "writeback", "size": "10KiB"}]
    result = simulate(scenario(drives=drives, run={"exact_exits": exact}), [(MS, "W", 16, 4)])
    assert result.summary["page_cache"]["filled"] == 0


def test_read_misses_then_hits(exact: bool) -> None:
    result = run("writeback", [(MS, "R", 0, 8), (5 * MS, "R", 0, 8), (9 * MS, "R", 4, 8)], exact)
    # dequeue, pread, disk done, one page, notify
    assert row(result) == {**ALIKE, "aio_wait": COLD, "aio_worker": 5 * NS, "disk_service": DISK}
    assert row(result, 1) == HIT
    # sectors 4 to 11: one page is there, one is not
    third = row(result, 2)
    assert (third["aio_worker"], third["disk_service"]) == (6 * NS, DISK)
    counts = result.summary["page_cache"]
    assert (counts["read_hits"], counts["read_misses"]) == (2, 2)


def test_flush_writes_what_is_dirty_and_flushes_the_disk(exact: bool) -> None:
    result = run("writeback", [(MS, "W", 0, 8), (3 * MS, "W", 64, 8), (5 * MS, "F", 0, 0)], exact)
    flush = row(result, 2)
    # dequeue, fdatasync, two writes put together (pages 0 and 8 are no neighbours), flush done, notify
    assert flush["aio_worker"] == 6 * NS
    # The second is submitted 100 ns behind the first and waits for it at the disk of one server.
    assert flush["disk_wait"] == 2 * DISK - NS
    assert flush["disk_service"] == DISK_FLUSH
    assert result.summary["page_cache"]["written_back"] == 2
    assert result.summary["page_cache"]["dirty_at_end"] == 0
    busy = result.resources.set_index("resource").loc["disk/sda", "busy_ns"]
    assert busy == 2 * DISK + DISK_FLUSH


def test_neighbours_are_written_together(exact: bool) -> None:
    result = run("writeback", [(MS, "W", 8, 8), (3 * MS, "W", 0, 8), (5 * MS, "F", 0, 0)], exact)
    flush = row(result, 2)
    assert (flush["aio_worker"], flush["disk_wait"], flush["disk_service"]) == (5 * NS, DISK, DISK_FLUSH)


@pytest.mark.parametrize("cache", ["writeback", "none"])
def test_flush_without_a_write_since_the_last_one_stays_in_qemu(cache: str, exact: bool) -> None:
    rows: list[Row] = [(MS, "W", 0, 8), (3 * MS, "F", 0, 0), (6 * MS, "F", 0, 0)]
    assert run(cache, rows, exact).requests["disk_service_ns"].tolist()[1:] == [DISK_FLUSH, 0]
    old = run(cache, rows, exact, qemu="1.6", kernel="3.10")
    assert old.requests["disk_service_ns"].tolist()[1:] == [DISK_FLUSH, DISK_FLUSH]


@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_flush_of_an_unsafe_drive_never_reaches_the_pool(qemu: str, exact: bool) -> None:
    drives = [{"cache": "unsafe", "size": "1MiB"}]
    described = scenario(drives=drives, run={"exact_exits": exact}, qemu=qemu)
    # The main loop takes 50 us to wake up: by then the vCPU has given the BQL back and sleeps.
    result = simulate(described, [(MS, "W", 0, 8), (5 * MS, "F", 0, 0)], constant_profile(NS, main_loop__wake=START))
    flush = row(result, 1)
    assert flush["qemu_submit"] == 4 * NS  # ide_flush_cache, blk_aio_prwv, coroutine, bdrv_co_flush
    # main_loop.wake, dispatch; bdrv_co_em_bh, ide_flush_cb, ide_set_irq, irq_line, deliver_edge
    assert (flush["completion_wait"], flush["completion"]) == (START + NS, 5 * NS)
    assert not {"aio_wait", "aio_worker", "disk_service"} & set(flush)
    assert result.resources.set_index("resource").loc["disk/sda", "busy_ns"] == 0


def test_write_of_a_writethrough_drive_is_two_jobs_of_the_pool(exact: bool) -> None:
    result = run("writethrough", [(MS, "W", 0, 8)], exact)
    assert row(result) == {
        **ALIKE,
        "qemu_submit": DMA_GUEST["qemu_submit"] + 2 * NS,  # bdrv_co_flush, thread_pool_submit_aio: by the main loop
        "aio_wait": COLD + AIO_WARM,
        "aio_worker": 4 * NS + 5 * NS,  # as above; dequeue, fdatasync, one write put together, flush done, notify
        "disk_wait": DISK,  # until the page is written
        "disk_service": DISK_FLUSH,
        "completion_wait": 2 * COMPLETION_WAIT,
        "completion": 2 * NS + COMPLETION_NEW,  # thread_pool_completion, coroutine_resume of the first job
    }
    spans = result.spans
    submissions = spans[(spans["function"] == "thread_pool_submit_aio") & (spans["stage"] == "qemu_submit")]
    assert submissions["thread"].tolist() == ["vcpu0", "main"]


def test_flush_of_a_drive_without_write_cache_is_not_sent(exact: bool) -> None:
    result = run("writethrough", [(MS, "F", 0, 0)], exact)
    assert result.requests["latency_ns"].tolist() == [0]


def test_writer_is_held_back_at_the_dirty_limit(exact: bool) -> None:
    # Background write-back from the first dirty page on, at most 2 dirty pages.
    limits = {"size": "64KiB", "dirty_bytes": "8KiB", "dirty_background_ratio": 0}
    result = run("writeback", [(MS, "W", 0, 32)], exact, limits)
    write = row(result)
    assert write["aio_worker"] == 7 * NS  # dequeue, pwrite, four pages, notify
    # Four pages are dirty: the flusher wakes up (100), puts one write together (100), the disk writes it.
    assert write["dirty_wait"] == 2 * NS + DISK
    counts = result.summary["page_cache"]
    assert (counts["dirtied"], counts["written_back"]) == (4, 4)


def test_writer_below_the_limit_is_not(exact: bool) -> None:
    limits = {"size": "64KiB", "dirty_bytes": "16KiB", "dirty_background_ratio": 0}
    result = run("writeback", [(MS, "W", 0, 32)], exact, limits)
    assert "dirty_wait" not in row(result)
    assert result.summary["page_cache"]["dirty_at_end"] == 4  # on the way to the disk when the run ended


def test_flush_waits_for_the_write_back_under_way(exact: bool) -> None:
    rows: list[Row] = [(MS, "W", 0, 8), (MS + 160_000, "F", 0, 0)]
    result = run("writeback", rows, exact, {"dirty_background_ratio": 0})
    spans = result.spans
    written = spans[(spans["request"] == 0) & (spans["function"] == "copy_page_from_iter_atomic")]["end_ns"].item()
    synced = spans[(spans["request"] == 1) & (spans["function"] == "handle_aiocb_flush")]["end_ns"].min()
    # The flusher wakes up (100) and puts the write together (100); the flush finds nothing dirty and waits for its end.
    end = written + 2 * NS + DISK
    assert synced < end
    flush = row(result, 1)
    assert (flush["disk_wait"], flush["disk_service"]) == (end - synced, DISK_FLUSH)
    assert flush["aio_worker"] == 4 * NS  # dequeue, fdatasync, flush done, notify


def test_expired_pages_are_written_at_the_next_periodic_look(exact: bool) -> None:
    periodic = {"dirty_writeback_interval": "2ms", "dirty_expire_interval": "5ms"}
    rows: list[Row] = [(MS, "W", 0, 8), (9 * MS, "R", 0, 8)]
    result = run("writeback", rows, exact, periodic)
    spans = result.spans
    dirtied = spans[(spans["request"] == 0) & (spans["function"] == "copy_page_from_iter_atomic")]["end_ns"].item()
    # Looks are 2 ms apart from then on: the page has expired (5 ms) at the third one. Wake-up 100, put together 100.
    begin = dirtied + 6 * MS + 2 * NS
    series = result.series
    busy = (series["utilisation disk/sda"] * (series["end_ns"] - series["start_ns"])).round().astype(int)
    bin_ns = MS
    assert busy[busy > 0].to_dict() == {begin // bin_ns: DISK}
    assert result.summary["page_cache"]["dirty_at_end"] == 0


def test_least_recently_used_page_is_dropped(exact: bool) -> None:
    # 16 pages: 0 to 15 are read, 0 is read again, 16 takes the place of 1.
    rows: list[Row] = [(MS, "R", 0, 128), (3 * MS, "R", 0, 8), (5 * MS, "R", 128, 8)]
    rows += [(7 * MS, "R", 0, 8), (9 * MS, "R", 8, 8)]
    result = run("writeback", rows, exact, {"size": "64KiB"})
    assert result.requests["disk_service_ns"].tolist() == [DISK, 0, DISK, 0, DISK]
    counts = result.summary["page_cache"]
    assert (counts["read_hits"], counts["read_misses"], counts["evicted"]) == (2, 18, 2)


def test_page_cache_is_a_resource(exact: bool) -> None:
    result = run("writeback", [(MS, "W", 0, 32), (5 * MS, "F", 0, 0)], exact, {"size": "64KiB"})
    cache = result.resources.set_index("resource").loc["page_cache"]
    assert (cache["servers"], cache["max_queue"]) == (16, 4)
    assert cache["utilisation"] <= 4 / 16
