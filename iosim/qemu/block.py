"""The block layer: blk_aio_prwv, coroutines, and the format node on top of the protocol node.

The coroutine runs in the submitting thread, under the BQL, up to its first yield, and goes on in the main loop when
its job is done. (bdrv_aio_writev, bdrv_co_do_rw, bdrv_co_do_writev in 1.6; blk_aio_pwritev, blk_aio_write_entry,
bdrv_co_pwritev_part in 7.2; docs/path.md has the pairs.) Results are 0 or a negative errno.
"""

import errno
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Protocol, TypeAlias

from iosim.host import HostThread, Level
from iosim.model.records import FLUSH, READ, WRITE, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Steps
from iosim.qemu.coroutine import Coroutine
from iosim.qemu.file_posix import NODE, FilePosix
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.throttle import Throttle
from iosim.qemu.versions import QemuVersion

CompletionFunc: TypeAlias = Callable[[int], Steps[None]]
"""BlockCompletionFunc: the device's callback with the result, run by the main loop."""


class BlockErrorAction(Enum):
    """What a device does about an error; the values are the names in the table of events."""

    REPORT = "error-reported"
    IGNORE = "error-ignored"
    STOP = "error-stopped"


POLICIES = {
    "report": BlockErrorAction.REPORT,
    "ignore": BlockErrorAction.IGNORE,
    "stop": BlockErrorAction.STOP,
}
"""BlockdevOnError; enospc is one of these, depending on the error."""


class FormatNode(Protocol):
    """The node of an image format, over a `FilePosix`."""

    file: FilePosix

    def co_pwritev(self, coroutine: Coroutine, request: Request, sector: int, sectors: int) -> Steps[int]:
        """Write."""

    def co_preadv(self, coroutine: Coroutine, request: Request, sector: int, sectors: int) -> Steps[int]:
        """Read."""

    def co_flush(self, coroutine: Coroutine, request: Request) -> Steps[int]:
        """Make everything written so far durable."""

    def levels(self) -> list[tuple[str, Level, Level]]:
        """Return (name, busy, waiting) of what requests may wait for in this node."""


class RawFormat:
    """The raw format: every call is passed down."""

    def __init__(self, binder: Binder, version: QemuVersion, file: FilePosix) -> None:
        self.file = file
        read, write = ("bdrv_co_do_readv", "bdrv_co_do_writev") if version.cpu_io else NODE
        self._read = binder.path(("qemu.bdrv_co_pwritev", read))
        self._write = binder.path(("qemu.bdrv_co_pwritev", write))
        self._flush = binder.path("qemu.bdrv_co_flush")

    def co_pwritev(self, coroutine: Coroutine, request: Request, sector: int, sectors: int) -> Steps[int]:
        """raw_co_pwritev (raw_co_writev in 1.6)."""
        yield self._write
        return (yield from self.file.co_pwritev(coroutine, request, sector, sectors))

    def co_preadv(self, coroutine: Coroutine, request: Request, sector: int, sectors: int) -> Steps[int]:
        """raw_co_preadv (raw_co_readv in 1.6)."""
        yield self._read
        return (yield from self.file.co_preadv(coroutine, request, sector, sectors))

    def co_flush(self, coroutine: Coroutine, request: Request) -> Steps[int]:
        """bdrv_co_flush: nothing of its own to write."""
        yield self._flush
        return (yield from self.file.co_flush(coroutine, request))

    @staticmethod
    def levels() -> list[tuple[str, Level, Level]]:
        """Nothing holds a request back here."""
        return []


