"""Service models of disks: times worked out by hand, state in and out, nothing else."""

from pathlib import Path

import pytest

from iosim.disk import ConstantDisk, DiskIo, EmpiricalDisk, Hdd, HddConfig, Ssd, SsdConfig, load_empirical
from iosim.disk.hdd import HddState, check
from iosim.model.errors import ScenarioError

FLUSH = DiskIo("F", 0, 0)


def read(sector: int, sectors: int = 1) -> DiskIo:
    return DiskIo("R", sector, sectors)


def write(sector: int, sectors: int = 1) -> DiskIo:
    return DiskIo("W", sector, sectors)


# constant


def test_constant_disk_has_one_time_for_transfers_and_one_for_flushes() -> None:
    disk = ConstantDisk(90_000, 500_000)
    assert disk.service(None, read(0), 7, 0) == (90_000, None)
    assert disk.service(None, write(5, 100), 7, 0) == (90_000, None)
    assert disk.service(None, FLUSH, 7, 0) == (500_000, None)


# hdd: 10 ms per revolution; 2 heads; cylinders 0-9 with 100 sectors per track (100 us each), 10-19 with 50 (200 us)

ROTATION = 10_000_000


def hdd(
    segment_sectors: int = 0, write_buffer_sectors: int = 0, bus_sector_ns: int = 1_000, head_switch_ns: int = 0
) -> Hdd:
    return Hdd(
        HddConfig(
            revolution_ns=ROTATION,
            cylinders=20,
            heads=2,
            zones=((0, 100), (10, 50)),
            seek=((1, 1_000_000), (5, 3_000_000), (10, 4_000_000)),
            read_overhead_ns=200_000,
            write_overhead_ns=300_000,
            head_switch_ns=head_switch_ns,
            write_settle_ns=500_000,
            bus_sector_ns=bus_sector_ns,
            segment_sectors=segment_sectors,
            write_buffer_sectors=write_buffer_sectors,
        )
    )


def test_hdd_capacity_counts_each_zone() -> None:
    assert hdd().sectors == hdd().config.capacity() == 10 * 2 * 100 + 10 * 2 * 50


@pytest.mark.parametrize(
    ("sector", "place"),
    [
        (0, (0, 0, 0, 100)),
        (99, (0, 0, 99, 100)),
        (100, (0, 1, 0, 100)),
        (200, (1, 2, 0, 100)),
        (1_999, (9, 19, 99, 100)),
        (2_000, (10, 20, 0, 50)),
        (2_999, (19, 39, 49, 50)),
    ],
)
def test_hdd_finds_cylinder_track_and_offset(sector: int, place: tuple[int, int, int, int]) -> None:
    assert hdd().locate(sector) == place


@pytest.mark.parametrize(
    ("distance", "ns"),
    [(0, 0), (1, 1_000_000), (2, 1_500_000), (5, 3_000_000), (7, 3_400_000), (10, 4_000_000), (19, 4_000_000)],
)
def test_hdd_seek_is_linear_between_the_points_and_flat_behind_the_last(distance: int, ns: int) -> None:
    assert hdd().seek_ns(distance) == ns


def test_hdd_read_waits_for_the_sector_to_come_round() -> None:
    # At 200 us the head is over sector 2; sector 30 begins at 3,000 us, ends at 3,100 us; the bus takes 1 us more.
    ns, state = hdd().service(HddState(), read(30), 0, 0)
    assert ns == 3_101_000
    assert state.cylinder == 0


def test_hdd_read_of_a_sector_that_has_just_passed_takes_a_revolution() -> None:
    # At 200 us sector 1 has passed: it begins again at 10,100 us.
    assert hdd().service(HddState(), read(1), 0, 0)[0] == 10_100_000 + 100_000 + 1_000


def test_hdd_seek_comes_before_the_rotation() -> None:
    # Sector 400 is sector 0 of cylinder 2: 0.2 ms overhead, 1.5 ms seek, then until 10 ms; 0.1 ms transfer.
    ns, state = hdd().service(HddState(), read(400), 0, 0)
    assert ns == 10_101_000
    assert state.cylinder == 2


def test_hdd_angle_depends_on_the_time_of_day() -> None:
    # From 24 ms on: ready at 24.2 ms; sector 30 comes at 33 ms.
    assert hdd().service(HddState(), read(30), 24_000_000, 0)[0] == 9_000_000 + 100_000 + 1_000


