"""A file of the host as QEMU's workers see it: pread, pwrite, fdatasync of an image in one piece on a disk."""

import errno

from iosim.disk.queue import Disk, DiskJob
from iosim.host import HostThread
from iosim.model.records import FLUSH, READ, WRITE, Request
from iosim.model.steps import SYNC, Binder, Path, Steps

PAGE_SECTORS = 8


class HostFile:
    """An image that begins at sector *first* of *disk*, opened with O_DIRECT. Results are 0 or a negative errno.

    A file that grows has *length* sectors so far, which `Disk.allocate` has granted; a write behind its end takes more
    of the disk, or fails with ENOSPC. None: its room was set aside when it was made (fallocate).
    """

    def __init__(self, binder: Binder, disk: Disk, first: int, length: int | None = None) -> None:
        self.disk = disk
        self.first = first
        self.length = length
        self._binder = binder
        self._fdatasync = binder.path("worker.fdatasync_enter")
        self._return = binder.path("worker.syscall_return")
        self._direct: dict[tuple[str, int], Path] = {}

    def pwrite(self, thread: HostThread, request: Request, sector: int, sectors: int) -> Steps[int]:
        """Write to the disk from the caller's pages."""
        if self.length is not None and sector + sectors > self.length:
            yield SYNC
            if not self._grow(sector + sectors):
                yield self._return
                return -errno.ENOSPC
        return (yield from self._direct_io(thread, request, WRITE, sector, sectors))

    def pread(self, thread: HostThread, request: Request, sector: int, sectors: int) -> Steps[int]:
        """Read from the disk into the caller's pages."""
        return (yield from self._direct_io(thread, request, READ, sector, sectors))

    def fdatasync(self, thread: HostThread, request: Request) -> Steps[int]:
        """Have the disk flush its write cache."""
        yield self._fdatasync
        ret = yield from self.disk.transfer(thread, DiskJob(self.disk, request, FLUSH, self.first, 0))
        yield self._return
        return ret

    def _grow(self, length: int) -> bool:
        """Make the file at least *length* sectors long; False if the disk is full."""
        assert self.length is not None
        if length > self.length:
            if not self.disk.allocate(length - self.length):
                return False
            self.length = length
        return True

    def _direct_io(self, thread: HostThread, request: Request, op: str, sector: int, sectors: int) -> Steps[int]:
        """One page is pinned per 4 KiB, then the disk works."""
        pages = -(-sectors // PAGE_SECTORS)
        key = (op, pages)
        if key not in self._direct:
            name = "worker.pread_enter" if op == READ else "worker.pwrite_enter"
            self._direct[key] = self._binder.path(name, *["worker.page"] * pages)
        yield self._direct[key]
        ret = yield from self.disk.transfer(thread, DiskJob(self.disk, request, op, self.first + sector, sectors))
        yield self._return
        return ret
