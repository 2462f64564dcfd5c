"""The qcow2 format node over real coroutines, pool and disk: which accesses a request makes, when, and who waits.

Layout of an empty image of 64 MiB with clusters of 64 KiB (128 sectors): 0 header, 1 refcount table, 2 refcount block,
3 L1 table; the first write puts its L2 table in 4 and its data in 5. An access takes 90 us, a flush 500 us.
"""

import errno
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iosim.model.stages import Stage
from iosim.qemu.qcow2.metadata import exhaust
from tests.block_bench import MIB, BlockBench
from tests.support import constant_profile, drawn_profile
from tests.test_qcow2_metadata import consistent

pytestmark = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])

LATER = 10_000_000
FLUSH = ("F", 0, 0)
NEW_TABLE = [
    ("R", 256, 128),  # the refcount block
    ("W", 256, 128),
    FLUSH,
    ("W", 512, 128),  # the empty L2 table
    FLUSH,
    ("W", 384, 1),  # the L1 entry
    FLUSH,
]
NEW_TABLE_NS = 4 * 90_000 + 3 * 500_000


# 1.6: the data of 4 KiB at 4 KiB into cluster 5 (sectors 640 to 767), then zeroes before and behind it: 3 x 90 us.
def test_first_write_of_1_6_writes_head_and_tail_of_its_cluster_after_the_data(exact: bool) -> None:
    bench = BlockBench(exact, "1.6", image_sectors=64 * MIB).run([(0, "W", 8, 8)])
    assert bench.served == [*NEW_TABLE, ("W", 648, 8), ("W", 640, 8), ("W", 656, 112)]
    assert bench.done == [(0, NEW_TABLE_NS + 270_000, 0)]
    assert bench.stage(0, Stage.DISK_SERVICE) == NEW_TABLE_NS + 270_000


# 7.2 zeroes the cluster by fallocate (a job of the pool, no access) and writes the data alone: 30 us + 90 us.
def test_first_write_of_7_2_zeroes_its_cluster_and_writes_the_data(exact: bool) -> None:
    profile = constant_profile(0, worker__fallocate_enter=30_000)
    bench = BlockBench(exact, "7.2", profile, image_sectors=64 * MIB).run([(0, "W", 8, 8)])
    assert bench.served == [*NEW_TABLE, ("W", 648, 8)]
    assert bench.done == [(0, NEW_TABLE_NS + 30_000 + 90_000, 0)]
    assert bench.stage(0, Stage.AIO_WORKER) == 30_000


@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_a_write_of_whole_clusters_copies_nothing(exact: bool, qemu: str) -> None:
    bench = BlockBench(exact, qemu, image_sectors=64 * MIB).run([(0, "W", 128, 256)])
    assert bench.served == [*NEW_TABLE, ("W", 640, 256)]


@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_a_rewrite_is_one_data_write(exact: bool, qemu: str) -> None:
    profile = constant_profile(
        0, qemu__qcow2_alloc_host_offset=7_000, main_loop__qcow2_link_l2=5_000, qemu__bdrv_co_pwritev=300
    )
    bench = BlockBench(exact, qemu, profile, image_sectors=64 * MIB)
    bench.run([(0, "W", 0, 128), (LATER, "W", 8, 8)])
    assert bench.served[len(NEW_TABLE) + 1 :] == [("W", 648, 8)]
    # The L2 look-up, and two nodes: 7 us + 2 x 0.3 us; no link, as nothing was allocated.
    assert bench.stage(1, Stage.QEMU_SUBMIT) == 7_600
    assert bench.times()[1] == LATER + 7_600 + 90_000


# Everything that a first write costs beside its accesses: in 1.6 the node above once, the look-up, seven tables of
# metadata (4 accesses at 1 us, 3 flushes at 2 us), 4 + 3 accesses through the node below, the link.
def test_the_costs_of_a_first_write(exact: bool) -> None:
    profile = constant_profile(
        0,
        qemu__qcow2_alloc_host_offset=7_000,
        qemu__qcow2_get_host_offset=11_000,
        qemu__qcow2_cache_do_get=1_000,
        qemu__bdrv_co_flush=2_000,
        qemu__bdrv_co_pwritev=300,
        main_loop__qcow2_link_l2=5_000,
    )
    bench = BlockBench(exact, "1.6", profile, image_sectors=64 * MIB).run([(0, "W", 8, 8)])
    # 300 + 7000, 4 x (1000 + 300), 3 x 2000, 3 x 300, and two look-ups by which copy_sectors finds nothing to read.
    assert bench.stage(0, Stage.QEMU_SUBMIT) == 7_300 + 5_200 + 6_000 + 900 + 22_000
    assert bench.stage(0, Stage.COMPLETION) == 5_000


