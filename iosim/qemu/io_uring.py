"""aio=io_uring: requests are submitted by io_uring_enter (block/io_uring.c, QEMU 5.0 and later)."""

from collections.abc import Sequence

from iosim.disk.file import BufferedFile, pages
from iosim.host import HostThread, IoWq, Work
from iosim.model.records import FLUSH, READ, WRITE
from iosim.model.steps import Binder, Path, Steps
from iosim.qemu.linux_aio import Aiocb, LinuxAio
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.versions import QemuVersion

MAX_ENTRIES = 128
"""Entries of the submission queue of a ring: how many one io_uring_enter takes."""


UNLIMITED = (1 << 62) - 1


class IoUring(LinuxAio):
    """LuringState: io_uring_enter takes up to 128 entries; nothing limits how many are in flight.

    With O_DIRECT reads and writes go to the disk at once. A flush, a buffered write, and a buffered read that misses
    the page cache are left to a kernel worker; a read that hits is complete when io_uring_enter returns.
    """

    prepare, enter, back = "qemu.luring_do_submit", "qemu.io_uring_enter", "qemu.io_uring_return"
    completion = "main_loop.luring_completion"

    def __init__(self, binder: Binder, version: QemuVersion, main_loop: MainLoop, io_wq: IoWq) -> None:
        super().__init__(binder, version, main_loop)
        self._batch = MAX_ENTRIES
        self._max_events = UNLIMITED
        self._io_wq = io_wq
        self._hits: set[Aiocb] = set()

    def _is_batch(self) -> bool:
        """Whether the ring is full (luring_do_submit)."""
        return self.in_flight + len(self.pending) >= MAX_ENTRIES

    def _seen(self) -> None:
        """The ring itself is the file descriptor: readable while there are completions in it."""
        if not self._completed:
            self._main_loop.event_notifier_clear(self.process_completions)

    def _entering(self, batch: Sequence[Aiocb]) -> Path:
        pinned = copied = 0
        for aiocb in batch:
            if not isinstance(aiocb.file, BufferedFile):
                pinned += pages(aiocb.sectors)
            elif aiocb.op == READ and aiocb.file.read_hits(aiocb.sector, aiocb.sectors):
                self._hits.add(aiocb)
                copied += pages(aiocb.sectors)
        return self._enter_path(pinned, copied)

    def _start(self, aiocb: Aiocb) -> None:
        request, file = aiocb.request, aiocb.file
        if aiocb in self._hits:
            self._hits.remove(aiocb)
            self._complete(aiocb, 0)
            return
        buffered = isinstance(file, BufferedFile)
        if aiocb.op != FLUSH and not buffered:
            super()._start(aiocb)
            return

        def func(thread: HostThread) -> Steps[int]:
            if aiocb.op == FLUSH:
                return (yield from file.fdatasync(thread, request))
            call = file.pwrite if aiocb.op == WRITE else file.pread
            return (yield from call(thread, request, aiocb.sector, aiocb.sectors))

        serial = file if aiocb.op == WRITE else None
        self._io_wq.io_wq_enqueue(Work(request, func, lambda ret: self._complete(aiocb, ret), serial))
