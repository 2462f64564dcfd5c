"""Wiring: what a scenario describes, built from the parts of the model. No behaviour of its own.

Threads are numbered for the order of simultaneous events: 0 the end of the run, 1 the end of the warm-up, for the disk
number d 16 + d its flusher and 1024 + d what it has under way without a thread, and for the VM number v, from
4096 x (v + 1) on: its arrival streams, its scheduled events, its background exits (64), its vCPUs (128), its main loop
(192), its iothreads (193), its workers (256, 64 for each pool), its guest's load (1400), the kernel's
workers of its io_urings (2048, 64 for each). The scheduler comes last.
"""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from itertools import product
from pathlib import Path as FilePath

from iosim.disk import Disk, HostFile, HostFiles, PageCacheConfig, build_disk
from iosim.guest.access import AccessBinder
from iosim.guest.bare import Bare
from iosim.guest.cpu import GuestCpu
from iosim.guest.kernel import ChannelQueue, Drive, Driver, Guest, GuestKernel
from iosim.guest.libata import Libata
from iosim.guest.load import GuestLoad
from iosim.guest.replay import PortReplay, ReplayedDrive
from iosim.guest.replayed_access import AccessCosts
from iosim.guest.virtio_blk import PAGE_SECTORS, HwQueues, Transport, VirtioBlk, VirtioDrive
from iosim.host import Cpus, Host, HostThread, Level
from iosim.kvm import EXIT_TABLE, Exit, ExitReason, KvmExit, PortLog, Vcpu
from iosim.kvm.irqchip import N_LINES
from iosim.kvm.irqfd import IntxLine, IrqFd
from iosim.lifecycle import Lifecycle, RequestAccount
from iosim.model import draws
from iosim.model.ata import Transfer, channel_ports
from iosim.model.clones import DriveKey, disk_names, disks_of_drives, vm_names
from iosim.model.costs import Cost, Profile, exponential
from iosim.model.errors import ScenarioError
from iosim.model.records import Request
from iosim.model.scenario import (
    MAX_VCPUS,
    VIRTQUEUE_SIZE,
    BackgroundTable,
    DriveTable,
    PageCacheTable,
    Scenario,
    ThrottlingTable,
    VmTable,
)
from iosim.model.steps import Binder, Block, Mode, Steps
from iosim.model.trace import AnyTrace
from iosim.model.units import SECTOR_BYTES, exact_size
from iosim.model.virtio import Vring
from iosim.port_feed import PortFeed
from iosim.qemu.block import BlockBackend
from iosim.qemu.ide import DISABLE_IRQ
from iosim.qemu.qcow2.files import ImageFiles
from iosim.qemu.qcow2.metadata import Qcow2Image
from iosim.qemu.qcow2.versions import DRIVERS, MAX_L2_TABLES, layout
from iosim.qemu.templates import TemplateRecorder
from iosim.qemu.thread_pool import MAX_THREADS
from iosim.qemu.throttle import READ_SIDE, TOTAL, WRITE_SIDE, Limit, ThrottleConfig
from iosim.qemu.versions import VERSIONS
from iosim.qemu.virtio_blk import VirtIOBlkConf
from iosim.qemu.vl import QemuProcess

END_THREAD, WARMUP_THREAD = 0, 1
_THREADS_PER_VM = 4096
_ARRIVALS, _EVENTS, _BACKGROUND, _VCPU, _MAIN, _IOTHREADS = 0, 32, 64, 128, 192, 193
_WORKERS, _LOAD, _IO_WQ = 256, 1400, 2048

_MSI_GSI, _INTX_GSI = N_LINES, 32
"""GSIs of the virtio devices' interrupts, by the number of the drive; what real machines assign makes no difference."""
_LEGACY_BAR, _MODERN_BAR = (0xC000, 16, 19), (0xFE00_0000, 0x300, 0x100)
"""A virtio device's registers: base of the drives' BARs, doorbell and ISR status in it. Legacy ones are ports
(VIRTIO_PCI_QUEUE_NOTIFY, VIRTIO_PCI_ISR)."""
_LEGACY_BAR_BYTES, _MODERN_BAR_BYTES = 0x400, 0x1000


def phase_ns(seed: int, vm: str, longest_ns: int) -> int:
    """Return by how much the traces of *vm* start later: a draw from 0 to *longest_ns*, each with the same chance."""
    number = draws.draw(draws.source(seed, vm, "phase"), draws.name_hash("phase"), 0)
    return number * (longest_ns + 1) >> 64


