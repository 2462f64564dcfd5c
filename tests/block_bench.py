"""A drive's backend by itself: real coroutines, format node, limits, main loop, pool and disk.

Requests are submitted by a thread that takes the BQL for it, as a vCPU does. What the disk served is kept.
"""

from collections.abc import Generator, Sequence
from typing import Any

from iosim.disk import ConstantDisk, Disk, DiskIo, HostFile
from iosim.host import Host, HostThread
from iosim.model.costs import Profile
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Block, Lock, Steps, Unlock
from iosim.qemu.qcow2.files import ImageFiles
from iosim.qemu.qcow2.metadata import Qcow2Image
from iosim.qemu.qcow2.versions import DRIVERS, layout
from iosim.qemu.templates import TemplateRecorder
from iosim.qemu.throttle import ThrottleConfig
from iosim.qemu.versions import VERSIONS
from iosim.qemu.vl import QemuProcess
from tests.support import constant_profile

DISK_NS = 90_000
FLUSH_NS = 500_000
MIB = 2048
"""Sectors."""


class FailingFile(HostFile):
    """A file of which some accesses fail, counted from 0, with an errno each."""

    fails: dict[int, int]
    n_accesses = 0

    def pwrite(self, thread: HostThread, request: Request, sector: int, sectors: int) -> Steps[int]:
        return self._unless_it_fails(super().pwrite(thread, request, sector, sectors))

    def pread(self, thread: HostThread, request: Request, sector: int, sectors: int) -> Steps[int]:
        return self._unless_it_fails(super().pread(thread, request, sector, sectors))

    def fdatasync(self, thread: HostThread, request: Request) -> Steps[int]:
        return self._unless_it_fails(super().fdatasync(thread, request))

    def _unless_it_fails(self, steps: Steps[int]) -> Steps[int]:
        number = self.n_accesses
        self.n_accesses += 1
        ret = yield from steps
        return -self.fails.get(number, -ret)


class NotedDisk(ConstantDisk):
    """A disk of constant times that notes what it serves."""

    def __init__(self) -> None:
        super().__init__(DISK_NS, FLUSH_NS)
        self.served: list[tuple[int, str, int, int]] = []

    def service(self, state: None, io: DiskIo, now_ns: int, draw: int) -> tuple[int, None]:
        self.served.append((now_ns, *io))
        return super().service(state, io, now_ns, draw)


class BlockBench:
    """`done`: (request, ns, result) in the order of completion. `served`: (op, sector, sectors) in that of the disk."""

    def __init__(
        self,
        exact: bool,
        qemu: str,
        profile: Profile | None = None,
        image_sectors: int | None = None,
        cluster: int = 65536,
        lazy: bool = False,
        preallocated: bool = False,
        backing_sectors: int = 0,
        cache: str = "none",
        limits: ThrottleConfig | None = None,
        fails: dict[int, int] | None = None,
    ) -> None:
        self.host = Host(exact=exact)
        binder = Binder(profile or constant_profile(0))
        recorder = TemplateRecorder(binder, VERSIONS[qemu], "6.1")
        self.qemu = QemuProcess(self.host, "vm", binder, VERSIONS[qemu], "6.1", recorder, self._thread)
        self.qemu.kvm_init()
        self.qemu.machine_init(False)
        self.noted = NotedDisk()
        self.disk = Disk(self.host, "sda", self.noted, 8)
        self.image: Qcow2Image | None = None
        if image_sectors is not None:
            driver = DRIVERS[qemu]
            self.image = Qcow2Image(driver, layout(driver, image_sectors, cluster), lazy, preallocated, True)
        file = FailingFile(binder, self.disk, 0)
        file.fails = fails or {}
        base = HostFile(binder, self.disk, 1_000_000_000) if backing_sectors else None
        files = ImageFiles(file, self.image, base, backing_sectors)
        self.backend = self.qemu.blk_new_open("vm/drive0", files, cache, "threads", limits)
        self.requests: list[Request] = []
        self.done: list[tuple[int, int, int]] = []
        self.qemu.start_main_loop()

    def _thread(self, kind: str, number: int) -> HostThread:
        index = 2 if kind == "main" else 10 + number
        return HostThread(self.host, index, kind, Subject(index))

    def run(self, rows: Sequence[tuple[int, str, int, int]]) -> "BlockBench":
        """Submit each (ns, op, sector, sectors) at its time; run until nothing happens any more."""
        thread = HostThread(self.host, 1, "vcpu0", Subject(1))
        thread.start(self._submit(thread, rows))
        self.host.run()
        for request in self.requests:
            request.settle()
        assert sorted(number for number, _, _ in self.done) == list(range(len(rows)))
        for number, now_ns, _ in self.done:
            request = self.requests[number]
            assert sum(request.stages) == now_ns - request.arrival_ns
        for _, held, queue in self.backend.levels():
            assert held.value == queue.value == 0
        return self

    def _submit(self, thread: HostThread, rows: Sequence[tuple[int, str, int, int]]) -> Generator[Any, Any, None]:
        for number, (at, op, sector, sectors) in enumerate(rows):
            if at > self.host.now_ns:
                yield Block(at)
            yield Lock(self.qemu.bql)
            request = Request(number + 100, None, number, op, sector, sectors, self.host.now_ns)
            self.requests.append(request)
            thread.request = thread.owner = request
            thread.subject = request
            yield from self.backend.blk_aio_prwv(thread, request, (op, sector, sectors), self._complete(number))
            yield SYNC
            thread.request = thread.owner = None
            thread.subject = thread.own_subject
            yield Unlock(self.qemu.bql)

    def _complete(self, number: int) -> Any:
        def complete(ret: int) -> Steps[None]:
            yield SYNC
            self.done.append((number, self.host.now_ns, ret))
            self.qemu.main_loop.put_down()

        return complete

    @property
    def served(self) -> list[tuple[str, int, int]]:
        return [(op, sector, sectors) for _, op, sector, sectors in self.noted.served]

    def stage(self, number: int, stage: Stage) -> int:
        """The time of a request in *stage*."""
        return self.requests[number].stages[stage]

    def times(self) -> dict[int, int]:
        """When each request was completed."""
        return {number: now_ns for number, now_ns, _ in self.done}
