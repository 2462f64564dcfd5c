"""The drive with a buffer of segments: hits, read-ahead, reported writes, overheads by history; times by hand."""

from dataclasses import replace

import pytest

from iosim.disk.geometry import Geometry, Zone
from iosim.disk.mechanics import Arm, Mechanics
from iosim.disk.model import DiskIo
from iosim.disk.segmented import CacheConfig, CacheState, ReadAhead, Segment, SegmentedHdd

US, MS = 1_000, 1_000_000

# 10 ms per revolution, 2 heads, 100 sectors of 100 us, skews of 5 and 20 sectors, 10 us per sector on the bus
GEOMETRY = Geometry(2, (Zone(0, 10, 100, track_skew=5, cylinder_skew=20),))
MECHANICS = Mechanics(GEOMETRY, 10 * MS, ((1, 1 * MS), (9, 3 * MS)), 300 * US, 400 * US)
PLAIN = CacheConfig(
    segments=2,
    segment_sectors=40,
    read_ahead=ReadAhead.SEGMENT,
    most_ahead=20,
    read_hit_ns=(50 * US, 60 * US),
    read_miss_ns=(200 * US, 210 * US),
    write_ns=(70 * US, 80 * US),
    write_sequential_ns=80 * US,
    reconnect_ns=0,
    read_end_ns=0,
    write_end_ns=0,
    bus_sector_ns=10 * US,
    write_back=True,
)


def drive(**changes: object) -> SegmentedHdd:
    return SegmentedHdd(MECHANICS, replace(PLAIN, **changes))  # type: ignore[arg-type]