class ChannelLevels:
    """How many requests wait for each channel of a VM, and whether the channel is busy."""

    def __init__(self, host: Host, vm: str) -> None:
        self._busy: list[Level] = [Level(host.timeline, f"{vm}/channel{n}:busy") for n in (0, 1)]
        self._queue: list[Level] = [Level(host.timeline, f"{vm}/channel{n}:queue") for n in (0, 1)]

    def busy(self, channel: int) -> Level:
        """Return the level that is 1 while the channel works on a command."""
        return self._busy[channel]

    def queue(self, channel: int) -> Level:
        """Return the number of requests that wait for the channel."""
        return self._queue[channel]


class VirtualMachine:
    """One VM: a QEMU process, its guest, and the streams of requests and events that come to it."""

    def __init__(
        self,
        host: Host,
        scenario: Scenario,
        table: VmTable,
        clone: int,
        number: int,
        binder: Binder,
        recorder: TemplateRecorder,
        disks: dict[str, Disk],
        placement: dict[DriveKey, str],
        files: HostFiles,
        traces: list[AnyTrace],
        images: dict[str, int],
        account: "RequestAccount",
    ) -> None:
        self.name = vm_names(table)[clone]
        self.host = host
        self.threads: list[HostThread] = []
        self.seed: draws.Number64 = scenario.run.seed
        self._base = _THREADS_PER_VM * (number + 1)
        self.log = PortLog() if scenario.run.log == "ports" else None
        self.levels = ChannelLevels(host, self.name)
        self.vcpu_levels = [Level(host.timeline, f"{self.name}/vcpu{k}:busy") for k in range(table.vcpus)]
        self.steal_levels = [
            None if host.cpus is None else Level(host.timeline, f"{self.name}/vcpu{k}:queue")
            for k in range(table.vcpus)
        ]
        self.main_level = Level(host.timeline, f"{self.name}/main:busy")

        self._cpus = None if table.cpus is None else frozenset(table.cpus)

        self.guest_cpus = [
            GuestCpu(
                self._thread(f"vcpu{k}", _VCPU + k, self.vcpu_levels[k], self.steal_levels[k]),
                None if host.exact else recorder,
            )
            for k in range(table.vcpus)
        ]
        self.qemu = QemuProcess(
            host, self.name, binder, VERSIONS[table.qemu], table.kernel, recorder, self._qemu_thread
        )
        self.qemu.kvm_init()
        self.qemu.machine_init(table.win2k_install_hack)
        self.guest = Guest(self.levels)
        for guest_cpu in self.guest_cpus:
            GuestKernel(guest_cpu, binder, table.eoi_kind, self.guest, table.vcpus > 1)
        positions = table.positions()
        self.drives: list[Drive | VirtioDrive | ReplayedDrive] = []
        self.replays: dict[int, PortReplay] = {}
        self.iothread_levels: dict[str, Level] = {}
        self.virtio_levels: dict[int, tuple[int, Level, Level]] = {}
        self._feeders: list[Arrivals | PortFeed] = []
        begin_ns = table.offset * clone + phase_ns(scenario.run.seed, self.name, table.phase)
        for index, (drive, position, trace) in enumerate(zip(table.drive, positions, traces, strict=True)):
            sectors = trace.end_sector if drive.size is None else drive.size // SECTOR_BYTES
            disk = disks[placement[self.name, index]]
            place = f"vm.{table.name}.drive.{index}"
            image = image_files(
                table.qemu, drive, sectors, place, partial(self._file, images, files, disk, drive.direct)
            )
            iothread = self._iothread(drive, index)
            name = f"{self.name}/drive{index}"
            backend = self.qemu.blk_new_open(name, image, drive.cache, drive.aio, limits(drive.throttling), iothread)
            backend.blk_set_on_error(drive.rerror, drive.werror)
            vcpu = index % table.vcpus if drive.vcpu is None else drive.vcpu
            if drive.replay == "ports":
                source = draws.source(self.seed, self.name, f"drive {index}")
                feed = PortFeed(trace, source, begin_ns, account, lambda: host.now_ns)
                feed.drive = ReplayedDrive(self.name, index, position >> 1, vcpu, feed.completed)
                self._feeders.append(feed)
                self.qemu.ide_create_drive(position, sectors, backend, drive.multiple)
                self.drives.append(feed.drive)
                continue
            feeder = Arrivals(self, index, trace, begin_ns, drive.speed, drive.replay == "closed")
            self._feeders.append(feeder)
            completed = partial(self._completed, feeder)
            plugged: Drive | VirtioDrive
            if drive.is_virtio:
                vcpus = table.virtio_vcpus(index)
                plugged = self._plug_virtio(table, index, vcpus, backend, iothread, binder, completed)
            else:
                self.qemu.ide_create_drive(position, sectors, backend, drive.multiple)
                plugged = Drive(
                    self.name,
                    index,
                    position,
                    drive.mode,
                    drive.multiple if drive.mode is Transfer.PIO else 1,
                    sectors,
                    drive.max_sectors,
                    drive.write_cache,
                    completed,
                    vcpu,
                    drive.retries,
                )
            self.drives.append(plugged)
            feeder.drive = plugged
            self._stream(f"arrivals{index}", _ARRIVALS + index).start(feeder.steps())
        boot_thread = self._stream("boot", _EVENTS + 1)
        self.life = Lifecycle(table, self.qemu, self.guest, account, self.threads, boot_thread)
        self.life.feeders.extend(self._feeders)
        self._plug_channels(table, binder)
        self._plug_replays(table, binder, recorder, traces)
        posted = binder.path("cpu.posted_interrupt", mode=Mode.ENTERING)
        for guest_cpu, kernel in zip(self.guest_cpus, self.guest.kernels, strict=True):
            self.qemu.qemu_init_vcpu(guest_cpu, guest_cpu.thread, self.log, self._ended)
            self.qemu.vcpus[-1].apicv = table.apicv
            guest_cpu.boot(kernel, self.qemu.vcpus[-1], posted)
        self.qemu.irqchip.vcpu = self.qemu.vcpus[table.irq_vcpu]
        self.qemu.start_main_loop()
        for k, background in enumerate(table.background):
            thread = self._stream(f"background{k}", _BACKGROUND + k)
            thread.start(self._background(thread, background.vcpu, background_exit(background), gap_of(background)))
        if table.load is not None:
            for k, kernel in enumerate(self.guest.kernels):
                load = GuestLoad(self._stream(f"load{k}", _LOAD + k), self.guest, kernel, table.load)
                self.guest.loads.append(load)
                load.start()
        if table.event:
            self._stream("events", _EVENTS).start(self.life.schedule())

    def _plug_channels(self, table: VmTable, binder: Binder) -> None:
        """Give each used channel its driver and its queue."""
        queues: dict[int, ChannelQueue] = {}
        for drive, config in zip(self.drives, table.drive, strict=True):
            if not isinstance(drive, Drive):
                continue
            queue = queues.get(drive.channel)
            if queue is None:
                bus = self.qemu.buses[drive.channel]
                ide = [other for other in self.drives if isinstance(other, Drive)]
                users = {table.irq_vcpu, *(other.vcpu for other in ide if other.channel == drive.channel)}
                drivers = {
                    k: self._driver(config, binder, drive.channel, table.kernel, guest_cpu)
                    for k, guest_cpu in enumerate(self.guest_cpus)
                    if k in users
                }
                if config.driver == "bare-poll":
                    bus.control = 0x0A
                queue = queues[drive.channel] = ChannelQueue(drive.channel, bus, drivers)
                self.guest.add_channel(queue)
            drive.queue = queue

    def _plug_replays(self, table: VmTable, binder: Binder, recorder: TemplateRecorder, traces: list[AnyTrace]) -> None:
        """Give the guest the code that makes the recorded accesses of each drive that has some."""
        for index, (config, trace) in enumerate(zip(table.drive, traces, strict=True)):
            feed, sequence = self._feeders[index], trace.ports
            if not isinstance(feed, PortFeed):
                continue
            assert sequence is not None
            drive = feed.drive
            bus = self.qemu.buses[drive.channel]
            if sequence.polled:
                bus.control = DISABLE_IRQ
            if sequence.masked:
                self.qemu.irqchip.masked.add(bus.gsi)
            costs = AccessCosts(
                AccessBinder(binder, channel_ports(drive.channel)), sequence, config.string, recorder.mean_round_trip_ns
            )
            replay = self.replays[index] = drive.device = PortReplay(
                self.guest_cpus[drive.vcpu],
                self.guest_cpus[table.irq_vcpu],
                self.guest.kernels[drive.vcpu],
                bus,
                self.levels,
                costs,
                sequence,
                feed,
            )
            self.guest.add_device(bus.gsi, replay)
            feed.life = self.life
            thread = self._stream(f"arrivals{index}", _ARRIVALS + index)
            thread.start(feed.steps(partial(replay.begin, thread)))

    def _driver(self, config: DriveTable, binder: Binder, channel: int, kernel: str, guest_cpu: GuestCpu) -> Driver:
        bus = self.qemu.buses[channel]
        access = AccessBinder(binder, channel_ports(channel))
        width = config.data_width // 8
        if config.driver == "libata":
            return Libata(guest_cpu, bus, access, kernel, width, config.string)
        return Bare(guest_cpu, bus, access, kernel, width, config.string, config.driver == "bare-poll")

    @staticmethod
    def _file(
        images: dict[str, int], files: HostFiles, disk: Disk, direct: bool, sectors: int, length: int | None = None
    ) -> HostFile:
        """Put a file of up to *sectors* behind the others on *disk*; *length*: those it has now, None for all."""
        first = images.get(disk.name, 0)
        images[disk.name] = first + sectors
        disk.used_sectors += sectors if length is None else length
        return files.open(disk, first, sectors, direct, length)

    def _iothread(self, drive: DriveTable, index: int) -> str | None:
        """Return the name of the drive's iothread, if it has one; the first who names it has it created."""
        if not drive.is_virtio or drive.iothread is False:
            return None
        name = f"drive:{index}" if drive.iothread is True else drive.iothread
        if name not in self.iothread_levels:
            self.iothread_levels[name] = Level(self.host.timeline, f"{self.name}/iothread/{name}:busy")
        self.qemu.iothread(name, drive.poll_max_ns)
        return name

    def _plug_virtio(
        self,
        table: VmTable,
        index: int,
        vcpus: list[int],
        backend: BlockBackend,
        iothread: str | None,
        binder: Binder,
        completed: Callable[[Request], None],
    ) -> VirtioDrive:
        """Plug a virtio-blk device with a queue for each of *vcpus*, and give the guest its driver.

        Each queue's vCPU makes requests and takes its interrupts.
        """
        config = table.drive[index]
        size = config.queue_size or VIRTQUEUE_SIZE[table.qemu]
        line = config.irq == "line"
        mmio = table.is_mmio(config)
        bar, notify, isr = _MODERN_BAR if mmio else _LEGACY_BAR
        bar += index * (_MODERN_BAR_BYTES if mmio else _LEGACY_BAR_BYTES)
        segments = config.seg_max or size - 2
        drive = VirtioDrive(
            self.name,
            index,
            min(config.max_sectors, segments * PAGE_SECTORS),
            config.write_cache,
            completed,
            vcpus,
        )
        queue = Level(self.host.timeline, f"{self.name}/drive{index}:queue")
        in_flight = Level(self.host.timeline, f"{self.name}/drive{index}:busy")
        self.virtio_levels[index] = (size * len(vcpus), in_flight, queue)
        queues: dict[int, VirtioBlk] = {}
        for number, vcpu in enumerate(vcpus):
            vring = Vring(size, config.event_idx)
            transport = Transport(bar + notify + 4 * number, mmio, bar + isr if line else None)
            gsi = _INTX_GSI + index if line else _MSI_GSI + index * MAX_VCPUS + number
            target = partial(self._vcpu, vcpu)
            self.qemu.virtio_blk_create(
                backend,
                vring,
                IntxLine(binder, self.qemu.irqchip, gsi, target) if line else IrqFd(binder, gsi, target),
                VirtIOBlkConf(config.ioeventfd, config.request_merging),
                iothread,
                transport.doorbell,
                transport.isr,
            )
            queues[vcpu] = VirtioBlk(
                self.guest_cpus[vcpu],
                self.guest.kernels[vcpu],
                binder,
                table.kernel,
                vring,
                transport,
                table.eoi_kind,
                queue,
                in_flight,
            )
            self.guest.add_device(gsi, queues[vcpu])
        drive.device = HwQueues(queues)
        return drive

    def _vcpu(self, number: int) -> Vcpu:
        return self.qemu.vcpus[number]

    # Threads

    def _subject(self, name: str) -> draws.Subject:
        return draws.Subject(draws.identity(draws.source(self.seed, self.name, f"thread {name}"), 0))

    def _thread(self, name: str, offset: int, busy: Level | None = None, waiting: Level | None = None) -> HostThread:
        """Return a new thread of the QEMU process; it needs a CPU to run."""
        thread = HostThread(
            self.host, self._base + offset, name, self._subject(name), busy, allowed=self._cpus, waiting=waiting
        )
        self.threads.append(thread)
        return thread

    def _stream(self, name: str, offset: int) -> HostThread:
        """Return a new stream of what comes to the VM from outside; no CPU is needed for it."""
        thread = HostThread(self.host, self._base + offset, name, self._subject(name), uses_cpu=False)
        self.threads.append(thread)
        return thread

    def _qemu_thread(self, kind: str, number: int) -> HostThread:
        if kind == "main":
            return self._thread("main", _MAIN, self.main_level)
        if kind.startswith("iothread "):
            name = kind.removeprefix("iothread ")
            return self._thread(f"iothread/{name}", _IOTHREADS + number, self.iothread_levels[name])
        context, worker = divmod(number, MAX_THREADS)
        prefix = f"iothread/{list(self.iothread_levels)[context - 1]}/" if context else ""
        return self._thread(f"{prefix}{kind}{worker}", (_IO_WQ if kind == "iou-wrk" else _WORKERS) + number)

    # What happens to the VM

    def _ended(self, why: str) -> None:
        self.life.vm_ended(why)

    def _completed(self, feeder: "Arrivals", request: Request) -> None:
        self.life.ended(request)
        feeder.completed()

    def _background(self, thread: HostThread, vcpu: int, exit_: Exit, gap: Cost) -> Steps[None]:
        at = 0
        while True:
            at += max(1, gap.sample(thread.own_subject))
            if at > self.host.now_ns:
                yield Block(at)
            if self.life.is_over:
                return
            if self.life.runs:
                self.guest.kernels[vcpu].background_exit(exit_)


