"""A file of the host as QEMU's workers see it: pread, pwrite, fdatasync of an image in one piece on a disk."""

import errno

from iosim.disk.bio import BioQueue
from iosim.disk.page_cache import PAGE_SECTORS, PageCache
from iosim.disk.queue import Disk, DiskJob
from iosim.disk.writeback import Flusher
from iosim.host import Host, HostThread
from iosim.model.records import FLUSH, READ, WRITE, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Block, Path, Steps


class HostFile:
    """An image that begins at sector *first* of *disk*, opened with O_DIRECT. Results are 0 or a negative errno.

    A file that grows has *length* sectors so far, which `Disk.allocate` has granted; a write behind its end takes more
    of the disk, or fails with ENOSPC. None: its room was set aside when it was made. *bios*: the way to the disk of
    what no thread waits for.
    """

    def __init__(
        self, binder: Binder, disk: Disk, first: int, length: int | None = None, bios: BioQueue | None = None
    ) -> None:
        self.disk = disk
        self.first = first
        self.length = length
        self.bios = bios
        self._binder = binder
        self._fdatasync = binder.path("worker.fdatasync_enter")
        back = ("worker.syscall_return", "handle_aiocb_write_zeroes")
        self._fallocate = binder.path("worker.fallocate_enter", back)
        self._return = binder.path("worker.syscall_return")
        self._synced = binder.path(("worker.syscall_return", "handle_aiocb_flush"))
        self._reads: dict[int, Path] = {}
        self._writes: dict[int, Path] = {}

    def pwrite(self, thread: HostThread, request: Request, sector: int, sectors: int) -> Steps[int]:
        """Write to the disk from the caller's pages."""
        if self.length is not None and sector + sectors > self.length:
            yield SYNC
            if ret := self.grow(sector + sectors):
                yield self._return
                return ret
        return (yield from self._direct_io(thread, request, WRITE, sector, sectors))

    def pread(self, thread: HostThread, request: Request, sector: int, sectors: int) -> Steps[int]:
        """Read from the disk into the caller's pages."""
        return (yield from self._direct_io(thread, request, READ, sector, sectors))

    def fdatasync(self, thread: HostThread, request: Request) -> Steps[int]:
        """Have the disk flush its write cache."""
        yield self._fdatasync
        return (yield from self._transfer(thread, self.job(request, FLUSH, 0, 0)))

    def job(self, request: Request, op: str, sector: int, sectors: int) -> DiskJob:
        """Return the operation of the disk that reads or writes these sectors of the file."""
        return DiskJob(self.disk, request, op, self.disk.place(self.first + sector, sectors), sectors)

    def fallocate(self, thread: HostThread, request: Request, sector: int, sectors: int) -> Steps[int]:
        """Have the file system mark a range as zeroes: its own metadata, without access of the disk."""
        yield self._fallocate
        yield SYNC
        return self.grow(sector + sectors)

    def grow(self, length: int) -> int:
        """Make the file at least *length* sectors long; -ENOSPC if the disk is full."""
        if self.length is not None and length > self.length:
            if not self.disk.allocate(length - self.length):
                return -errno.ENOSPC
            self.length = length
        return 0

    def _direct_io(self, thread: HostThread, request: Request, op: str, sector: int, sectors: int) -> Steps[int]:
        """One page is pinned per 4 KiB, then the disk works."""
        yield self._read_path(pages(sectors)) if op == READ else self._write_path(pages(sectors))
        return (yield from self._transfer(thread, self.job(request, op, sector, sectors)))

    def _transfer(self, thread: HostThread, job: DiskJob) -> Steps[int]:
        ret = yield from self.disk.transfer(thread, job)
        yield self._synced if job.op == FLUSH else self._return
        return ret

    def _read_path(self, n: int) -> Path:
        """Return the path into a pread of *n* pages. Made once."""
        path = self._reads.get(n)
        if path is None:
            path = self._reads[n] = self._binder.path("worker.pread_enter", *["worker.page"] * n)
        return path

    def _write_path(self, n: int) -> Path:
        """Return the path into a pwrite of *n* pages. Made once."""
        path = self._writes.get(n)
        if path is None:
            path = self._writes[n] = self._binder.path("worker.pwrite_enter", *["worker.page"] * n)
        return path