def test_hdd_inner_zone_transfers_slower() -> None:
    # 10 sectors: 1 ms in the outer zone, 2 ms in the inner. Inner: seek of 10 cylinders 4 ms; sector 2,030 at 6 ms.
    assert hdd().service(HddState(), read(30, 10), 0, 0)[0] == 3_000_000 + 1_000_000 + 1_000
    assert hdd().service(HddState(), read(2_030, 10), 0, 0)[0] == 6_000_000 + 2_000_000 + 1_000


def test_hdd_transfer_over_a_track_boundary_switches_the_head() -> None:
    # Sectors 90-109: at 9 ms, 20 x 100 us, one switch of 0.7 ms.
    assert hdd(head_switch_ns=700_000).service(HddState(), read(90, 20), 0, 0)[0] == 11_700_000 + 1_000


def test_hdd_tracks_are_skewed_by_the_head_switch() -> None:
    # Sector 0 of track 1 lies 0.7 ms behind that of track 0.
    assert hdd(head_switch_ns=700_000).service(HddState(), read(100), 0, 0)[0] == 700_000 + 100_000 + 1_000


def test_hdd_slow_bus_decides_once_the_first_sector_is_there() -> None:
    # Sector 30 is read from 3.0 to 3.1 ms; then 10 sectors at 1 ms each.
    assert hdd(bus_sector_ns=1_000_000).service(HddState(), read(30, 10), 0, 0)[0] == 3_100_000 + 10_000_000


def test_hdd_unbuffered_write_settles_and_waits_for_the_medium() -> None:
    # 0.3 ms overhead, 0.5 ms settle; sector 30 from 3.0 to 3.1 ms.
    ns, state = hdd().service(HddState(), write(30), 0, 0)
    assert ns == 3_100_000
    assert state.dirty == 0


def test_hdd_second_read_from_the_segment_costs_overhead_and_bus() -> None:
    disk = hdd(segment_sectors=64)
    first_ns, state = disk.service(HddState(), read(30, 4), 0, 0)
    assert first_ns == 3_000_000 + 400_000 + 1_000
    assert disk.service(state, read(30, 4), 5_000_000, 0)[0] == 200_000 + 4 * 1_000


def test_hdd_reads_ahead_while_nobody_asks() -> None:
    # Sectors 30-33 end at 3.4 ms; read-ahead has passed sector 49 at 5.0 ms, so 34-41 are there at 6 ms.
    disk = hdd(segment_sectors=64)
    _, state = disk.service(HddState(), read(30, 4), 0, 0)
    ns, state = disk.service(state, read(34, 8), 6_000_000, 0)
    assert ns == 200_000 + 8 * 1_000
    assert (state.segment_first, state.segment_end, state.segment_ns) == (30, 42, 4_200_000)


def test_hdd_read_that_catches_up_with_read_ahead_waits_for_it() -> None:
    # At 3.5 ms one sector (34) is there; 34-43 stream by until 4.4 ms, and the last one takes the bus for 1 us.
    disk = hdd(segment_sectors=64)
    _, state = disk.service(HddState(), read(30, 4), 0, 0)
    assert disk.service(state, read(34, 10), 3_500_000, 0)[0] == 900_000 + 1_000


def test_hdd_read_ahead_ends_with_the_segment() -> None:
    # A segment of 8: 34-41 and no more. Sector 41 is a hit at 50 ms, 42 is read from the medium: at 50.2 ms the
    # head is over sector 2, 42 begins at 54.2 ms.
    disk = hdd(segment_sectors=8)
    _, state = disk.service(HddState(), read(30, 4), 0, 0)
    assert disk.service(state, read(41), 50_000_000, 0)[0] == 201_000
    assert disk.service(state, read(42), 50_000_000, 0)[0] == 4_200_000 + 100_000 + 1_000


def test_hdd_fresh_segment_holds_nothing() -> None:
    # At 1 s nothing was read yet: sector 30 comes 3 ms later, whatever the segment's size.
    assert hdd(segment_sectors=64).service(HddState(), read(30), 1_000_000_000, 0)[0] == 3_101_000


