"""The host's page cache (mm/filemap.c, mm/page-writeback.c): which pages are held, which are dirty or being written.

State only, no time passes here: `iosim.disk.file` reads and writes through it, `iosim.disk.writeback` cleans it.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from iosim.host import Host, HostThread, Level

PAGE_SECTORS = 8
_FILE_SHIFT = 48


@dataclass(frozen=True)
class PageCacheConfig:
    """Size and limits in pages of 4 KiB; times of the periodic write-back in ns, 0 for none."""

    pages: int
    dirty_background: int
    dirty_limit: int
    dirty_writeback_interval_ns: int
    dirty_expire_interval_ns: int


class BackgroundWriter(Protocol):
    """The flusher of one disk (`iosim.disk.writeback.Flusher`)."""

    def inode_dirtied(self, space: "AddressSpace") -> None:
        """A clean file has become dirty."""

    def start_background(self) -> None:
        """There are too many dirty pages."""


class AddressSpace:
    """The cached pages of one file: `dirty` ones, and those under `writeback`; a page may be both (written again).

    `dirtied_when_ns`: since when it is dirty. `error`: the negative errno of a failed write-back that nobody was told.
    """

    __slots__ = ("dirtied_when_ns", "dirty", "error", "flusher", "in_flight", "n_both", "number", "writeback")

    def __init__(self, number: int, flusher: BackgroundWriter) -> None:
        self.number = number
        self.flusher = flusher
        self.dirty: set[int] = set()
        self.writeback: set[int] = set()
        self.n_both = 0
        self.dirtied_when_ns = 0
        self.error = 0
        self.in_flight: dict[Writeback, None] = {}

    def can_be_written(self) -> int:
        """Return the number of dirty pages that are not under write-back."""
        return len(self.dirty) - self.n_both


class Writeback:
    """One write of a run of dirty pages on its way to the disk, and who waits for its end."""

    __slots__ = ("first", "n", "space", "waiters")

    def __init__(self, space: AddressSpace, first: int, n: int) -> None:
        self.space = space
        self.first = first
        self.n = n
        self.waiters: list[WritebackWait] = []


class WritebackWait:
    """A thread that waits until *n* writes have ended."""

    __slots__ = ("n", "thread")

    def __init__(self, thread: HostThread, n: int) -> None:
        self.thread = thread
        self.n = n


@dataclass
class PageCounts:
    """Pages counted since the end of the warm-up.

    `dirty_at_begin` + `dirtied` = `written_back` + what is dirty or under write-back at the end.
    """

    read_hits: int = 0
    read_misses: int = 0
    filled: int = 0
    """Read from the disk because a write covered only a part of them."""
    dirtied: int = 0
    written_back: int = 0
    evicted: int = 0
    dirty_at_begin: int = 0


class PageCache:
    """The pages of all files of all VMs, 4 KiB each, up to *config.pages*.

    A clean page is dropped when room is needed, the least recently used first; a page counts as used when it is read,
    written, or has been written back. Dirty pages and those under write-back stay.
    """

    def __init__(self, host: Host, config: PageCacheConfig) -> None:
        self.config = config
        self.counts = PageCounts()
        self.n_dirty = 0
        self.n_writeback = 0
        self.held = Level(host.timeline, "page_cache:busy")
        self.dirty = Level(host.timeline, "page_cache:queue")
        self.throttled: deque[HostThread] = deque()
        self._host = host
        self._clean: OrderedDict[int, None] = OrderedDict()
        self._spaces: list[AddressSpace] = []
        self._n_both = 0

    def open(self, flusher: BackgroundWriter) -> AddressSpace:
        """Return the cached pages, none so far, of one more file on the flusher's disk."""
        self._spaces.append(AddressSpace(len(self._spaces), flusher))
        return self._spaces[-1]

    # Limits

    def over_background(self) -> bool:
        """Tell whether background write-back has to run: it looks at the dirty pages only."""
        return self.n_dirty > self.config.dirty_background

    def over_limit(self) -> bool:
        """Tell whether writers have to wait: pages under write-back count as well."""
        return self.n_dirty + self.n_writeback > self.config.dirty_limit

    # Pages

    def holds(self, space: AddressSpace, page: int) -> bool:
        """Tell whether the page is in the cache."""
        return (space.number << _FILE_SHIFT | page) in self._clean or page in space.dirty or page in space.writeback

    def use(self, space: AddressSpace, first: int, last: int) -> list[tuple[int, int]]:
        """Use the pages from *first* up to *last*, and return the runs (first, number) of those that are missing."""
        runs: list[tuple[int, int]] = []
        base = space.number << _FILE_SHIFT
        clean = self._clean
        for page in range(first, last + 1):
            if base | page in clean:
                clean.move_to_end(base | page)
            elif page not in space.dirty and page not in space.writeback:
                if runs and sum(runs[-1]) == page:
                    runs[-1] = (runs[-1][0], runs[-1][1] + 1)
                else:
                    runs.append((page, 1))
        return runs

    def add(self, space: AddressSpace, pages: Iterable[int]) -> None:
        """Pages have been read from the disk."""
        base = space.number << _FILE_SHIFT
        for page in pages:
            if page not in space.dirty and page not in space.writeback:
                self._clean[base | page] = None
                self._clean.move_to_end(base | page)
        self._make_room()

    def set_dirty(self, space: AddressSpace, first: int, last: int) -> None:
        """Pages have been written by a file's user."""
        base = space.number << _FILE_SHIFT
        was_clean = not space.dirty
        for page in range(first, last + 1):
            if page in space.dirty:
                continue
            space.dirty.add(page)
            self.n_dirty += 1
            self.counts.dirtied += 1
            if page in space.writeback:
                space.n_both += 1
                self._n_both += 1
            else:
                self._clean.pop(base | page, None)
        self._make_room()
        if was_clean:
            space.dirtied_when_ns = self._host.now_ns
            space.flusher.inode_dirtied(space)
        if self.over_background():
            for other in self._spaces:
                if other.dirty:
                    other.flusher.start_background()

    def begin_writeback(self, space: AddressSpace, first: int, n: int) -> Writeback:
        """The *n* dirty pages from *first* on are on their way to the disk."""
        pages = range(first, first + n)
        space.dirty.difference_update(pages)
        space.writeback.update(pages)
        self.n_dirty -= n
        self.n_writeback += n
        writeback = Writeback(space, first, n)
        space.in_flight[writeback] = None
        return writeback

    def end_writeback(self, writeback: Writeback, ret: int) -> None:
        """The disk has them, or has failed; they are clean either way, but for those written again meanwhile."""
        space = writeback.space
        base = space.number << _FILE_SHIFT
        pages = range(writeback.first, writeback.first + writeback.n)
        space.writeback.difference_update(pages)
        self.n_writeback -= writeback.n
        self.counts.written_back += writeback.n
        for page in pages:
            if page in space.dirty:
                space.n_both -= 1
                self._n_both -= 1
            else:
                self._clean[base | page] = None
        self._make_room()
        if ret:
            space.error = ret
        del space.in_flight[writeback]
        for waiter in writeback.waiters:
            waiter.n -= 1
            if not waiter.n:
                waiter.thread.wake()
        if self.throttled and not self.over_limit():
            while self.throttled:
                self.throttled.popleft().wake()
        if self.over_background() and space.can_be_written():
            space.flusher.start_background()

    def restart(self) -> None:
        """The warm-up ends: counts begin here."""
        self.counts = PageCounts(dirty_at_begin=self.n_dirty + self.n_writeback)

    def _make_room(self) -> None:
        """Drop the clean pages that are too many, and note how many are held."""
        busy = self.n_dirty + self.n_writeback - self._n_both
        while self._clean and busy + len(self._clean) > self.config.pages:
            self._clean.popitem(last=False)
            self.counts.evicted += 1
        now = self._host.now_ns
        self.held.set(now, min(busy + len(self._clean), self.config.pages))
        self.dirty.set(now, self.n_dirty + self.n_writeback)
