"""Write-back of dirty pages (fs/fs-writeback.c, write_cache_pages): by the flusher of a disk, or within fdatasync."""

from iosim.disk.bio import BioQueue
from iosim.disk.page_cache import PAGE_SECTORS, AddressSpace, PageCache, Writeback, WritebackWait
from iosim.disk.queue import DiskJob
from iosim.host import Host, HostThread
from iosim.model.draws import Subject
from iosim.model.records import WRITE, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Block, Path, Steps

MAX_RUN_PAGES = 128
"""Pages of one write: BLK_DEF_MAX_SECTORS, 1024 sectors."""
CHUNK_PAGES = 1024
"""MIN_WRITEBACK_PAGES: after so many pages background write-back looks whether it is still needed."""


class Flusher:
    """The thread that writes dirty pages of the files on one disk back (wb_workfn), charged to no request.

    In the background while there are more dirty pages than the background limit, the file that has been dirty for
    longest first; and, looking once per interval, each file that has been dirty for longer than the expiry time. A
    file's pages are written in the order of the disk, neighbours together. Several writes are under way at once.
    """

    def __init__(self, host: Host, binder: Binder, cache: PageCache, bios: BioQueue, thread: HostThread) -> None:
        self.bios = bios
        self._host = host
        self._cache = cache
        self._thread = thread
        self._dirty: dict[AddressSpace, None] = {}
        self._places: dict[AddressSpace, tuple[int, int | None]] = {}
        self._anchor_ns = 0
        self._sleeps = False
        self._wake = binder.path("cache.flusher_wake")
        self._write = binder.path("cache.writepages")
        thread.start(self.wb_workfn())

    def open(self, space: AddressSpace, first: int, sectors: int | None) -> None:
        """The file of *space* lies from sector *first* on on the disk and has so many *sectors*."""
        self._places[space] = (first, sectors)

    def inode_dirtied(self, space: AddressSpace) -> None:
        """A clean file has become dirty: it is looked at when it has expired."""
        if space in self._dirty:
            return
        if not self._dirty:
            self._anchor_ns = self._host.now_ns
        self._dirty[space] = None
        if self._sleeps and len(self._dirty) == 1:
            due = self._due_ns()
            if due is not None:
                self._thread.wake_at(due)

    def start_background(self) -> None:
        """There are too many dirty pages (wb_start_background_writeback)."""
        if self._sleeps:
            self._thread.wake()

    def wb_workfn(self) -> Steps[None]:
        """The thread's body: background write-back first, then what has expired, then sleep."""
        while True:
            yield SYNC
            space = self._in_background()
            if space is not None:
                yield from self._write_file(space, background=True)
                continue
            due = self._due_ns()
            if due is not None and due <= self._host.now_ns:
                before = self._host.now_ns - self._cache.config.dirty_expire_interval_ns
                for space in [space for space in self._dirty if space.dirtied_when_ns <= before]:
                    yield from self._write_file(space, background=False)
                self._anchor_ns = self._host.now_ns
                continue
            self._sleeps = True
            yield Block(due, self._woken)

    def _woken(self) -> Path:
        self._sleeps = False
        return self._wake

    def _in_background(self) -> AddressSpace | None:
        """Return the file that is to be written because there are too many dirty pages."""
        if not self._cache.over_background():
            return None
        return next((space for space in self._dirty if space.can_be_written()), None)

    def _due_ns(self) -> int | None:
        """Return when the next periodic look (one per dirty_writeback_interval) finds an expired file."""
        config = self._cache.config
        interval = config.dirty_writeback_interval_ns
        if not interval or not self._dirty:
            return None
        oldest = min(space.dirtied_when_ns for space in self._dirty)
        turns = -(-(oldest + config.dirty_expire_interval_ns - self._anchor_ns) // interval)
        return self._anchor_ns + max(1, turns) * interval

    def _write_file(self, space: AddressSpace, background: bool) -> Steps[None]:
        """writeback_single_inode: one pass over what is dirty now."""
        pages = sorted(space.dirty - space.writeback)
        at = written = 0
        while at < len(pages):
            yield from self.bios.get_request(self._thread, None)
            first, n, at = self._run(space, pages, at)
            if not n:
                self.bios.put_request()
                break
            yield from self._write_run(self._thread, space, first, n, self._thread.own_subject)
            written += n
            if background and written >= CHUNK_PAGES:
                written = 0
                if not self._cache.over_background():
                    return
        self._dirty.pop(space, None)
        if space.dirty:  # what was written again meanwhile
            space.dirtied_when_ns = self._host.now_ns
            self._dirty[space] = None

    def sync(self, thread: HostThread, request: Request, space: AddressSpace) -> Steps[int]:
        """file_write_and_wait_range: *thread* writes all that is dirty and waits for all that is under way.

        Returns the error that write-back met since the last call.
        """
        yield SYNC
        again = space.n_both > 0
        yield from self._submit_all(thread, request, space)
        yield from self._wait(thread, request, space)
        if again:
            yield from self._submit_all(thread, request, space)
            yield from self._wait(thread, request, space)
        if not space.dirty:
            self._dirty.pop(space, None)
        error, space.error = space.error, 0
        return error

    def _submit_all(self, thread: HostThread, request: Request, space: AddressSpace) -> Steps[None]:
        pages = sorted(space.dirty - space.writeback)
        at = 0
        while at < len(pages):
            yield from self.bios.get_request(thread, request)
            first, n, at = self._run(space, pages, at)
            if not n:
                self.bios.put_request()
                break
            yield from self._write_run(thread, space, first, n, request)

    def _run(self, space: AddressSpace, pages: list[int], at: int) -> tuple[int, int, int]:
        """Return (first, number) of the next neighbours in *pages* that are still to be written, and where to go on."""
        while at < len(pages) and (pages[at] not in space.dirty or pages[at] in space.writeback):
            at += 1
        begin = at
        while (
            at < len(pages)
            and at - begin < MAX_RUN_PAGES
            and pages[at] - pages[begin] == at - begin
            and pages[at] in space.dirty
            and pages[at] not in space.writeback
        ):
            at += 1
        return (pages[begin] if at > begin else 0), at - begin, at

    def _write_run(self, thread: HostThread, space: AddressSpace, first: int, n: int, subject: Subject) -> Steps[None]:
        """Put one write together and give it to the disk; nobody waits for it here."""
        writeback = self._cache.begin_writeback(space, first, n)
        yield self._write
        yield SYNC
        begin, limit = self._places[space]
        sectors = n * PAGE_SECTORS
        if limit is not None:
            sectors = min(sectors, limit - first * PAGE_SECTORS)
        disk = self.bios.disk
        job = DiskJob(disk, None, WRITE, disk.place(begin + first * PAGE_SECTORS, sectors), sectors, subject)
        self.bios.submit_bio(job, lambda ret: self._end_io(writeback, ret))

    def _end_io(self, writeback: Writeback, ret: int) -> None:
        """end_page_writeback."""
        self.bios.put_request()
        self._cache.end_writeback(writeback, ret)

    def _wait(self, thread: HostThread, request: Request, space: AddressSpace) -> Steps[None]:
        """filemap_fdatawait_range: the file's writes that are under way now have to end."""
        yield SYNC
        if not space.in_flight:
            return
        wait = WritebackWait(thread, len(space.in_flight))
        for writeback in space.in_flight:
            writeback.waiters.append(wait)
        request.wait_in(Stage.DISK_WAIT, thread.name, "file_write_and_wait_range")
        yield Block()
        request.stop_waiting(self._host.now_ns)
