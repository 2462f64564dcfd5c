"""The metadata of a qcow2 image: L1 and L2 tables, refcounts, allocation (block/qcow2-cluster.c, qcow2-refcount.c).

Pure, as `iosim.qemu.qcow2.cache` is: the functions yield the accesses of the image file that they make while they hold
the image's lock. Sectors are 512 bytes; a *cluster* is an index, of the guest's disk or of the file.
"""

from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from iosim.model.records import READ, WRITE
from iosim.model.units import SECTOR_BYTES
from iosim.qemu.qcow2 import counts
from iosim.qemu.qcow2.cache import FLUSH_FILE, FileIo, HitCache, LruCache, MetaSteps, Qcow2Cache, Qcow2Error, T
from iosim.qemu.qcow2.versions import REFCOUNT_BLOCKS, Layout, Qcow2Driver


@dataclass(eq=False)
class L2Meta:
    """QCowL2Meta: clusters that were allocated for a write and are not in the L2 table yet.

    The write covers *data* sectors behind *head* sectors of the first cluster; *head* and *tail* are copied on write,
    unless *skip_cow*: then they are zeroes already.
    """

    cluster: int
    file_cluster: int
    n_clusters: int
    head: int
    data: int
    tail: int
    skip_cow: bool = False


class Allocation(NamedTuple):
    """Where a write, or the first *sectors* of it, goes in the file, and what was allocated for that."""

    sector: int
    sectors: int
    metas: list[L2Meta]


