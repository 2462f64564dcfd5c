"""Operations that no thread waits for: submit_bio, and bio_endio when the disk has done them.

Native and io_uring requests, and the write-back of dirty pages, go to the disk this way.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from iosim.disk.queue import Disk, DiskJob
from iosim.host import Host, HostThread
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Block, Steps

NR_REQUESTS = 128
"""BLKDEV_MAX_RQ: how many write-back requests a disk's queue takes before who submits more has to wait."""

EndIo: TypeAlias = Callable[[int], None]
"""bio_end_io: called at the instant at which the disk is done, with 0 or a negative errno."""


class BioQueue:
    """The asynchronous entrance of *disk*: one context per operation under way, all with the thread number *number*."""

    def __init__(self, host: Host, disk: Disk, number: int) -> None:
        self.disk = disk
        self.n_writeback = 0
        self._host = host
        self._number = number
        self._submitted: deque[tuple[DiskJob, EndIo]] = deque()
        self._idle: list[HostThread] = []
        self._waiting: deque[tuple[HostThread, Request | None]] = deque()

    def submit_bio(self, job: DiskJob, end_io: EndIo) -> None:
        """Give *job* to the disk; its request waits for it without a thread."""
        job.wait_in(Stage.DISK_WAIT, f"disk {self.disk.name}")
        self._submitted.append((job, end_io))
        if self._idle:
            self._idle.pop().wake()
            return
        thread = HostThread(self._host, self._number, f"bio {self.disk.name}", Subject(0), uses_cpu=False)
        thread.start(self._carry(thread))

    def get_request(self, thread: HostThread, request: Request | None) -> Steps[None]:
        """Count one more write-back request; *thread* waits while there are `NR_REQUESTS` of them."""
        yield SYNC
        if self.n_writeback < NR_REQUESTS:
            self.n_writeback += 1
            return
        self._waiting.append((thread, request))
        if request is not None:
            request.wait_in(Stage.DISK_WAIT, thread.name)
        yield Block()
        if request is not None:
            request.stop_waiting(self._host.now_ns)

    def put_request(self) -> None:
        """One write-back request is done: its place goes to whoever waits first."""
        if self._waiting:
            self._waiting.popleft()[0].wake()
        else:
            self.n_writeback -= 1

    def _carry(self, thread: HostThread) -> Steps[None]:
        """Carry one operation after the other; it costs no CPU time."""
        idle = Block()
        while True:
            job, end_io = self._submitted.popleft()
            ret = yield from self.disk.transfer(thread, job)
            self._idle.append(thread)
            end_io(ret)
            yield idle
