"""What the qcow2 driver of each QEMU version does differently, and the layout of an image."""

from typing import NamedTuple

from iosim.model.units import SECTOR_BYTES


class Qcow2Driver(NamedTuple):
    """The semantics of one version of block/qcow2*.c."""

    l2_tables: int | None
    """Fixed number of whole L2 tables in the cache (1.6: L2_CACHE_SIZE); None: sized in bytes, at most 32 MiB."""
    lru: bool
    """2.4 and later: the least recently used table is evicted; before, the one with the fewest hits."""
    flushes_per_cache: bool
    """Up to 2.6: a guest flush flushes the file after each of the two caches, and then once more."""
    restarts_allocation: bool
    """2.0 and later (b106ad9185): a new refcount block makes the allocation that needed it start over (-EAGAIN)."""
    merges_cow: bool
    """2.10 and later (ee22a9d869): copy on write reads at once what lies close, and writes together with the data."""
    zeroes_clusters: bool
    """4.1 and later (c8bb23cbdb): new clusters that read as zeroes are zeroed by fallocate (handle_alloc_space)."""
    pads_small_writes: bool
    """Up to 1.7 a write of less than a sector is read, changed and written; later only where the file needs it."""
    keeps_lock: bool
    """Up to 4.1: the image's lock is kept from one part of a request to the next."""
    hands_lock_over: bool
    """2.9 and later: whoever unlocks a CoMutex gives it to the first that waits."""


DRIVERS = {
    "1.6": Qcow2Driver(16, False, True, False, False, False, True, True, False),
    "7.2": Qcow2Driver(None, True, False, True, True, True, False, False, True),
}

REFCOUNT_BLOCKS = 4
"""Refcount blocks in the cache: REFCOUNT_CACHE_SIZE (1.6), MIN_REFCOUNT_CACHE_SIZE (7.2)."""
MAX_L2_CACHE = 32 * 1024 * 1024
MIN_L2_TABLES = 2
SLICE_BYTES = 4096
MAX_L2_TABLES = 1 << 22
"""An L1 table of 32 MiB (QCOW_MAX_L1_SIZE)."""
MERGED_READ_SECTORS = 16384 // SECTOR_BYTES
"""perform_cow reads head and tail at once if at most 16 KiB lie between them."""


class Layout(NamedTuple):
    """Sizes of an image: those of clusters and tables, and what the L2 cache holds."""

    sectors: int
    """The size that the guest sees."""
    cluster_sectors: int
    l2_entries: int
    slice_entries: int
    """Entries of an L2 table that are cached together: the whole table, or 4 KiB if the cache cannot hold them all."""
    l2_cached: int
    """How many of these the cache holds."""
    refcount_entries: int
    """Clusters that one refcount block counts (16 bits each)."""

    @property
    def n_clusters(self) -> int:
        """The number of clusters that the guest sees."""
        return -(-self.sectors // self.cluster_sectors)

    @property
    def n_tables(self) -> int:
        """The number of L2 tables of a full image."""
        return -(-self.n_clusters // self.l2_entries)

    @property
    def slice_sectors(self) -> int:
        """The size of what is read and written of an L2 table at once."""
        return -(-self.slice_entries * 8 // SECTOR_BYTES)

    def clusters(self, n_bytes: int) -> int:
        """Return the number of clusters that hold *n_bytes*."""
        return -(-n_bytes // (self.cluster_sectors * SECTOR_BYTES))

    @property
    def refcount_table_clusters(self) -> int:
        """The size of a refcount table that never has to grow."""
        return self.clusters(8 * (self.max_clusters // self.refcount_entries + 2))

    @property
    def max_clusters(self) -> int:
        """An upper bound of the file's length: data, L2 tables, L1 table, header, refcounts, and room between them."""
        used = self.n_clusters + self.n_tables + self.clusters(8 * self.n_tables) + 2
        blocks = used // self.refcount_entries + 2
        return used + 4 * blocks + 4 * self.clusters(8 * blocks) + 16


def layout(driver: Qcow2Driver, sectors: int, cluster_bytes: int, l2_cache_bytes: int | None = None) -> Layout:
    """Return the layout of an image; *l2_cache_bytes* is the option l2-cache-size (read_cache_sizes)."""
    cluster_sectors = cluster_bytes // SECTOR_BYTES
    entries = cluster_bytes // 8
    n_clusters = -(-sectors // cluster_sectors)
    entry_bytes = cluster_bytes
    if driver.l2_tables is not None:
        cached = driver.l2_tables
    else:
        whole = -(-n_clusters * 8 // cluster_bytes) * cluster_bytes
        size = min(whole, MAX_L2_CACHE if l2_cache_bytes is None else l2_cache_bytes)
        if size < whole:
            entry_bytes = min(cluster_bytes, SLICE_BYTES)
        cached = max(size // entry_bytes, MIN_L2_TABLES)
    return Layout(sectors, cluster_sectors, entries, entry_bytes // 8, cached, cluster_bytes // 2)