class Arrivals:
    """The requests of one drive's trace, at their times (open) or each when the last is done (closed)."""

    def __init__(
        self, vm: VirtualMachine, index: int, trace: AnyTrace, offset_ns: int, speed: Fraction, closed: bool
    ) -> None:
        self.drive: Drive | VirtioDrive
        self._vm = vm
        self._closed = closed
        self._source = draws.source(vm.seed, vm.name, f"drive {index}")
        self._rows: Iterator[tuple[int, str, int, int]] = trace.rows(offset_ns, speed)
        self._number = 0

    def steps(self) -> Steps[None]:
        """The stream as a thread: it sleeps until each arrival."""
        host = self._vm.host
        for row in self._rows:
            if row[0] > host.now_ns:
                yield Block(row[0])
            self._arrive(row)
            if self._closed:
                self._vm.life.stream_begun(self)
                return

    def completed(self) -> None:
        """A request of the drive is done: with closed replay the next one arrives."""
        if self._closed:
            row = next(self._rows, None)
            if row is not None:
                self._arrive(row)

    def never_arrive(self) -> int:
        """The VM is no more: return how many requests will not come (closed replay: none follows one that is lost)."""
        return sum(1 for _ in self._rows) if self._closed and self._number else 0

    def guest_booted(self) -> None:
        """With closed replay the next request comes, if the stream has begun."""
        if self._number:
            self.completed()

    def _arrive(self, row: tuple[int, str, int, int]) -> None:
        _, op, sector, sectors = row
        number = self._number
        self._number = number + 1
        identity = draws.identity(self._source, number)
        self._vm.life.arrive(Request(identity, self.drive, number, op, sector, sectors, self._vm.host.now_ns))