class BufferedFile(HostFile):
    """The same without O_DIRECT: through the host's page cache. The image has *size* sectors."""

    def __init__(
        self,
        host: Host,
        binder: Binder,
        disk: Disk,
        first: int,
        size: int,
        cache: PageCache,
        flusher: Flusher,
        length: int | None = None,
    ) -> None:
        super().__init__(binder, disk, first, length, flusher.bios)
        self.space = cache.open(flusher)
        flusher.open(self.space, first, size)
        self._host = host
        self._size = size
        self._cache = cache
        self._flusher = flusher
        self._pwrite = binder.path("cache.pwrite")
        self._pread = binder.path("cache.pread")

    def pwrite(self, thread: HostThread, request: Request, sector: int, sectors: int) -> Steps[int]:
        """Take room on the disk; copy into the cache; a page that is covered in part and not there is read first.

        Then a writer waits while there are too many dirty pages (balance_dirty_pages).
        """
        first, last = sector // PAGE_SECTORS, (sector + sectors - 1) // PAGE_SECTORS
        yield self._pwrite
        yield SYNC
        if ret := self.grow(sector + sectors):
            return ret
        cache = self._cache
        cache.use(self.space, first, last)
        partial = [first] if sector % PAGE_SECTORS else []
        end = sector + sectors
        if end % PAGE_SECTORS and end < self._size and partial != [last]:
            partial.append(last)
        for page in partial:
            if not cache.holds(self.space, page):
                ret = yield from self._read_pages(thread, request, page, 1)
                if ret:
                    return ret
                cache.counts.filled += 1
        yield self._binder.repeated("cache.write_page", last - first + 1)
        yield SYNC
        cache.set_dirty(self.space, first, last)
        if cache.over_limit():
            cache.throttled.append(thread)
            request.wait_in(Stage.DIRTY_WAIT, thread.name)
            yield Block()
            request.stop_waiting(self._host.now_ns)
        return 0

    def pread(self, thread: HostThread, request: Request, sector: int, sectors: int) -> Steps[int]:
        """Copy out of the cache; what is missing is read from the disk first, each run of neighbours at once."""
        first, last = sector // PAGE_SECTORS, (sector + sectors - 1) // PAGE_SECTORS
        yield self._pread
        yield SYNC
        runs = self._cache.use(self.space, first, last)
        missing = sum(n for _, n in runs)
        self._cache.counts.read_misses += missing
        self._cache.counts.read_hits += last - first + 1 - missing
        for page, n in runs:
            ret = yield from self._read_pages(thread, request, page, n)
            if ret:
                return ret
        yield self._binder.repeated("cache.read_page", last - first + 1)
        return 0

    def fdatasync(self, thread: HostThread, request: Request) -> Steps[int]:
        """Write what is dirty of the file, wait for all its write-back, have the disk flush its write cache.

        After an error of the write-back the disk is left alone (ext4_sync_file).
        """
        yield self._fdatasync
        error = yield from self._flusher.sync(thread, request, self.space)
        if error:
            yield self._synced
            return error
        return (yield from self._transfer(thread, self.job(request, FLUSH, 0, 0)))

    def read_hits(self, sector: int, sectors: int) -> bool:
        """Tell whether the cache holds all pages of a read; if so they count as read."""
        first, last = sector // PAGE_SECTORS, (sector + sectors - 1) // PAGE_SECTORS
        if not all(self._cache.holds(self.space, page) for page in range(first, last + 1)):
            return False
        self._cache.use(self.space, first, last)
        self._cache.counts.read_hits += last - first + 1
        return True

    def _read_pages(self, thread: HostThread, request: Request, page: int, n: int) -> Steps[int]:
        """Read *n* pages from *page* on into the cache."""
        sector = page * PAGE_SECTORS
        job = self.job(request, READ, sector, min(n * PAGE_SECTORS, self._size - sector))
        ret = yield from self._transfer(thread, job)
        if not ret:
            yield SYNC
            self._cache.add(self.space, range(page, page + n))
        return ret


def pages(sectors: int) -> int:
    """Return how many pages of 4 KiB hold so many sectors."""
    return -(-sectors // PAGE_SECTORS)
