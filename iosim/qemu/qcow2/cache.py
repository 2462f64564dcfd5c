"""The metadata cache of a qcow2 image: L2 tables (or slices of them) and refcount blocks (block/qcow2-cache.c).

Pure: what QEMU reads and writes is yielded as `FileIo`, in its order, and whoever runs the generator does it.
"""

from collections.abc import Generator
from typing import NamedTuple, TypeAlias, TypeVar

from iosim.model.records import FLUSH, READ, WRITE

T = TypeVar("T")


class FileIo(NamedTuple):
    """One access of the image file, in its sectors (a flush has none)."""

    op: str
    sector: int
    sectors: int


class Qcow2Error(Exception):
    """An access of the image file failed: the negative errno. Thrown into the function that made it."""

    def __init__(self, ret: int) -> None:
        super().__init__(ret)
        self.ret = ret


MetaSteps: TypeAlias = Generator[FileIo, None, T]
"""A function of the qcow2 driver that holds the image's lock: it yields the accesses it makes, and returns a T."""

FLUSH_FILE = FileIo(FLUSH, 0, 0)


class Qcow2Cache:
    """A fixed number of tables of one size, each clean or dirty; a dirty one is written when it is evicted or flushed.

    `depends`: that cache is flushed before a table of this one is written. `depends_on_flush`: the file is.
    A table is found by the sector of the file where it lies. Nobody keeps a table across a call, as the image's lock
    is held, so every table may be evicted.
    """

    def __init__(self, size: int, table_sectors: int) -> None:
        self.size = size
        self.table_sectors = table_sectors
        self.depends: Qcow2Cache | None = None
        self.depends_on_flush = False
        self._sectors: list[int | None] = [None] * size
        self._where: dict[int, int] = {}
        self._dirty: set[int] = set()

    def get(self, sector: int, times: int = 1) -> MetaSteps[None]:
        """qcow2_cache_get, *times* in a row: the table is read from the file unless it is cached."""
        yield from self._do_get(sector, times, from_file=True)

    def get_empty(self, sector: int) -> MetaSteps[None]:
        """qcow2_cache_get_empty: the table is new, so it need not be read."""
        yield from self._do_get(sector, 1, from_file=False)

    def mark_dirty(self, sector: int) -> None:
        """qcow2_cache_entry_mark_dirty: the cached table was changed."""
        self._dirty.add(self._where[sector])

    def write(self) -> MetaSteps[None]:
        """qcow2_cache_write: write every dirty table, in the order of their places."""
        for index in sorted(self._dirty):
            yield from self._entry_flush(index)

    def flush(self) -> MetaSteps[None]:
        """qcow2_cache_flush: write every dirty table and flush the file, dirty tables or not."""
        yield from self.write()
        yield FLUSH_FILE

    def set_dependency(self, on: "Qcow2Cache") -> MetaSteps[None]:
        """qcow2_cache_set_dependency: from now on *on* is flushed before a table of this cache is written."""
        if on.depends is not None:
            yield from on._flush_dependency()
        if self.depends is not None and self.depends is not on:
            yield from self._flush_dependency()
        self.depends = on

    @property
    def n_dirty(self) -> int:
        """The number of dirty tables."""
        return len(self._dirty)

    def _do_get(self, sector: int, times: int, from_file: bool) -> MetaSteps[None]:
        index = self._where.get(sector)
        if index is None:
            index = self._entry_to_replace(sector)
            yield from self._entry_flush(index)
            old = self._sectors[index]
            if old is not None:
                del self._where[old]
                self._sectors[index] = None
            if from_file:
                yield FileIo(READ, sector, self.table_sectors)
            self._sectors[index] = sector
            self._where[sector] = index
            self._fill(index)
        self._touch(index, times)

    def _entry_flush(self, index: int) -> MetaSteps[None]:
        """qcow2_cache_entry_flush: write the table if it is dirty, after what must be in the file before it."""
        if index not in self._dirty:
            return
        if self.depends is not None:
            yield from self._flush_dependency()
        elif self.depends_on_flush:
            yield FLUSH_FILE
            self.depends_on_flush = False
        sector = self._sectors[index]
        assert sector is not None
        yield FileIo(WRITE, sector, self.table_sectors)
        self._dirty.discard(index)

    def _flush_dependency(self) -> MetaSteps[None]:
        assert self.depends is not None
        yield from self.depends.flush()
        self.depends = None
        self.depends_on_flush = False

    def _entry_to_replace(self, sector: int) -> int:
        """Return the place for the table that lies at *sector* of the file."""
        raise AssertionError

    def _fill(self, index: int) -> None:
        """A new table has come to *index*."""

    def _touch(self, index: int, times: int) -> None:
        """The table at *index* was used."""


class HitCache(Qcow2Cache):
    """The cache of 1.6: the table with the fewest hits goes; each eviction halves the hits of all."""

    _START = 32

    def __init__(self, size: int, table_sectors: int) -> None:
        super().__init__(size, table_sectors)
        self._hits = [0] * size

    def _entry_to_replace(self, sector: int) -> int:
        index = self._hits.index(min(self._hits))
        self._hits = [hits // 2 for hits in self._hits]
        return index

    def _fill(self, index: int) -> None:
        self._hits[index] = self._START

    def _touch(self, index: int, times: int) -> None:
        self._hits[index] += times


class LruCache(Qcow2Cache):
    """The cache of 7.2: the least recently used table goes; a free place is searched from one the table hashes to."""

    def __init__(self, size: int, table_sectors: int) -> None:
        super().__init__(size, table_sectors)
        self._used: dict[int, None] = {}

    def _entry_to_replace(self, sector: int) -> int:
        if len(self._used) == self.size:
            return next(iter(self._used))
        start = sector // self.table_sectors * 4 % self.size
        return next(
            index % self.size for index in range(start, start + self.size) if index % self.size not in self._used
        )

    def _touch(self, index: int, times: int) -> None:
        self._used.pop(index, None)
        self._used[index] = None
