"""Which operation a disk gets next: orders worked out by hand, and what schedulers are for."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iosim.disk import ConstantDisk, Disk, DiskJob, Hdd, HddConfig
from iosim.disk.model import DiskModel
from iosim.disk.scheduler import CScan, Deadline, DeadlineConfig, Fifo, Scheduler, Waiting
from iosim.host import Host, HostThread
from iosim.model.draws import identity, source
from iosim.model.records import Request
from iosim.model.steps import Block, Steps

MS = 1_000_000

Io = tuple[int, str, int]
"""Time in ms, operation, sector; 8 sectors long, a flush none."""


def deadline(fifo_batch: int = 16, writes_starved: int = 2, read_ms: int = 500, write_ms: int = 5_000) -> Deadline:
    return Deadline(DeadlineConfig(read_ms * MS, write_ms * MS, fifo_batch, writes_starved))


def served(
    ios: list[Io],
    scheduler: Scheduler,
    model: DiskModel | None = None,
    servers: int = 1,
    queue_depth: int | None = None,
) -> list[tuple[int, str]]:
    """When each operation ends in ms, and which it is, in that order; 10 ms each unless the model says otherwise."""
    host = Host(exact=True)
    disk = Disk(host, "sda", model or ConstantDisk(10 * MS, 10 * MS), servers, scheduler, queue_depth)
    ends: list[tuple[int, str]] = []

    def customer(thread: HostThread, job: DiskJob, at_ns: int, label: str) -> Steps[None]:
        if at_ns:
            yield Block(at_ns)
        yield from disk.transfer(thread, job)
        ends.append((host.now_ns // MS, label))

    for k, (at, op, sector) in enumerate(ios):
        request = Request(identity(source(1, "vm", "drive 0"), k), None, k, op, sector, 8, at * MS)
        thread = HostThread(host, k, f"customer{k}", request)
        length = 0 if op == "F" else 8
        thread.start(customer(thread, DiskJob(disk, request, op, sector, length), at * MS, f"{op}{sector}"))
    host.run()
    assert len(ends) == len(ios)
    return ends


def order(*args: Any, **kwargs: Any) -> list[str]:
    return [label for _, label in served(*args, **kwargs)]


def test_none_serves_in_order_of_arrival() -> None:
    ios = [(0, "R", 500), (1, "W", 100), (2, "F", 0), (3, "R", 900)]
    assert served(ios, Fifo()) == [(10, "R500"), (20, "W100"), (30, "F0"), (40, "R900")]


def test_c_scan_goes_up_and_begins_again_below() -> None:
    # 500 is in service and ends at 508. Waiting: 100, 700, 600, 505. 505 has been passed: 600, 700, then 100, 505.
    ios = [(0, "R", 500), (1, "R", 100), (2, "R", 700), (3, "W", 600), (4, "R", 505)]
    assert order(ios, CScan()) == ["R500", "W600", "R700", "R100", "R505"]


def test_c_scan_knows_its_position_from_what_it_handed_out() -> None:
    # 900 goes straight to the idle disk, and the sweep with it. From the lowest: 100, 300 (to 308, handed out at 20
    # ms). Of what comes then, 400 lies ahead and 305 does not.
    ios = [(0, "R", 900), (1, "R", 300), (2, "R", 100), (25, "R", 305), (26, "R", 400)]
    assert order(ios, CScan()) == ["R900", "R100", "R300", "R400", "R305"]


def test_equal_addresses_go_in_order_of_arrival() -> None:
    scheduler = CScan()
    entries = [Waiting(None, DiskJob(None, None, "R", 100, 8), k) for k in range(5)]  # type: ignore[arg-type]
    for entry in entries:
        scheduler.add(entry, 0)
    assert [scheduler.next(0) for _ in range(5)] == entries
    assert scheduler.next(0) is None


@pytest.mark.parametrize("scheduler", [CScan(), deadline()])
def test_a_flush_goes_past_the_scheduler(scheduler: Scheduler) -> None:
    ios = [(0, "R", 500), (1, "R", 600), (2, "R", 700), (3, "F", 0)]
    assert order(ios, scheduler) == ["R500", "F0", "R600", "R700"]


def test_deadline_serves_reads_before_writes_in_batches_by_address() -> None:
    # At 10 ms: reads 300, 100 and writes 50, 20 wait. No batch: reads; the batch begins with the oldest read, 300, and
    # finds nothing higher. Next batch: reads again, 100. Then writes from the oldest, 50; then 20.
    ios = [(0, "R", 900), (1, "W", 50), (2, "R", 300), (3, "W", 20), (4, "R", 100)]
    assert order(ios, deadline()) == ["R900", "R300", "R100", "W50", "W20"]


def test_deadline_batch_goes_on_upwards_until_fifo_batch() -> None:
    # Reads 100, 200, 300, 400 wait, and W10. Batches of 2: the oldest is 200, then 300. A new batch of reads goes on
    # from its next, 400 (nothing has expired); behind 400 nothing is higher. Reads have now gone before the write
    # twice: the third choice is the write. Then 100.
    ios = [(0, "R", 900), (1, "R", 200), (2, "R", 100), (3, "R", 400), (4, "R", 300), (5, "W", 10)]
    assert order(ios, deadline(fifo_batch=2)) == ["R900", "R200", "R300", "R400", "W10", "R100"]


def test_deadline_starves_writes_only_so_often() -> None:
    # Falling addresses make each read a batch of its own. Two batches of reads go first, then the write.
    ios = [(0, "R", 900), (1, "W", 10), (2, "R", 500), (3, "R", 400), (4, "R", 300), (5, "R", 200)]
    assert order(ios, deadline()) == ["R900", "R500", "R400", "W10", "R300", "R200"]
    assert order(ios, deadline(writes_starved=0)) == ["R900", "W10", "R500", "R400", "R300", "R200"]
    assert order(ios, deadline(writes_starved=9)) == ["R900", "R500", "R400", "R300", "R200", "W10"]


def test_deadline_serves_an_expired_operation_at_the_end_of_a_batch() -> None:
    # Batches of 1, reads expire after 15 ms. At 10 ms 500 is the oldest (came at 1, expires at 16): served to 20.
    # At 20 ms the batch could go on with 600, but 100 (came at 2, expires at 17) has expired: 100, to 30 ms. At 30 ms
    # the next one is 600 (came at 3), the oldest too.
    ios = [(0, "R", 900), (1, "R", 500), (2, "R", 100), (3, "R", 600), (4, "R", 700)]
    assert order(ios, deadline(fifo_batch=1, read_ms=15)) == ["R900", "R500", "R100", "R600", "R700"]
    # With the 500 ms of Linux nothing expires: 500, 600, 700, and then from the oldest again.
    assert order(ios, deadline(fifo_batch=1)) == ["R900", "R500", "R600", "R700", "R100"]


def test_deadline_does_not_turn_back_for_what_comes_between() -> None:
    # At 10 ms: 100 begins a batch, its next is 300. 200 comes at 12 ms, between the two: it has been passed over.
    ios = [(0, "R", 900), (1, "R", 100), (2, "R", 300), (12, "R", 200)]
    assert order(ios, deadline()) == ["R900", "R100", "R300", "R200"]


def test_what_the_device_holds_is_out_of_the_scheduler_s_reach() -> None:
    # Depth 3: the one in service and two more, 800 and 700, in the order of their coming; the rest by address.
    ios = [(0, "R", 900), (1, "R", 800), (2, "R", 700), (3, "R", 600), (4, "R", 200), (5, "R", 400)]
    # At 10 ms 800 is taken up, and the sweep, which has come to 708, begins again: 200, at 20 ms 400, at 30 ms 600.
    assert order(ios, CScan(), queue_depth=3) == ["R900", "R800", "R700", "R200", "R400", "R600"]
    assert order(ios, CScan()) == ["R900", "R200", "R400", "R600", "R700", "R800"]


def test_two_servers_take_from_one_scheduler() -> None:
    ios = [(0, "R", 900), (0, "R", 901), (1, "R", 300), (2, "R", 100), (3, "R", 200)]
    assert served(ios, CScan(), servers=2) == [
        (10, "R900"),
        (10, "R901"),
        (20, "R100"),
        (20, "R200"),
        (30, "R300"),
    ]


IOS = st.lists(
    st.tuples(st.integers(0, 300), st.sampled_from("RWF"), st.sampled_from([0, 8, 100, 104, 500, 9_000])),
    min_size=1,
    max_size=30,
)


@given(IOS, st.integers(1, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2), st.sampled_from([5, 50, 500]))
def test_every_scheduler_serves_everything_without_idling(
    ios: list[Io], servers: int, room: int, batch: int, starved: int, expire_ms: int
) -> None:
    # One service time: whatever the order, the ends are those of first come, first served (conservation of work).
    expected = [end for end, _ in served(ios, Fifo(), servers=servers)]
    schedulers: list[Scheduler] = [CScan(), deadline(batch, starved, expire_ms, 2 * expire_ms)]
    for scheduler in schedulers:
        ends = served(ios, scheduler, servers=servers, queue_depth=servers + room)
        assert [end for end, _ in ends] == expected


def hdd() -> Hdd:
    """A 7200 rpm disk of 10,000 cylinders without buffers."""
    seek = ((1, 800_000), (1000, 3_500_000), (9_999, 12_000_000))
    return Hdd(HddConfig(8_333_333, 10_000, 2, ((0, 1000),), seek, 200_000, 300_000, 0, 0, 3_000, 0, 0))


@pytest.mark.parametrize("scheduler", [CScan, deadline])
@pytest.mark.parametrize("number", range(3))
def test_sorting_by_address_shortens_a_random_load_on_an_hdd(scheduler: Any, number: int) -> None:
    # 200 reads at once: seeks become short, the rotation remains (half a revolution is 4.2 ms).
    sectors = np.random.default_rng([20260102, number]).integers(0, 19_999_000, 200).tolist()
    ios = [(0, "R", sector) for sector in sectors]
    fcfs = served(ios, Fifo(), hdd())[-1][0]
    sorted_ = served(ios, scheduler(), hdd())[-1][0]
    assert sorted_ < 0.75 * fcfs