def gap_of(table: BackgroundTable) -> Cost:
    """Return the time between two declared exits."""
    mean_ns = 1e9 / table.rate
    return exponential("gap", mean_ns) if table.arrivals == "poisson" else Cost("gap", round(mean_ns))


def background_exit(table: BackgroundTable) -> Exit:
    """Return the declared exit. Raises ScenarioError for a reason or result that the exit table does not know."""
    names = {reason.name: reason for reason in ExitReason}
    reason = names.get(table.reason)
    if reason is None:
        raise ScenarioError(f"reason must be one of {', '.join(names)}, got {table.reason!r}")
    row = EXIT_TABLE[reason]
    if table.kvm_exit is None:
        return Exit(reason, kvm_exit=None if row.kernel else row.userspace[0])
    allowed = [kvm_exit.name for kvm_exit in row.userspace]
    if table.kvm_exit not in allowed:
        possible = f"one of {', '.join(allowed)}" if allowed else "left out"
        raise ScenarioError(f"kvm_exit of {reason.name} must be {possible}, got {table.kvm_exit!r}")
    return Exit(reason, kvm_exit=KvmExit[table.kvm_exit])


def image_files(
    qemu: str, drive: DriveTable, sectors: int, place: str, new_file: Callable[..., HostFile]
) -> ImageFiles:
    """Return the files of a drive's image of *sectors*, which *new_file* puts on the disk. Raises ScenarioError."""
    if drive.format == "raw":
        return ImageFiles(new_file(sectors))
    driver = DRIVERS[qemu]
    sizes = layout(driver, sectors, drive.cluster_size, drive.l2_cache_size)
    if sizes.n_tables > MAX_L2_TABLES:
        largest = MAX_L2_TABLES * sizes.l2_entries * drive.cluster_size
        raise ScenarioError(
            f"{place}: a qcow2 image with clusters of {exact_size(drive.cluster_size)} has at most "
            f"{exact_size(largest)}, got {exact_size(sectors * SECTOR_BYTES)}"
        )
    preallocated = drive.preallocation == "metadata"
    image = Qcow2Image(driver, sizes, drive.lazy_refcounts, preallocated, drive.direct)
    length = None if preallocated else image.end_cluster() * image.layout.cluster_sectors
    file = new_file(image.layout.max_clusters * image.layout.cluster_sectors, length)
    if drive.backing is None:
        return ImageFiles(file, image)
    backing = drive.backing // SECTOR_BYTES
    return ImageFiles(file, image, new_file(backing), backing)


