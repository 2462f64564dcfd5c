"""kvm_cpu_exec branch by branch: what ends a turn, what it returns, when the BQL is held; and VMs that die."""

import errno
from collections.abc import Generator
from typing import Any

import pytest

from iosim.host import HostThread
from iosim.kvm import Access, Exit, ExitReason, KvmExit
from iosim.model.draws import Subject
from iosim.model.steps import SYNC, AccessKind, Block
from iosim.qemu.cpus import EXCP_HLT, EXCP_INTERRUPT
from iosim.results.result import Result
from tests.port_guest import PortGuest, Program
from tests.support import Row, constant_profile, scenario, simulate

BOTH = pytest.mark.parametrize("qemu", ["1.6", "7.2"])
MODES = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])

Code = Generator[Any, Any, None]


@pytest.fixture
def returned(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that runs a program and gives what each call of kvm_cpu_exec returned, and the machine."""

    def run(program: Program, **machine: Any) -> tuple[list[int], PortGuest]:
        values: list[int] = []
        guest = PortGuest(program, **machine)
        kvm_cpu_exec = guest.qemu.cpu.kvm_cpu_exec

        def noted() -> Generator[Any, Any, int]:
            ret = yield from kvm_cpu_exec()
            values.append(ret)
            return ret

        monkeypatch.setattr(guest.qemu.cpu, "kvm_cpu_exec", noted)
        return values, guest.run()

    return run


def leaving_by(exit_: Exit) -> Program:
    """A program that leaves the guest by *exit_* and then reads a register, to show that it goes on."""

    def program(guest: PortGuest) -> Code:
        yield exit_
        yield from guest.inb(0x3F6)
        yield SYNC
        guest.interrupts.append((guest.now_ns, 0))

    return program


def declared(reason: ExitReason, kvm_exit: KvmExit) -> Exit:
    return Exit(reason, kvm_exit=kvm_exit)


R, K = ExitReason, KvmExit
UNMODELLED = Exit(R.IO_INSTRUCTION, Access(AccessKind(0x3F8, True, 1, 1, False)))


# What an exit to userspace makes of the turn: None, the loop goes on; otherwise the value that kvm_cpu_exec returns.
@BOTH
@pytest.mark.parametrize(
    ("exit_", "ret", "stopped"),
    [
        (UNMODELLED, None, []),
        (declared(R.EPT_MISCONFIG, K.MMIO), None, []),
        (declared(R.PENDING_INTERRUPT, K.IRQ_WINDOW_OPEN), EXCP_INTERRUPT, []),
        (declared(R.TRIPLE_FAULT, K.SHUTDOWN), EXCP_INTERRUPT, ["reset"]),
        (Exit(R.CPUID, hardware_reason=11), -1, ["internal-error"]),
        (declared(R.EPT_VIOLATION, K.UNKNOWN), -1, ["internal-error"]),
        (declared(R.TASK_SWITCH, K.INTERNAL_ERROR), -1, ["internal-error"]),
        (Exit(R.CPUID, failed_entry=True), -1, ["internal-error"]),
        (declared(R.EXCEPTION_NMI, K.EXCEPTION), -1, ["internal-error"]),
        (declared(R.CR_ACCESS, K.SET_TPR), None, []),
        (declared(R.CR_ACCESS, K.TPR_ACCESS), None, []),
        (declared(R.DR_ACCESS, K.DEBUG), None, []),
        (declared(R.HLT, K.HLT), EXCP_HLT, []),
        (Exit(R.EPT_VIOLATION, errno=errno.EINTR), EXCP_INTERRUPT, []),
        (Exit(R.EPT_VIOLATION, errno=errno.EAGAIN), EXCP_INTERRUPT, []),
    ],
)
def test_exit_reasons(returned: Any, exit_: Exit, ret: int | None, stopped: list[str], qemu: str) -> None:
    values, guest = returned(leaving_by(exit_), qemu=qemu)
    assert values == ([] if ret is None else [ret])
    assert guest.stopped == stopped
    goes_on = not stopped and ret != EXCP_HLT
    assert bool(guest.interrupts) == goes_on
    assert guest.qemu.bql.owner is None


@pytest.mark.parametrize(("qemu", "stopped"), [("1.6", ["aborted"]), ("7.2", ["internal-error"])])
def test_other_error_of_kvm_run_aborts_1_6_and_stops_7_2(returned: Any, qemu: str, stopped: list[str]) -> None:
    values, guest = returned(leaving_by(Exit(R.EPT_VIOLATION, errno=errno.EFAULT)), qemu=qemu)
    assert values == [-errno.EFAULT]
    assert guest.stopped == stopped
    assert guest.interrupts == []


def test_hardware_reason_of_an_unknown_exit_is_in_kvm_run(returned: Any) -> None:
    _, guest = returned(leaving_by(Exit(R.CPUID, hardware_reason=11)))
    assert guest.qemu.vcpu.run.exit_reason is KvmExit.UNKNOWN
    assert guest.qemu.vcpu.run.hardware_exit_reason == 11


# What the turn of the exit costs beside exit 700, leave_guest, handle_exit, handler, return_to_userspace 400 and the
# next entry 500: post_run and the branch. Boot takes 600, the register read behind it 2700.
@pytest.mark.parametrize(
    ("exit_", "branch"),
    [
        (declared(R.EPT_MISCONFIG, K.MMIO), 4),  # post_run, mutex_lock, cpu_physical_memory_rw, mutex_unlock
        (declared(R.CR_ACCESS, K.SET_TPR), 2),  # post_run, arch_handle_exit
        (declared(R.PENDING_INTERRUPT, K.IRQ_WINDOW_OPEN), 2),  # post_run, wait_io_event
        (Exit(R.EPT_VIOLATION, errno=errno.EAGAIN), 2),
    ],
)
def test_cost_of_a_turn(exit_: Exit, branch: int) -> None:
    guest = PortGuest(leaving_by(exit_)).run()
    assert guest.interrupts == [(600 + 700 + 400 + branch * 100 + 500 + 2_700, 0)]


# Async events


def test_kicked_while_halted_kvm_cpu_exec_returns_excp_hlt(returned: Any) -> None:
    def program(guest: PortGuest) -> Code:
        yield from guest.task_file(1)
        yield from guest.outb(0x1F7, 0x30)
        yield from guest.outsw()
        yield declared(R.HLT, K.HLT)
        yield SYNC
        assert len(guest.interrupts) == 1

    def kicks(guest: PortGuest) -> Code:
        def steps() -> Code:
            for at in (720_000, 730_000):
                yield Block(at)
                guest.qemu.cpu.exit_request = True
                guest.qemu.vcpu.signal_pending = True
                guest.qemu.vcpu.kick()

        HostThread(guest.host, 9, "kicks", Subject(9)).start(steps())
        yield from program(guest)

    # KVM_EXIT_HLT, twice EXCP_HLT at once because the CPU is still halted; then the disk's interrupt ends the halt.
    values, guest = returned(kicks, qemu="1.6")
    assert values == [EXCP_HLT, EXCP_HLT, EXCP_HLT]
    assert not guest.qemu.cpu.exit_request
    assert guest.interrupts[0][0] > 730_000


@BOTH
def test_exit_request_makes_the_next_kvm_run_return_at_once(returned: Any, qemu: str) -> None:
    ends: list[int] = []

    def program(guest: PortGuest) -> Code:
        for _ in range(3):
            yield from guest.inb(0x3F6)
            ends.append(guest.now_ns)
            guest.qemu.cpu.exit_request = len(ends) == 1

    values, guest = returned(program, qemu=qemu)
    assert values == [EXCP_INTERRUPT]
    assert not guest.qemu.cpu.exit_request
    # signal, return_to_userspace, [mutex_lock], post_run, wait_io_event, pre_run, [mutex_unlock], vcpu_ioctl, enter.
    extra = 900 if qemu == "1.6" else 700
    assert ends[1] - ends[0] == ends[2] - ends[1] + extra


def test_registers_are_put_only_when_qemu_has_changed_them() -> None:
    profile = constant_profile(qemu__put_registers=50_000)
    requests = simulate(scenario(), [(0, "W", 0, 1), (1_000_000, "W", 0, 1)], profile).requests
    assert requests["issue_ns"].tolist() == [500 + 50_000, 1_000_400]


# BQL


# 7.2 holds it for each item: memory_region_dispatch, portio, the register's function, mutex_unlock; pio_item for one
# behind the first. 1.6 holds it from the end of one KVM_RUN to the next: post_run, handle_io, the first item's cpu_io,
# address_space_rw and the three functions, pio_item for each other one, pre_run, mutex_unlock; before the first exit
# put_registers, pre_run, mutex_unlock.
@pytest.mark.parametrize(
    ("qemu", "reads", "words"), [("7.2", 5 * 400, 400 + 255 * 100), ("1.6", 300 + 5 * 900, 300 + 400 + 500 + 255 * 100)]
)
def test_time_that_the_bql_is_held(qemu: str, reads: int, words: int) -> None:
    def status(guest: PortGuest) -> Code:
        for _ in range(5):
            yield from guest.inb(0x3F6)

    def batch(guest: PortGuest) -> Code:
        yield from guest.insw(256)

    assert PortGuest(status, qemu=qemu).run().qemu.bql.held.area == reads
    assert PortGuest(batch, qemu=qemu).run().qemu.bql.held.area == words


# While the first channel's completion waits for the BQL, the vCPU reads a sector of the second channel in one exit.
# Up to 2.3 the main loop waits for the whole exit; from 2.4 it gets in between two items.
@MODES
@pytest.mark.parametrize(("qemu", "kernel"), [("1.6", "3.10"), ("7.2", "6.1")])
def test_main_loop_gets_in_between_two_items_since_2_4(qemu: str, kernel: str, exact: bool) -> None:
    costs = constant_profile(qemu__pio_item=1_400)
    disks = [{"model": "constant", "service": "20us"}, {"model": "constant", "service": "150us"}]
    drives = [{"index": 0, "disk": "sda", "transfer": "pio"}, {"index": 2, "disk": "sdb"}]
    described = scenario(drives=drives, disks=disks, qemu=qemu, kernel=kernel, run={"exact_exits": exact})
    # The DMA request is issued first, and its disk is done about 50 us into the data exit of the PIO-mode read, whose
    # items behind the first take 1400 ns each.
    rows: list[list[Row]] = [[(1_000_100, "R", 0, 1)], [(1_000_000, "W", 0, 1)]]
    waits = simulate(described, rows, costs).requests.set_index("drive")["bql_wait_ns"]
    if qemu == "7.2":
        assert 0 < waits[1] <= 1_400
    else:
        assert waits[1] > 50 * 1_400


# The death of a VM


# At 1,005,000 the first DMA request's driver is in its first udelay. The IPI: exit 700, leave_guest, handle_exit;
# then the handler where the exit has one, return_to_userspace, [mutex_lock,] post_run, the branch.
@MODES
@BOTH
@pytest.mark.parametrize(
    ("kind", "behind_the_exit"),
    [
        ("shutdown", 6),  # leave_guest, handle_exit, handle_triple_fault, return, post_run, system_reset
        ("internal-error", 6),  # handle_task_switch ... internal_error
        ("unknown-exit", 5),  # no handler
        ("fail-entry", 5),  # no handler; arch_handle_exit
        ("run-error", 5),  # handle_ept_violation; no branch
    ],
)
def test_event_ends_the_vms_requests(kind: str, behind_the_exit: int, qemu: str, exact: bool) -> None:
    dies = {"name": "dies", "qemu": qemu, "drive": [{"index": 0}, {"index": 1}, {"index": 2}]}
    dies["event"] = [{"at": "1005us", "kind": kind}]
    lives = {"name": "lives", "qemu": qemu, "drive": [{}]}
    late = 3_000_000
    rows: list[list[Row]] = [
        [(0, "W", 0, 1), (1_000_000, "W", 0, 1), (late, "R", 0, 1)],
        [(1_000_000, "W", 0, 1)],
        [(1_000_000, "F", 0, 0)],
        [(1_000_000, "W", 0, 1), (late, "W", 0, 1)],
    ]
    result = simulate(scenario(vms=[dies, lives], run={"exact_exits": exact}), rows)
    died = 1_005_000 + 700 + behind_the_exit * 100 + (100 if qemu == "1.6" else 0)
    table = result.requests
    assert table[table["vm"] == "lives"]["status"].tolist() == ["ok", "ok"]
    dead = table[table["vm"] == "dies"]
    assert dead["status"].tolist() == ["ok", "error", "error", "error", "error"]
    assert dead["done_ns"].tolist()[1:] == [died, late, died, died]
    # What was never issued counts as issued when it failed.
    assert dead["issue_ns"].tolist()[1:] == [1_000_400, late, died, died]
    assert counts(result) == (7, 3, 4, 0)


def counts(result: Result) -> tuple[int, int, int, int]:
    requests = result.summary["requests"]
    return requests["in"], requests["done"], requests["failed"], requests["unfinished"]


# The disk is at work for the first request, the guest sleeps: the fault wakes it.
@MODES
@pytest.mark.parametrize("kind", ["shutdown", "internal-error", "unknown-exit", "fail-entry", "run-error"])
def test_request_whose_disk_is_still_at_work_fails_too(kind: str, exact: bool) -> None:
    described = scenario(event=[{"at": "1120us", "kind": kind}], run={"exact_exits": exact})
    result = simulate(described, [(1_000_000, "W", 0, 1), (1_100_000, "W", 0, 1)])
    assert result.requests["status"].tolist() == ["error", "error"]
    assert 1_120_000 < result.requests["done_ns"].max() < 1_125_000
    assert result.requests["disk_service_ns"].tolist()[0] > 0
    assert counts(result) == (2, 0, 2, 0)


@MODES
def test_events_after_the_death_change_nothing(exact: bool) -> None:
    kinds = ["shutdown", "signal", "run-error", "shutdown"]
    events = [{"at": f"{1_005 + n}us", "kind": kind} for n, kind in enumerate(kinds)]
    result = simulate(scenario(event=events, run={"exact_exits": exact}), [(1_000_000, "W", 0, 1)])
    assert result.requests["done_ns"].tolist() == [1_005_000 + 1_300]
    assert counts(result) == (1, 0, 1, 0)


# The VM dies before the first request of its closed trace comes: the others never do, and the run ends all the same.
@MODES
def test_closed_trace_of_a_vm_that_is_dead_already(exact: bool) -> None:
    described = scenario(
        [{"replay": "closed"}],
        event=[{"at": "10us", "kind": "shutdown"}],
        background=[{"reason": "CPUID", "rate": 1000}],
        run={"exact_exits": exact},
    )
    result = simulate(described, [(700_000, "W", 0, 1), (800_000, "W", 0, 1)])
    assert result.requests["done_ns"].tolist() == [700_000]
    assert counts(result) == (1, 0, 1, 0)


# A run that ends while requests are on their way.
@MODES
def test_requests_that_the_end_of_the_run_finds_are_unfinished(exact: bool) -> None:
    described = scenario(run={"exact_exits": exact, "duration": "1100us"})
    result = simulate(described, [(0, "W", 0, 1), (1_000_000, "W", 0, 1), (1_000_000, "W", 0, 1)])
    assert result.requests["status"].tolist() == ["ok", "unfinished", "unfinished"]
    assert result.requests["done_ns"].tolist()[1:] == [1_100_000, 1_100_000]
    assert counts(result) == (3, 1, 0, 2)


# Declared exits beside the requests' own, through the tables.


@MODES
@pytest.mark.parametrize(
    ("reason", "kvm_exit", "userspace", "ended"),
    [
        ("EPT_VIOLATION", None, False, 29),
        ("EPT_VIOLATION", "MMIO", True, 29),
        ("EPT_MISCONFIG", None, True, 29),
        ("PENDING_INTERRUPT", "IRQ_WINDOW_OPEN", True, 29),
        ("CR_ACCESS", "SET_TPR", True, 29),
        ("HLT", "HLT", True, 28),
    ],
)
def test_declared_exits_are_counted_and_the_requests_are_done(
    reason: str, kvm_exit: str | None, userspace: bool, ended: int, exact: bool
) -> None:
    background = [{"reason": reason, "rate": 10_000.0, "arrivals": "periodic", "kvm_exit": kvm_exit}]
    described = scenario(background=background, run={"exact_exits": exact, "duration": "3ms"})
    result = simulate(described, [(50_000 + n * 500_000, "W", 0, 1) for n in range(5)])
    assert counts(result) == (5, 5, 0, 0)
    table = result.exits.set_index(["reason", "userspace"])["count"]
    # Due every 100 us; the one at the end of the run is never taken. The last HLT has not ended by then.
    assert table[reason, userspace] == ended
    assert table["IO_INSTRUCTION", True] == 5 * 26
