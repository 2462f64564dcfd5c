"""The start of a QEMU process: main() of vl.c, as far as the disk path needs what it creates."""

from collections.abc import Callable
from typing import Any

from iosim.disk.file import BufferedFile, HostFile
from iosim.host import Host, HostThread, IoWq, Mutex
from iosim.kvm import IrqChip, PortLog, Vcpu
from iosim.kvm.ioeventfd import IoBus
from iosim.model.ata import channel_ports
from iosim.model.steps import Binder
from iosim.model.virtio import Vring
from iosim.qemu.block import BlockBackend, FormatNode, RawFormat
from iosim.qemu.cpus import KvmCpu, PortSpace
from iosim.qemu.file_posix import FilePosix
from iosim.qemu.ide import IDEBus, IDEDrive
from iosim.qemu.io_uring import IoUring
from iosim.qemu.iothread import IOThread
from iosim.qemu.linux_aio import LinuxAio
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.qcow2.files import ImageFiles
from iosim.qemu.qcow2.format import Backing, Qcow2Format
from iosim.qemu.runstate import RunState
from iosim.qemu.templates import TemplateRecorder
from iosim.qemu.thread_pool import MAX_THREADS, ThreadPool
from iosim.qemu.throttle import ThrottleConfig, throttle
from iosim.qemu.versions import QemuVersion
from iosim.qemu.virtio_blk import ISR, QUEUE_NOTIFY, GuestNotifier, VirtIOBlkConf, VirtIOBlock

LAST_PORT = 0xFFFF


