"""The host's CPUs: run queue, time slice, migration and affinity; closed forms; who is charged for the wait."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from iosim.host import Cpus, Host, HostThread, Mutex
from iosim.model import draws
from iosim.model.costs import exponential
from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Block, Delay, Lock, Path, Steps, Unlock
from tests.support import constant_profile, scenario, simulate

MODES = pytest.mark.parametrize("exact", [True, False], ids=["exact", "coalesced"])
BINDER = Binder(constant_profile())


def work(*ns: int) -> Path:
    """The path of these costs."""
    return BINDER.path(*[Delay(each, f"function {number}") for number, each in enumerate(ns)])


class Job:
    """A thread that is created at *at* and carries a request of its own through *steps*."""

    def __init__(
        self, host: Host, number: int, at: int, steps: Callable[[], Steps[None]], allowed: set[int] | None = None
    ) -> None:
        self.request = Request(draws.identity(7, number), None, number, "W", 0, 1, at)
        self.thread = HostThread(host, 100_000 + number, f"job{number}", self.request, allowed=allowed)
        self.thread.request = self.request
        starter = HostThread(host, 10 + number, f"starter{number}", draws.Subject(0), uses_cpu=False)
        starter.start(self._start(at, steps))

    def _start(self, at: int, steps: Callable[[], Steps[None]]) -> Steps[None]:
        if at:
            yield Block(at)
        self.thread.start(self._body(steps))

    def _body(self, steps: Callable[[], Steps[None]]) -> Steps[None]:
        yield from steps()
        yield SYNC
        self.request.done_ns = self.thread.host.now_ns
        self.thread.request = None
        self.request.settle()

    @property
    def cpu_wait_ns(self) -> int:
        return self.request.stages[Stage.CPU_WAIT]


def spend(*ns: int) -> Callable[[], Steps[None]]:
    def steps() -> Steps[None]:
        yield work(*ns)

    return steps


# One CPU, slices of 2,000 ns. A runs 0-2,000, 4,000-6,000, 8,000-9,000; B 2,000-4,000, 6,000-8,000, 9,000-10,000.
@MODES
@pytest.mark.parametrize("costs", [(5_000,), (2_000, 1_000, 2_000), (1_500, 3_500)])
def test_two_threads_on_one_cpu_take_turns(costs: tuple[int, ...], exact: bool) -> None:
    host = Host(exact)
    cpus = Cpus(host, 1, 2_000)
    a, b = Job(host, 0, 0, spend(*costs)), Job(host, 1, 0, spend(*costs))
    host.run()
    assert (a.request.done_ns, b.request.done_ns) == (9_000, 10_000)
    assert (a.cpu_wait_ns, b.cpu_wait_ns) == (4_000, 5_000)
    assert a.request.stages[Stage.GUEST_RUN] == b.request.stages[Stage.GUEST_RUN] == 5_000
    assert cpus.busy[0].area == 10_000
    assert cpus.queue_level.area == 9_000  # one of the two waits until A is done


# A has had the CPU for longer than a slice when B comes at 7,000: it makes room at once, back at 8,000.
@MODES
def test_thread_whose_slice_is_over_makes_room_at_once(exact: bool) -> None:
    host = Host(exact)
    Cpus(host, 1, 2_000)
    a, b = Job(host, 0, 0, spend(9_000)), Job(host, 1, 7_000, spend(1_000))
    host.run()
    assert (a.request.done_ns, b.request.done_ns) == (10_000, 8_000)
    assert (a.cpu_wait_ns, b.cpu_wait_ns) == (1_000, 0)


# B comes at 500, within A's slice: it waits until 2,000.
@MODES
def test_thread_within_its_slice_is_left_alone(exact: bool) -> None:
    host = Host(exact)
    Cpus(host, 1, 2_000)
    a, b = Job(host, 0, 0, spend(3_000)), Job(host, 1, 500, spend(1_000))
    host.run()
    assert (b.cpu_wait_ns, b.request.done_ns) == (1_500, 3_000)
    assert (a.cpu_wait_ns, a.request.done_ns) == (1_000, 4_000)


# Two CPUs. A (on 0) and B (on 1) from 0 on; A sleeps from 1,000 to 5,000. C comes at 2,000 and finds 0 free, for good.
# A wakes up at 5,000: 0 is taken, 1 has been free since 3,000: it moves.
@MODES
def test_last_cpu_if_it_is_free_else_another(exact: bool) -> None:
    host = Host(exact)
    cpus = Cpus(host, 2, 1_000_000)

    def naps() -> Steps[None]:
        yield work(1_000)
        yield Block(5_000)
        yield work(1_000)

    a, b = Job(host, 0, 0, naps), Job(host, 1, 0, spend(3_000))
    c = Job(host, 2, 2_000, spend(4_000))
    host.run()
    assert [job.thread.cpu for job in (a, b, c)] == [1, 1, 0]
    assert [job.cpu_wait_ns for job in (a, b, c)] == [0, 0, 0]
    assert cpus.migrations == 1
    assert [busy.area for busy in cpus.busy] == [1_000 + 4_000, 3_000 + 1_000]


# B may run on CPU 0 only, which A has; CPU 1 stays free.
@MODES
def test_affinity(exact: bool) -> None:
    host = Host(exact)
    cpus = Cpus(host, 2, 1_000)
    a, b = Job(host, 0, 0, spend(2_500), {0}), Job(host, 1, 0, spend(1_000), {0})
    host.run()
    # A 0-1,000, B 1,000-2,000, A 2,000-3,500
    assert (a.request.done_ns, b.request.done_ns) == (3_500, 2_000)
    assert cpus.busy[1].area == 0


# A takes the mutex and is preempted at 1,000 while it holds it; B runs into it at once and gives the CPU back.
# A 0-1,000, (B takes the CPU and waits for the mutex), A 1,000-3,000 and releases. B has mutex and CPU at once, as A's
# slice is over: B 3,000-4,000, A 4,000-4,500, B 4,500-7,000.
@MODES
def test_owner_of_a_mutex_is_preempted(exact: bool) -> None:
    host = Host(exact)
    Cpus(host, 1, 1_000)
    mutex = Mutex(host, "bql")

    def locked() -> Steps[None]:
        yield Lock(mutex)
        yield work(3_000)
        yield Unlock(mutex)
        yield work(500)

    a, b = Job(host, 0, 0, locked), Job(host, 1, 0, locked)
    host.run()
    assert (a.request.done_ns, a.cpu_wait_ns) == (4_500, 1_000)
    assert b.request.stages[Stage.BQL_WAIT] == 2_000
    assert b.cpu_wait_ns == 1_000 + 500
    assert b.request.done_ns == 7_000


# The vCPU of a sleeps with CPU 0 as its last one; that of b works there on a background exit from 1,000,000 ns on, for
# 1 ms. So the request at 1,100,000 finds a's vCPU on another CPU: its first entry is a VMLAUNCH.
@MODES
def test_vcpu_that_comes_to_another_cpu_enters_by_vmlaunch(exact: bool) -> None:
    profile = constant_profile(cpu__vmlaunch=50_100, kvm__handle_cpuid=1_000_000)
    busy = {"name": "b", "cpus": [0], "background": [{"reason": "CPUID", "rate": 1000, "arrivals": "periodic"}]}
    issued = []
    for also in ([], [{**busy, "drive": [{}]}]):
        described = scenario(
            vms=[{"name": "a", "drive": [{}]}, *also],
            host={"cpus": 4},
            run={"exact_exits": exact, "duration": "1500us"},
        )
        result = simulate(described, [[(1_100_000, "W", 0, 8)], *[[(1_400_000, "F", 0, 0)] for _ in also]], profile)
        request = result.requests.iloc[0]
        assert (request["status"], request["cpu_wait_ns"]) == ("ok", 0)
        issued.append(int(request["issue_ns"]))
        before = result.spans[(result.spans["vm"] == "a") & (result.spans["end_ns"] <= request["issue_ns"])]
        entries = Counter(before["function"])
        assert (entries["VMLAUNCH"], entries["VMRESUME"]) == ((1, 0) if also else (0, 1))
    # wake-up, vcpu_enter_guest, load_guest_registers, VMRESUME
    assert issued == [1_100_400, 1_150_400]


REPLICATIONS = 16
CUSTOMERS = 2_500
WARMUP = 400
SERVICE_NS = 100_000


def responses(c: int, slice_ns: int, load: float, drawn: bool) -> list[float]:
    """Mean response times in ns of independent replications of Poisson arrivals at *c* CPUs."""
    means = []
    cost = exponential("service", SERVICE_NS)
    for number in range(REPLICATIONS):
        host = Host()
        Cpus(host, c, slice_ns)
        gaps = np.random.default_rng([20261123, number]).exponential(SERVICE_NS / (load * c), CUSTOMERS)
        jobs = []
        for k, at in enumerate(np.cumsum(gaps).astype(np.int64).tolist()):
            service = cost.sample(draws.Subject(draws.identity(number, k))) if drawn else SERVICE_NS
            jobs.append(Job(host, k, at, spend(max(1, service))))
        host.run()
        means.append(float(np.mean([job.request.done_ns - job.request.arrival_ns for job in jobs[WARMUP:]])))
    return means


def erlang_c(c: int, load: float) -> float:
    offered = c * load
    inverse = 1.0
    for n in range(1, c + 1):
        inverse = 1 + inverse * n / offered
    blocking = 1 / inverse
    return blocking / (1 - load * (1 - blocking))


# Without preemption c CPUs are M/M/c: R = S + C(c, rho) S / (c (1 - rho)). With a slice far below the service time one
# CPU shares its time: M/D/1-PS has R = S / (1 - rho); first come, first served has S (1 + rho / 2 (1 - rho)).
@pytest.mark.parametrize(
    ("c", "slice_ns", "load", "drawn", "expected"),
    [
        pytest.param(1, 10**9, 0.6, True, SERVICE_NS / 0.4, id="M/M/1"),
        pytest.param(2, 10**9, 0.7, True, SERVICE_NS * (1 + erlang_c(2, 0.7) / (2 * 0.3)), id="M/M/2"),
        pytest.param(4, 10**9, 0.8, True, SERVICE_NS * (1 + erlang_c(4, 0.8) / (4 * 0.2)), id="M/M/4"),
        pytest.param(1, 10_000, 0.5, False, SERVICE_NS / 0.5, id="M/D/1-PS"),
        pytest.param(1, 10**9, 0.5, False, SERVICE_NS * 1.5, id="M/D/1"),
    ],
)
def test_closed_forms(c: int, slice_ns: int, load: float, drawn: bool, expected: float) -> None:
    values = responses(c, slice_ns, load, drawn)
    low, high = stats.t.interval(0.999, REPLICATIONS - 1, loc=np.mean(values), scale=stats.sem(values))
    assert low <= expected <= high, (low, expected, high)
    assert high - low <= 0.3 * expected


@MODES
def test_polling_that_has_ended_unseen_is_counted_where_it_was(exact: bool) -> None:
    """VM a halts, polls and sleeps; that nobody looks before VM b wakes does not move the end of its polling."""
    rows = [[(0, "W", 0, 1), (5_000_000, "W", 0, 1)], [(2_900_000, "W", 0, 1), (8_000_000, "W", 0, 1)]]
    vms = [{"name": name, "kernel": "6.1", "drive": [{}]} for name in "ab"]
    series = simulate(scenario(vms=vms, host={"cpus": 3}, run={"exact_exits": exact}), rows).series
    # From 1 to 2 ms and from 4 to 5 ms nobody does anything, and so do all CPUs together.
    assert (series.loc[[1, 4], ["utilisation cpus", "utilisation cpu0", "utilisation cpu1"]] == 0).all(axis=None)
