"""[[host.disk]]: the disks of the host, their queues, windows and faults."""

from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from iosim.model import units
from iosim.model.scenario.fields import Count, FileName, Name, Size, Table, Time, table_rule
from iosim.model.scenario.zone import SeekCurve, TimePair, ZoneTable, broken_rule

MAX_DISKS = 1000


class WindowTable(Table):
    """[[host.disk.window]]: a time at which the disk is slow, or stuck."""

    start: Time
    end: Time
    factor: Annotated[float, Field(ge=0.001, le=1e6, allow_inf_nan=False)] | None = None
    add: Time | None = None
    stuck: bool = False

    @model_validator(mode="after")
    def _one_effect(self) -> "WindowTable":
        if self.end <= self.start:
            raise table_rule(
                f"end must come after start, got {units.exact_time(self.end)} and {units.exact_time(self.start)}"
            )
        given = [
            name
            for name, there in (
                ("factor", self.factor is not None),
                ("add", self.add is not None),
                ("stuck", self.stuck),
            )
            if there
        ]
        if len(given) != 1:
            raise table_rule(
                f"factor, add or stuck = true is required, one of them, got {' and '.join(given) or 'none'}"
            )
        return self


class FaultTable(Table):
    """[[host.disk.fault]]: operations that fail."""

    error: Literal["EIO", "ENOSPC"] = "EIO"
    ops: Annotated[list[Literal["read", "write", "flush"]], Field(min_length=1)] = ["read", "write", "flush"]
    first_sector: Annotated[int, Field(ge=0, lt=1 << 48)] = 0
    sectors: Annotated[int, Field(ge=1, le=1 << 48)] | None = None
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    start: Time = 0
    end: Time | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "FaultTable":
        if self.end is not None and self.end <= self.start:
            raise table_rule(
                f"end must come after start, got {units.exact_time(self.end)} and {units.exact_time(self.start)}"
            )
        return self


class DiskCommon(Table):
    """[[host.disk]]: what every model has."""

    name: Name
    count: Annotated[int, Field(ge=1, le=MAX_DISKS)] = 1
    scheduler: Literal["none", "deadline", "c-scan"] = "none"
    queue_depth: Annotated[int, Field(ge=1, le=65536)] | None = None
    read_expire: Time = 500_000_000
    write_expire: Time = 5_000_000_000
    fifo_batch: Annotated[int, Field(ge=0, le=65536)] = 16
    writes_starved: Annotated[int, Field(ge=0, le=65536)] = 2
    capacity: Size | None = None
    window: list[WindowTable] = []
    fault: list[FaultTable] = []
    servers: Count = 1

    @model_validator(mode="after")
    def _depth_feeds_the_servers(self) -> "DiskCommon":
        if self.queue_depth is not None and self.queue_depth < self.servers:
            raise table_rule(f"queue_depth must be at least servers, got {self.queue_depth} and {self.servers}")
        return self

    @model_validator(mode="after")
    def _windows_follow_each_other(self) -> "DiskCommon":
        for before, after in pairwise(sorted(self.window, key=lambda window: window.start)):
            if after.start < before.end:
                raise table_rule(
                    f"window must not overlap another, got {units.exact_time(before.start)} to "
                    f"{units.exact_time(before.end)} and one from {units.exact_time(after.start)}"
                )
        return self


class ConstantDiskTable(DiskCommon):
    """model = "constant": one service time."""

    model: Literal["constant"]
    service: Time
    flush: Time | None = None


class EmpiricalDiskTable(DiskCommon):
    """model = "empirical": measured quantiles of the service time by operation and size."""

    model: Literal["empirical"]
    table: FileName
    flush: Time | None = None


class HddTable(DiskCommon):
    """model = "hdd": a rotating disk."""

    model: Literal["hdd"]
    rpm: Annotated[int, Field(ge=100, le=100_000)] = 7200
    cylinders: Annotated[int, Field(ge=1, le=1 << 24)] = 100_000
    heads: Annotated[int, Field(ge=1, le=64)] = 4
    zones: list[tuple[int, int]] = [(0, 1800), (33_000, 1500), (66_000, 1100)]
    seek: list[tuple[int, Time]] = [(1, 800_000), (1000, 3_500_000), (33_000, 8_500_000), (99_999, 18_000_000)]
    read_overhead: Time = 200_000
    write_overhead: Time = 300_000
    head_switch: Time = 800_000
    write_settle: Time = 500_000
    bus_rate: Size = 150 * 1024 * 1024
    read_ahead: Literal[False] | Size = 512 * 1024
    write_buffer: Literal[False] | Size = 8 * 1024 * 1024
    servers: Annotated[int, Field(ge=1, le=1)] = 1

    @field_validator("zones", "seek", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [tuple(pair) if isinstance(pair, list) else pair for pair in value]
        return value


class DisksimTable(DiskCommon):
    """model = "disksim": a rotating disk with the parameters that DiskSim describes drives with."""

    model: Literal["disksim"]
    rpm: Annotated[int, Field(ge=100, le=100_000)] = 7200
    heads: Annotated[int, Field(ge=1, le=64)]
    zone: Annotated[list[ZoneTable], Field(min_length=1, max_length=256)]
    seek: SeekCurve
    head_switch: Time = 800_000
    write_settle: Time = 500_000
    least_write_seek: Time = 0
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
    watermark: Annotated[float, Field(ge=0, le=1)] = 0.0
    least_buffered: Size = units.SECTOR_BYTES
    write_back: bool = True
    write_segment: bool = False
    hits_on_writes: bool = True
    ahead_on_hit: bool = False
    read_before: bool = False
    read_at_once: bool = False
    write_at_once: bool = False
    servers: Annotated[int, Field(ge=1, le=1)] = 1

    @model_validator(mode="after")
    def _parts_fit(self) -> "DisksimTable":
        if rule := broken_rule(self.heads, self.zone, self.seek):
            raise table_rule(rule)
        if self.write_segment and self.segments < 2:
            raise table_rule("segments must be at least 2 with write_segment, got 1")
        return self


class SsdTable(DiskCommon):
    """model = "ssd": parallel flash units."""

    model: Literal["ssd"]
    units: Annotated[int, Field(ge=1, le=1024)] = 16
    page: Size = 4096
    block_pages: Annotated[int, Field(ge=1, le=65536)] = 256
    read: Time = 60_000
    program: Time = 250_000
    erase: Time = 3_000_000
    transfer: Time = 5_000
    overhead: Time = 10_000
    flush: Time = 500_000
    write_buffer: Literal[False] | Size = False
    over_provisioning: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = None
    filled: bool = True
    servers: Count = 16

    @model_validator(mode="after")
    def _sizes_fit(self) -> "SsdTable":
        if self.over_provisioning is not None and self.capacity is None:
            raise table_rule("capacity is required with over_provisioning")
        if self.write_buffer and self.write_buffer < self.page:
            raise table_rule(
                f"write_buffer must hold a page, got {units.exact_size(self.write_buffer)} "
                f"and {units.exact_size(self.page)}"
            )
        return self


DiskTable: TypeAlias = Annotated[
    ConstantDiskTable | EmpiricalDiskTable | HddTable | DisksimTable | SsdTable, Field(discriminator="model")
]
