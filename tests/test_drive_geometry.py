"""Geometry and mechanics of a drive, by hand: places, skews, spare and slipped sectors, seeks, transfers."""

import pytest

from iosim.disk.geometry import Geometry, Place, Zone
from iosim.disk.mechanics import Arm, Mechanics, seek_ns

US, MS = 1_000, 1_000_000


def places(geometry: Geometry) -> list[tuple[int, int, int]]:
    """Cylinder, head and place on the track of every sector."""
    return [(p.cylinder, p.head, p.on_track) for p in map(geometry.place, range(geometry.sectors))]


# Geometry


def test_sectors_fill_track_after_track_and_zone_after_zone() -> None:
    geometry = Geometry(2, (Zone(0, 2, 3), Zone(5, 1, 2)))
    assert geometry.sectors == 2 * 2 * 3 + 2 * 2
    assert places(geometry) == [
        *[(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (0, 1, 1), (0, 1, 2)],
        *[(1, 0, 0), (1, 0, 1), (1, 0, 2), (1, 1, 0), (1, 1, 1), (1, 1, 2)],
        *[(5, 0, 0), (5, 0, 1), (5, 1, 0), (5, 1, 1)],
    ]


def test_unused_sectors_stand_in_front_of_the_zone() -> None:
    geometry = Geometry(1, (Zone(0, 2, 3, unused=4),))
    assert places(geometry) == [(1, 0, 1), (1, 0, 2)]


@pytest.mark.parametrize(
    ("region_tracks", "free"),
    [
        (0, {(1, 1, 2)}),
        (1, {(0, 0, 2), (0, 1, 2), (1, 0, 2), (1, 1, 2)}),
        (2, {(0, 1, 2), (1, 1, 2)}),
    ],
)
def test_spare_sectors_end_their_region(region_tracks: int, free: set[tuple[int, int, int]]) -> None:
    geometry = Geometry(2, (Zone(0, 2, 3, region_tracks=region_tracks, spares=1),))
    everything = {(c, h, s) for c in range(2) for h in range(2) for s in range(3)}
    assert set(places(geometry)) == everything - free
    assert geometry.sectors == 12 - len(free)


def test_slipped_sectors_are_skipped_within_their_region() -> None:
    # Sectors 1 and 2 of the zone are bad, and 7, the second of cylinder 1; two spares per cylinder take their place.
    geometry = Geometry(2, (Zone(0, 2, 3, region_tracks=2, spares=2, slips=(1, 2, 7)),))
    assert places(geometry) == [
        *[(0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 1, 2)],
        *[(1, 0, 0), (1, 0, 2), (1, 1, 0), (1, 1, 1)],
    ]


def test_track_bounds_are_those_of_the_places() -> None:
    zones = (
        Zone(0, 3, 5, unused=2, region_tracks=2, spares=3, slips=(3, 4, 11, 20)),
        Zone(4, 2, 4, spares=2, slips=(0, 7)),
    )
    geometry = Geometry(2, zones)
    tracks: dict[tuple[int, int], list[int]] = {}
    for sector in range(geometry.sectors):
        place = geometry.place(sector)
        tracks.setdefault((place.cylinder, place.head), []).append(sector)
    for sector in range(geometry.sectors):
        place = geometry.place(sector)
        on_it = tracks[place.cylinder, place.head]
        assert geometry.track_bounds(place) == (on_it[0], on_it[-1] + 1)


def test_skews_turn_tracks_and_cylinders() -> None:
    geometry = Geometry(3, (Zone(4, 3, 10, offset=1, track_skew=2, cylinder_skew=4),))
    firsts = [geometry.angle(geometry.place(10 * track)) for track in range(9)]
    # 1, +2, +2, then +4 to the next cylinder, and so on, in a circle of 10.
    assert firsts == [1, 3, 5, 9, 1, 3, 7, 9, 1]
    assert geometry.angle(geometry.place(9)) == 0


# Seek


@pytest.mark.parametrize(
    ("distance", "ns"), [(0, 0), (1, 2 * MS), (2, 1 * MS), (3, 1_500 * US), (4, 2 * MS), (5, 2 * MS), (99, 2 * MS)]
)
def test_seek_curve_may_fall_and_is_flat_behind_its_end(distance: int, ns: int) -> None:
    assert seek_ns(((1, 2 * MS), (2, 1 * MS), (4, 2 * MS)), distance) == ns


def test_seek_below_the_first_point_takes_as_long_as_that() -> None:
    assert seek_ns(((10, 3 * MS), (20, 4 * MS)), 2) == 3 * MS


# Mechanics: 10 ms per revolution, 2 heads, 100 sectors of 100 us, skews of 5 and 20 sectors

GEOMETRY = Geometry(2, (Zone(0, 10, 100, track_skew=5, cylinder_skew=20),))
MECHANICS = Mechanics(GEOMETRY, 10 * MS, ((1, 1 * MS), (9, 3 * MS)), 300 * US, 400 * US)


@pytest.mark.parametrize(
    ("arm", "write", "ns"),
    [
        (Arm(0, 0), False, 0),
        (Arm(0, 0), True, 0),
        (Arm(0, 1), False, 300 * US),
        (Arm(0, 1), True, 700 * US),
        (Arm(1, 1), False, 1 * MS),
        (Arm(9, 0), True, 3_400 * US),
    ],
)
def test_arm_takes_the_longer_of_seek_and_head_switch_and_writes_settle(arm: Arm, write: bool, ns: int) -> None:
    assert MECHANICS.move_ns(arm, GEOMETRY.place(0), write) == ns


def test_transfer_waits_for_its_first_sector() -> None:
    # Sector 30 comes at 3 ms; 4 sectors.
    (piece,) = MECHANICS.pieces(Arm(0, 0), 30, 34, 1 * MS)
    assert (piece.begin_ns, piece.end_ns, piece.end) == (3 * MS, 3_400 * US, 34)
    # Landed on sector 10: everything from there on has been seen.
    assert piece.seen == 10


def test_landing_behind_the_first_sector_has_seen_the_track() -> None:
    (piece,) = MECHANICS.pieces(Arm(0, 0), 30, 34, 5 * MS)
    assert (piece.begin_ns, piece.seen) == (13 * MS, 0)


def test_transfer_goes_on_behind_a_head_switch() -> None:
    # Sectors 98 and 99 from 9.8 ms to 10 ms; track 1 is skewed by 0.5 ms, the switch takes 0.3: from 10.5 ms on.
    first, second = MECHANICS.pieces(Arm(0, 0), 98, 103, 0)
    assert (first.begin_ns, first.end_ns) == (9_800 * US, 10 * MS)
    assert (second.first, second.begin_ns, second.end_ns, second.arm) == (100, 10_500 * US, 10_800 * US, Arm(0, 1))


def test_transfer_goes_on_behind_a_seek_to_the_next_cylinder() -> None:
    # Track 1 begins at 0.5 ms, so its last sector ends at 0.5 ms; cylinder 1 begins 2 ms later, the seek takes 1 ms.
    *_, last = MECHANICS.pieces(Arm(0, 1), 199, 201, 0)
    assert (last.first, last.begin_ns, last.arm) == (200, 2_500 * US, Arm(1, 0))


def test_landing_within_a_transfer_at_once_takes_one_revolution() -> None:
    # 50 sectors from 0 on, landed on sector 20: 20 to 49 now, 0 to 19 one revolution later, until 12 ms.
    (piece,) = MECHANICS.pieces(Arm(0, 0), 0, 50, 2 * MS, at_once=True)
    assert (piece.middle, piece.begin_ns, piece.end_ns) == (20, 10 * MS, 12 * MS)
    (later,) = MECHANICS.pieces(Arm(0, 0), 0, 50, 2 * MS)
    assert (later.middle, later.begin_ns, later.end_ns) == (50, 10 * MS, 15 * MS)


def test_landing_outside_of_a_transfer_at_once_changes_nothing() -> None:
    (piece,) = MECHANICS.pieces(Arm(0, 0), 30, 34, 5 * MS, at_once=True)
    assert (piece.middle, piece.begin_ns, piece.end_ns) == (34, 13 * MS, 13_400 * US)


def test_transfer_that_is_asked_sector_by_sector_takes_as_long_as_at_once() -> None:
    # 334 sectors of 5,985,037 ns: no sector has a whole number of nanoseconds.
    mechanics = Mechanics(
        Geometry(2, (Zone(0, 4, 334, track_skew=63, cylinder_skew=113),)), 5_985_037, ((1, 1 * MS),), 1, 0
    )
    (*_, whole) = mechanics.pieces(Arm(0, 0), 0, 1_300, 0)
    arm, at = Arm(0, 0), 0
    for sector in range(1_300):
        (piece,) = mechanics.pieces(arm, sector, sector + 1, at)
        arm, at = piece.arm, piece.end_ns
    assert at == whole.end_ns


def test_slipped_sector_in_a_transfer_costs_its_time() -> None:
    mechanics = Mechanics(Geometry(1, (Zone(0, 1, 100, spares=1, slips=(32,)),)), 10 * MS, ((1, 1 * MS),), 0, 0)
    (piece,) = mechanics.pieces(Arm(0, 0), 30, 34, 0)
    assert (piece.begin_ns, piece.end_ns) == (3 * MS, 3_500 * US)
    assert mechanics.geometry.place(32) == Place(0, 0, 0, 0, 33)
