"""A disk of the host: first come, first served in front of a service model with a number of servers."""

from collections import deque
from functools import partial

from iosim.disk.model import DiskIo, DiskModel
from iosim.host import Host, HostThread, Level
from iosim.model import draws
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Block, Steps


class DiskJob:
    """One operation on its way to a disk, on behalf of a request of a guest, or of nobody's (write-back).

    *subject* draws the service time; `ret` is 0 or a negative errno once it is served.
    """

    __slots__ = ("disk", "op", "request", "ret", "sector", "sectors", "subject")

    def __init__(
        self, disk: "Disk", request: Request | None, op: str, sector: int, sectors: int, subject: Subject | None = None
    ) -> None:
        self.disk = disk
        self.request = request
        self.op = op
        self.sector = sector
        self.sectors = sectors
        self.subject = subject or request
        self.ret = 0

    def wait_in(self, stage: Stage, carrier: str) -> None:
        """The request, if there is one, waits for the disk."""
        if self.request is not None:
            self.request.wait_in(stage, carrier)

    def stop_waiting(self, now_ns: int) -> None:
        """That wait is over."""
        if self.request is not None:
            self.request.stop_waiting(now_ns)


class Disk:
    """Serves up to *servers* operations at once; the rest waits in order of arrival. Shared by all VMs."""

    def __init__(self, host: Host, name: str, model: DiskModel, servers: int) -> None:
        self.name = name
        self.servers = servers
        self.model = model
        self._host = host
        self._state = model.initial()
        self._waiting: deque[tuple[HostThread, DiskJob]] = deque()
        self._n_busy = 0
        self._what = draws.name_hash(f"disk.{name}")
        self.busy = Level(host.timeline, f"disk {name}:busy")
        self.queue = Level(host.timeline, f"disk {name}:queue")

    def transfer(self, thread: HostThread, job: DiskJob) -> Steps[int]:
        """Have *job* served while *thread* waits for it (disk_wait, then disk_service); return its `ret`."""
        yield SYNC
        done = partial(self._done, job)
        if self._n_busy < self.servers:
            yield Block(self._begin(job), done)
        else:
            self._waiting.append((thread, job))
            self.queue.set(self._host.now_ns, len(self._waiting))
            job.wait_in(Stage.DISK_WAIT, thread.name)
            yield Block(then=done)
        return job.ret

    def _done(self, job: DiskJob) -> None:
        """*job* has been served, whether or not its thread has a CPU to go on: the next one begins."""
        host = self._host
        job.stop_waiting(host.now_ns)
        self._n_busy -= 1
        if self._waiting:
            heir, next_job = self._waiting.popleft()
            self.queue.set(host.now_ns, len(self._waiting))
            next_job.stop_waiting(host.now_ns)
            heir.wake_at(self._begin(next_job))
        else:
            self.busy.set(host.now_ns, self._n_busy)

    def _begin(self, job: DiskJob) -> int:
        """Begin to serve *job*; return when it will be done."""
        now = self._host.now_ns
        self._n_busy += 1
        self.busy.set(now, self._n_busy)
        job.wait_in(Stage.DISK_SERVICE, f"disk {self.name}")
        number = 0
        if self.model.draws:
            assert job.subject is not None
            number = draws.draw(job.subject.identity, self._what, job.subject.take(self._what))
        service_ns, self._state = self.model.service(self._state, DiskIo(job.op, job.sector, job.sectors), now, number)
        return now + service_ns
