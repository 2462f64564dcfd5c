"""The limits of a drive: which request waits how long, in both versions, and the rate that comes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iosim.model.stages import Stage
from iosim.qemu.throttle import Limit, SliceState, ThrottleConfig, ThrottleState
from tests.block_bench import DISK_NS, FLUSH_NS, BlockBench
from tests.support import constant_profile, scenario, simulate

MS = 1_000_000
EXACT = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])


def passed(bench: BlockBench) -> list[int]:
    """When each request was let through, in ms: nothing else takes time but the disk, which has room for all."""
    return [bench.stage(number, Stage.THROTTLE_WAIT) // MS for number in range(len(bench.requests))]


def backlog(n: int, op: str = "W", sectors: int = 8) -> list[tuple[int, str, int, int]]:
    return [(0, op, 8 * number, sectors) for number in range(n)]


# 7.2, 100 writes a second: the bucket holds a tenth of a second, 10 writes. The eleventh finds it full, not over; each
# further one waits until one more has leaked, 10 ms.
@EXACT
def test_leaky_bucket_of_7_2(exact: bool) -> None:
    limits = ThrottleConfig({}, {"write": Limit(100)})
    bench = BlockBench(exact, "7.2", limits=limits).run(backlog(15))
    assert passed(bench) == [0] * 11 + [10, 20, 30, 40]
    assert bench.times()[14] == 40 * MS + DISK_NS
    (name, held, queue) = bench.backend.levels()[0]
    assert (name, held.area, queue.area, queue.highest) == ("throttle", 40 * MS, 100 * MS, 4)


# 1.6, 100 writes a second: 10 in the slice of 100 ms. The eleventh would be in time at 110 ms, and extends the slice by
# 100 ms, so that 10 more go through then; the 21st at 210 ms, and so on.
@EXACT
def test_slices_of_1_6(exact: bool) -> None:
    limits = ThrottleConfig({}, {"write": Limit(100)})
    bench = BlockBench(exact, "1.6", limits=limits).run(backlog(35))
    assert passed(bench) == [0] * 10 + [110] * 10 + [210] * 10 + [310] * 5


# A burst of one second: 20 operations at once instead of 1, then 10 a second.
@EXACT
def test_a_burst_of_one_second_is_the_bucket(exact: bool) -> None:
    limits = ThrottleConfig({}, {"total": Limit(10, 20)})
    bench = BlockBench(exact, "7.2", limits=limits).run(backlog(24))
    assert passed(bench) == [0] * 21 + [100, 200, 300]


# avg 10, max 20 for 2 s: bucket 40, burst bucket 20 / 10 = 2. Requests 0, 1 and 2 pass, then one each 50 ms; the level
# grows by half a request each time, 3 after number 2, 40.5 after number 77: the wait for the main bucket is 50 ms too.
# After number 78 (3.8 s) it is 41, from there on 100 ms.
@EXACT
def test_a_burst_of_two_seconds_holds_its_own_rate(exact: bool) -> None:
    limits = ThrottleConfig({}, {"total": Limit(10, 20, 2)})
    bench = BlockBench(exact, "7.2", limits=limits).run(backlog(82))
    assert passed(bench) == [0, 0, 0, *range(50, 3801, 50), 3900, 4000, 4100]


# 1 MiB a second: bucket 104857.6 bytes. Two writes of 64 KiB pass; 131072 - 104857.6 = 26214.4 bytes leak in 25 ms, and
# each further 65536 in 62.5 ms. In 1.6 the slice has room for 104857 bytes, one write; two take 125 ms from its begin,
# when it has been extended to 300 ms: 4 in all. Five take 312.5 ms.
@EXACT
def test_bytes_a_second(exact: bool) -> None:
    limits = ThrottleConfig({"total": Limit(1 << 20)}, {})
    bench = BlockBench(exact, "7.2", limits=limits).run(backlog(5, sectors=128))
    assert [bench.stage(number, Stage.THROTTLE_WAIT) for number in range(5)] == [0, 0, 25 * MS, 87_500_000, 150 * MS]
    bench = BlockBench(exact, "1.6", limits=limits).run(backlog(5, sectors=128))
    assert [bench.stage(number, Stage.THROTTLE_WAIT) for number in range(5)] == [
        0,
        125 * MS,
        125 * MS,
        125 * MS,
        312_500_000,
    ]


# iops_size 64 KiB: a write of 128 KiB counts twice. Bucket 1: level 2 waits 100 ms, level 3 200 ms.
@EXACT
def test_large_requests_count_as_several(exact: bool) -> None:
    limits = ThrottleConfig({}, {"total": Limit(10)}, 65536)
    bench = BlockBench(exact, "7.2", limits=limits).run(backlog(3, sectors=256))
    assert passed(bench) == [0, 100, 300]


# Reads have a queue of their own in 7.2 but share the bucket of the total; a flush is never held back.
@EXACT
def test_reads_and_writes_share_a_total_and_flushes_pass(exact: bool) -> None:
    limits = ThrottleConfig({}, {"total": Limit(10)})
    rows = [(0, "W", 0, 8), (0, "R", 8, 8), (0, "W", 16, 8), (0, "R", 24, 8), (0, "F", 0, 0)]
    bench = BlockBench(exact, "7.2", limits=limits).run(rows)
    # Bucket 1: number 2 waits 100 ms for the level 2. Number 3 has a timer of its own, which finds the level at 1 and
    # passes behind number 2 at the same instant; both timers fire in one turn.
    assert passed(bench) == [0, 0, 100, 100, 0]
    assert bench.times()[4] <= FLUSH_NS + 2 * DISK_NS
    old = BlockBench(exact, "1.6", limits=limits).run(rows)
    # The slice has room for one; two take 200 ms, to which it is extended, three 300 ms, four 400 ms.
    assert passed(old) == [0, 200, 300, 400, 0]


@EXACT
@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_sides_without_a_limit_are_free(exact: bool, qemu: str) -> None:
    limits = ThrottleConfig({"write": Limit(512)}, {"write": Limit(1)})
    bench = BlockBench(exact, qemu, limits=limits).run(backlog(20, "R"))
    assert passed(bench) == [0] * 20


# The main loop wakes for the timer (20 us) and dispatches it (1 us); the timer's function takes 3 us before the request
# goes on, the look at the limits 500 ns before it waits. The notification of the new timer is over by then.
@EXACT
def test_the_request_waits_until_the_main_loop_runs_its_timer(exact: bool) -> None:
    profile = constant_profile(
        0, main_loop__wake=20_000, main_loop__dispatch=1_000, main_loop__throttle_timer=3_000, qemu__throttle=500
    )
    limits = ThrottleConfig({}, {"write": Limit(100)})
    bench = BlockBench(exact, "7.2", profile, limits=limits).run(backlog(12))
    # The first passes at 500 ns, number 11 is looked at 5.5 us later: of its 10 ms that has passed. So the timer is
    # due at 10 ms + 500 ns, and the loop there 21 us later: 10 ms - 5.5 us + 21 us.
    assert bench.stage(11, Stage.QEMU_SUBMIT) == 500
    assert bench.stage(11, Stage.THROTTLE_WAIT) == 10_015_500
    assert bench.stage(11, Stage.COMPLETION) == 3_000


@given(
    st.integers(1, 2000),
    st.integers(0, 3),
    st.integers(1, 3),
    st.lists(st.integers(1, 256), min_size=50, max_size=200),
    st.sampled_from([0, 65536]),
)
def test_the_rate_of_7_2_is_the_limit_within_the_bucket(
    avg: int, burst: int, length: int, sizes: list[int], op_size: int
) -> None:
    """A backlog goes through as fast as the bucket leaks: before each request no more than that and its size has."""
    limit = Limit(avg, avg * burst, length if burst else 1)
    state = ThrottleState(ThrottleConfig({}, {"total": limit}, op_size))
    now = 0
    units = 0.0
    for sectors in sizes:
        while wait := state.compute_timer("write", now):
            now += wait
        room = limit.max * limit.burst_length if limit.max else avg / 10
        assert units <= room + avg * now / 1e9 + 1e-3 * avg
        state.account("write", sectors * 512)
        last = max(1.0, sectors * 512 / op_size) if op_size else 1.0
        units += last
    if not burst:
        assert now <= max(0.0, units - last - avg / 10) / avg * 1e9 + 1


@given(st.integers(1, 2000), st.integers(50, 400))
def test_the_rate_of_1_6_is_the_limit_within_two_slices(avg: int, n: int) -> None:
    state = SliceState(ThrottleConfig({}, {"write": Limit(avg)}))
    now = 0
    for number in range(n):
        while (wait := state.exceed_io_limits("write", 512, now)) is not None:
            now += wait
        # Let through are at most what the slice allows, which ends at most two slices, or one request, from now.
        assert number + 1 <= avg * (now / 1e9 + 0.2) + 1
    assert now <= n / avg * 1e9


@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_a_guest_that_is_limited_does_the_limit_in_the_long_run(qemu: str) -> None:
    """Closed replay of 300 writes with 200 a second: 1.5 s less the bucket or slice, more the last one's latency."""
    drive = {"replay": "closed", "throttling": {"iops_write": 200}}
    result = simulate(scenario([drive], qemu=qemu), [(0, "W", 8 * n, 8) for n in range(300)])
    end = result.requests["done_ns"].max()
    assert (300 - 200 * 0.2 - 2) / 200 * 1e9 <= end <= 300 / 200 * 1e9 + 1e6
    assert result.requests["throttle_wait_ns"].sum() > 0.8 * end
    levels = result.resources.set_index("resource").loc["web/drive0/throttle"]
    assert levels["busy_ns"] == pytest.approx(result.requests["throttle_wait_ns"].sum(), rel=0.01)


