"""Round trips recorded by running the functions of the path once: what coalesced execution sums.

A scripted guest leaves by an exit; the steps from there until it runs again, or sleeps, are the round trip. The vCPU,
the QEMU side and the device are the real ones, of the same versions, on a clock that stands still.
"""

from typing import Any

from iosim.host import Host, HostThread, Mutex
from iosim.kvm import Access, Exit, ExitReason, IrqChip, Vcpu
from iosim.model.ata import Reg, channel_ports
from iosim.model.draws import Subject
from iosim.model.steps import (
    SYNC,
    AccessKind,
    Binder,
    Block,
    Call,
    Check,
    Item,
    Lock,
    Op,
    Path,
    Steps,
    Template,
    Unlock,
    action,
)
from iosim.qemu.cpus import KvmCpu, PortSpace
from iosim.qemu.ide import IDEBus
from iosim.qemu.runstate import RunState
from iosim.qemu.versions import QemuVersion

_GUEST_POINT: Any = object()


class _Recording:
    """Collects items; takes the place of a vCPU's account."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def note(self, op: Op) -> None:
        self.items.append(action(op))


class _ScriptedGuest:
    """A guest that leaves by the same exit again and again, and has nothing to do when it is halted."""

    mid_entry = False
    drawn_apart = None

    def __init__(self) -> None:
        self.exit: Exit | None = None

    def has_work(self) -> bool:
        return False

    def run(self, vcpu: Vcpu) -> Steps[Exit | None]:
        yield _GUEST_POINT
        return self.exit


class _RecordedBus(IDEBus):
    """A channel without drives that notes when its registers are read."""

    recording: _Recording

    def read(self, register: Reg) -> int:
        self.recording.note(Op.DEVICE)
        return super().read(register)

    def access(self, thread: HostThread, register: Reg, access: Access, further: bool = False) -> Steps[None]:
        yield from super().access(thread, register, access, further)
        self.recording.note(Op.SUBMIT)


class TemplateRecorder:
    """Records templates for one kernel and QEMU version; equal accesses give the same template."""

    def __init__(self, binder: Binder, version: QemuVersion, kernel: str) -> None:
        host = Host()
        thread = HostThread(host, 0, "recorder", Subject(0))
        self._recording = _Recording()
        self._guest = _ScriptedGuest()
        self._vcpu = Vcpu(thread, binder, kernel, self._guest)
        self._vcpu.account = self._recording
        self._vcpu.vmcs.vmx_vcpu_load(thread.cpu)
        self._vcpu.vmcs.launched = True
        irqchip = IrqChip(binder, version.irq_ioctls)
        main_loop: Any = None
        ports = PortSpace()
        for channel in (0, 1):
            bus = _RecordedBus(binder, version, channel, irqchip, main_loop, RunState(host), False)
            bus.recording = self._recording
            ports.add(bus, channel_ports(channel))
        bql = Mutex(host, "recorder")
        self._cpu = KvmCpu(thread, binder, version, bql, self._vcpu, ports, lambda why: None, None)
        self._cpu.vcpu_dirty = False
        self._accesses: dict[tuple[AccessKind, Path], tuple[Template, Template, Template]] = {}
        self._halts: dict[Path, Template] = {}
        self._items: dict[tuple[AccessKind, bool], Template] = {}

    def round_trip(self, kind: AccessKind, guest_path: Path) -> Template:
        """Return the template of an access: from the guest's instructions before it back into the guest."""
        return self._port_access(kind, guest_path)[0]

    def mean_round_trip_ns(self, kind: AccessKind) -> float:
        """Return the mean time of an access from the guest back into it, without the guest's own instructions."""
        items = self.round_trip(kind, Path(())).items
        return sum(item.cost.mean_ns for item in items if item.cost is not None)

    def submission(self, kind: AccessKind, guest_path: Path) -> tuple[Template, Template]:
        """Return front and back of an access that begins a submission: up to it, and from there into the guest."""
        _, front, back = self._port_access(kind, guest_path)
        return front, back

    def halt(self, guest_path: Path) -> Template:
        """Return the front of HLT: from the guest's last instructions to the vCPU thread's sleep."""
        if guest_path not in self._halts:
            self._guest.exit = Exit(ExitReason.HLT)
            items = self._record(self._cpu.kvm_cpu_exec(), guest_path)
            self._vcpu.halted = False
            self._halts[guest_path] = Template(items)
        return self._halts[guest_path]

    def _port_access(self, kind: AccessKind, guest_path: Path) -> tuple[Template, Template, Template]:
        key = (kind, guest_path)
        if key not in self._accesses:
            self._guest.exit = Exit(ExitReason.IO_INSTRUCTION, Access(kind))
            items = self._record(self._cpu.kvm_cpu_exec(), guest_path)
            at = max(i for i, item in enumerate(items) if item.op is Op.SUBMIT)
            front, back = [
                Template([item for item in part if item.op is not Op.SUBMIT], kind) for part in (items[:at], items[at:])
            ]
            self._accesses[key] = (Template((*front.items, *back.items), kind), front, back)
        return self._accesses[key]

    def item(self, access: Access, further: bool) -> Template:
        """Return the template of one item of a batched exit within kvm_handle_io, the first or a further one."""
        kind = access.kind._replace(items=1)
        if (kind, further) not in self._items:
            self._recording.items = []
            for step in self._cpu.address_space_rw(Access(kind), further):
                self._note(step)
            items = [item for item in self._recording.items if item.op is not Op.SUBMIT]
            self._items[kind, further] = Template(items)
        return self._items[kind, further]

    def _record(self, steps: Steps[int], guest_path: Path) -> list[Item]:
        points = 0
        send = steps.send
        callers: list[Any] = []
        result: Any = None
        while True:
            try:
                step = send(result)
            except StopIteration as stop:
                send = callers.pop()
                result = stop.value
                continue
            result = None
            if step is _GUEST_POINT:
                points += 1
                if points == 2:
                    break
                self._recording.items = list(guest_path.items)
            elif isinstance(step, Block):
                break
            elif isinstance(step, Call):
                callers.append(send)
                send = step.steps.send
            else:
                result = self._note(step)
        steps.close()
        return self._recording.items

    def _note(self, step: Any) -> Any:
        """Append the items of *step*, and return what it results in when nothing is pending or contended."""
        items = self._recording.items
        if isinstance(step, Path):
            items.extend(step.items)
        elif isinstance(step, Lock):
            items.append(action(Op.LOCK))
            return (0, 0)
        elif isinstance(step, Unlock):
            items.append(action(Op.UNLOCK))
        elif isinstance(step, Check):
            items.append(action(Op.CHECK))
            return False
        elif step is SYNC:
            pass
        else:
            raise AssertionError(f"a round trip does not {type(step).__name__}")
        return None
