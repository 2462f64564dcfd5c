"""The vCPU thread in QEMU: qemu_kvm_cpu_thread_fn, kvm_cpu_exec, kvm_handle_io (cpus.c, kvm-all.c)."""

import errno
from collections.abc import Callable, Mapping
from typing import Any

from iosim.host import HostThread, Mutex
from iosim.kvm import Access, KvmExit, Vcpu
from iosim.model.ata import Reg
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Block, Lock, Path, Run, Segment, Steps, Template, Unlock
from iosim.qemu.runstate import RunState
from iosim.qemu.versions import QemuVersion
from iosim.qemu.virtio_blk import VirtIOBlock

EXCP_INTERRUPT, EXCP_HLT = 0x10000, 0x10001


class PortSpace:
    """address_space_io: which register of which device a port is. Other ports belong to devices without a model.

    `registers` are those of virtio devices behind addresses of address_space_memory.
    """

    def __init__(self) -> None:
        self._ports: dict[int, tuple[Any, Any]] = {}
        self.registers: dict[int, tuple[VirtIOBlock, int]] = {}

    def add(self, device: Any, ports: Mapping[Any, int]) -> None:
        """Register the ports of a device: an IDE channel, a virtio device."""
        for register, port in ports.items():
            self._ports[port] = (device, register)

    def find(self, port: int) -> tuple[Any, Any] | None:
        """Return the device and register behind *port*, None for other devices' ports."""
        return self._ports.get(port)


