"""The qcow2 format node: reads, writes and flushes of the guest as accesses of the image file (block/qcow2.c).

Every access is a job of the file's node, one after the other, on behalf of the request that needs it.
"""

from typing import NamedTuple

from iosim.host import Host, Level
from iosim.model.records import FLUSH, READ, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Steps
from iosim.qemu.block import FormatNode
from iosim.qemu.coroutine import Coroutine
from iosim.qemu.coroutine_lock import CoMutex, CoQueue
from iosim.qemu.file_posix import NODE, FilePosix
from iosim.qemu.qcow2.cache import FileIo, MetaSteps, Qcow2Error, T
from iosim.qemu.qcow2.metadata import Allocation, L2Meta, Qcow2Image
from iosim.qemu.qcow2.versions import MERGED_READ_SECTORS
from iosim.qemu.versions import QemuVersion


class Backing(NamedTuple):
    """What is read where the image has nothing: a node and its size, or none, which ends before the first sector."""

    node: FormatNode | None
    sectors: int


class Qcow2Format:
    """One image over its file.

    The lock is held while metadata is looked at, changed, read and written, and let go during the guest's own data
    and copy on write. A write that overlaps clusters that another one is allocating waits until that is done.
    """

    def __init__(
        self,
        host: Host,
        binder: Binder,
        version: QemuVersion,
        name: str,
        image: Qcow2Image,
        file: FilePosix,
        backing: Backing,
        carrier: str,
    ) -> None:
        self.image = image
        self.file = file
        self.held = Level(host.timeline, f"{name}/qcow2:busy")
        self.queue = Level(host.timeline, f"{name}/qcow2:queue")
        self._driver = image.driver
        self._backing = backing
        self._lock = CoMutex(host, carrier, self._driver.hands_lock_over, self.held, self.queue)
        self._dependents: dict[L2Meta, CoQueue] = {}
        self._host = host
        self._carrier = carrier
        old = version.cpu_io
        read, write = ("bdrv_co_do_readv", "bdrv_co_do_writev") if old else NODE
        self._read_node = binder.path(("qemu.bdrv_co_pwritev", read))
        self._write_node = binder.path(("qemu.bdrv_co_pwritev", write))
        self._flush = binder.path("qemu.bdrv_co_flush")
        look_up = "qcow2_get_cluster_offset" if old else "qcow2_get_host_offset"
        allocate = "qcow2_alloc_cluster_offset" if old else "qcow2_alloc_host_offset"
        self._get_offset = binder.path(("qemu.qcow2_get_host_offset", look_up))
        self._alloc_offset = binder.path(("qemu.qcow2_alloc_host_offset", allocate))
        self._table = binder.path("qemu.qcow2_cache_do_get")
        self._link = binder.path("main_loop.qcow2_link_l2")

    # What the backend calls

    def co_preadv(self, coroutine: Coroutine, request: Request, sector: int, sectors: int) -> Steps[int]:
        """qcow2_co_preadv_part (qcow2_co_readv in 1.6)."""
        yield self._read_node
        return (yield from self._preadv(coroutine, request, sector, sectors))

    def co_pwritev(self, coroutine: Coroutine, request: Request, sector: int, sectors: int) -> Steps[int]:
        """qcow2_co_pwritev_part (qcow2_co_writev in 1.6): part by part, as far as each is contiguous in the file."""
        yield self._write_node
        ret = 0
        yield from self._lock.lock(coroutine, request)
        try:
            while sectors:
                part = yield from self._allocate(coroutine, request, sector, sectors)
                yield from self._write(coroutine, request, part, sector)
                if not self._driver.keeps_lock:
                    yield from self._lock.unlock(coroutine)
                    yield from self._lock.lock(coroutine, request)
                sector += part.sectors
                sectors -= part.sectors
        except Qcow2Error as error:
            ret = error.ret
        yield from self._lock.unlock(coroutine)
        return ret

    def co_flush(self, coroutine: Coroutine, request: Request) -> Steps[int]:
        """bdrv_co_flush: dirty tables are written (qcow2_co_flush_to_os), then the file is flushed."""
        yield self._flush
        ret = 0
        yield from self._lock.lock(coroutine, request)
        try:
            yield from self._locked(coroutine, request, self.image.flush_to_os())
        except Qcow2Error as error:
            ret = error.ret
        yield from self._lock.unlock(coroutine)
        return ret or (yield from self.file.co_flush(coroutine, request))

    def levels(self) -> list[tuple[str, Level, Level]]:
        """The image's lock; what waits for an allocation in flight is counted with what waits for the lock."""
        return [("qcow2", self.held, self.queue)]

    # Reads

    def _preadv(self, coroutine: Coroutine, request: Request, sector: int, sectors: int) -> Steps[int]:
        """What is not allocated reads as zeroes, or from the backing file as far as that reaches."""
        ret = 0
        held = False
        while sectors and not ret:
            if not held:
                yield from self._lock.lock(coroutine, request)
                held = True
            try:
                place, n = yield from self._look_up(coroutine, request, sector, sectors)
            except Qcow2Error as error:
                ret = error.ret
                break
            zeroes = place is None and sector >= self._backing.sectors
            if not (zeroes and self._driver.keeps_lock):
                yield from self._lock.unlock(coroutine)
                held = False
            if not zeroes:
                ret = yield from self._read(coroutine, request, place, sector, n)
                if self._driver.keeps_lock:
                    yield from self._lock.lock(coroutine, request)
                    held = True
            sector += n
            sectors -= n
        if held:
            yield from self._lock.unlock(coroutine)
        return ret

    def _look_up(
        self, coroutine: Coroutine, request: Request, sector: int, sectors: int
    ) -> Steps[tuple[int | None, int]]:
        """qcow2_get_host_offset."""
        yield self._get_offset
        return (yield from self._locked(coroutine, request, self.image.get_host_offset(sector, sectors)))

    def _read(self, coroutine: Coroutine, request: Request, place: int | None, sector: int, n: int) -> Steps[int]:
        if place is not None:
            return (yield from self.file.co_preadv(coroutine, request, place, n))
        node, end = self._backing
        assert node is not None
        return (yield from node.co_preadv(coroutine, request, sector, min(n, end - sector)))

    # Writes

    def _allocate(self, coroutine: Coroutine, request: Request, sector: int, sectors: int) -> Steps[Allocation]:
        """qcow2_alloc_host_offset, once what is in flight at the same place is done."""
        while True:
            yield self._alloc_offset
            part = yield from self._locked(coroutine, request, self.image.alloc_host_offset(sector, sectors))
            if isinstance(part, Allocation):
                return part
            queue = self._dependents.get(part)
            if queue is None:
                queue = self._dependents[part] = CoQueue(self._host, Stage.QEMU_SUBMIT, self._carrier, self.queue)
            yield from self._lock.unlock(coroutine)
            yield from queue.wait(coroutine, request)
            yield from self._lock.lock(coroutine, request)

    def _write(self, coroutine: Coroutine, request: Request, part: Allocation, sector: int) -> Steps[None]:
        """qcow2_co_pwritev_task: the data without the lock, then for each allocation copy on write and the L2 table."""
        waiting = list(part.metas)
        yield from self._lock.unlock(coroutine)
        ret, merged = yield from self._write_data(coroutine, request, part, sector)
        yield from self._lock.lock(coroutine, request)
        try:
            if ret:
                raise Qcow2Error(ret)
            while waiting:
                yield from self._perform_cow(coroutine, request, waiting[0], waiting[0] is merged)
                yield self._link
                yield from self._locked(coroutine, request, self.image.link_l2(waiting[0]))
                yield from self._done(coroutine, waiting.pop(0))
        except Qcow2Error:
            for meta in waiting:
                yield from self._done(coroutine, meta)
            raise

    def _write_data(
        self, coroutine: Coroutine, request: Request, part: Allocation, sector: int
    ) -> Steps[tuple[int, L2Meta | None]]:
        """Write the guest's data, unless that is done together with the copy on write of the returned allocation."""
        if self._driver.zeroes_clusters:
            for meta in part.metas:
                ret = yield from self._handle_alloc_space(coroutine, request, meta)
                if ret:
                    return ret, None
        merged = self._merge_cow(part, sector)
        if merged is not None:
            return 0, merged
        return (yield from self.file.co_pwritev(coroutine, request, part.sector, part.sectors)), None

    def _done(self, coroutine: Coroutine, meta: L2Meta) -> Steps[None]:
        """The allocation is not in flight any more; what waits for it runs when this coroutine yields."""
        yield SYNC
        self.image.in_flight.remove(meta)
        queue = self._dependents.pop(meta, None)
        if queue is not None:
            queue.restart_all(coroutine)

    # Copy on write

    def _merge_cow(self, part: Allocation, sector: int) -> L2Meta | None:
        """merge_cow: the allocation whose head and tail lie right around the data of the whole part."""
        if not self._driver.merges_cow:
            return None
        for meta in part.metas:
            if (meta.head or meta.tail) and not meta.skip_cow and meta.data == part.sectors:
                assert meta.cluster * self.image.layout.cluster_sectors + meta.head == sector
                return meta
        return None

    def _handle_alloc_space(self, coroutine: Coroutine, request: Request, meta: L2Meta) -> Steps[int]:
        """handle_alloc_space: zero the new clusters at once if head and tail read as zeroes, so nothing is copied."""
        size = self.image.layout.cluster_sectors
        begin = meta.cluster * size
        for sector, n in ((begin, meta.head), (begin + meta.head + meta.data, meta.tail)):
            if n and not (yield from self._is_zero(coroutine, request, sector, n)):
                return 0
        if not (meta.head or meta.tail):
            return 0
        ret = yield from self.file.co_pwrite_zeroes(
            coroutine, request, meta.file_cluster * size, meta.n_clusters * size
        )
        meta.skip_cow = not ret
        return ret

    def _is_zero(self, coroutine: Coroutine, request: Request, sector: int, n: int) -> Steps[bool]:
        """bdrv_co_is_zero_fast: nothing is allocated, and the backing file ends before."""
        yield from self._lock.lock(coroutine, request)
        try:
            place, length = yield from self._look_up(coroutine, request, sector, n)
        except Qcow2Error:
            place, length = None, 0
        yield from self._lock.unlock(coroutine)
        return place is None and length == n and sector >= self._backing.sectors

    def _perform_cow(self, coroutine: Coroutine, request: Request, meta: L2Meta, merged: bool) -> Steps[None]:
        """perform_cow: fill head and tail of the new clusters, without the lock; the L2 table then needs a flush."""
        if meta.skip_cow:
            return
        begin = meta.cluster * self.image.layout.cluster_sectors
        regions = [(sector, n) for sector, n in ((begin, meta.head), (begin + meta.head + meta.data, meta.tail)) if n]
        for sector, n in regions[:1] if self._driver.merges_cow else regions:
            yield from self._lock.unlock(coroutine)
            if self._driver.merges_cow:
                ret = yield from self._copy_around(coroutine, request, meta, merged)
            else:
                ret = yield from self._copy_sectors(coroutine, request, meta, sector, n)
            yield from self._lock.lock(coroutine, request)
            if ret:
                raise Qcow2Error(ret)
            self.image.l2_cache.depends_on_flush = True

    def _copy_sectors(self, coroutine: Coroutine, request: Request, meta: L2Meta, sector: int, n: int) -> Steps[int]:
        """copy_sectors (1.6): read one region as the guest would, write it to the new cluster."""
        n = min(n, self.image.layout.sectors - sector)
        if n <= 0:
            return 0
        ret = yield from self._preadv(coroutine, request, sector, n)
        return ret or (yield from self.file.co_pwritev(coroutine, request, self._new_place(meta, sector), n))

    def _copy_around(self, coroutine: Coroutine, request: Request, meta: L2Meta, merged: bool) -> Steps[int]:
        """Head and tail (7.2): read at once if little lies between them, written at once if *merged* with the data."""
        begin = meta.cluster * self.image.layout.cluster_sectors
        regions = [(begin, meta.head), (begin + meta.head + meta.data, meta.tail)]
        whole = [(begin, meta.head + meta.data + meta.tail)]
        close = meta.head and meta.tail and meta.data <= MERGED_READ_SECTORS
        ret = 0
        for sector, n in whole if close else regions:
            if n and not ret:
                ret = yield from self._preadv(coroutine, request, sector, n)
        for sector, n in whole if merged else regions:
            if n and not ret:
                ret = yield from self.file.co_pwritev(coroutine, request, self._new_place(meta, sector), n)
        return ret

    def _new_place(self, meta: L2Meta, sector: int) -> int:
        """Return where *sector* of the guest lies in the new clusters."""
        return sector + (meta.file_cluster - meta.cluster) * self.image.layout.cluster_sectors

    # The file

    def _locked(self, coroutine: Coroutine, request: Request, steps: MetaSteps[T]) -> Steps[T]:
        """Do the accesses of *steps*, with the lock held."""
        try:
            access = next(steps)
            while True:
                ret = yield from self._access(coroutine, request, access)
                access = steps.throw(Qcow2Error(ret)) if ret else next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _access(self, coroutine: Coroutine, request: Request, access: FileIo) -> Steps[int]:
        if access.op == FLUSH:
            yield self._flush
            return (yield from self.file.co_flush(coroutine, request))
        yield self._table
        if access.op == READ:
            return (yield from self.file.co_preadv(coroutine, request, access.sector, access.sectors))
        return (yield from self.file.co_pwritev(coroutine, request, access.sector, access.sectors))