def test_hdd_segment_does_not_reach_back_to_an_earlier_address() -> None:
    disk = hdd(segment_sectors=64)
    _, state = disk.service(HddState(), read(60, 4), 0, 0)
    _, state = disk.service(state, read(10, 4), 20_000_000, 0)
    # 60 was dropped with the read of 10-13, which ended at 21.4 ms; at 22 ms read-ahead has come to sector 19.
    assert (state.segment_first, state.segment_end) == (10, 14)
    assert disk.service(state, read(60), 22_000_000, 0)[0] == 4_000_000 + 100_000 + 1_000


def test_hdd_write_drops_the_segment() -> None:
    disk = hdd(segment_sectors=64, write_buffer_sectors=16)
    _, state = disk.service(HddState(), read(30, 4), 0, 0)
    _, state = disk.service(state, write(60), 5_000_000, 0)
    # On the medium at 6.1 ms; at 20 ms sector 30 has to come round: 23.0 to 23.1 ms.
    assert disk.service(state, read(30), 20_000_000, 0)[0] == 3_000_000 + 100_000 + 1_000


def test_hdd_buffered_write_is_done_when_it_is_in_the_buffer() -> None:
    ns, state = hdd(write_buffer_sectors=16).service(HddState(), write(30, 4), 0, 0)
    assert ns == 300_000 + 4 * 1_000
    # Behind the command: 0.5 ms settle, sector 30 from 3.0 ms, 4 sectors.
    assert (state.dirty, state.busy_until_ns) == (4, 3_400_000)


def test_hdd_flush_waits_for_the_buffer() -> None:
    disk = hdd(write_buffer_sectors=16)
    _, state = disk.service(HddState(), write(30, 4), 0, 0)
    ns, after = disk.service(state, FLUSH, 1_000_000, 0)
    assert ns == 2_400_000 + 300_000
    assert after.dirty == 0
    assert disk.service(state, FLUSH, 5_000_000, 0)[0] == 300_000


def test_hdd_read_waits_for_buffered_writes() -> None:
    # The write ends at 3.4 ms; sector 50 comes at 5.0 ms.
    disk = hdd(write_buffer_sectors=16)
    _, state = disk.service(HddState(), write(30, 4), 0, 0)
    assert disk.service(state, read(50), 1_000_000, 0)[0] == 4_000_000 + 100_000 + 1_000


def test_hdd_sequential_buffered_writes_lose_no_revolution() -> None:
    disk = hdd(write_buffer_sectors=16)
    _, state = disk.service(HddState(), write(30, 4), 0, 0)
    _, state = disk.service(state, write(34, 4), 1_000_000, 0)
    assert (state.dirty, state.busy_until_ns) == (8, 3_800_000)


def test_hdd_full_write_buffer_makes_the_write_wait() -> None:
    # 14 of 16 sectors are dirty until 4.4 ms; 4 more do not fit: they follow over the bus when those are written.
    disk = hdd(write_buffer_sectors=16)
    _, state = disk.service(HddState(), write(30, 14), 0, 0)
    ns, state = disk.service(state, write(70, 4), 1_000_000, 0)
    assert ns == 3_400_000 + 4_000
    assert state.dirty == 4


def test_hdd_service_leaves_the_state_it_was_given_alone() -> None:
    disk, state = hdd(segment_sectors=64, write_buffer_sectors=16), HddState()
    first = disk.service(state, write(30, 4), 0, 0)
    assert state == HddState()
    assert disk.service(state, write(30, 4), 0, 99) == first


@pytest.mark.parametrize(
    ("zones", "seek", "rule"),
    [
        (((1, 100),), ((1, 1),), "zones must begin at cylinder 0, rise, and stay below cylinders"),
        (((0, 100), (20, 50)), ((1, 1),), "zones must begin at cylinder 0, rise, and stay below cylinders"),
        (((0, 100),), ((2, 1),), "seek must begin with distance 1, with rising distances and times that do not fall"),
        (
            ((0, 100),),
            ((1, 5), (2, 4)),
            "seek must begin with distance 1, with rising distances and times that do not fall",
        ),
        (((0, 100),), ((1, 5), (2, 5)), None),
    ],
)
def test_hdd_geometry_is_checked(
    zones: tuple[tuple[int, int], ...], seek: tuple[tuple[int, int], ...], rule: str | None
) -> None:
    assert check(HddConfig(10, 20, 2, zones, seek, 0, 0, 0, 0, 0, 0, 0)) == rule