class QemuProcess:
    """One QEMU process: its BQL, main loop, iothreads, aio pools, IDE channels, virtio devices, and vCPU thread.

    Built in the order of the real start-up: kvm_init, machine init (pc_init1), qemu_init_vcpu, main_loop.
    """

    def __init__(
        self,
        host: Host,
        name: str,
        binder: Binder,
        version: QemuVersion,
        kernel: str,
        recorder: TemplateRecorder,
        new_thread: Callable[[str, int], HostThread],
    ) -> None:
        self.host = host
        self.name = name
        self.binder = binder
        self.version = version
        self.kernel = kernel
        self.recorder = recorder
        self.bql = Mutex(host, f"{name}/bql")
        self.runstate = RunState(host)
        self.vcpus: list[Vcpu] = []
        self.cpus: list[KvmCpu] = []
        self.backends: list[BlockBackend] = []
        self._new_thread = new_thread
        self.main_thread = new_thread("main", 0)

    def kvm_init(self) -> None:
        """KVM_CREATE_VM and the in-kernel interrupt controllers."""
        self.irqchip = IrqChip(self.binder, self.version.irq_ioctls)
        self.pio_bus = IoBus(self.binder)
        self.mmio_bus = IoBus(self.binder)

    def machine_init(self, win2k_install_hack: bool) -> None:
        """pc_init1: the main loop's AioContext with its pool, PIIX3 IDE with two channels."""
        self.main_loop = MainLoop(self.main_thread, self.binder, self.bql, self.version)
        self.pool = self._aio_get_thread_pool(self.main_loop, f"{self.name}/pool", 0)
        self.iothreads: dict[str, IOThread] = {}
        self.pools: list[ThreadPool] = [self.pool]
        self.virtio_devices: list[VirtIOBlock] = []
        self._io_urings: dict[MainLoop, IoUring] = {}
        self._linux_aios: dict[MainLoop, LinuxAio] = {}
        self.ports = PortSpace()
        self.buses = [
            IDEBus(self.binder, self.version, number, self.irqchip, self.main_loop, self.runstate, win2k_install_hack)
            for number in (0, 1)
        ]
        for bus in self.buses:
            self.ports.add(bus, channel_ports(bus.number))

    def ide_create_drive(self, position: int, sectors: int, backend: BlockBackend, multiple: int) -> None:
        """Put a drive on its channel.

        A guest whose driver uses *multiple* sectors per DRQ block has sent SET MULTIPLE MODE when it found the drive.
        """
        bus = self.buses[position >> 1]
        drive = bus.drives[position & 1] = IDEDrive(bus, position & 1, sectors, backend)
        if multiple > 1:
            drive.mult_sectors = multiple

    def quiescent(self) -> bool:
        """Tell whether nothing is in flight and no vCPU on its way, as a reset needs it."""
        return self.runstate.all_parked() and not any(backend.in_flight for backend in self.backends)

    def system_reset(self) -> None:
        """qemu_system_reset: vCPUs, interrupt controllers and devices as after power-on."""
        for cpu in self.cpus:
            cpu.cpu_reset()
        self.irqchip.reset()
        for bus in self.buses:
            bus.reset()
        for device in self.virtio_devices:
            device.system_reset()

    def blk_new_open(
        self,
        name: str,
        files: ImageFiles,
        cache: str,
        aio: str,
        limits: ThrottleConfig | None,
        iothread: str | None = None,
    ) -> BlockBackend:
        """The backend of a drive: its format node over its files, its limits; in the AioContext of *iothread*."""
        loop: MainLoop = self.main_loop
        pool = self.pool
        if iothread is not None:
            loop = self.iothreads[iothread]
            pool = self.pools[1 + list(self.iothreads).index(iothread)]
        file = self.bdrv_open_file(files.file, cache, aio, loop, pool)
        node: FormatNode = RawFormat(self.binder, self.version, file)
        if files.image is not None:
            base = None
            if files.backing is not None:
                below = self.bdrv_open_file(files.backing, cache, aio, loop, pool)
                base = RawFormat(self.binder, self.version, below)
            backing = Backing(base, files.backing_sectors)
            node = Qcow2Format(self.host, self.binder, self.version, name, files.image, file, backing, loop.thread.name)
        backend = BlockBackend(self.binder, self.version, loop, node, cache)
        if limits is not None:
            backend.throttle = throttle(self.version, self.host, self.binder, loop, name, limits)
        self.backends.append(backend)
        return backend

    def bdrv_open_file(self, file: HostFile, cache: str, aio: str, loop: MainLoop, pool: ThreadPool) -> FilePosix:
        """raw_open: the protocol node of *file*; in 1.6 aio=native without O_DIRECT silently means threads."""
        way: LinuxAio | None = None
        if aio == "io_uring":
            if loop not in self._io_urings:
                io_wq = IoWq(self.binder, self._numbered("iou-wrk", self.pools.index(pool)))
                self._io_urings[loop] = IoUring(self.binder, self.version, loop, io_wq)
            way = self._io_urings[loop]
        elif aio == "native" and not isinstance(file, BufferedFile):
            if loop not in self._linux_aios or not self.version.laio_queues:
                self._linux_aios[loop] = LinuxAio(self.binder, self.version, loop)
            way = self._linux_aios[loop]
        return FilePosix(self.binder, self.version, pool, file, cache, way)

    def iothread(self, name: str, poll_max_ns: int) -> IOThread:
        """Return the iothread called *name*; the first time it is created, with its AioContext and pool."""
        if name not in self.iothreads:
            thread = self._new_thread(f"iothread {name}", len(self.iothreads))
            loop = IOThread(thread, self.binder, self.bql, self.version, poll_max_ns)
            self.pools.append(self._aio_get_thread_pool(loop, f"{self.name}/iothread/{name}/pool", len(self.pools)))
            self.iothreads[name] = loop
        return self.iothreads[name]

    def virtio_blk_create(
        self,
        backend: BlockBackend,
        vring: Vring,
        notifier: GuestNotifier,
        conf: VirtIOBlkConf,
        iothread: str | None,
        doorbell: int,
        isr: int | None,
    ) -> VirtIOBlock:
        """Plug a virtio-blk device; its ring is handled by *iothread* or the main loop.

        Its registers *doorbell* and *isr* are ports up to `LAST_PORT`, above that addresses of the memory.
        """
        loop = self.main_loop if iothread is None else self.iothreads[iothread]
        device = VirtIOBlock(
            self.binder, self.version, vring, backend, loop, notifier, conf, self.runstate, backend.node.file.aio
        )
        self.virtio_devices.append(device)
        if iothread is not None:
            loop.add_aio_handler(device)
        if not conf.ioeventfd:
            self._add_register(device, QUEUE_NOTIFY, doorbell)
        elif doorbell <= LAST_PORT:
            self.pio_bus.assign(doorbell, device.eventfd_signal)
        else:
            self.mmio_bus.assign(doorbell, device.eventfd_signal)
        if isr is not None:
            self._add_register(device, ISR, isr)
        return device

    def _add_register(self, device: VirtIOBlock, register: int, address: int) -> None:
        if address <= LAST_PORT:
            self.ports.add(device, {register: address})
        else:
            self.ports.registers[address] = (device, register)

    def _aio_get_thread_pool(self, loop: MainLoop, name: str, context: int) -> ThreadPool:
        """Return the pool of an AioContext, the one with this number."""
        return ThreadPool(self.host, self.binder, self.version, loop, name, self._numbered("worker", context))

    def _numbered(self, kind: str, context: int) -> Callable[[int], HostThread]:
        """Return what creates an AioContext's threads of a kind, numbered behind those of the contexts before."""
        return lambda number: self._new_thread(kind, context * MAX_THREADS + number)

    def qemu_init_vcpu(
        self, guest: Any, thread: HostThread, log: PortLog | None, vm_stop: Callable[[str], None]
    ) -> None:
        """qemu_kvm_start_vcpu: the next vCPU and its thread, which runs qemu_kvm_cpu_thread_fn.

        The first vCPU takes the interrupts unless the guest says otherwise (`IrqChip.vcpu`).
        """
        vcpu = Vcpu(thread, self.binder, self.kernel, guest, log, len(self.vcpus))
        vcpu.handlers.pio_bus, vcpu.handlers.mmio_bus = self.pio_bus, self.mmio_bus
        self.vcpus.append(vcpu)
        if self.irqchip.vcpu is None:
            self.irqchip.vcpu = vcpu
        thread.bql = self.bql
        item = None if self.host.exact else self.recorder.item
        cpu = KvmCpu(thread, self.binder, self.version, self.bql, vcpu, self.ports, vm_stop, item)
        cpu.runstate = self.runstate
        self.runstate.add_cpu(cpu)
        self.cpus.append(cpu)
        thread.start(cpu.qemu_kvm_cpu_thread_fn())

    @property
    def vcpu(self) -> Vcpu:
        """The first vCPU."""
        return self.vcpus[0]

    @property
    def cpu(self) -> KvmCpu:
        """The first vCPU's CPUState."""
        return self.cpus[0]

    def start_main_loop(self) -> None:
        """main_loop and iothread_run: what the threads of the event loops do from here on."""
        self.main_thread.start(self.main_loop.main_loop())
        for loop in self.iothreads.values():
            loop.thread.start(loop.main_loop())