# The data cluster's refcount is dirty and the L2 table that has its entry: the block, a flush, the table, a flush. 1.6
# flushes after each of its two caches and then the file, whatever was written.
@pytest.mark.parametrize(("qemu", "more"), [("1.6", [FLUSH, FLUSH]), ("7.2", [])])
def test_a_guest_flush_writes_refcounts_then_tables(exact: bool, qemu: str, more: list[tuple[str, int, int]]) -> None:
    bench = BlockBench(exact, qemu, image_sectors=64 * MIB).run([(0, "W", 0, 128), (LATER, "F", 0, 0)])
    first = len(NEW_TABLE) + 1
    assert bench.served[first:] == [("W", 256, 128), FLUSH, ("W", 512, 128), FLUSH, *more]
    assert bench.times()[1] == LATER + 2 * 90_000 + (2 + len(more)) * 500_000


@pytest.mark.parametrize(("qemu", "flushes"), [("1.6", 3), ("7.2", 0)])
def test_a_flush_with_nothing_dirty(exact: bool, qemu: str, flushes: int) -> None:
    bench = BlockBench(exact, qemu, image_sectors=64 * MIB).run([(0, "F", 0, 0)])
    assert bench.served == [FLUSH] * flushes


@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_an_unallocated_cluster_is_read_without_access(exact: bool, qemu: str) -> None:
    profile = constant_profile(0, qemu__qcow2_get_host_offset=4_000)
    bench = BlockBench(exact, qemu, profile, image_sectors=64 * MIB).run([(0, "R", 8, 8)])
    assert (bench.served, bench.done) == ([], [(0, 4_000, 0)])


@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_a_read_across_an_allocated_cluster_reads_that_alone(exact: bool, qemu: str) -> None:
    bench = BlockBench(exact, qemu, image_sectors=64 * MIB).run([(0, "W", 128, 128), (LATER, "R", 100, 200)])
    assert bench.served[len(NEW_TABLE) + 1 :] == [("R", 640, 128)]


@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_a_preallocated_image_costs_a_table_once_and_is_read_from_the_file(exact: bool, qemu: str) -> None:
    bench = BlockBench(exact, qemu, image_sectors=64 * MIB, preallocated=True)
    bench.run([(0, "W", 8, 8), (LATER, "R", 130, 8)])
    assert bench.served == [("R", 512, 128), ("W", 648, 8), ("R", 770, 8)]


BASE = 1_000_000_000
"""Where the backing file lies on the disk."""


def test_1_6_reads_and_writes_head_and_tail_one_by_one(exact: bool) -> None:
    bench = BlockBench(exact, "1.6", image_sectors=64 * MIB, backing_sectors=100).run([(0, "W", 8, 8)])
    assert bench.served[len(NEW_TABLE) :] == [
        ("W", 648, 8),
        ("R", BASE, 8),
        ("W", 640, 8),
        ("R", BASE + 16, 84),  # the backing file ends there
        ("W", 656, 112),
    ]


def test_7_2_reads_head_and_tail_at_once_and_writes_them_with_the_data(exact: bool) -> None:
    bench = BlockBench(exact, "7.2", image_sectors=64 * MIB, backing_sectors=64 * MIB).run([(0, "W", 8, 32)])
    assert bench.served[len(NEW_TABLE) :] == [("R", BASE, 128), ("W", 640, 128)]


def test_7_2_reads_head_and_tail_apart_if_more_than_16_kib_lie_between(exact: bool) -> None:
    bench = BlockBench(exact, "7.2", image_sectors=64 * MIB, backing_sectors=64 * MIB).run([(0, "W", 8, 33)])
    assert bench.served[len(NEW_TABLE) :] == [("R", BASE, 8), ("R", BASE + 41, 87), ("W", 640, 128)]


def test_a_cluster_that_the_backing_file_does_not_reach_is_zeroed(exact: bool) -> None:
    bench = BlockBench(exact, "7.2", image_sectors=64 * MIB, backing_sectors=128).run([(0, "W", 136, 8)])
    assert bench.served[len(NEW_TABLE) :] == [("W", 648, 8)]


