"""model = "disksim" of [[host.disk]]: a rotating disk as DiskSim's parameter files describe it."""

from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from iosim.model.scenario.fields import Size, Table, Time, table_rule
from iosim.model.units import SECTOR_BYTES


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


class Drive(Table):
    """The keys of the model, without those of every disk."""

    rpm: Annotated[int, Field(ge=100, le=100_000)] = 7200
    heads: Annotated[int, Field(ge=1, le=64)]
    zone: Annotated[list[ZoneTable], Field(min_length=1, max_length=256)]
    seek: SeekCurve
    head_switch: Time = 800_000
    write_settle: Time = 500_000
    least_write_seek: Time = 0
    least_buffered: Size = SECTOR_BYTES
    bus_rate: Size = 150 * 1024 * 1024
    segments: Annotated[int, Field(ge=1, le=1024)] = 8
    segment_size: Size = 256 * 1024
    read_ahead: Literal["none", "track", "cylinder", "segment", "next-track"] = "segment"
    most_ahead: Literal[False] | Size = False
    read_hit: TimePair = (100_000, 100_000)
    read_miss: TimePair = (200_000, 200_000)
    write: TimePair = (300_000, 300_000)
    write_sequential: Time | None = None
    reconnect: Time = 0
    read_end: Time = 0
    write_end: Time = 0
    write_back: bool = True
    write_segment: bool = False
    hits_on_writes: bool = True
    ahead_on_hit: bool = False
    read_before: bool = False
    read_at_once: bool = False
    write_at_once: bool = False
    watermark: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _geometry(self) -> "Drive":
        for before, after in pairwise(self.zone):
            if after.first_cylinder < before.first_cylinder + before.cylinders:
                raise table_rule(
                    f"zone must begin behind the one before, got first_cylinder = {after.first_cylinder} "
                    f"behind {before.first_cylinder} with {before.cylinders} cylinders"
                )
        for zone in self.zone:
            tracks = zone.cylinders * self.heads
            regions = tracks // zone.region_tracks if zone.region_tracks else 1
            region = (zone.region_tracks or tracks) * zone.sectors_per_track
            lost = regions * zone.spares + zone.unused
            if zone.spares >= region or lost + len(zone.slips) >= tracks * zone.sectors_per_track:
                raise table_rule(
                    f"zone must keep sectors for data, got {lost} unused and spare ones of "
                    f"{tracks * zone.sectors_per_track} from cylinder {zone.first_cylinder} on"
                )
        for (near, _), (far, _) in pairwise(self.seek):
            if far <= near:
                raise table_rule(f"seek must have rising distances, got {near} and then {far}")
        if self.seek[0][0] < 1:
            raise table_rule(f"seek must begin with distance 1 or more, got {self.seek[0][0]}")
        for name, size in (
            ("segment_size", self.segment_size),
            ("most_ahead", self.most_ahead or SECTOR_BYTES),
            ("least_buffered", self.least_buffered),
        ):
            if size % SECTOR_BYTES:
                raise table_rule(f"{name} must be a positive multiple of {SECTOR_BYTES} bytes, got {size}")
        if self.write_segment and self.segments < 2:
            raise table_rule("segments must be at least 2 with write_segment, got 1")
        return self