class BlockBackend:
    """One drive's backend over its format node.

    Without a write cache (cache=writethrough, directsync) each write is followed by a flush before it is done.
    `in_flight` counts what has been submitted and not completed; *drained* is called when that has come to nothing.
    """

    def __init__(self, binder: Binder, version: QemuVersion, main_loop: MainLoop, node: FormatNode, cache: str) -> None:
        self.node = node
        self.in_flight = 0
        self.drained: Callable[[], None] = lambda: None
        self._on_error = ("report", "enospc")
        self.throttle: Throttle | None = None
        self._version = version
        self._main_loop = main_loop
        self._writethrough = cache in ("writethrough", "directsync")
        old = {READ: "bdrv_aio_readv", WRITE: "bdrv_aio_writev", FLUSH: "bdrv_aio_flush"}
        self._accept = {
            op: binder.path(("qemu.blk_aio_prwv", name if version.cpu_io else "blk_aio_prwv"), "qemu.coroutine_create")
            for op, name in old.items()
        }
        self._return = binder.path("qemu.submit_return")
        em_bh = "bdrv_co_em_bh" if version.cpu_io else "blk_aio_complete_bh"
        self._em_bh = binder.path(("main_loop.bdrv_co_em_bh", em_bh))

    def blk_set_on_error(self, rerror: str, werror: str) -> None:
        """Set the policies for errors of reads, and of writes and flushes."""
        self._on_error = (rerror, werror)

    def blk_get_error_action(self, is_read: bool, error: int) -> BlockErrorAction:
        """What the policy says; enospc stops on ENOSPC and reports everything else."""
        policy = self._on_error[0 if is_read else 1]
        if policy == "enospc":
            policy = "stop" if error == errno.ENOSPC else "report"
        return POLICIES[policy]

    def levels(self) -> list[tuple[str, Level, Level]]:
        """Return (name, busy, waiting) of what requests of this drive may wait for."""
        found = list(self.node.levels())
        if self.throttle is not None:
            found.append(("throttle", self.throttle.held, self.throttle.queue))
        return found

    def blk_inc_in_flight(self) -> None:
        """A reset has to wait for something more."""
        self.in_flight += 1

    def blk_dec_in_flight(self) -> None:
        """That is over."""
        self.in_flight -= 1
        if not self.in_flight:
            self.drained()

    def blk_aio_prwv(
        self, thread: HostThread, request: Request, io: tuple[str, int, int], complete: CompletionFunc
    ) -> Steps[None]:
        """Behind a SYNC: submit *io* (op, sector, sectors) for *request*; *complete* is called with the result.

        Comes back when the coroutine has yielded for the first time; the thread then carries nothing any more.
        """
        self.blk_inc_in_flight()
        yield self._accept[io[0]]
        acb = BlkAioEmAIOCB(complete)
        coroutine = Coroutine()
        coroutine.create(self._aio_entry(coroutine, request, io, acb))
        yield from coroutine.enter(thread)
        acb.has_returned = True
        if acb.ret is not None and not self._version.completion_bottom_half:
            yield SYNC
            thread.request = None
            request.wait_in(Stage.COMPLETION_WAIT, "main")
            self._main_loop.qemu_bh_schedule(partial(self._bdrv_co_em_bh, request, acb), request)
        yield self._return

    def _aio_entry(
        self, coroutine: Coroutine, request: Request, io: tuple[str, int, int], acb: "BlkAioEmAIOCB"
    ) -> Steps[None]:
        """blk_aio_write_entry, blk_aio_read_entry, blk_aio_flush_entry (bdrv_co_do_rw in 1.6)."""
        op, sector, sectors = io
        if op == FLUSH:
            acb.ret = yield from self.node.co_flush(coroutine, request)
        else:
            acb.ret = yield from self._rw(coroutine, request, op, sector, sectors)
        if self._version.completion_bottom_half:
            yield SYNC
            assert coroutine.thread is not None
            coroutine.thread.request = None
            if acb.has_returned:
                request.wait_in(Stage.COMPLETION, "main", "qemu_bh_schedule")
            else:
                request.wait_in(Stage.COMPLETION_WAIT, "main")
            self._main_loop.qemu_bh_schedule(partial(self._bdrv_co_em_bh, request, acb), request)
        elif acb.has_returned:
            yield from self._complete(acb)

    def _rw(self, coroutine: Coroutine, request: Request, op: str, sector: int, sectors: int) -> Steps[int]:
        """blk_co_do_pwritev, blk_co_do_preadv: held back by the limits of the drive, then passed to the node."""
        if self.throttle is not None:
            yield from self.throttle.intercept(coroutine, request, op, sectors)
        if op != WRITE:
            return (yield from self.node.co_preadv(coroutine, request, sector, sectors))
        ret = yield from self.node.co_pwritev(coroutine, request, sector, sectors)
        if self._writethrough and not ret:
            ret = yield from self.node.co_flush(coroutine, request)
        return ret

    def _bdrv_co_em_bh(self, request: Request, acb: "BlkAioEmAIOCB") -> Steps[None]:
        """bdrv_co_em_bh (1.6), blk_aio_complete_bh (7.2, only if the request ended within its submission)."""
        self._main_loop.carry(request)
        yield self._em_bh
        yield from self._complete(acb)
        self._main_loop.put_down()

    def _complete(self, acb: "BlkAioEmAIOCB") -> Steps[None]:
        """blk_aio_complete: the device's callback, then blk_dec_in_flight."""
        assert acb.ret is not None
        yield from acb.complete(acb.ret)
        yield SYNC
        self.blk_dec_in_flight()


class BlkAioEmAIOCB:
    """One submission: who is told, the result once it is known, and whether blk_aio_prwv has returned."""

    __slots__ = ("complete", "has_returned", "ret")

    def __init__(self, complete: CompletionFunc) -> None:
        self.complete = complete
        self.ret: int | None = None
        self.has_returned = False