class Qcow2Image:
    """The state of one image, and the functions that change it.

    `l1`: the cluster of the file where each L2 table lies; `tables`: their entries, clusters of the file, 0 where
    nothing is allocated. `refcount_table`: where each refcount block lies; `refcounts`: the counts in it. All of that
    is what the file and the caches say together: a cache decides what must be read and written, not what is true.
    """

    def __init__(self, driver: Qcow2Driver, layout: Layout, lazy_refcounts: bool, preallocated: bool, direct: bool):
        self.driver = driver
        self.layout = layout
        self.l1: dict[int, int] = {}
        self.tables: dict[int, Sequence[int]] = {}
        self.refcount_table: dict[int, int] = {}
        self.refcounts: dict[int, bytearray] = {}
        self.in_flight: list[L2Meta] = []
        self.dirty_bit = False
        self._lazy = lazy_refcounts
        self._padded = direct or driver.pads_small_writes
        self._create(preallocated)

    # Life of the image

    def _create(self, preallocated: bool) -> None:
        """qcow2_create2 (qcow2_co_create in 7.2): header, refcount table, first refcount block, L1 table.

        The refcount table is as large as a full image needs. Then the image is opened, with nothing in the caches.
        """
        self._open()
        exhaust(self._alloc_clusters(1 + self.layout.refcount_table_clusters))
        self.l1_sector = self._sector(exhaust(self._alloc_clusters(self.layout.clusters(8 * self.layout.n_tables))))
        if preallocated:
            for index in range(self.layout.n_tables):
                exhaust(self._l2_allocate(index))
                n = min(self.layout.l2_entries, self.layout.n_clusters - index * self.layout.l2_entries)
                first = exhaust(self._alloc_clusters(n))
                self.tables[index] = range(first, first + n)
        self._open()

    def _open(self) -> None:
        """qcow2_open: the L1 table and the refcount table are in memory, the caches are empty."""
        kind = LruCache if self.driver.lru else HitCache
        self.l2_cache: Qcow2Cache = kind(self.layout.l2_cached, self.layout.slice_sectors)
        self.refcount_cache: Qcow2Cache = kind(REFCOUNT_BLOCKS, self.layout.cluster_sectors)
        self.free_cluster_index = 0

    # Reads and flushes

    def get_host_offset(self, sector: int, sectors: int) -> MetaSteps[tuple[int | None, int]]:
        """qcow2_get_host_offset: the file's sector, or None if nothing is allocated, and how many sectors follow."""
        cluster, offset = divmod(sector, self.layout.cluster_sectors)
        n_clusters = self._up_to_slice_end(cluster, offset + sectors)
        index, position = divmod(cluster, self.layout.l2_entries)
        if index not in self.l1:
            return None, min(sectors, n_clusters * self.layout.cluster_sectors - offset)
        yield from self._l2_load(cluster)
        n, first = self._contiguous(self.tables[index], position, n_clusters)
        n_sectors = min(sectors, n * self.layout.cluster_sectors - offset)
        return (self._sector(first) + offset if first else None), n_sectors

    def is_unallocated(self, cluster: int) -> MetaSteps[bool]:
        """bdrv_is_zero_fast: tell whether the file has nothing for *cluster* of the guest."""
        sector, _ = yield from self.get_host_offset(cluster * self.layout.cluster_sectors, 1)
        return sector is None

    def flush_to_os(self) -> MetaSteps[None]:
        """qcow2_co_flush_to_os: write what is dirty, L2 tables behind the refcount blocks they depend on."""
        flushes = self.driver.flushes_per_cache
        yield from self.l2_cache.flush() if flushes else self.l2_cache.write()
        if not self.dirty_bit:
            yield from self.refcount_cache.flush() if flushes else self.refcount_cache.write()

    # Writes

    def alloc_host_offset(self, sector: int, sectors: int) -> MetaSteps[Allocation | L2Meta]:
        """qcow2_alloc_host_offset: gather clusters that are contiguous in the file, allocated before or now.

        Result: the allocation, or the one in flight that has to be waited for before this is called again.
        """
        metas: list[L2Meta] = []
        try:
            return (yield from self._gather(sector, sectors, metas))
        except Qcow2Error:
            for meta in metas:
                self.in_flight.remove(meta)
            raise

    def _gather(self, sector: int, sectors: int, metas: list[L2Meta]) -> MetaSteps[Allocation | L2Meta]:
        place: int | None = None
        done = 0
        while done < sectors:
            start = sector + done
            wanted = None if place is None else place + done
            n, conflict = self._handle_dependencies(start, sectors - done)
            if conflict is not None and not metas:
                return conflict
            if not n:
                break
            found = yield from self._handle_copied(start, n, wanted)
            if found is None:
                found = yield from self._handle_alloc(start, n, wanted, metas)
            if not found.sectors:
                break
            if place is None:
                place = found.sector
            done += found.sectors
        assert place is not None
        return Allocation(place, done, metas)

    def link_l2(self, meta: L2Meta) -> MetaSteps[None]:
        """qcow2_alloc_cluster_link_l2, behind the copy on write: enter the clusters into the L2 table."""
        if self._lazy and not self.dirty_bit:
            yield from self._write_small(0)
            yield FLUSH_FILE
            self.dirty_bit = True
        if not self.dirty_bit:
            yield from self.l2_cache.set_dependency(self.refcount_cache)
        table, position = yield from self._get_cluster_table(meta.cluster)
        self.l2_cache.mark_dirty(self._slice_sector(meta.cluster))
        assert isinstance(table, MutableSequence)
        for n in range(meta.n_clusters):
            assert not table[position + n]
            table[position + n] = meta.file_cluster + n

    def _handle_dependencies(self, start: int, sectors: int) -> tuple[int, L2Meta | None]:
        """Return how many sectors may be allocated before an allocation in flight begins, and the one at *start*."""
        for meta in self.in_flight:
            begin = meta.cluster * self.layout.cluster_sectors
            end = begin + meta.n_clusters * self.layout.cluster_sectors
            if start + sectors <= begin or start >= end:
                continue
            if start >= begin:
                return 0, meta
            sectors = begin - start
        return sectors, None

    def _handle_copied(self, start: int, sectors: int, wanted: int | None) -> MetaSteps[Allocation | None]:
        """Clusters that are allocated already; None if the first is not, no sectors if it does not lie at *wanted*."""
        cluster, offset = divmod(start, self.layout.cluster_sectors)
        n_clusters = self._up_to_slice_end(cluster, offset + sectors)
        table, position = yield from self._get_cluster_table(cluster)
        n, first = self._contiguous(table, position, n_clusters)
        if not first:
            return None
        if wanted is not None and self._sector(first) + offset != wanted:
            return Allocation(wanted, 0, [])
        return Allocation(self._sector(first) + offset, min(sectors, n * self.layout.cluster_sectors - offset), [])

    def _handle_alloc(self, start: int, sectors: int, wanted: int | None, metas: list[L2Meta]) -> MetaSteps[Allocation]:
        """Allocate clusters, at *wanted* or anywhere; no sectors if *wanted* is taken."""
        cluster, offset = divmod(start, self.layout.cluster_sectors)
        n_clusters = self._up_to_slice_end(cluster, offset + sectors)
        table, position = yield from self._get_cluster_table(cluster)
        n_clusters, _ = self._contiguous(table, position, n_clusters)
        if wanted is None:
            first = yield from self._alloc_clusters(n_clusters)
        else:
            first = wanted // self.layout.cluster_sectors
            n_clusters = yield from self._alloc_clusters_at(first, n_clusters)
            if not n_clusters:
                return Allocation(wanted, 0, [])
        room = n_clusters * self.layout.cluster_sectors
        n = min(sectors, room - offset)
        meta = L2Meta(cluster, first, n_clusters, offset, n, room - offset - n)
        metas.insert(0, meta)
        self.in_flight.insert(0, meta)
        return Allocation(self._sector(first) + offset, n, [])

    def _contiguous(self, table: Sequence[int], position: int, most: int) -> tuple[int, int]:
        """Return how many entries from *position* on are contiguous in the file, or all 0, and the first of them."""
        first = table[position]
        n = 1
        while n < most and table[position + n] == (first + n if first else 0):
            n += 1
        return n, first

    # L2 tables

    def _get_cluster_table(self, cluster: int) -> MetaSteps[tuple[Sequence[int], int]]:
        """Load the L2 table of *cluster*, a new one if there is none; return it and the place of the entry."""
        index, position = divmod(cluster, self.layout.l2_entries)
        if index not in self.l1:
            yield from self._l2_allocate(index)
        yield from self._l2_load(cluster)
        return self.tables[index], position

    def _l2_load(self, cluster: int) -> MetaSteps[None]:
        yield from self.l2_cache.get(self._slice_sector(cluster))

    def _l2_allocate(self, index: int) -> MetaSteps[None]:
        """l2_allocate: the refcount first, then the empty table, then the L1 entry, each flushed."""
        layout = self.layout
        cluster = yield from self._alloc_clusters(1)
        yield from self.refcount_cache.flush()
        first = self._sector(cluster)
        for sector in range(
            first, first + layout.l2_entries // layout.slice_entries * layout.slice_sectors, layout.slice_sectors
        ):
            yield from self.l2_cache.get_empty(sector)
            self.l2_cache.mark_dirty(sector)
        yield from self.l2_cache.flush()
        yield FileIo(WRITE, self.l1_sector + index * 8 // SECTOR_BYTES, 1)
        yield FLUSH_FILE
        self.l1[index] = cluster
        self.tables[index] = counts.table(layout.l2_entries)

    def _slice_sector(self, cluster: int) -> int:
        """Return where the slice of the L2 table lies that has the entry of *cluster*."""
        index, position = divmod(cluster, self.layout.l2_entries)
        return self._sector(self.l1[index]) + position // self.layout.slice_entries * self.layout.slice_sectors

    def _up_to_slice_end(self, cluster: int, sectors: int) -> int:
        """Return how many clusters *sectors* from the begin of *cluster* touch, within its slice."""
        n = -(-sectors // self.layout.cluster_sectors)
        return min(n, self.layout.slice_entries - cluster % self.layout.slice_entries)

    # Refcounts

    def end_cluster(self) -> int:
        """Return the cluster behind the last one in use: where the file ends."""
        last = max(self.refcounts)
        return last * self.layout.refcount_entries + self.refcounts[last].rindex(1) + 1

    def refcount(self, cluster: int) -> int:
        """Return the refcount of a cluster of the file."""
        block, position = divmod(cluster, self.layout.refcount_entries)
        return self.refcounts[block][position] if block in self.refcounts else 0

    def _alloc_clusters(self, n: int) -> MetaSteps[int]:
        """qcow2_alloc_clusters: *n* clusters in a row, the first that are free."""
        while True:
            first = yield from self._alloc_clusters_noref(n)
            if (yield from self._update_refcount(first, n)):
                return first

    def _alloc_clusters_at(self, first: int, n: int) -> MetaSteps[int]:
        """qcow2_alloc_clusters_at: as many of *n* clusters from *first* on as are free; return how many.

        1.6 has a new refcount block put behind them, at the place that its loop leaves in cluster_index.
        """
        while True:
            free = 0
            while free < n and not (yield from self._get_refcount(first + free)):
                free += 1
            next_free = self.free_cluster_index
            if not self.driver.restarts_allocation:
                self.free_cluster_index = first + min(free + 1, n) + free
            if (yield from self._update_refcount(first, free)):
                if not self.driver.restarts_allocation:
                    self.free_cluster_index = next_free
                return free

    def _alloc_clusters_noref(self, n: int) -> MetaSteps[int]:
        """alloc_clusters_noref: *n* free clusters in a row from `free_cluster_index` on, which moves behind them."""
        entries = self.layout.refcount_entries
        found = 0
        while found < n:
            block, position = divmod(self.free_cluster_index, entries)
            room = entries - position
            if block not in self.refcount_table:
                step, free = min(n - found, room), True
            else:
                block_counts = self.refcounts[block]
                free = not block_counts[position]
                end = counts.find(block_counts, 1 if free else 0, position)
                step = (end - position) if end >= 0 else room
                step = min(step, n - found) if free else step
                yield from self.refcount_cache.get(self._sector(self.refcount_table[block]), step)
            self.free_cluster_index += step
            found = found + step if free else 0
        return self.free_cluster_index - n

    def _get_refcount(self, cluster: int) -> MetaSteps[int]:
        block, position = divmod(cluster, self.layout.refcount_entries)
        if block not in self.refcount_table:
            return 0
        yield from self.refcount_cache.get(self._sector(self.refcount_table[block]))
        return self.refcounts[block][position]

    def _update_refcount(self, first: int, n: int) -> MetaSteps[bool]:
        """update_refcount: raise the counts of *n* clusters by one.

        Result: False if a new refcount block was needed and the search for free clusters has to start over.
        """
        entries = self.layout.refcount_entries
        done = 0
        while done < n:
            block, position = divmod(first + done, entries)
            if not (yield from self._alloc_refcount_block(block)):
                self.free_cluster_index = min(self.free_cluster_index, first)
                if done:
                    yield from self._lower_refcount(first, done)
                return False
            step = min(n - done, entries - position)
            self._count(block, position, step, 1)
            done += step
        return True

    def _lower_refcount(self, first: int, n: int) -> MetaSteps[None]:
        """update_refcount downwards: what allocated these clusters starts over."""
        yield from self.refcount_cache.set_dependency(self.l2_cache)
        entries = self.layout.refcount_entries
        for block in range(first // entries, (first + n - 1) // entries + 1):
            begin, end = max(first, block * entries), min(first + n, (block + 1) * entries)
            yield from self.refcount_cache.get(self._sector(self.refcount_table[block]))
            self._count(block, begin - block * entries, end - begin, 0)

    def _count(self, block: int, position: int, n: int, count: int) -> None:
        """Set *n* counts of a cached block, which is dirty then."""
        counts.fill(self.refcounts[block], position, n, count)
        self.refcount_cache.mark_dirty(self._sector(self.refcount_table[block]))

    def _alloc_refcount_block(self, block: int) -> MetaSteps[bool]:
        """alloc_refcount_block: load the block, or allocate it, write it and enter it into the refcount table.

        Result: False if the caller has to start over, as the new block may lie where it wanted to put its data.
        """
        cache, entries = self.refcount_cache, self.layout.refcount_entries
        if block in self.refcount_table:
            yield from cache.get(self._sector(self.refcount_table[block]))
            return True
        yield from self.l2_cache.flush()
        new = yield from self._alloc_clusters_noref(1)
        if new // entries != block:
            if not (yield from self._update_refcount(new, 1)):
                return False
            yield from cache.flush()
        yield from cache.get_empty(self._sector(new))
        new_counts = counts.block(entries)
        if new // entries == block:
            new_counts[new % entries] = 1
        cache.mark_dirty(self._sector(new))
        yield from cache.flush()
        yield from self._write_small((self.layout.cluster_sectors * SECTOR_BYTES + block * 8) // SECTOR_BYTES)
        yield FLUSH_FILE
        self.refcounts[block] = new_counts
        self.refcount_table[block] = new
        return not self.driver.restarts_allocation

    # The file

    def _write_small(self, sector: int) -> MetaSteps[None]:
        """Write 8 bytes: the sector is read, changed and written unless the file takes writes of any length."""
        if self._padded:
            yield FileIo(READ, sector, 1)
        yield FileIo(WRITE, sector, 1)

    def _sector(self, cluster: int) -> int:
        return cluster * self.layout.cluster_sectors


def exhaust(steps: MetaSteps[T]) -> T:
    """Run *steps* without any access, as what it does was done before the run began."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
