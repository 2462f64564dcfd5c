"""The metadata of a qcow2 image: what QEMU reads and writes of it, in order, and that the image is consistent."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iosim.qemu.qcow2.cache import FLUSH_FILE, FileIo, HitCache, LruCache, MetaSteps, T
from iosim.qemu.qcow2.metadata import Allocation, L2Meta, Qcow2Image, exhaust
from iosim.qemu.qcow2.versions import DRIVERS, layout

VERSIONS = ["1.6", "7.2"]
MIB = 2048  # sectors


def image(
    version: str,
    sectors: int = 64 * MIB,
    cluster: int = 65536,
    lazy: bool = False,
    preallocated: bool = False,
    direct: bool = True,
    l2_cache: int | None = None,
) -> Qcow2Image:
    driver = DRIVERS[version]
    return Qcow2Image(driver, layout(driver, sectors, cluster, l2_cache), lazy, preallocated, direct)


def run(steps: MetaSteps[T]) -> tuple[list[FileIo], T]:
    """The accesses of *steps*, and what it returns."""
    accesses = []
    while True:
        try:
            accesses.append(next(steps))
        except StopIteration as stop:
            return accesses, stop.value


def write(it: Qcow2Image, sector: int, sectors: int) -> list[tuple[list[FileIo], Allocation]]:
    """A whole write: each part with the accesses of its metadata."""
    parts = []
    while sectors:
        accesses, part = run(it.alloc_host_offset(sector, sectors))
        assert isinstance(part, Allocation)
        for meta in part.metas:
            accesses += run(it.link_l2(meta))[0]
            it.in_flight.remove(meta)
        parts.append((accesses, part))
        sector += part.sectors
        sectors -= part.sectors
    return parts


def read(cluster: int, sectors: int = 128) -> FileIo:
    return FileIo("R", cluster * 128, sectors)


def written(cluster: int, sectors: int = 128) -> FileIo:
    return FileIo("W", cluster * 128, sectors)


# An empty image with clusters of 64 KiB: cluster 0 is the header, 1 the refcount table, 2 the first refcount block,
# 3 the L1 table. The first write puts its L2 table in 4 and its data in 5.


@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_write_loads_the_refcount_block_and_writes_an_l2_table(version: str) -> None:
    ((accesses, part),) = write(image(version), 8, 8)
    assert accesses == [
        read(2),  # alloc_clusters_noref asks for the refcounts from cluster 0 on
        written(2),  # qcow2_cache_flush: the refcount of the L2 table
        FLUSH_FILE,
        written(4),  # the empty L2 table
        FLUSH_FILE,
        written(3, 1),  # bdrv_pwrite_sync: one sector of the L1 table
        FLUSH_FILE,
    ]
    assert part.sector == 5 * 128 + 8
    (meta,) = part.metas
    assert (meta.cluster, meta.file_cluster, meta.n_clusters) == (0, 5, 1)
    assert (meta.head, meta.data, meta.tail) == (8, 8, 112)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_further_allocation_and_a_rewrite_touch_the_caches_only(version: str) -> None:
    it = image(version)
    write(it, 8, 8)
    ((accesses, part),) = write(it, 128, 8)
    assert (accesses, part.sector, len(part.metas)) == ([], 6 * 128, 1)
    ((accesses, part),) = write(it, 0, 8)
    assert (accesses, part) == ([], Allocation(5 * 128, 8, []))


def test_a_flush_writes_refcounts_before_the_table_that_depends_on_them() -> None:
    for version, end in (("1.6", [FLUSH_FILE, FLUSH_FILE]), ("7.2", [])):
        it = image(version)
        write(it, 0, 128)
        assert run(it.flush_to_os())[0] == [written(2), FLUSH_FILE, written(4), *end]
        assert run(it.flush_to_os())[0] == end


def test_a_table_waits_for_a_flush_of_the_data_that_was_copied() -> None:
    it = image("7.2", lazy=True)
    write(it, 0, 128)
    run(it.flush_to_os())
    write(it, 128, 8)
    it.l2_cache.depends_on_flush = True
    assert run(it.flush_to_os())[0] == [FLUSH_FILE, written(4)]


@pytest.mark.parametrize(("version", "direct"), [("1.6", True), ("1.6", False), ("7.2", True), ("7.2", False)])
def test_lazy_refcounts_mark_the_image_dirty_once_and_keep_refcounts_in_memory(version: str, direct: bool) -> None:
    it = image(version, lazy=True, direct=direct)
    ((accesses, _),) = write(it, 0, 128)
    padded = [read(0, 1)] if version == "1.6" or direct else []
    assert accesses[7:] == [*padded, written(0, 1), FLUSH_FILE]
    ((accesses, _),) = write(it, 128, 128)
    assert accesses == []
    end = [FLUSH_FILE] if version == "1.6" else []
    assert run(it.flush_to_os())[0] == [written(4), *end]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unallocated_cluster_is_found_without_access_and_up_to_the_next_one(version: str) -> None:
    it = image(version)
    assert run(it.get_host_offset(8, 1000)) == ([], (None, 1000))
    write(it, 128, 128)
    assert run(it.get_host_offset(8, 1000)) == ([], (None, 120))
    assert run(it.get_host_offset(130, 1000)) == ([], (5 * 128 + 2, 126))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_preallocated_image_reads_its_l2_table_once(version: str) -> None:
    it = image(version, preallocated=True)
    assert run(it.get_host_offset(130, 8)) == ([read(4)], (6 * 128 + 2, 8))
    ((accesses, part),) = write(it, 0, 300)
    assert (accesses, part) == ([], Allocation(5 * 128, 300, []))


def test_1_6_caches_16_whole_tables_and_7_2_slices_of_them_if_the_cache_cannot_hold_all() -> None:
    gib = 2048 * MIB // 2
    assert layout(DRIVERS["1.6"], 100 * gib, 65536)[3:5] == (8192, 16)
    assert layout(DRIVERS["7.2"], 100 * gib, 65536)[3:5] == (8192, 200)  # 512 MiB a table, 12.5 MiB of cache
    assert layout(DRIVERS["7.2"], 300 * gib, 65536)[3:5] == (512, 8192)  # 32 MiB in slices of 4 KiB
    assert layout(DRIVERS["7.2"], 100 * gib, 65536, 1 << 20)[3:5] == (512, 256)


def test_a_slice_is_read_written_and_evicted_alone() -> None:
    it = image("7.2", sectors=2048 * MIB, l2_cache=65536)  # 16 slices of 4 KiB, 512 clusters (32 MiB) each
    ((accesses, _),) = write(it, 0, 8)
    # The slice at 4 KiB x m of the file is looked for from place 4 m % 16 on, and the table begins at 4 KiB x 64.
    places = [n + k for k in range(4) for n in (0, 4, 8, 12)]
    assert accesses[3:20] == [FileIo("W", 4 * 128 + 8 * places[n], 8) for n in range(16)] + [FLUSH_FILE]
    write(it, 512 * 128, 8)
    assert run(it.flush_to_os())[0] == [written(2), FLUSH_FILE, FileIo("W", 512, 8), FileIo("W", 520, 8)]


def test_1_6_evicts_the_table_with_the_fewest_hits_which_every_eviction_halves() -> None:
    cache = HitCache(2, 8)
    for sector in (8, 16, 16):  # a new table begins with 32 hits, and each use is one more: 33 and 34
        run(cache.get(sector))
    assert run(cache.get(24))[0] == [FileIo("R", 24, 8)]  # in the place of 8: 33, and 34 / 2 = 17 for 16
    for _ in range(15):
        run(cache.get(16))  # 32
    assert run(cache.get(8))[0] == [FileIo("R", 8, 8)]
    assert run(cache.get(24))[0] == []  # it was 16 that went


def test_7_2_evicts_the_least_recently_used_table() -> None:
    cache = LruCache(2, 8)
    for sector in (8, 16, 8):
        run(cache.get(sector))
    assert run(cache.get(24))[0] == [FileIo("R", 24, 8)]
    assert run(cache.get(8))[0] == []


def test_a_dirty_table_is_written_on_eviction_behind_what_it_depends_on() -> None:
    cache, other = LruCache(1, 8), LruCache(1, 16)
    run(cache.get(8))
    cache.mark_dirty(8)
    run(other.get_empty(800))
    other.mark_dirty(800)
    run(cache.set_dependency(other))
    cache.depends_on_flush = True
    assert run(cache.get(16))[0] == [FileIo("W", 800, 16), FLUSH_FILE, FileIo("W", 8, 8), FileIo("R", 16, 8)]
    cache.mark_dirty(16)
    cache.depends_on_flush = True
    assert run(cache.get(8))[0] == [FLUSH_FILE, FileIo("W", 16, 8), FileIo("R", 8, 8)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_write_across_an_allocation_is_split_where_the_file_is_not_contiguous(version: str) -> None:
    it = image(version)
    write(it, 128, 128)  # guest cluster 1 in file cluster 5
    parts = [part for _, part in write(it, 0, 384)]  # 0 and 2 are new
    assert [(part.sector, part.sectors) for part in parts] == [(6 * 128, 128), (5 * 128, 128), (7 * 128, 128)]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_allocated_part_and_a_new_one_behind_it_are_written_at_once(version: str) -> None:
    it = image(version)
    write(it, 0, 128)
    ((_, part),) = write(it, 64, 128)
    assert (part.sector, part.sectors) == (5 * 128 + 64, 128)
    assert [(meta.cluster, meta.file_cluster, meta.head, meta.data, meta.tail) for meta in part.metas] == [
        (1, 6, 0, 64, 64)
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_overlapping_allocation_in_flight_has_to_be_waited_for(version: str) -> None:
    it = image(version)
    _, first = run(it.alloc_host_offset(128, 8))
    assert isinstance(first, Allocation)
    assert run(it.alloc_host_offset(200, 8)) == ([], first.metas[0])
    _, other = run(it.alloc_host_offset(0, 256))  # cluster 0 alone, up to the allocation in flight
    assert isinstance(other, Allocation)
    assert other.sectors == 128
    assert it.in_flight == [*other.metas, *first.metas]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_refcount_block_describes_itself_and_is_entered_at_once(version: str) -> None:
    it = image(version, sectors=MIB, cluster=512)  # 256 refcounts a block, 64 entries an L2 table
    for sector in range(0, 512):
        write(it, sector, 1)
        consistent(it)
    assert len(it.refcount_table) == 3
    it = image(version, sectors=MIB, cluster=512)
    accesses = [each for sector in range(256) for part, _ in write(it, sector, 1) for each in part]
    block = it.refcount_table[1]
    at = accesses.index(FileIo("W", block, 1))
    assert accesses[at + 1 : at + 5] == [FLUSH_FILE, FileIo("R", 1, 1), FileIo("W", 1, 1), FLUSH_FILE]


def consistent(it: Qcow2Image) -> None:
    """Refcounts are the references, each at most once: nothing is allocated twice, nothing leaked."""
    used = Counter(range(1 + it.layout.refcount_table_clusters))
    used.update(
        it.l1_sector // it.layout.cluster_sectors + n for n in range(it.layout.clusters(8 * it.layout.n_tables))
    )
    used.update(it.refcount_table.values())
    used.update(it.l1.values())
    used.update(entry for table in it.tables.values() for entry in table if entry)
    used.update(meta.file_cluster + n for meta in it.in_flight for n in range(meta.n_clusters))
    assert set(used.values()) == {1}
    counted = {
        block * it.layout.refcount_entries + n
        for block, counts in it.refcounts.items()
        for n, count in enumerate(counts)
        if count
    }
    assert counted == set(used)
    assert max(used) < it.layout.max_clusters


class Content:
    """A file and its disk: what every sector of the file holds, and what the guest expects in its own."""

    def __init__(self, it: Qcow2Image) -> None:
        self.it = it
        self.file: dict[int, int] = {}
        self.guest: dict[int, int] = {}
        self.open: list[tuple[Allocation, int]] = []

    def begin(self, sector: int, sectors: int, value: int) -> None:
        """Allocate the parts of a write and put the data there; what conflicts is finished first."""
        while sectors:
            _, part = run(self.it.alloc_host_offset(sector, sectors))
            if isinstance(part, L2Meta):
                self.finish(next(n for n, (other, _) in enumerate(self.open) if part in other.metas))
                continue
            for n in range(part.sectors):
                self.file[part.sector + n] = self.guest[sector + n] = value
            self.open.append((part, sector))
            sector += part.sectors
            sectors -= part.sectors

    def finish(self, number: int) -> None:
        """Copy on write and link: the rest of new clusters reads as zeroes."""
        part, _ = self.open.pop(number)
        for meta in part.metas:
            size = self.it.layout.cluster_sectors
            begin = meta.file_cluster * size
            end = begin + meta.n_clusters * size
            for place in [*range(begin, begin + meta.head), *range(end - meta.tail, end)]:
                self.file[place] = 0
            run(self.it.link_l2(meta))
            self.it.in_flight.remove(meta)

    def read(self, sector: int) -> int:
        """What the guest reads."""
        _, (place, n) = run(self.it.get_host_offset(sector, 1))
        assert n == 1
        return 0 if place is None else self.file.get(place, 0)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("W"), st.integers(0, 599), st.integers(1, 80)),
        st.tuples(st.just("done"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("F"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(st.sampled_from(VERSIONS), st.sampled_from([512, 1024, 4096]), st.booleans(), st.booleans(), OPERATIONS)
def test_every_sector_is_read_from_where_it_was_last_written(
    version: str, cluster: int, lazy: bool, preallocated: bool, operations: list[tuple[str, int, int]]
) -> None:
    it = image(version, 680, cluster, lazy, preallocated, l2_cache=1024 if version == "7.2" else None)
    content = Content(it)
    for value, (op, a, b) in enumerate(operations, 1):
        if op == "W":
            content.begin(a, min(b, 680 - a), value)
        elif op == "done" and content.open:
            content.finish(a % len(content.open))
        elif op == "F":
            run(it.flush_to_os())
            assert it.l2_cache.n_dirty == 0
            assert it.refcount_cache.n_dirty == 0 or it.dirty_bit
        consistent(it)
    while content.open:
        content.finish(0)
    consistent(it)
    assert [content.read(sector) for sector in range(680)] == [content.guest.get(sector, 0) for sector in range(680)]


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(VERSIONS), st.lists(st.integers(0, 1999), min_size=1, max_size=60))
def test_what_is_written_to_the_file_is_enough_to_open_it_again(version: str, sectors: list[int]) -> None:
    """Every table that the file refers to was written behind its last change once the guest has flushed."""
    it = image(version, 2000, 512, l2_cache=512 if version == "7.2" else None)
    stale: set[int] = set()
    for sector in sectors:
        for accesses, part in write(it, sector, 1):
            stale -= {access.sector for access in accesses if access.op == "W"}
            for meta in part.metas:
                stale |= {it.l1[meta.cluster // 64]}
    stale -= {access.sector for access in run(it.flush_to_os())[0] if access.op == "W"}
    assert not stale


def test_creating_an_image_leaves_nothing_in_the_caches() -> None:
    it = image("7.2", preallocated=True)
    assert (it.l2_cache.n_dirty, it.refcount_cache.n_dirty, it.free_cluster_index) == (0, 0, 0)
    consistent(it)
    assert exhaust(it.is_unallocated(0)) is False