def test_copied_sectors_are_flushed_before_the_table_that_refers_to_them(exact: bool) -> None:
    bench = BlockBench(exact, "7.2", image_sectors=64 * MIB, backing_sectors=64 * MIB, lazy=True)
    bench.run([(0, "W", 8, 8), (LATER, "F", 0, 0)])
    padded = [("R", 0, 1), ("W", 0, 1), FLUSH]  # the dirty bit of the header
    assert bench.served[len(NEW_TABLE) + 2 :] == [*padded, ("W", 512, 128), FLUSH]
    bench = BlockBench(exact, "7.2", image_sectors=64 * MIB, backing_sectors=64 * MIB, lazy=True)
    bench.run([(0, "W", 8, 8), (LATER, "W", 136, 8), (2 * LATER, "F", 0, 0)])
    assert bench.served[len(NEW_TABLE) + 7 :] == [FLUSH, ("W", 512, 128), FLUSH]


def test_directsync_writes_the_metadata_with_every_allocation(exact: bool) -> None:
    bench = BlockBench(exact, "7.2", image_sectors=64 * MIB, cache="directsync")
    bench.run([(0, "W", 0, 128), (LATER, "W", 8, 8)])
    metadata = [("W", 256, 128), FLUSH, ("W", 512, 128), FLUSH]
    assert bench.served[len(NEW_TABLE) :] == [("W", 640, 128), *metadata, ("W", 648, 8), FLUSH]


# Two writes to one new cluster at once: the second waits until the first is in the L2 table, then it is a rewrite.
@pytest.mark.parametrize(("qemu", "copied"), [("1.6", 180_000), ("7.2", 0)])
def test_a_write_waits_for_the_allocation_of_its_cluster(exact: bool, qemu: str, copied: int) -> None:
    bench = BlockBench(exact, qemu, image_sectors=64 * MIB)
    bench.run([(0, "W", 0, 128), (LATER, "W", 136, 8), (LATER + 10_000, "W", 160, 8)])
    first = LATER + 90_000 + copied
    assert bench.times() == {0: NEW_TABLE_NS + 90_000, 1: first, 2: first + 90_000}
    assert bench.stage(2, Stage.QEMU_SUBMIT) == 80_000 + copied
    assert bench.served[-1] == ("W", 768 + 32, 8)


# Writes to different clusters run side by side once the table is there; both refcounts are in the cached block.
@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_writes_of_different_clusters_run_side_by_side(exact: bool, qemu: str) -> None:
    bench = BlockBench(exact, qemu, image_sectors=64 * MIB)
    bench.run([(0, "W", 0, 128), (LATER, "W", 128, 128), (LATER + 1_000, "W", 256, 128)])
    assert bench.times() == {0: NEW_TABLE_NS + 90_000, 1: LATER + 90_000, 2: LATER + 91_000}


# The first write holds the lock over its metadata; the second, of another cluster, and a read wait for that. Then both
# writes' data come to the pool at one instant, where the woken worker counts as idle and takes them one by one.
@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_requests_wait_while_metadata_is_read_and_written(exact: bool, qemu: str) -> None:
    bench = BlockBench(exact, qemu, image_sectors=64 * MIB)
    bench.run([(0, "W", 0, 128), (50_000, "W", 128, 128), (60_000, "R", 1000, 8)])
    assert bench.times() == {0: NEW_TABLE_NS + 90_000, 1: NEW_TABLE_NS + 180_000, 2: NEW_TABLE_NS}
    assert bench.stage(1, Stage.AIO_WAIT) == 90_000
    assert bench.stage(1, Stage.QEMU_SUBMIT) == NEW_TABLE_NS - 50_000
    assert bench.stage(2, Stage.QEMU_SUBMIT) == NEW_TABLE_NS - 60_000
    (name, held, queue) = bench.backend.levels()[0]
    assert (name, held.area) == ("qcow2", NEW_TABLE_NS)
    assert (queue.area, queue.highest) == (2 * NEW_TABLE_NS - 110_000, 2)


