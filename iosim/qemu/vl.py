"""The start of a QEMU process: main() of vl.c, as far as the disk path needs what it creates."""

from collections.abc import Callable
from typing import Any

from iosim.disk.file import HostFile
from iosim.host import Host, HostThread, Mutex
from iosim.kvm import IrqChip, PortLog, Vcpu
from iosim.model.ata import channel_ports
from iosim.model.steps import Binder
from iosim.qemu.block import BlockBackend, RawFormat
from iosim.qemu.cpus import KvmCpu, PortSpace
from iosim.qemu.file_posix import FilePosix
from iosim.qemu.ide import IDEBus, IDEDrive
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.runstate import RunState
from iosim.qemu.templates import TemplateRecorder
from iosim.qemu.thread_pool import ThreadPool
from iosim.qemu.versions import QemuVersion


class QemuProcess:
    """One QEMU process: its BQL, main loop, aio pool, IDE channels, and vCPU thread.

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
        self._new_thread = new_thread
        self.main_thread = new_thread("main", 0)

    def kvm_init(self) -> None:
        """KVM_CREATE_VM and the in-kernel interrupt controllers."""
        self.irqchip = IrqChip(self.binder, self.version.irq_ioctls)

    def machine_init(self, win2k_install_hack: bool) -> None:
        """pc_init1: the main loop's AioContext with its pool, PIIX3 IDE with two channels."""
        self.main_loop = MainLoop(self.main_thread, self.binder, self.bql, self.version)
        self.pool = ThreadPool(
            self.host,
            self.binder,
            self.main_loop,
            f"{self.name}/pool",
            lambda number: self._new_thread("worker", number),
        )
        self.ports = PortSpace()
        self.buses = [
            IDEBus(self.binder, self.version, number, self.irqchip, self.main_loop, self.runstate, win2k_install_hack)
            for number in (0, 1)
        ]
        for bus in self.buses:
            self.ports.add(bus, channel_ports(bus.number))

    def ide_create_drive(self, position: int, sectors: int, file: HostFile, cache: str, multiple: int) -> None:
        """Put a drive on its channel: raw format over *file*.

        A guest whose driver uses *multiple* sectors per DRQ block has sent SET MULTIPLE MODE when it found the drive.
        """
        node = RawFormat(self.binder, self.version, FilePosix(self.binder, self.version, self.pool, file, cache))
        backend = BlockBackend(self.binder, self.version, self.main_loop, node, cache)
        bus = self.buses[position >> 1]
        drive = bus.drives[position & 1] = IDEDrive(bus, position & 1, sectors, backend)
        if multiple > 1:
            drive.mult_sectors = multiple

    def blk_set_on_error(self, position: int, rerror: str, werror: str) -> None:
        """Set the error policies of the drive at *position*."""
        drive = self.buses[position >> 1].drives[position & 1]
        assert drive is not None
        assert drive.backend is not None
        drive.backend.blk_set_on_error(rerror, werror)

    def backends(self) -> list[BlockBackend]:
        """Return the backends of all drives."""
        drives = [drive for bus in self.buses for drive in bus.drives]
        return [drive.backend for drive in drives if drive is not None and drive.backend is not None]

    def quiescent(self) -> bool:
        """Tell whether nothing is in flight and no vCPU on its way, as a reset needs it."""
        return self.runstate.all_parked() and not any(backend.in_flight for backend in self.backends())

    def system_reset(self) -> None:
        """qemu_system_reset: vCPU, interrupt controllers and devices as after power-on."""
        self.cpu.cpu_reset()
        self.irqchip.reset()
        for bus in self.buses:
            bus.reset()

    def qemu_init_vcpu(
        self, guest: Any, thread: HostThread, log: PortLog | None, vm_stop: Callable[[str], None]
    ) -> None:
        """qemu_kvm_start_vcpu: the vCPU and its thread, which runs qemu_kvm_cpu_thread_fn."""
        self.vcpu = Vcpu(thread, self.binder, self.kernel, guest, log)
        self.irqchip.vcpu = self.vcpu
        thread.bql = self.bql
        item = None if self.host.exact else self.recorder.item
        self.cpu = KvmCpu(thread, self.binder, self.version, self.bql, self.vcpu, self.ports, vm_stop, item)
        self.cpu.runstate = self.runstate
        self.runstate.add_cpu(self.cpu)
        thread.start(self.cpu.qemu_kvm_cpu_thread_fn())

    def start_main_loop(self) -> None:
        """main_loop: what the main thread does from here on."""
        self.main_thread.start(self.main_loop.main_loop())
