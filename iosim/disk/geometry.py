"""Where the sectors of a rotating disk are: zones, spare sectors, slipped defects, skews.

After the layout "g1" of DiskSim's libdiskmodel. Logical sectors fill a zone track after track; each region of a zone
(a track, some cylinders, or the whole zone) leaves its last sectors for defects, and defective sectors are skipped.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple


@dataclass(frozen=True)
class Zone:
    """Cylinders with the same number of sectors per track.

    *first_cylinder*, and so many *cylinders*. *offset*: angle of the first sector, in sectors. *track_skew* and
    *cylinder_skew*: how many sectors later the next track begins, on the same and on the next cylinder. *unused*:
    sectors in front of the first one that has data. *region_tracks* tracks share *spares* sectors at their end; 0
    tracks: the whole zone shares them. *slips*: sectors that are skipped, counted from the begin of the zone, rising.
    """

    first_cylinder: int
    cylinders: int
    sectors_per_track: int
    offset: int = 0
    track_skew: int = 0
    cylinder_skew: int = 0
    unused: int = 0
    region_tracks: int = 0
    spares: int = 0
    slips: tuple[int, ...] = ()

    def regions(self, heads: int) -> int:
        """Return the number of whole regions."""
        return self.cylinders * heads // self.region_tracks if self.region_tracks else 1

    def region_sectors(self, heads: int) -> int:
        """Return how many sectors a region has, spare ones included."""
        return (self.region_tracks or self.cylinders * heads) * self.sectors_per_track

    def sectors(self, heads: int) -> int:
        """Return how many sectors have data."""
        return self.cylinders * heads * self.sectors_per_track - self.unused - self.regions(heads) * self.spares


class Place(NamedTuple):
    """A sector on the medium: zone, cylinder, head, place on its track; *track* is counted from the zone's first."""

    zone: int
    cylinder: int
    head: int
    track: int
    on_track: int


@dataclass(frozen=True)
class Geometry:
    """Translates logical sectors of the disk to places, and places to angles."""

    heads: int
    zones: tuple[Zone, ...]
    sectors: int = field(init=False)
    _starts: list[int] = field(init=False, repr=False)
    _slips: list[dict[int, "_Slips"]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ends = list(accumulate(zone.sectors(self.heads) for zone in self.zones))
        object.__setattr__(self, "sectors", ends[-1])
        object.__setattr__(self, "_starts", [0, *ends[:-1]])
        object.__setattr__(self, "_slips", [_slips(zone, self.heads) for zone in self.zones])

    def place(self, sector: int) -> Place:
        """Return where *sector* is."""
        index = bisect_right(self._starts, sector) - 1
        zone = self.zones[index]
        region_sectors = zone.region_sectors(self.heads)
        region, rest = divmod(sector - self._starts[index] + zone.unused, region_sectors - zone.spares)
        slips = self._slips[index].get(region)
        if slips:
            rest += bisect_right(slips.logical, rest)
        track, on_track = divmod(region * region_sectors + rest, zone.sectors_per_track)
        cylinder, head = divmod(track, self.heads)
        return Place(index, zone.first_cylinder + cylinder, head, track, on_track)

    def track_start(self, zone_index: int, track: int) -> int:
        """Return the first logical sector on or behind a track of a zone, which may be the one behind its last."""
        zone = self.zones[zone_index]
        region_sectors = zone.region_sectors(self.heads)
        region, rest = divmod(track * zone.sectors_per_track, region_sectors)
        slips = self._slips[zone_index].get(region)
        if slips:
            rest -= bisect_left(slips.physical, rest)
        data = region_sectors - zone.spares
        inside = region * data + min(rest, data) - zone.unused
        end = self._starts[zone_index + 1] if zone_index + 1 < len(self.zones) else self.sectors
        return min(self._starts[zone_index] + max(inside, 0), end)

    def track_bounds(self, place: Place) -> tuple[int, int]:
        """Return the first logical sector of the track of *place*, and the first one behind it."""
        return self.track_start(place.zone, place.track), self.track_start(place.zone, place.track + 1)

    def angle(self, place: Place) -> int:
        """Return the angle of *place*, in sectors of its track."""
        zone = self.zones[place.zone]
        cylinder = place.cylinder - zone.first_cylinder
        switches = place.head + (self.heads - 1) * cylinder
        skewed = zone.offset + switches * zone.track_skew + cylinder * zone.cylinder_skew
        return (skewed + place.on_track) % zone.sectors_per_track


class _Slips(NamedTuple):
    """The slips of a region: where they are in it, and the logical sector of the region that skips each first."""

    physical: list[int]
    logical: list[int]


def _slips(zone: Zone, heads: int) -> dict[int, _Slips]:
    """Return the slips of each region that has some."""
    found: dict[int, _Slips] = {}
    for slip in zone.slips:
        region, rest = divmod(slip, zone.region_sectors(heads))
        before = found.setdefault(region, _Slips([], []))
        before.logical.append(rest - len(before.physical))
        before.physical.append(rest)
    return found