# The accesses of the first write of 7.2: 0 to 6 the metadata, 7 the data (fallocate is none).
@pytest.mark.parametrize("number", range(7))
def test_an_error_of_the_metadata_ends_the_write_and_the_next_one_goes_on(exact: bool, number: int) -> None:
    bench = BlockBench(exact, "7.2", image_sectors=64 * MIB, fails={number: errno.EIO})
    bench.run([(0, "W", 8, 8), (LATER, "W", 8, 8), (2 * LATER, "F", 0, 0)])
    assert [ret for _, _, ret in bench.done] == [-errno.EIO, 0, 0]
    assert bench.image is not None
    assert not bench.image.in_flight
    assert bench.image.l2_cache.n_dirty == bench.image.refcount_cache.n_dirty == 0


@pytest.mark.parametrize(("qemu", "number"), [("1.6", 7), ("1.6", 8), ("1.6", 9), ("7.2", 7)])
def test_an_error_of_data_or_copy_on_write_leaves_the_cluster_unallocated(exact: bool, qemu: str, number: int) -> None:
    bench = BlockBench(exact, qemu, image_sectors=64 * MIB, fails={number: errno.ENOSPC})
    bench.run([(0, "W", 8, 8), (10_000, "W", 24, 8), (LATER, "R", 8, 8)])
    assert [(at, ret) for at, _, ret in sorted(bench.done)] == [(0, -errno.ENOSPC), (1, 0), (2, 0)]
    # The second waited for the first's allocation, found nothing allocated, and took the next cluster, 6.
    assert bench.served[-1] == ("R", 768 + 8, 8)


@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_an_error_of_a_flush_leaves_the_tables_dirty(exact: bool, qemu: str) -> None:
    bench = BlockBench(exact, qemu, image_sectors=64 * MIB, fails={8: errno.EIO})
    bench.run([(0, "W", 0, 128), (LATER, "F", 0, 0), (2 * LATER, "F", 0, 0)])
    assert [ret for _, _, ret in bench.done] == [0, -errno.EIO, 0]
    assert bench.served[8:12] == [("W", 256, 128), ("W", 256, 128), FLUSH, ("W", 512, 128)]


@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_an_error_of_a_read(exact: bool, qemu: str) -> None:
    bench = BlockBench(exact, qemu, image_sectors=64 * MIB, preallocated=True, fails={0: errno.EIO, 2: errno.EIO})
    bench.run([(0, "R", 0, 8), (LATER, "R", 0, 8), (2 * LATER, "R", 0, 8)])
    # 0 is the L2 table, which has to be read again (1); 2 is the data.
    assert [ret for _, _, ret in bench.done] == [-errno.EIO, -errno.EIO, 0]


ROWS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 100, 20_000, 95_000, 700_000]),
        st.sampled_from("WWWRF"),
        st.integers(0, 255),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(
    st.sampled_from(["1.6", "7.2"]),
    st.sampled_from([1024, 4096]),
    st.booleans(),
    st.sampled_from([0, 100, 300]),
    st.sampled_from([None, "drawn", 100]),
    st.sampled_from(["none", "directsync"]),
    ROWS,
)
def test_overlapping_requests_keep_the_image_consistent(
    exact: bool,
    qemu: str,
    cluster: int,
    lazy: bool,
    backing: int,
    costs: Any,
    cache: str,
    rows: list[tuple[int, str, int, int]],
) -> None:
    """Every sector that was written lies in the file where it was written to; coalesced as exit by exit."""
    at = 0
    submitted = []
    for gap, op, sector, sectors in rows:
        at += gap
        submitted.append((at, op, *((0, 0) if op == "F" else (sector, sectors))))
    benches = []
    for mode in (exact, not exact):
        profile = drawn_profile() if costs == "drawn" else constant_profile(costs or 0)
        bench = BlockBench(
            mode, qemu, profile, image_sectors=300, cluster=cluster, lazy=lazy, backing_sectors=backing, cache=cache
        )
        benches.append(bench.run(submitted))
    bench, other = benches
    assert (bench.done, bench.noted.served) == (other.done, other.noted.served)
    assert [request.stages for request in bench.requests] == [request.stages for request in other.requests]
    image = bench.image
    assert image is not None
    assert not image.in_flight
    consistent(image)
    places = {place + n for op, place, length in bench.served if op == "W" for n in range(length)}
    for op, sector, sectors in {row[1:] for row in submitted if row[1] == "W"}:
        for guest in range(sector, sector + sectors):
            found, _ = exhaust(image.get_host_offset(guest, 1))
            assert found in places, (op, guest)
