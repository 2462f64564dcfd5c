"""A file of the host as QEMU's workers see it: pread, pwrite, fdatasync of an image in one piece on a disk."""

from iosim.disk.queue import Disk, DiskJob
from iosim.host import HostThread
from iosim.model.records import FLUSH, READ, WRITE, Request
from iosim.model.steps import Binder, Path, Steps

PAGE_SECTORS = 8


class HostFile:
    """An image that begins at sector *first* of *disk*, opened with O_DIRECT. Results are 0 or a negative errno."""

    def __init__(self, binder: Binder, disk: Disk, first: int) -> None:
        self.disk = disk
        self.first = first
        self._binder = binder
        self._fdatasync = binder.path("worker.fdatasync_enter")
        self._return = binder.path("worker.syscall_return")
        self._direct: dict[tuple[str, int], Path] = {}

    def pwrite(self, thread: HostThread, request: Request, sector: int, sectors: int) -> Steps[int]:
        """Write to the disk from the caller's pages."""
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