def limits(table: ThrottlingTable | None) -> ThrottleConfig | None:
    """Return the limits of a drive."""
    if table is None:
        return None
    found: dict[str, dict[str, Limit]] = {"bps": {}, "iops": {}}
    for unit, which in product(found, (TOTAL, READ_SIDE, WRITE_SIDE)):
        avg, burst, length = (getattr(table, f"{unit}_{which}{suffix}") for suffix in ("", "_max", "_max_length"))
        if avg is not None:
            found[unit][which] = Limit(avg, burst or 0, length or 1)
    return ThrottleConfig(found["bps"], found["iops"], table.iops_size or 0)


def page_cache_config(table: PageCacheTable) -> PageCacheConfig:
    """Return what *table* describes."""
    background, limit = table.dirty_limits()
    return PageCacheConfig(table.pages, background, limit, table.dirty_writeback_interval, table.dirty_expire_interval)


class Machine:
    """The whole host of a scenario, ready to run: clock, disks, VMs."""

    def __init__(
        self,
        scenario: Scenario,
        profile: Profile,
        traces: Mapping[tuple[int, int], AnyTrace],
        folder: FilePath,
        account: RequestAccount,
    ) -> None:
        self.host = Host(exact=scenario.run.exact_exits)
        self.cpus = None if scenario.host.cpus is None else Cpus(self.host, scenario.host.cpus, scenario.host.slice)
        binder = Binder(profile)
        self.disks = {
            name: build_disk(self.host, table, name, folder)
            for table in scenario.host.disk
            for name in disk_names(table)
        }
        placement = disks_of_drives(scenario)
        self.files = HostFiles(
            self.host, binder, page_cache_config(scenario.host.page_cache or PageCacheTable()), scenario.run.seed
        )
        self.vms: list[VirtualMachine] = []
        recorders: dict[tuple[str, str], TemplateRecorder] = {}
        images: dict[str, int] = {}
        for at, table in enumerate(scenario.vm):
            versions = (table.qemu, table.kernel)
            if versions not in recorders:
                recorders[versions] = TemplateRecorder(binder, VERSIONS[table.qemu], table.kernel)
            mine = [traces[at, index] for index in range(len(table.drive))]
            for clone in range(table.count):
                self.vms.append(
                    VirtualMachine(
                        self.host,
                        scenario,
                        table,
                        clone,
                        len(self.vms),
                        binder,
                        recorders[versions],
                        self.disks,
                        placement,
                        self.files,
                        mine,
                        images,
                        account,
                    )
                )

        for disk in self.disks.values():
            if disk.sectors is not None and disk.used_sectors > disk.sectors:
                raise ScenarioError(
                    f"host.disk.{disk.name}: has {disk.sectors} sectors, the images on it need {disk.used_sectors}"
                )

    def threads(self) -> list[HostThread]:
        """Return every thread of every VM."""
        return [thread for vm in self.vms for thread in vm.threads]