def served(disk: SegmentedHdd, *asked: tuple[int, str, int, int]) -> tuple[list[int], CacheState]:
    """Service times in us of (at_us, op, sector, sectors), one after the other, and the state behind them."""
    state, found = disk.initial(), []
    for at_us, op, sector, sectors in asked:
        ns, state = disk.service(state, DiskIo(op, sector, sectors), at_us * US, 0)
        found.append(ns // US)
    return found, state


def times(disk: SegmentedHdd, *asked: tuple[int, str, int, int]) -> list[int]:
    return served(disk, *asked)[0]


# Reads


def test_missed_read_takes_overhead_rotation_transfer_and_one_sector_on_the_bus() -> None:
    # Sector 30 from 3.0 ms on; 4 sectors, and the last one over the bus.
    assert times(drive(), (0, "R", 30, 4)) == [3_410]


def test_slow_bus_decides_once_the_first_sector_is_there() -> None:
    assert times(drive(bus_sector_ns=1 * MS), (0, "R", 30, 4)) == [3_100 + 4_000]


def test_overheads_of_reads_come_behind_the_data_too() -> None:
    assert times(drive(read_end_ns=7 * US, reconnect_ns=500 * US), (0, "R", 30, 4)) == [3_100 + 500 + 40 + 7]


def test_bus_is_taken_when_the_watermark_is_reached() -> None:
    # 3 of 4 sectors are there at 3.3 ms; then 0.5 ms, and 4 x 10 us.
    assert times(drive(watermark=750, reconnect_ns=500 * US), (0, "R", 30, 4)) == [3_300 + 500 + 40]


def test_read_again_is_a_hit() -> None:
    assert times(drive(), (0, "R", 30, 4), (5_000, "R", 30, 4)) == [3_410, 50 + 40]


def test_what_was_read_ahead_is_a_hit() -> None:
    # Sectors 34 to 53 until 5.4 ms.
    assert times(drive(), (0, "R", 30, 4), (6_000, "R", 40, 14)) == [3_410, 50 + 140]


def test_read_ahead_ends_where_it_must() -> None:
    # Sector 54 was not read; it comes round at 15.4 ms.
    found, state = served(drive(), (0, "R", 30, 4), (6_000, "R", 54, 1))
    assert found == [3_410, 15_500 + 10 - 6_000]
    assert state.segments == (Segment(30, 54), Segment(54, 55))


def test_read_that_catches_up_with_read_ahead_goes_on_with_it() -> None:
    # At 4.0 ms sectors up to 39 are there; 44 to 53 follow until 5.4 ms, and read-ahead goes on behind them.
    found, state = served(drive(), (0, "R", 30, 4), (4_000, "R", 38, 16))
    assert found == [3_410, 1_400 + 10]
    assert (state.segments[-1], state.ahead_end, state.stream_ns) == (Segment(30, 54), 74, 5_400 * US)


def test_read_of_the_sector_that_is_being_read_ahead_is_a_miss() -> None:
    # At 4.05 ms sector 40 is under the head: not in the buffer yet, and it comes again at 14 ms.
    assert times(drive(), (0, "R", 30, 4), (4_050, "R", 40, 1))[1] == 14_110 - 4_050


def test_part_of_a_read_that_read_ahead_no_longer_brings_comes_from_the_medium() -> None:
    # Read-ahead ended with sector 53 at 5.4 ms; sector 54 comes at 15.4 ms, two sectors.
    assert times(drive(), (0, "R", 30, 4), (6_000, "R", 52, 4))[1] == 15_600 + 10 - 6_000


def test_read_ahead_is_broken_off_where_the_arm_is() -> None:
    # Read-ahead from 95 on crosses to head 1 at 10.0 ms. At 10.2 ms the arm is on its way; it goes on from there.
    _, state = served(drive(), (0, "R", 90, 5), (10_200, "R", 400, 1))
    assert state.segments[0] == Segment(90, 100)
    assert state.arm == Arm(2, 0)
    settled = drive().until(served(drive(), (0, "R", 90, 5))[1], 10_700 * US)
    assert (settled.arm, settled.segments[-1]) == (Arm(0, 1), Segment(90, 102))


def test_segment_is_a_ring() -> None:
    _, state = served(drive(), (0, "R", 30, 30))
    assert drive().until(state, 20 * MS).segments[-1] == Segment(40, 80)


def test_least_recently_used_segment_makes_room() -> None:
    reads = [(0, "R", 0, 1), (50_000, "R", 400, 1), (100_000, "R", 0, 1), (150_000, "R", 800, 1)]
    _, state = served(drive(read_ahead=ReadAhead.NONE), *reads)
    assert state.segments == (Segment(0, 1), Segment(800, 801))


@pytest.mark.parametrize(
    ("kind", "end"),
    [(ReadAhead.NONE, 0), (ReadAhead.TRACK, 100), (ReadAhead.CYLINDER, 114), (ReadAhead.SEGMENT, 114)],
)
def test_how_far_a_drive_reads_ahead(kind: ReadAhead, end: int) -> None:
    assert served(drive(read_ahead=kind), (0, "R", 90, 4))[1].ahead_end == end


def test_read_ahead_to_the_end_of_the_cylinder() -> None:
    assert served(drive(read_ahead=ReadAhead.CYLINDER), (0, "R", 190, 4))[1].ahead_end == 200


def test_read_ahead_goes_one_track_further_in_a_sequence() -> None:
    disk = drive(read_ahead=ReadAhead.NEXT_TRACK, segment_sectors=300)
    assert served(disk, (0, "R", 90, 4))[1].ahead_end == 100
    # Sector 101 is on the next track, and the segment begins on the one before.
    assert served(disk, (0, "R", 90, 11))[1].ahead_end == 300


def test_read_ahead_without_a_limit_fills_the_segment() -> None:
    assert served(drive(most_ahead=0), (0, "R", 30, 4))[1].ahead_end == 34 + 36


def test_read_ahead_ends_with_the_disk() -> None:
    assert served(drive(), (0, "R", 1_990, 4))[1].ahead_end == 2_000
    assert served(drive(), (0, "R", 1_990, 10))[1].ahead_end == 0


def test_hit_makes_the_drive_read_ahead_again_if_it_does_that() -> None:
    asked = [(0, "R", 30, 4), (20_000, "R", 30, 8)]
    assert served(drive(), *asked)[1].ahead_end == 0
    again = served(drive(ahead_on_hit=True), *asked)[1]
    # Behind 8 sectors from 30 on, 20 more; the arm is free when the overhead of a missed read is over.
    assert (again.ahead_end, again.stream_ns) == (58, 20_200 * US)


def test_sectors_that_passed_before_the_read_are_kept_by_drives_that_do_that() -> None:
    # Ready at 1.2 ms, over sector 12.
    asked = [(1_000, "R", 30, 4), (5_000, "R", 15, 4)]
    assert times(drive(read_before=True), *asked) == [2_410, 50 + 40]
    assert times(drive(), *asked)[1] > 6_000


# Writes


def test_reported_write_takes_overhead_and_bus() -> None:
    found, state = served(drive(write_end_ns=3 * US), (0, "W", 30, 4))
    assert found == [70 + 40 + 3]
    assert (state.busy_until_ns, state.written_end) == (3_400 * US, 34)


def test_write_through_takes_until_the_medium_has_it() -> None:
    assert times(drive(write_back=False, write_end_ns=3 * US), (0, "W", 30, 4)) == [3_400 + 3]


def test_write_settles_behind_a_seek() -> None:
    # Seek 1 ms and settling 0.4 ms; sector 0 of cylinder 1 is at 2.5 ms.
    assert served(drive(), (0, "W", 200, 1))[1].busy_until_ns == 2_600 * US


def test_write_elsewhere_waits_until_the_last_one_is_on_the_medium() -> None:
    assert times(drive(), (0, "W", 30, 4), (1_000, "W", 400, 4)) == [110, 2_400 + 40]


def test_write_that_goes_on_where_the_last_one_ends_does_not_wait() -> None:
    found, state = served(drive(write_sequential_ns=90 * US), (0, "W", 30, 4), (1_000, "W", 34, 4))
    assert found == [110, 90 + 40]
    assert (state.busy_until_ns, state.segments[-1]) == (3_800 * US, Segment(30, 38))


def test_overhead_of_a_write_depends_on_what_came_before() -> None:
    asked = [(0, "W", 30, 1), (50_000, "W", 400, 1), (100_000, "W", 401, 1), (150_000, "R", 0, 1), (200_000, "W", 1, 1)]
    found = times(drive(write_sequential_ns=75 * US), *asked)
    assert [found[0], found[1], found[2], found[4]] == [70 + 10, 80 + 10, 75 + 10, 70 + 10]


def test_read_waits_until_the_arm_has_written() -> None:
    # A hit, but the arm is busy until 3.4 ms.
    assert times(drive(), (0, "W", 30, 4), (1_000, "R", 30, 4)) == [110, 2_400 + 40]


def test_flush_waits_until_the_arm_has_written() -> None:
    assert times(drive(), (0, "W", 30, 4), (1_000, "F", 0, 0)) == [110, 2_400]
    assert times(drive(write_end_ns=3 * US), (0, "F", 0, 0)) == [73]


def test_read_finds_what_was_written() -> None:
    assert times(drive(), (0, "W", 30, 4), (20_000, "R", 30, 4))[1] == 60 + 40


@pytest.mark.parametrize("changes", [{"hits_on_writes": False}, {"write_segment": True}])
def test_read_of_what_was_written_is_a_miss_where_the_drive_does_not_keep_it(changes: dict[str, object]) -> None:
    assert times(drive(**changes), (0, "W", 30, 4), (20_000, "R", 30, 4))[1] == 3_410


def test_write_drops_what_it_overlaps() -> None:
    _, state = served(drive(read_ahead=ReadAhead.NONE), (0, "R", 30, 4), (20_000, "W", 32, 1))
    assert state.segments == (Segment(), Segment(32, 33))


def test_write_ends_read_ahead() -> None:
    _, state = served(drive(), (0, "R", 30, 4), (4_000, "W", 400, 1))
    assert (state.segments, state.ahead_end) == ((Segment(30, 40), Segment(400, 401)), 0)


def test_arm_takes_its_least_time_before_a_write_that_does_not_go_on() -> None:
    disk = drive(least_write_seek_ns=4 * MS)
    assert served(disk, (0, "W", 30, 4))[1].busy_until_ns == 13_400 * US
    assert served(disk, (0, "W", 30, 4), (1_000, "W", 34, 4))[1].busy_until_ns == 13_800 * US


def test_medium_is_written_so_late_that_the_bus_brings_every_sector_in_time() -> None:
    # 1 ms per sector: the last one comes at 4.07 ms, so sector 30 has to wait for 13.0 ms.
    assert served(drive(bus_sector_ns=1 * MS), (0, "W", 30, 4))[1].busy_until_ns == 13_400 * US


def test_medium_is_written_when_enough_is_in_the_buffer() -> None:
    # 2.9 ms until the first sector is there, 5.8 ms until two are.
    slow = {"bus_sector_ns": 2_900 * US}
    assert served(drive(**slow), (0, "W", 30, 1))[1].busy_until_ns == 3_100 * US
    assert served(drive(least_buffered=2, **slow), (0, "W", 60, 2))[1].busy_until_ns == 6_200 * US


def test_write_that_does_not_fit_into_a_segment_waits_for_the_medium() -> None:
    # 50 sectors from 10 ms on, of which 10 are on the medium at 11 ms.
    assert times(drive(), (0, "W", 0, 50)) == [11_000]


def test_write_at_once_begins_where_the_head_lands() -> None:
    # Ready at 0.08 ms, over sector 1: that one and the others now, sector 0 from 10.0 ms on.
    assert served(drive(write_at_once=True), (0, "W", 0, 30))[1].busy_until_ns == 10_100 * US


def test_request_that_comes_later_finds_the_same_angle_a_revolution_later() -> None:
    disk = drive()
    early = disk.service(disk.initial(), DiskIo("R", 30, 4), 1 * MS, 0)[0]
    assert disk.service(disk.initial(), DiskIo("R", 30, 4), 71 * MS, 0)[0] == early


def test_state_that_is_asked_twice_for_the_same_time_stays_the_same() -> None:
    disk = drive()
    _, state = served(disk, (0, "R", 90, 5))
    for at_us in range(9_000, 12_000, 37):
        once = disk.until(state, at_us * US)
        assert disk.until(once, at_us * US) == once
        assert disk.until(once, 30 * MS) == disk.until(state, 30 * MS)