# ssd: 4 units, pages of 8 sectors, blocks of 2 pages; read 50, program 200, erase 1,000, transfer 5, overhead 10 us


def ssd() -> Ssd:
    return Ssd(
        SsdConfig(
            units=4,
            page_sectors=8,
            block_pages=2,
            read_ns=50_000,
            program_ns=200_000,
            erase_ns=1_000_000,
            transfer_ns=5_000,
            overhead_ns=10_000,
            flush_ns=30_000,
        )
    )


def test_ssd_read_of_one_page() -> None:
    assert ssd().service(ssd().initial(), read(0, 8), 0, 0)[0] == 10_000 + 50_000 + 5_000


def test_ssd_pages_on_different_units_are_read_at_once() -> None:
    assert ssd().service(ssd().initial(), read(0, 32), 0, 0)[0] == 65_000


def test_ssd_pages_on_one_unit_are_read_in_turn() -> None:
    # Five pages on four units: units 0 reads two.
    assert ssd().service(ssd().initial(), read(0, 40), 0, 0)[0] == 10_000 + 2 * 55_000


def test_ssd_unaligned_read_touches_two_pages() -> None:
    _, state = ssd().service(ssd().initial(), read(4, 8), 0, 0)
    assert state.busy_until_ns == (65_000, 65_000, 0, 0)


def test_ssd_writes_go_round_the_units_whatever_their_address() -> None:
    disk = ssd()
    ns, state = disk.service(disk.initial(), write(800, 8), 0, 0)
    assert ns == 10_000 + 5_000 + 200_000
    assert tuple(state)[:3] == ((215_000, 0, 0, 0), (1, 0, 0, 0), 1)
    ns, state = disk.service(state, write(800, 8), 0, 0)
    assert ns == 215_000
    assert tuple(state)[:3] == ((215_000, 215_000, 0, 0), (1, 1, 0, 0), 2)


def test_ssd_read_waits_for_the_program_on_its_unit() -> None:
    disk = ssd()
    _, state = disk.service(disk.initial(), write(0, 8), 0, 0)
    assert disk.service(state, read(0, 8), 100_000, 0)[0] == 115_000 + 55_000
    assert disk.service(state, read(8, 8), 100_000, 0)[0] == 65_000


def test_ssd_full_block_is_erased_behind_the_write_that_filled_it() -> None:
    disk = ssd()
    # Eight pages: two on each unit, the second one fills the block. The write ends with the program, the unit later.
    ns, state = disk.service(disk.initial(), write(0, 64), 0, 0)
    assert ns == 10_000 + 2 * 205_000
    assert tuple(state)[:3] == ((1_420_000,) * 4, (0,) * 4, 0)
    assert disk.service(state, write(0, 8), 500_000, 0)[0] == 920_000 + 205_000


def test_ssd_flush_waits_for_every_unit() -> None:
    disk = ssd()
    assert disk.service(disk.initial(), FLUSH, 0, 0)[0] == 10_000 + 30_000
    _, state = disk.service(disk.initial(), write(0, 8), 0, 0)
    assert disk.service(state, FLUSH, 15_000, 0)[0] == 200_000 + 30_000


# empirical

TABLE = """op,sectors,probability,ns
R,1,0,1000
R,1,0.5,2000
R,1,1,4000
R,9,0,3000
R,9,0.5,6000
R,9,1,20000
W,8,0,700
W,8,1,700
F,0,0,0
F,0,1,8192
"""

HALF = 1 << 31


def empirical(tmp_path: Path, text: str = TABLE, flush_ns: int | None = None) -> EmpiricalDisk:
    path = tmp_path / "disk.csv"
    path.write_text(text, encoding="utf-8")
    return load_empirical(path, flush_ns, "host.disk.sda.table")


@pytest.mark.parametrize(
    ("io", "draw", "ns"),
    [
        (read(0, 1), 0, 1_000),
        (read(0, 1), 1 << 30, 1_500),
        (read(0, 1), HALF, 2_000),
        (read(0, 1), 3 << 30, 3_000),
        (read(0, 9), HALF, 6_000),
        (read(0, 5), HALF, 4_000),  # half way between 1 and 9 sectors
        (read(0, 3), 0, 1_500),  # a quarter of the way
        (read(0, 100), HALF, 6_000),  # beyond the largest size
        (write(0, 1), HALF, 700),  # below the smallest size
        (FLUSH, 0, 0),
        (FLUSH, HALF, 4_096),
        (FLUSH, (1 << 32) - 1, 8_191),
    ],
)
def test_empirical_disk_interpolates_probability_and_size(tmp_path: Path, io: DiskIo, draw: int, ns: int) -> None:
    assert empirical(tmp_path).service(-1, io, 5, draw) == (ns, -1)


