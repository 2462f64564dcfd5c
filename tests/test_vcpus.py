"""Several vCPUs of one VM, and the guest's own load: who takes the interrupt, the host lock, the BQL, preemption."""

from typing import Any

import pytest

from iosim.host import Host, HostThread, SpinLock
from iosim.model.draws import Subject
from iosim.model.records import Request
from iosim.model.steps import SYNC, Binder, Delay, Mode, Spin, Steps
from tests.support import constant_profile, scenario, simulate

MODES = pytest.mark.parametrize("exact", [True, False], ids=["exact", "coalesced"])
DMA = (1_000_000, "W", 0, 8)


def spinning(exact: bool, kick_at: int | None = None) -> list[tuple[str, int]]:
    """Three vCPUs take the lock at 0, 100 and 200 ns, each for 1,000 ns: who has it from when on."""
    host = Host(exact)
    lock = SpinLock()
    binder = Binder(constant_profile())
    got: list[tuple[str, int]] = []

    def steps(thread: HostThread, first_ns: int) -> Steps[None]:
        if first_ns:
            yield binder.path(Delay(first_ns, "before"), mode=Mode.GUEST)
        step: Any = Spin(lock)
        while step is not None:
            left = yield step
            if left is not None:
                thread.kicked = False
                yield binder.path(Delay(250, "exit"))
                yield SYNC
            step = left
        got.append((thread.name, host.now_ns))
        yield binder.path(Delay(1_000, "section"), mode=Mode.GUEST)
        yield SYNC
        lock.release()
        thread.request = None

    threads = []
    for number in range(3):
        request = Request(number, None, number, "W", 0, 1, 0)
        thread = HostThread(host, 10 + number, f"vcpu{number}", request)
        thread.request = request
        thread.start(steps(thread, 100 * number))
        threads.append(thread)
    if kick_at is not None:
        kicker = HostThread(host, 1, "kicker", Subject(0))

        def kick(at: int) -> Steps[None]:
            yield binder.path(Delay(at, "wait"))
            yield SYNC
            assert threads[1].kick()

        kicker.start(kick(kick_at))
    host.run()
    return got


@MODES
def test_spinlock_is_handed_over_in_order(exact: bool) -> None:
    got = spinning(exact)
    assert got == [("vcpu0", 0), ("vcpu1", 1_000), ("vcpu2", 2_000)]


# Out of the guest from 950 to 1,200: the lock is its own from 1,000 on all the same, and vcpu2 waits for it.
@MODES
def test_vcpu_that_is_taken_out_while_it_spins_keeps_its_place(exact: bool) -> None:
    got = spinning(exact, kick_at=950)
    assert got == [("vcpu0", 0), ("vcpu1", 1_200), ("vcpu2", 2_200)]


# Issue: SEL 4, TF 7, bus master 3, command 2, START 2; interrupt: 8 (domain facts: 26 for a DMA command).
@MODES
@pytest.mark.parametrize(("irq_vcpu", "counts"), [(0, {0: 26}), (1, {0: 18, 1: 8})])
def test_interrupt_goes_to_its_vcpu(irq_vcpu: int, counts: dict[int, int], exact: bool) -> None:
    described = scenario([{"vcpu": 0}], vcpus=2, irq_vcpu=irq_vcpu, run={"exact_exits": exact, "log": "ports"})
    result = simulate(described, [DMA])
    assert result.accesses is not None
    assert result.accesses["vcpu"].value_counts().to_dict() == counts
    request = result.requests.iloc[0]
    assert (request["exits"], request["userspace_exits"], request["irqs"]) == (26, 26, 1)
    # The interrupt wakes a halted vCPU either way: the same way, on another thread.
    alone = simulate(scenario(run={"exact_exits": exact}), [DMA]).requests.iloc[0]
    assert request["latency_ns"] == alone["latency_ns"]