class KvmCpu:
    """CPUState of a vCPU: what kvm_cpu_exec looks at.

    The BQL: up to QEMU 2.3 held whenever the thread is not inside KVM_RUN; from 2.4 released for the whole loop of
    kvm_cpu_exec and taken for each access to a device.

    `stop`: the VM is stopped, until it goes on; `stopped`: it has been reset or has failed, and only a reset makes it
    run again. For either the thread waits outside of KVM_RUN (`parked`).
    """

    def __init__(
        self,
        thread: HostThread,
        binder: Binder,
        version: QemuVersion,
        bql: Mutex,
        vcpu: Vcpu,
        ports: PortSpace,
        vm_stop: Callable[[str], None],
        item_template: Callable[[Access, bool], Template] | None,
    ) -> None:
        self.thread = thread
        self.version = version
        self.bql = bql
        self.vcpu = vcpu
        self.ports = ports
        self.stopped = False
        self.stop = False
        self.reset_requested = False
        self.parked = False
        self.runstate: RunState | None = None
        self.exit_request = False
        self.halted = False
        self.vcpu_dirty = True
        self._vm_stop = vm_stop
        self._item_template = item_template
        self._lock = binder.path("qemu.mutex_lock")
        self._unlock = binder.path("qemu.mutex_unlock", stage=Stage.VM_ENTRY if not version.bql_per_access else None)
        self._put_registers = binder.path("qemu.put_registers")
        self._pre_run = binder.path("qemu.pre_run")
        self._post_run = binder.path("qemu.post_run")
        self._handle_io = binder.path("qemu.handle_io")
        self._new_address_space = binder.path("qemu.address_space_rw", "qemu.mutex_lock")
        self._old_address_space = {
            (write, width): binder.path(
                ("qemu.cpu_io", f"cpu_{'out' if write else 'in'}{suffix}"), "qemu.address_space_rw"
            )
            for write in (False, True)
            for width, suffix in ((1, "b"), (2, "w"), (4, "l"))
        }
        self._further_item = binder.path("qemu.pio_item")
        self._unmodelled_port = binder.path("qemu.memory_region_dispatch", "qemu.portio")
        self._physical_memory = binder.path(
            ("qemu.cpu_physical_memory_rw", "cpu_physical_memory_rw" if version.cpu_io else "address_space_rw")
        )
        self._arch_exit = binder.path("qemu.arch_handle_exit")
        self._reset = binder.path("qemu.system_reset")
        self._internal_error = binder.path("qemu.internal_error")
        wait_io = "qemu_kvm_wait_io_event" if version.cpu_io else "qemu_wait_io_event"
        self._wait_io = binder.path(("qemu.wait_io_event", wait_io))
        self._exit_reasons: dict[KvmExit, Callable[[], Steps[int]]] = {
            KvmExit.IO: self._exit_io,
            KvmExit.MMIO: self._exit_mmio,
            KvmExit.IRQ_WINDOW_OPEN: self._exit_irq_window_open,
            KvmExit.SHUTDOWN: self._exit_shutdown,
            KvmExit.UNKNOWN: self._exit_error,
            KvmExit.INTERNAL_ERROR: self._exit_error,
        }

    # The thread

    def qemu_kvm_cpu_thread_fn(self) -> Steps[None]:
        """The body of the vCPU thread: kvm_cpu_exec while the VM runs, and the wait between two calls of it."""
        yield Lock(self.bql)
        while True:
            yield from self.kvm_cpu_exec()
            if not self.stopped:
                yield from self.qemu_kvm_wait_io_event()
            if self.stop or self.stopped:
                yield from self._park()

    def qemu_kvm_wait_io_event(self) -> Steps[None]:
        """Outside of kvm_cpu_exec: wait without the BQL while the CPU is halted in userspace; eat signals."""
        yield self._wait_io
        yield SYNC
        vcpu = self.vcpu
        if self.halted and not vcpu.runnable():
            yield Unlock(self.bql)
            vcpu.asleep = True
            while not vcpu.runnable():
                yield Block()
            vcpu.asleep = False
            yield Lock(self.bql)
        vcpu.signal_pending = False
        if self.reset_requested:
            self.reset_requested = False
            self._stop("reset")

    def _park(self) -> Steps[None]:
        """The VM does not run: wait without the BQL. What the thread carries is paused."""
        yield Unlock(self.bql)
        thread = self.thread
        if thread.request is not None:
            thread.request.wait_in(Stage.PAUSED, thread.name)
        self.parked = True
        if self.runstate is not None:
            self.runstate.cpu_parked()
        while self.stop or self.stopped:
            yield Block()
        self.parked = False
        if thread.request is not None:
            thread.request.stop_waiting(thread.host.now_ns)
        yield Lock(self.bql)
        self.vcpu.signal_pending = False

    # What the main loop does to the thread

    def pause(self) -> None:
        """pause_all_vcpus: leave the guest and wait."""
        self.stop = True
        self.qemu_cpu_kick()

    def pause_for_good(self) -> None:
        """The guest has ended: leave it, and wait until a reset."""
        if not self.stopped:
            self.stopped = True
            self.qemu_cpu_kick()

    def resume(self) -> None:
        """resume_all_vcpus: go on, unless the VM has ended."""
        self.stop = False
        if self.parked and not self.stopped:
            self.thread.wake()

    def request_reset(self) -> None:
        """The guest ends once the thread is out of KVM_RUN."""
        self.reset_requested = True
        self.qemu_cpu_kick()

    def cpu_reset(self) -> None:
        """The registers are those of power-on; the thread goes on unless the VM is stopped."""
        assert self.parked
        thread = self.thread
        thread.request = thread.owner = None
        thread.subject = thread.own_subject
        thread.delivering = thread.kicked = False
        self.vcpu.reset()
        self.stopped = self.halted = self.reset_requested = self.exit_request = False
        self.vcpu_dirty = True
        if not self.stop:
            thread.wake()

    def qemu_cpu_kick(self) -> None:
        """A signal for the thread: KVM_RUN returns EINTR."""
        self.exit_request = True
        self.vcpu.signal_pending = True
        self.vcpu.kick()

    def kvm_arch_process_async_events(self) -> bool:
        """Whether the CPU stays halted: it was halted by KVM_EXIT_HLT and nothing has come for it."""
        if self.halted and self.vcpu.has_work():
            self.halted = False
        return self.halted

    def kvm_cpu_exec(self) -> Steps[int]:
        """Run the vCPU until something other than a device access ends it; returns EXCP_* or a negative error.

        Each turn: registers put if dirty, kvm_arch_pre_run, BQL released, KVM_RUN, BQL taken, kvm_arch_post_run,
        switch on exit_reason (BQL: see the class).
        """
        if self.kvm_arch_process_async_events():
            self.exit_request = False
            return EXCP_HLT
        per_access = self.version.bql_per_access
        if per_access:
            yield Unlock(self.bql)
        while True:
            if self.vcpu_dirty:
                yield self._put_registers
                self.vcpu_dirty = False
            yield self._pre_run
            if self.exit_request:
                self.vcpu.signal_pending = True
            if not per_access:
                yield self._unlock
                yield Unlock(self.bql)
            run_ret = yield from self.vcpu.kvm_vcpu_ioctl()
            if not per_access:
                yield self._lock
                yield Lock(self.bql)
            yield self._post_run
            if run_ret < 0:
                if run_ret in (-errno.EINTR, -errno.EAGAIN):
                    ret = EXCP_INTERRUPT
                    break
                yield SYNC
                ret = self._run_failed(run_ret)
                break
            handler = self._exit_reasons.get(self.vcpu.run.exit_reason, self._exit_default)
            ret = yield from handler()
            if ret != 0:
                break
        if per_access:
            yield Lock(self.bql)
        yield SYNC
        if ret < 0:
            self._stop("internal-error")
        self.exit_request = False
        return ret

    def _run_failed(self, run_ret: int) -> int:
        """An error of KVM_RUN other than EINTR: QEMU 1.6 aborts, later versions stop the VM."""
        if self.version.run_error_aborts:
            self._stop("aborted")
        return run_ret

    def _stop(self, why: str) -> None:
        """vm_stop: no vCPU of the VM enters the guest again. Another one may have come first."""
        if not self.stopped:
            self.stopped = True
            self._vm_stop(why)

    # exit_reason

    def _exit_io(self) -> Steps[int]:
        access = self.vcpu.run.io
        yield self._handle_io
        if access is None:
            yield from self._unmodelled()
        else:
            yield from self.kvm_handle_io(access)
        return 0

    def _exit_mmio(self) -> Steps[int]:
        gpa = self.vcpu.run.gpa
        if gpa is not None:
            yield self._address_space(4, True)
        elif self.version.bql_per_access:
            yield self._lock
        if self.version.bql_per_access:
            yield Lock(self.bql)
        if gpa is None:
            yield self._physical_memory
        else:
            device, register = self.ports.registers[gpa]
            yield from device.access(self.thread, register)
        if self.version.bql_per_access:
            yield self._unlock
            yield Unlock(self.bql)
        return 0

    def _exit_irq_window_open(self) -> Steps[int]:
        yield from ()
        return EXCP_INTERRUPT

    def _exit_shutdown(self) -> Steps[int]:
        yield self._reset
        yield SYNC
        self._stop("reset")
        return EXCP_INTERRUPT

    def _exit_error(self) -> Steps[int]:
        """KVM_EXIT_UNKNOWN, and kvm_handle_internal_error for KVM_EXIT_INTERNAL_ERROR."""
        yield self._internal_error
        return -1

    def _exit_default(self) -> Steps[int]:
        """kvm_arch_handle_exit: HLT, SET_TPR and TPR_ACCESS go on; FAIL_ENTRY, EXCEPTION and the rest end the VM."""
        yield self._arch_exit
        yield SYNC
        reason = self.vcpu.run.exit_reason
        if reason is KvmExit.HLT:
            if self.vcpu.has_work():
                return 0
            self.halted = True
            return EXCP_HLT
        if reason in (KvmExit.SET_TPR, KvmExit.TPR_ACCESS, KvmExit.DEBUG, KvmExit.INTR):
            return 0
        return -1

    # Port I/O

    def _address_space(self, width: int, write: bool) -> Path:
        return self._new_address_space if self.version.bql_per_access else self._old_address_space[write, width]

    def kvm_handle_io(self, access: Access) -> Steps[None]:
        """Hand the items of one KVM_EXIT_IO to the device, one by one (a batched rep ins has many)."""
        count = access.kind.items
        alone = 0
        found = self.ports.find(access.kind.port) if count > 1 and self._item_template is not None else None
        if (
            self._item_template is not None
            and found is not None
            and found[1] is Reg.DATA
            and (count - 1) * access.kind.width <= found[0].bytes_within_block()
        ):
            # All but the last item change nothing that another thread could see: they are one run.
            alone = count - 1
            submission = found[0].data(alone * access.kind.width)
            assert submission is None
            segments = [Segment(self._item_template(access, False), 1)]
            if alone > 1:
                segments.append(Segment(self._item_template(access, True), alone - 1))
            yield Run(segments)
        for number in range(alone, count):
            yield from self.address_space_rw(access, number > 0)

    def address_space_rw(self, access: Access, further: bool = False) -> Steps[None]:
        """One item: look the port up, take the BQL where it is taken per access, call the device.

        A *further* item of the same exit finds everything in the processor's caches: one cost for all of it.
        """
        if not further:
            yield self._address_space(access.kind.width, access.kind.write)
        if self.version.bql_per_access:
            yield Lock(self.bql)
        if further:
            yield self._further_item
        found = self.ports.find(access.kind.port)
        if found is None:
            yield self._unmodelled_port
        else:
            bus, register = found
            yield from bus.access(self.thread, register, access, further)
        if self.version.bql_per_access:
            if not further:
                yield self._unlock
            yield Unlock(self.bql)

    def _unmodelled(self) -> Steps[None]:
        """A declared background access to a port of a device that has no model."""
        yield self._address_space(1, True)
        if self.version.bql_per_access:
            yield Lock(self.bql)
        yield self._unmodelled_port
        if self.version.bql_per_access:
            yield self._unlock
            yield Unlock(self.bql)