def test_empirical_flush_of_the_scenario_takes_precedence(tmp_path: Path) -> None:
    disk = empirical(tmp_path, TABLE.split("F,0", 1)[0], flush_ns=123)
    assert disk.service(-1, FLUSH, 0, HALF) == (123, -1)


BY_ACCESS = """op,access,sectors,probability,ns
R,random,8,0,5000
R,random,8,1,5000
R,sequential,8,0,100
R,sequential,8,1,100
R,sequential,16,0,300
R,sequential,16,1,300
W,random,8,0,700
W,random,8,1,700
"""


def test_empirical_disk_knows_requests_that_go_on_where_the_last_one_ended(tmp_path: Path) -> None:
    disk = empirical(tmp_path, BY_ACCESS, flush_ns=9)
    state, found = disk.initial(), []
    for io in (read(0, 8), read(8, 12), FLUSH, write(20, 8), read(28, 8), read(0, 8), read(9, 8)):
        ns, state = disk.service(state, io, 0, HALF)
        found.append(ns)
    # Writes have no sequential times of their own; a flush is no access.
    assert found == [5_000, 200, 9, 700, 100, 5_000, 5_000]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BY_ACCESS.replace("R,random", "R,rand"), r"csv:2: needs access random or sequential, got 'rand'"),
        (BY_ACCESS.replace("W,random", "W,sequential"), r"csv: has no quantiles of op W and access random"),
        (BY_ACCESS.replace("W,random,8,1,700", "W,8,1,700"), r"csv:9: must be op,access,sectors,probability,ns, got"),
    ],
)
def test_empirical_table_by_access_is_checked(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        empirical(tmp_path, text, flush_ns=9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: must be op,sectors,probability,ns, got ''"),
        ("op,sectors\n", ":1: must be op,sectors,probability,ns, got 'op,sectors'"),
        (TABLE + "R,1,x,3\n", ":12: must be op,sectors,probability,ns, got 'R,1,x,3'"),
        (TABLE + "R,1,1\n", ":12: must be op,sectors,probability,ns, got 'R,1,1'"),
        (TABLE + "D,1,1,3\n", ":12: needs op R, W or F, probability 0 to 1, ns 0 to 2^62, got 'D,1,1,3'"),
        (TABLE + "W,8,2,3\n", ":12: needs op R, W or F, probability 0 to 1, ns 0 to 2^62, got 'W,8,2,3'"),
        (TABLE + "W,8,1,nan\n", ":12: needs op R, W or F, probability 0 to 1, ns 0 to 2^62, got 'W,8,1,nan'"),
        (TABLE + "W,8,1,inf\n", ":12: needs op R, W or F, probability 0 to 1, ns 0 to 2^62, got 'W,8,1,inf'"),
        (TABLE + "W,8,1,-1\n", ":12: needs op R, W or F, probability 0 to 1, ns 0 to 2^62, got 'W,8,1,-1'"),
        (TABLE + "W,8,1,600\n", ": quantiles of W with 8 sectors must rise from probability 0 to 1"),
        (TABLE + "W,4,0,600\n", ": quantiles of W with 4 sectors must rise from probability 0 to 1"),
        (TABLE + "W,4,0,600\nW,4,1,500\n", ": quantiles of W with 4 sectors must rise from probability 0 to 1"),
        (TABLE.replace("W,8", "R,8"), ": has no quantiles of op W"),
        (TABLE.split("F,0", 1)[0], ": has no quantiles of op F"),
    ],
)
def test_empirical_table_is_checked(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as error:
        empirical(tmp_path, text)
    assert str(error.value) == f"{tmp_path / 'disk.csv'}{message}"


def test_missing_empirical_table_names_its_key(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as error:
        load_empirical(tmp_path / "none.csv", None, "host.disk.sda.table")
    path = tmp_path / "none.csv"
    assert str(error.value) == f"host.disk.sda.table cannot be read: {path}: No such file or directory"