# Both vCPUs wake up at the same instant; ata_host.lock lets them issue one after the other, though they have a channel
# each. On one vCPU there is nobody to wait for.
@MODES
def test_vcpus_share_the_host_lock(exact: bool) -> None:
    waits = []
    for vcpus in (1, 2):
        described = scenario([{"index": 0}, {"index": 2}], vcpus=vcpus, run={"exact_exits": exact})
        result = simulate(described, [DMA])
        assert (result.requests["status"] == "ok").all()
        spun = result.spans[result.spans["function"] == "_raw_spin_lock_irqsave"]
        waits.append(spun.groupby("drive")["end_ns"].count().to_dict())
    assert waits[0] == {}
    assert 1 in waits[1]


# The host lock keeps the driver's own accesses apart, but those to other devices come in between.
@MODES
@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_vcpus_contend_for_the_bql(qemu: str, exact: bool) -> None:
    other = {"reason": "IO_INSTRUCTION", "kvm_exit": "IO", "rate": 100_000.0, "arrivals": "periodic", "vcpu": 1}
    waits = []
    for background in ([], [other]):
        described = scenario(vcpus=2, background=background, qemu=qemu, run={"exact_exits": exact})
        result = simulate(described, [(1_000_000 + 300_700 * k, "W", 8 * k, 8) for k in range(40)])
        assert (result.requests["status"] == "ok").all()
        waits.append(int(result.requests["bql_wait_ns"].sum()))
    assert waits[0] == 0
    assert waits[1] > 0


# A burst from 1,000,000 on (share 0.5: the pause is as long). At 1,300,000 a request comes: a kick takes the vCPU out.
# Exit 700, leave_guest, handle_exit, external interrupt: 300, vcpu_enter_guest 100, entry 200: the guest sees it.
@MODES
def test_request_interrupts_the_guests_load(exact: bool) -> None:
    load = {"share": 0.5, "burst": "1ms", "lengths": "constant"}
    result = simulate(scenario(load=load, run={"exact_exits": exact, "duration": "1900us"}), [(1_300_000, "W", 0, 8)])
    request = result.requests.iloc[0]
    assert (request["status"], request["issue_ns"]) == ("ok", 1_300_000 + 1_300)
    exits = result.exits.set_index("reason")["count"]
    # The arrival, and the interrupt, which comes while the guest computes on.
    assert exits["EXTERNAL_INTERRUPT"] == 2


# Bursts of 1 ms with pauses of 1 ms behind their ends.
@MODES
def test_share_of_the_load(exact: bool) -> None:
    load = {"share": 0.5, "burst": "1ms", "lengths": "constant"}
    described = scenario(load=load, run={"exact_exits": exact, "duration": "100ms"})
    result = simulate(described, [(99_999_000, "W", 0, 8)])
    busy = result.resources.set_index("resource").loc["web/vcpu0"]
    assert busy["utilisation"] == pytest.approx(0.5, abs=0.01)


# Two guests that compute all the time on one CPU, 1 ms each in turn. Every turn ends with an exit, which ends with
# the guest's next turn: the 20th, the guest b's 10th, ends at 20.03 ms, and b is not back by the end.
@MODES
def test_two_loads_share_a_cpu(exact: bool) -> None:
    table = {"load": {"share": 1.0, "burst": "100ms", "lengths": "constant"}, "drive": [{}]}
    described = scenario(
        vms=[{"name": "a", **table}, {"name": "b", **table}],
        host={"cpus": 1, "slice": "1ms"},
        run={"exact_exits": exact, "duration": "20500us"},
    )
    result = simulate(described, [(20_499_000, "W", 0, 8)])
    exits = result.exits.set_index(["vm", "reason"])["count"]
    assert (exits["a", "EXTERNAL_INTERRUPT"], exits["b", "EXTERNAL_INTERRUPT"]) == (10, 9)
    levels = result.resources.set_index("resource").to_dict("index")
    assert levels["cpu0"]["utilisation"] > 0.999
    for name in ("a", "b"):
        assert levels[f"{name}/vcpu0"]["utilisation"] == pytest.approx(0.5, abs=0.03)
        assert levels[f"{name}/vcpu0"]["mean_queue"] == pytest.approx(0.5, abs=0.03)