# Request 0 is looked at for 200 us and served by 290 us. The main loop then waits for the BQL, which the submitter has
# for the requests behind it: their timer is set while the loop waits. One write a second: bucket 0.1.
@EXACT
@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_a_timer_is_set_while_the_main_loop_waits_for_the_bql(exact: bool, qemu: str) -> None:
    limits = ThrottleConfig({}, {"write": Limit(1)})
    profile = constant_profile(0, qemu__throttle=200_000)
    bench = BlockBench(exact, qemu, profile, limits=limits)
    bench.run([(0, "R", 0, 8), (0, "W", 8, 8), (0, "W", 16, 8)])
    assert bench.stage(0, Stage.BQL_WAIT) == 110_000  # 290 to 400 us
    # 7.2: the write passes at 400 us and is served by 490 us, when request 2 has the BQL until 600 us; that one passes
    # 0.9 s after the first. 1.6: no slice of 100 ms has room for one: the first passes 1 s after the begin of the slice
    # (200 us, with the read, which has no limit), the other a second later.
    done = bench.times()
    if qemu == "7.2":
        assert (done[1], done[2]) == (600_000, 400_000 + 900 * MS + DISK_NS)
    else:
        assert (done[1], done[2]) == (200_000 + 1_000 * MS + DISK_NS, 200_000 + 2_000 * MS + DISK_NS)
