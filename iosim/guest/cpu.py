"""The guest as its virtual CPU executes it: what happens in non-root mode between an entry and the next exit."""

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias

from iosim.guest.access import BoundAccess, DataBlock, Section
from iosim.guest.command import Command
from iosim.host import End, HostThread, Outcome
from iosim.kvm import Access, Exit, ExitReason, Irq, Vcpu
from iosim.model.ata import Reg
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, AccessKind, Path, Run, Segment, Steps, Template

Ops: TypeAlias = Generator[Any, Any, Any]
"""Guest code: it yields what it spends (`Path`), what leaves the guest (`Exit`), many accesses at once (`Run`),
`More`, `Submit`, `Halt`, `Interruptible`, `Spin` or SYNC."""

HLT_EXIT = Exit(ExitReason.HLT)

POLLS_PER_RUN = 64
"""How many reads of a busy register one coalesced run holds; a run that ends undisturbed is followed by the next."""


class Submit(NamedTuple):
    """An access, so far executed up to the device's function: *begin* calls that, and what begins is carried out."""

    begin: Callable[[], Any]


class More(NamedTuple):
    """A run that the next one follows at once: both are executed as one."""

    run: Run


class Halt(NamedTuple):
    """Nothing to do: *idle* is spent, then HLT. An interrupt in between ends the idling."""

    idle: Path


class Interruptible(NamedTuple):
    """*path* is spent; whatever takes the vCPU out of the guest ends it, and the code goes on with what is left."""

    path: Path


class Templates(Protocol):
    """The recorded round trips (`iosim.qemu.templates.TemplateRecorder`)."""

    def round_trip(self, kind: AccessKind, guest_path: Path) -> Template:
        """Return the template of an access."""

    def submission(self, kind: AccessKind, guest_path: Path) -> tuple[Template, Template]:
        """Return front and back of an access that begins a submission."""

    def halt(self, guest_path: Path) -> Template:
        """Return the front of HLT."""


class Channel(Protocol):
    """The device's registers, as the guest's accesses reach them when they are coalesced, and whose time it is."""

    request: Request | None
    in_flight: bool

    @property
    def failed(self) -> bool:
        """Whether the last command has ended with ERR in the status."""

    def write(self, register: Reg, value: int) -> Any:
        """Write a register other than data."""

    def apply(self, effects: Any, values: tuple[int, ...]) -> None:
        """Do what a section's accesses do to the device (`iosim.guest.access.Section.effects`)."""

    def read(self, register: Reg) -> int:
        """Read a register other than data."""

    def data(self, n_bytes: int) -> Any:
        """Move bytes over the data port."""


class Values(Protocol):
    """What the accesses of a section write (`iosim.guest.command.Command`)."""

    @property
    def values(self) -> tuple[int, ...]:
        """The values, by their index."""


class Kernel(Protocol):
    """The guest's operating system: what it does when nothing interrupts it, and on an interrupt."""

    def main(self) -> Ops:
        """Run what is ready, halt when nothing is."""

    def interrupt(self, irq: Irq) -> Ops:
        """Handle an interrupt, interrupts off."""

    def has_work(self) -> bool:
        """Tell whether a halted vCPU has something to do."""

    def first_arrival(self) -> Request | None:
        """Return the request whose arrival wakes the vCPU, if one does."""


class Frame:
    """Code on the guest's stack: the kernel's main loop, or an interrupt handler above it.

    `unfinished` is what the frame was doing when it was interrupted; `request` and `owner` are what the thread
    carried then.
    """

    __slots__ = ("collected", "owner", "request", "result", "send", "unfinished")

    def __init__(self, ops: Ops) -> None:
        self.send = ops.send
        self.collected: list[Run] = []
        self.unfinished: Any = None
        self.result: Any = None
        self.request: Request | None = None
        self.owner: Request | None = None


