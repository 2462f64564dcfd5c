"""The arm and the platters of a rotating disk: seek, head switch, rotation, transfer over tracks.

Angles are times within one revolution; at time 0 the heads are over angle 0.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from iosim.disk.geometry import Geometry, Place


class Arm(NamedTuple):
    """Where the heads are."""

    cylinder: int = 0
    head: int = 0


class Piece(NamedTuple):
    """A transfer on one track: logical sectors [first, end), of which *first* comes under the head at *begin_ns*.

    All are done at *end_ns*. With *middle* below *end* the head has landed on sector *middle*: from there on the
    sectors were done first, and those in front of it one revolution later. *seen*: the first logical sector of the
    track that has passed under the head on the way to *first*.
    """

    first: int
    middle: int
    end: int
    begin_ns: int
    end_ns: int
    arm: Arm
    seen: int


@dataclass(frozen=True)
class Mechanics:
    """*seek*: (distance in cylinders, ns), distances rise. *write_settle_ns* comes on top of a move, for writes."""

    geometry: Geometry
    revolution_ns: int
    seek: tuple[tuple[int, int], ...]
    head_switch_ns: int
    write_settle_ns: int

    def move_ns(self, arm: Arm, place: Place, write: bool) -> int:
        """Return how long the arm takes to the track of *place*: the longer one of seek and head switch."""
        ns = seek_ns(self.seek, abs(place.cylinder - arm.cylinder))
        if place.head != arm.head:
            ns = max(ns, self.head_switch_ns)
        return ns + self.write_settle_ns if ns and write else ns

    def angle_ns(self, place: Place, sectors: int) -> int:
        """Return at which angle *sectors* begin on the track of *place*; beyond a revolution it goes on."""
        return sectors * self.revolution_ns // self.geometry.zones[place.zone].sectors_per_track

    def pieces(
        self, arm: Arm, first: int, end: int, start_ns: int, write: bool = False, at_once: bool = False
    ) -> Iterator[Piece]:
        """Yield the transfers, track by track, of the logical sectors [first, end); the arm starts at *start_ns*.

        *at_once*: the transfer begins with whatever sector the head lands on.
        """
        at = start_ns
        while first < end:
            place = self.geometry.place(first)
            piece = self.on_track(place, first, end, at + self.move_ns(arm, place, write), at_once)
            yield piece
            arm, at, first = piece.arm, piece.end_ns, piece.end

    def on_track(self, place: Place, first: int, end: int, at_ns: int, at_once: bool = False) -> Piece:
        """Return the transfer of what of [first, end) lies on the track of *place*, where the head is at *at_ns*."""
        track_first, track_end = self.geometry.track_bounds(place)
        end = min(end, max(track_end, first + 1))
        angle = self.geometry.angle(place)
        begin = at_ns + (self.angle_ns(place, angle) - at_ns) % self.revolution_ns
        span = self.geometry.place(end - 1).on_track - place.on_track + 1
        length = self.angle_ns(place, angle + span) - self.angle_ns(place, angle)
        arm = Arm(place.cylinder, place.head)
        landed = self._landed(place, at_ns)
        if at_once and landed - place.on_track in range(1, span):
            middle = min(first + landed - place.on_track, end - 1)
            ends = begin + self.angle_ns(place, angle + landed - place.on_track) - self.angle_ns(place, angle)
            return Piece(first, middle, end, begin, ends, arm, track_first)
        seen = first - (place.on_track - landed) if landed <= place.on_track else track_first
        return Piece(first, end, end, begin, begin + length, arm, max(seen, track_first))

    def _landed(self, place: Place, at_ns: int) -> int:
        """Return which sector of the track of *place* begins next under the head at *at_ns*."""
        per_track = self.geometry.zones[place.zone].sectors_per_track
        next_angle = -(-(at_ns % self.revolution_ns) * per_track // self.revolution_ns)
        return (next_angle - self.geometry.angle(place) + place.on_track) % per_track


def seek_ns(seek: Sequence[tuple[int, int]], distance: int) -> int:
    """Return the time of a seek: linear between the points of the curve, flat beyond its ends, 0 for distance 0."""
    if distance <= 0:
        return 0
    index = bisect_left(seek, (distance + 1, 0)) - 1
    if index < 0:
        return seek[0][1]
    if index == len(seek) - 1:
        return seek[-1][1]
    (near, near_ns), (far, far_ns) = seek[index], seek[index + 1]
    return near_ns + (far_ns - near_ns) * (distance - near) // (far - near)
