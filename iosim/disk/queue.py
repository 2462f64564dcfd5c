"""A disk of the host: an I/O scheduler in front of a device that holds some operations and serves some of them."""

from collections import deque
from functools import partial
from typing import Any

from iosim.disk.fault import Fault, Faults
from iosim.disk.flash import FlashUnit
from iosim.disk.model import DiskIo, DiskModel
from iosim.disk.scheduler import Fifo, Scheduler, Waiting
from iosim.disk.ssd import Ssd
from iosim.disk.window import WindowedDisk
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
    """Serves up to *servers* operations at once. Shared by all VMs.

    The device holds up to *queue_depth* operations, those in service included, and takes them up in the order in which
    it got them. What comes beyond that waits in the *scheduler*, which says what the device gets next. *sectors*: how
    many it has, None for as many as the images need; `used_sectors` are those that files have taken.
    """

    def __init__(
        self,
        host: Host,
        name: str,
        model: DiskModel,
        servers: int,
        scheduler: Scheduler | None = None,
        queue_depth: int | None = None,
        sectors: int | None = None,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        self.name = name
        self.sectors = sectors
        self.used_sectors = 0
        self._faults = Faults(name, faults) if faults else None
        self.servers = servers
        self.model = model
        self._host = host
        self._state = model.initial()
        self._scheduler = scheduler or Fifo()
        self._sorts = not isinstance(self._scheduler, Fifo)
        self._room = (queue_depth or servers) - servers
        self._device: deque[Waiting] = deque()
        self._n_waiting = 0
        self._n_arrived = 0
        self._n_busy = 0
        self._what = draws.name_hash(f"disk.{name}")
        self._place = draws.place(self._what)
        self._carrier = f"disk {name}"
        self.busy = Level(host.timeline, f"disk {name}:busy")
        self.queue = Level(host.timeline, f"disk {name}:queue")

    def allocate(self, sectors: int) -> bool:
        """A file takes *sectors* more of the disk; False, and nothing is taken, if it does not have them."""
        if self.sectors is not None and self.used_sectors + sectors > self.sectors:
            return False
        self.used_sectors += sectors
        return True

    def place(self, sector: int, sectors: int) -> int:
        """Return where a file's sectors are: the room of files that grow may reach beyond the end, and begins anew."""
        if self.sectors is None or sector + sectors <= self.sectors:
            return sector
        return sector % (self.sectors - sectors + 1)

    def wear(self) -> dict[str, int] | None:
        """Return what garbage collection has cost a solid-state disk, None for other disks."""
        model = self.model.model if isinstance(self.model, WindowedDisk) else self.model
        return model.wear(self._state) if isinstance(model, Ssd) else None

    def flash(self) -> list[FlashUnit]:
        """Return the units of a solid-state disk that keeps a map of its pages."""
        model = self.model.model if isinstance(self.model, WindowedDisk) else self.model
        return self._state.memory.flash if isinstance(model, Ssd) else []

    def transfer(self, thread: HostThread, job: DiskJob) -> Steps[int]:
        """Have *job* served while *thread* waits for it (disk_wait, then disk_service); return its `ret`."""
        yield SYNC
        done = partial(self._done, job)
        if self._n_busy < self.servers:
            if self._sorts:
                self._scheduler.add(Waiting(thread, job, self._n_arrived), self._host.now_ns)
                self._n_arrived += 1
                self._scheduler.next(self._host.now_ns)
            yield Block(self._begin(job), done)
        else:
            self._wait(Waiting(thread, job, self._n_arrived))
            job.wait_in(Stage.DISK_WAIT, thread.name)
            yield Block(then=done)
        return job.ret

    def _done(self, job: DiskJob) -> None:
        """*job* has been served, whether or not its thread has a CPU to go on: the next one begins."""
        host = self._host
        job.stop_waiting(host.now_ns)
        self._n_busy -= 1
        heir = self._next()
        if heir is None:
            self.busy.set(host.now_ns, self._n_busy)
        else:
            heir.job.stop_waiting(host.now_ns)
            heir.thread.wake_at(self._begin(heir.job))

    def _wait(self, entry: Waiting) -> None:
        """All servers are busy: *entry* goes to the scheduler, and on into the device if that has room."""
        now = self._host.now_ns
        self._n_arrived += 1
        self._scheduler.add(entry, now)
        if len(self._device) < self._room:
            self._fill()
        self._n_waiting += 1
        self.queue.set(now, self._n_waiting)

    def _next(self) -> Waiting | None:
        """A server is free: return what it serves next; the scheduler fills the place in the device."""
        if not self._n_waiting:
            return None
        now = self._host.now_ns
        if self._device:
            heir: Waiting | None = self._device.popleft()
            self._fill()
        else:
            heir = self._scheduler.next(now)
        self._n_waiting -= 1
        self.queue.set(now, self._n_waiting)
        return heir

    def _fill(self) -> None:
        """The device has room for one more operation."""
        following = self._scheduler.next(self._host.now_ns)
        if following is not None:
            self._device.append(following)

    def _begin(self, job: DiskJob) -> int:
        """Begin to serve *job*; return when it will be done."""
        now = self._host.now_ns
        self._n_busy += 1
        self.busy.set(now, self._n_busy)
        job.wait_in(Stage.DISK_SERVICE, self._carrier)
        if self._faults is not None:
            job.ret = self._faults.ret(job, now)
        number = 0
        if self.model.draws:
            assert job.subject is not None
            number = draws.draw(job.subject.identity, self._what, job.subject.take(self._place)) >> 32
        io = DiskIo(job.op, job.sector, job.sectors)
        served: tuple[int, Any] = self.model.service(self._state, io, now, number)
        service_ns, self._state = served
        return now + service_ns