class GuestCpu:
    """The vCPU's guest side: a stack of frames, the interrupt flag, and the way accesses become exits.

    With *templates* given, sequences of accesses that nobody else can touch become one `Run`; without, each access is
    its own exit.
    """

    def __init__(self, thread: HostThread, templates: Templates | None) -> None:
        self.thread = thread
        self.interrupts_on = True
        self.mid_entry = False
        self.vcpu: Vcpu
        self.kernel: Kernel
        self.background = False
        self._templates = templates
        self._posted_interrupt = Path(())
        self._stack: list[Frame] = []
        self.drawn_apart: Subject | None = None
        self._subject_to_restore: Subject | None = None
        self._halt_run: Run | None = None

    def boot(self, kernel: Kernel, vcpu: Vcpu, posted_interrupt: Path | None = None) -> None:
        """Give the guest its operating system; it begins in its main loop.

        *posted_interrupt* is what the processor spends to deliver one (APICv).
        """
        self.kernel = kernel
        self.vcpu = vcpu
        self._posted_interrupt = posted_interrupt or Path(())
        self._stack = [Frame(kernel.main())]

    def reset(self) -> None:
        """The guest is where it was at power-on: nothing on its stack."""
        self.interrupts_on = True
        self.mid_entry = self.background = False
        self.drawn_apart = self._subject_to_restore = None
        self._stack = [Frame(self.kernel.main())]

    # What KVM asks

    @property
    def interruptible(self) -> bool:
        """Whether the guest takes an interrupt now (vmx_interrupt_allowed)."""
        return self.interrupts_on

    @property
    def in_handler(self) -> bool:
        """Whether an interrupt handler runs, above the kernel's main loop."""
        return len(self._stack) > 1

    def has_work(self) -> bool:
        """Tell whether the guest, halted, would go on (its own timer has fired)."""
        return self.kernel.has_work()

    def working_for(self, request: Request | None) -> bool:
        """Tell whether the guest is at work that the request has to wait for: another's section, a background exit."""
        if self.background:
            return True
        return not self.interrupts_on and self.thread.owner is not None and self.thread.owner is not request

    def inject(self, irq: Irq) -> None:
        """The interrupt is taken at the next entry: its handler runs, interrupts off."""
        self.interrupts_on = False
        self._stack.append(Frame(self.kernel.interrupt(irq)))

    def begin_wake(self) -> None:
        """The guest is woken by its timer: what follows is the delivery of the first arrival."""
        request = self.kernel.first_arrival()
        thread = self.thread
        self.drawn_apart = self._subject_to_restore = None
        thread.owner = None
        thread.request = request
        thread.delivering = request is not None
        if request is not None:
            request.charge(Stage.IRQ_DELIVERY, thread.host.now_ns, thread.name)
            thread.subject = self.vcpu.subject_of(request)

    def draw_apart(self) -> None:
        """A signal cancels an entry: the costs up to the next one are the thread's own draws.

        The entry itself, made later, belongs to what was cancelled, and so do its draws; a coalesced run has made
        them already. (If the entry follows a kick, it is the kick's, and is drawn apart as well.)
        """
        thread = self.thread
        if self._subject_to_restore is None and self.drawn_apart is None:
            self.drawn_apart = thread.subject
            thread.subject = thread.own_subject

    def end_apart(self) -> None:
        """The cancelled entry is made now."""
        assert self.drawn_apart is not None
        self.thread.subject = self.drawn_apart
        self.drawn_apart = None

    def set_aside(self) -> None:
        """Somebody else's interrupt comes first: what the thread carries waits in the guest.

        A request that the thread was about to bring to the guest is no part of what was interrupted.
        """
        thread = self.thread
        self.drawn_apart = self._subject_to_restore = None
        frame = self._stack[-1]
        if not thread.delivering:
            frame.request, frame.owner = thread.request, thread.owner
        if thread.request is not None:
            thread.request.wait_in(Stage.GUEST_QUEUE, thread.name)

    # The guest's code runs

    def run(self, vcpu: Vcpu) -> Steps[Exit | None]:
        """Go on until something leaves the guest; returns the exit.

        Returns None at a later entry's check that found something pending: `mid_entry` says that the rest of that
        entry belongs to a coalesced run that goes on here.
        """
        self.mid_entry = False
        if self._subject_to_restore is not None:
            yield SYNC
            self.thread.subject = self._subject_to_restore
            self._subject_to_restore = None
        stack = self._stack
        while True:
            if vcpu.apicv and self.interrupts_on:
                yield SYNC
                if self._only_interrupts():
                    self.thread.kicked = False
                    yield from self._take_posted_interrupt(vcpu.irr.pop(0))
                    continue
            frame = stack[-1]
            step = frame.unfinished
            if step is None:
                result, frame.result = frame.result, None
                try:
                    step = frame.send(result)
                except StopIteration:
                    self._return()
                    continue
                kind = type(step)
                if kind is Run:
                    if frame.collected:
                        frame.collected.append(step)
                        step = self._join(frame.collected)
                elif kind is More:
                    frame.collected.append(step.run)
                    continue
                elif kind is Submit:
                    submission = self._begin(step)
                    if submission is not None:
                        yield from submission(self.thread)
                    continue
                elif kind is Halt:
                    left: Exit | None
                    goes_on, left = yield from self._halt(step, vcpu)
                    if goes_on:
                        continue
                    return left
                elif kind is Interruptible:
                    frame.result = yield step.path
                    if frame.result is None:
                        continue
                    if not self._only_interrupts():
                        return self._kicked()
                    self.thread.kicked = False
                    continue
                elif kind is Exit:
                    exit_: Exit = step
                    return exit_
            else:
                frame.unfinished = None
            rest = yield step
            if rest is None:
                continue
            if type(rest) is Outcome:
                if rest.end is End.POLLED:
                    frame.result = rest.progress.poll_value
                    continue
                frame.unfinished = rest.progress
                if rest.progress.run.poll is not None and rest.progress.at_access:
                    # By the time the polling goes on, the register may have changed: the driver looks again.
                    rest.progress.give_back()
                    frame.unfinished = None
                if rest.end is End.AT_CHECK:
                    self.mid_entry = True
                    vcpu.vmcs.launched = True
                    return None
            else:
                frame.unfinished = rest
            if not self._only_interrupts():
                return self._kicked()
            self.thread.kicked = False

    def _begin(self, submit: Submit) -> Callable[[HostThread], Steps[None]] | None:
        """The access has come to the device; return what it begins, if anything."""
        begun: Callable[[HostThread], Steps[None]] | None = submit.begin()
        return begun

    def _join(self, collected: list[Run]) -> Run:
        """Return the collected runs as one, and forget them."""
        joined = collected[0]
        for run in collected[1:]:
            joined = joined.then(run)
        collected.clear()
        return joined

    def _halt(self, halt: Halt, vcpu: Vcpu) -> Steps[tuple[bool, Exit | None]]:
        """Idle and HLT. Returns (True, None) if the guest goes on, else False and the exit (None: to the check).

        Coalesced, the way into the kernel is one run; the sleep and the entry behind it are KVM's own functions.
        """
        if self._templates is None:
            rest = yield halt.idle
            return self._left_idle(HLT_EXIT if rest is None else None)
        if self._halt_run is None:
            self._halt_run = Run([Segment(self._templates.halt(halt.idle), 1)])
        vcpu.exit = HLT_EXIT
        outcome = yield self._halt_run
        if outcome is not None:
            outcome.progress.give_back_rest()
            return self._left_idle(None)
        vcpu.vmcs.launched = True
        vcpu.halted = True
        yield from vcpu.sleep_until_runnable()
        yield vcpu.enter
        while (yield vcpu.check):
            if vcpu.signal_pending:
                return False, None
            yield from vcpu.process_requests()
        yield vcpu.vmcs.entry(self.thread.cpu)
        return True, None

    def _left_idle(self, exit_: Exit | None) -> tuple[bool, Exit | None]:
        """The guest goes on if a posted interrupt ended it; else it leaves by *exit_*, or for the IPI."""
        if exit_ is not None or not self._only_interrupts():
            return False, exit_ or self._kicked()
        self.thread.kicked = False
        return True, None

    def _only_interrupts(self) -> bool:
        """Whether an interrupt that needs no exit (APICv) has come for the vCPU, and nothing else."""
        vcpu = self.vcpu
        waits = vcpu.apicv and bool(vcpu.irr) and not self.thread.need_resched
        return waits and vcpu.fault is None and not vcpu.signal_pending

    def _take_posted_interrupt(self, irq: Irq) -> Steps[None]:
        """The processor delivers a posted interrupt by itself; its handler runs."""
        self.vcpu.begin_delivery(irq)
        yield self._posted_interrupt
        yield SYNC
        self.inject(irq)

    def _return(self) -> None:
        """The frame's code has ended: the frame below goes on with what it carried."""
        stack = self._stack
        stack.pop()
        below = stack[-1]
        self.interrupts_on = True
        thread = self.thread
        if below.request is not None:
            below.request.stop_waiting(thread.host.now_ns)
        thread.request = below.request
        thread.owner = below.owner
        thread.subject = self.vcpu.subject_of(below.owner)
        below.request = below.owner = None

    def _kicked(self) -> Exit:
        """An IPI takes the vCPU out: for an interrupt, a fault or a signal."""
        self.thread.kicked = False
        if self.vcpu.fault is not None:
            return self._take_fault()
        irq = self.vcpu.irr[0] if self.vcpu.irr else None
        if irq is not None and self.interruptible:
            self.vcpu.begin_delivery(irq)
        else:
            # What is interrupted may have drawn its costs already, up to its end: another subject draws this exit's.
            subject = self.thread.subject
            self._subject_to_restore = subject
            its = self.vcpu.subject_of(None if irq is None else irq.request)
            self.thread.subject = self.thread.own_subject if its is subject else its
        return Exit(ExitReason.EXTERNAL_INTERRUPT, request=None if irq is None else irq.request)

    def _take_fault(self) -> Exit:
        fault = self.vcpu.fault
        assert fault is not None
        self.vcpu.fault = None
        self.thread.kicked = False
        self.thread.subject = self.thread.own_subject  # see _kicked
        return fault

    # What drivers are written with

    def carry(self, request: Request) -> None:
        """The thread works for *request* from here on."""
        thread = self.thread
        request.stop_waiting(thread.host.now_ns)
        thread.request = thread.owner = request
        thread.subject = self.vcpu.subject_of(request)
        thread.delivering = False

    def put_down(self) -> None:
        """The thread works for nobody."""
        thread = self.thread
        thread.request = thread.owner = None
        thread.subject = thread.own_subject
        thread.delivering = False

    def let_go(self, request: Request) -> None:
        """Somebody else has *request* from this instant on, whether the thread carries it or has set it aside."""
        thread = self.thread
        if thread.request is request:
            thread.charge_under_way()
            thread.request = None
        for frame in self._stack:
            if frame.request is request:
                frame.request = None

    def exact_access(self, access: BoundAccess, value: int = 0) -> Ops:
        """One port access as an exit of its own; returns the value read."""
        yield access.path
        port_access = Access(access.kind, value)
        yield Exit(ExitReason.IO_INSTRUCTION, port_access, request=self.thread.owner)
        return port_access.value

    def submitting_access(self, access: BoundAccess, command: Command, channel: Channel, more: bool = False) -> Ops:
        """A register write that begins a submission."""
        value = command.values[access.field]
        if self._templates is None:
            yield from self.exact_access(access, value)
        else:
            yield from self._around(access, lambda: channel.write(access.register, value), more)

    def _around(self, access: BoundAccess, begin: Callable[[], Any], more: bool) -> Ops:
        """Way down, submission, way back of an access."""
        if access.front is None:
            assert self._templates is not None
            templates = self._templates.submission(access.kind, access.path)
            access.front, access.back = (Run([Segment(template, 1)]) for template in templates)
        back = access.back
        assert back is not None
        yield access.front
        yield Submit(begin)
        yield More(back) if more else back

    def section(self, section: Section, command: Values, channel: Channel, more: bool = False) -> Ops:
        """The accesses of *section*, their values taken from *command*.

        *more*, here and below: another access follows at once, without a look at anything that others change.
        """
        if self._templates is None or (channel.in_flight and not section.harmless):
            if section.before is not None:
                yield section.before
            for access in section.accesses:
                yield from self.exact_access(access, command.values[access.field])
            return
        if section.effects:
            channel.apply(section.effects, command.values)
        run = section.run
        if run is None:
            segments = [Segment(self._templates.round_trip(access.kind, access.path), 1) for access in section.accesses]
            if section.before is not None:
                segments.insert(0, Segment(Template(section.before.items), 1))
            run = section.run = Run(segments)
        yield More(run) if more else run

    def repeated(self, access: BoundAccess, n: int, channel: Channel) -> Ops:
        """The same access of the data port *n* times; the device does nothing but move the bytes."""
        if self._templates is None:
            for _ in range(n):
                yield from self.exact_access(access)
            return
        kind = access.kind
        begun = channel.data(n * kind.width * kind.items)
        assert begun is None
        yield Run([Segment(self._templates.round_trip(kind, access.path), n)])

    def poll(self, access: BoundAccess, channel: Channel, done: Callable[[int], bool], more: bool = False) -> Ops:
        """Read a register until *done* says so; returns the last value. The request is carried again from then on."""
        while True:
            if self._templates is None:
                value = yield from self.exact_access(access)
            elif not channel.in_flight:
                value = channel.read(access.register)
                if access.run is None:
                    access.run = Run([Segment(self._templates.round_trip(access.kind, access.path), 1)])
                yield More(access.run) if more and done(value) else access.run
            elif done(channel.read(access.register)):
                value = yield from self.exact_access(access)
            else:
                if access.polls is None:
                    template = self._templates.round_trip(access.kind, access.path)
                    read = partial(channel.read, access.register)
                    access.polls = Run([Segment(template, POLLS_PER_RUN)], read)
                value = yield access.polls
                if value is None:
                    continue
            if done(value):
                if channel.request is not None and self.thread.request is None:
                    self.carry(channel.request)
                return value

    def data(self, block: DataBlock, channel: Channel, more: bool = False) -> Ops:
        """A data phase; the last access may begin a submission."""
        if self._templates is None:
            for kind, path, n in block.accesses:
                for _ in range(n):
                    yield path
                    yield Exit(ExitReason.IO_INSTRUCTION, Access(kind), request=self.thread.owner)
            return
        run = block.run
        if run is None:
            run = block.run = Run(
                [Segment(self._templates.round_trip(kind, path), n) for kind, path, n in block.all_but_last()]
            )
        if run.segments:
            begun = channel.data(block.n_bytes)
            assert begun is None
            yield More(run)
        kind = block.last.kind
        yield from self._around(block.last, lambda: channel.data(kind.width * kind.items), more)
