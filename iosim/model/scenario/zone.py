"""[[host.disk.zone]] of model = "disksim", and the rules that zones and a seek curve keep."""

from itertools import pairwise
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from iosim.model.scenario.fields import Table, Time, table_rule


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _as_tuples(value: Any) -> Any:
    return [_as_tuple(pair) for pair in value] if isinstance(value, list) else value


TimePair: TypeAlias = Annotated[tuple[Time, Time], BeforeValidator(_as_tuple)]
SeekCurve: TypeAlias = Annotated[list[tuple[int, Time]], Field(min_length=1), BeforeValidator(_as_tuples)]
Sectors: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 32)]


class ZoneTable(Table):
    """[[host.disk.zone]]: cylinders with the same number of sectors per track."""

    first_cylinder: Annotated[int, Field(ge=0, lt=1 << 24)]
    cylinders: Annotated[int, Field(ge=1, le=1 << 24)]
    sectors_per_track: Annotated[int, Field(ge=1, le=1 << 16)]
    offset: Sectors = 0
    track_skew: Sectors = 0
    cylinder_skew: Sectors = 0
    unused: Sectors = 0
    region_tracks: Annotated[int, Field(ge=0, le=1 << 24)] = 0
    spares: Sectors = 0
    slips: list[Sectors] = []

    @model_validator(mode="after")
    def _slips_rise(self) -> "ZoneTable":
        for before, after in pairwise(self.slips):
            if after <= before:
                raise table_rule(f"slips must rise, got {before} and then {after}")
        return self


def broken_rule(heads: int, zones: list[ZoneTable], seek: list[tuple[int, int]]) -> str | None:
    """Return the rule that zones or seek curve of a drive break, None if they break none."""
    for before, after in pairwise(zones):
        if after.first_cylinder < before.first_cylinder + before.cylinders:
            return (
                f"zone must begin behind the one before, got first_cylinder = {after.first_cylinder} "
                f"behind {before.first_cylinder} with {before.cylinders} cylinders"
            )
    for zone in zones:
        tracks = zone.cylinders * heads
        regions = tracks // zone.region_tracks if zone.region_tracks else 1
        region = (zone.region_tracks or tracks) * zone.sectors_per_track
        lost = regions * zone.spares + zone.unused
        if zone.spares >= region or lost + len(zone.slips) >= tracks * zone.sectors_per_track:
            return (
                f"zone must keep sectors for data, got {lost} unused and spare ones of "
                f"{tracks * zone.sectors_per_track} from cylinder {zone.first_cylinder} on"
            )
    if seek[0][0] < 1:
        return f"seek must begin with distance 1 or more, got {seek[0][0]}"
    for (near, _), (far, _) in pairwise(seek):
        if far <= near:
            return f"seek must have rising distances, got {near} and then {far}"
    return None
