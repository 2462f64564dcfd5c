"""A guest that is a list of port accesses, on a real vCPU, KVM, QEMU, thread pool and disk.

A program is a generator: ``value = yield from guest.inb(0x1F7)``. After it the guest halts for ever.
"""

from collections.abc import Callable, Generator
from typing import Any

from iosim.disk import ConstantDisk, Disk, HostFile
from iosim.guest.cpu import GuestCpu
from iosim.host import Host, HostThread
from iosim.kvm import Access, Exit, ExitReason, Irq
from iosim.model.costs import Profile
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.steps import SYNC, AccessKind, Binder
from iosim.qemu.ide import IDEBus
from iosim.qemu.qcow2.files import ImageFiles
from iosim.qemu.templates import TemplateRecorder
from iosim.qemu.versions import VERSIONS
from iosim.qemu.vl import QemuProcess
from tests.support import constant_profile

Program = Callable[["PortGuest"], Generator[Any, Any, None]]

DISK_NS = 90_000
FLUSH_NS = 500_000


class PortGuest:
    """The machine, its guest, and what the guest saw: `interrupts` are (ns, gsi)."""

    def __init__(
        self,
        program: Program,
        qemu: str = "7.2",
        kernel: str = "6.1",
        drives: int = 1,
        directsync: bool = False,
        win2k_install_hack: bool = False,
        profile: Profile | None = None,
    ) -> None:
        self.program = program
        self.interrupts: list[tuple[int, int]] = []
        self.stopped: list[str] = []
        self.host = Host(exact=True)
        binder = Binder(profile or constant_profile())
        vcpu_thread = HostThread(self.host, 1, "vcpu0", Subject(1))
        recorder = TemplateRecorder(binder, VERSIONS[qemu], kernel)
        self.qemu = QemuProcess(self.host, "test", binder, VERSIONS[qemu], kernel, recorder, self._thread)
        self.qemu.kvm_init()
        self.qemu.machine_init(win2k_install_hack)
        self.disk = Disk(self.host, "sda", ConstantDisk(DISK_NS, FLUSH_NS), 1)
        for position in range(drives):
            files = ImageFiles(HostFile(binder, self.disk, 0))
            backend = self.qemu.blk_new_open(
                f"drive{position}", files, "directsync" if directsync else "none", "threads", None
            )
            self.qemu.ide_create_drive(position, 1 << 30, backend, 16)
        self.cpu = GuestCpu(vcpu_thread, None)
        self.qemu.qemu_init_vcpu(self.cpu, vcpu_thread, None, self.stopped.append)
        kernel_of_guest: Any = self
        self.cpu.boot(kernel_of_guest, self.qemu.vcpu)
        self.qemu.start_main_loop()
        self.request = Request(0, None, 0, "W", 0, 1, 0)
        vcpu_thread.owner = self.request
        self.bus.request = self.request

    def run(self) -> "PortGuest":
        """Run until nothing happens any more."""
        self.host.run()
        return self

    @property
    def bus(self) -> IDEBus:
        """The primary channel."""
        return self.qemu.buses[0]

    @property
    def now_ns(self) -> int:
        return self.host.now_ns

    def _thread(self, kind: str, number: int) -> HostThread:
        return HostThread(self.host, {"main": 2, "worker": 3}[kind] + number, kind, Subject(2))

    # What the guest's CPU asks of its operating system

    def main(self) -> Generator[Any, Any, None]:
        yield from self.program(self)
        while True:
            yield Exit(ExitReason.HLT)

    def interrupt(self, irq: Irq) -> Generator[Any, Any, None]:
        yield SYNC
        self.interrupts.append((self.now_ns, irq.gsi))

    def has_work(self) -> bool:
        return False

    def first_arrival(self) -> None:
        return None

    # What programs are written with

    def outb(self, port: int, value: int, width: int = 1) -> Generator[Any, Any, None]:
        yield Exit(ExitReason.IO_INSTRUCTION, Access(AccessKind(port, True, width, 1, False), value))

    def inb(self, port: int) -> Generator[Any, Any, int]:
        access = Access(AccessKind(port, False, 1, 1, False))
        yield Exit(ExitReason.IO_INSTRUCTION, access)
        yield SYNC
        return access.value

    def outsw(self, words: int = 256) -> Generator[Any, Any, None]:
        for _ in range(words):
            yield Exit(ExitReason.IO_INSTRUCTION, Access(AccessKind(0x1F0, True, 2, 1, True)))

    def insw(self, words: int = 256) -> Generator[Any, Any, None]:
        yield Exit(ExitReason.IO_INSTRUCTION, Access(AccessKind(0x1F0, False, 2, words, True)))

    def wait_for_interrupts(self, number: int) -> Generator[Any, Any, None]:
        """HLT until *number* interrupts have come."""
        while len(self.interrupts) < number:
            yield Exit(ExitReason.HLT)
            yield SYNC

    def task_file(self, sectors: int, lba: int = 0, device: int = 0xE0) -> Generator[Any, Any, None]:
        values = {0x1F2: sectors & 0xFF, 0x1F3: lba & 0xFF, 0x1F4: lba >> 8 & 0xFF, 0x1F5: lba >> 16 & 0xFF}
        for port, value in values.items():
            yield from self.outb(port, value)
        yield from self.outb(0x1F6, device | lba >> 24 & 0x0F)
