"""The scenario: what is simulated, as the TOML file says it (docs/scenario.md). The keys are a contract.

All models are frozen; a change is a copy. Times are int nanoseconds and sizes int bytes inside, texts with units
outside.
"""

from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from iosim.model import units
from iosim.model.ata import LBA28_MAX_COUNT, LBA48_MAX_COUNT, Transfer


def _rule(text: str) -> PydanticCustomError:
    """Return the error of one value that breaks the rule *text*."""
    return PydanticCustomError("rule", "{text}", {"text": text})


def _table_rule(text: str) -> PydanticCustomError:
    """Return the error of a table whose keys do not fit together; *text* begins with the key and has the values."""
    return PydanticCustomError("table_rule", "{text}", {"text": text})


def _time(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        raise _rule('must be a time with its unit, such as "90us"')
    try:
        return units.parse_ns(value)
    except ValueError as error:
        raise _rule(str(error)) from None


def _size(value: object) -> int:
    try:
        return units.parse_bytes(value)
    except ValueError as error:
        raise _rule(str(error)) from None


def _later(*later: str) -> BeforeValidator:
    """Refuse values of the contract that the model does not have yet."""

    def check(value: object) -> object:
        if value in later:
            raise _rule("is not supported yet")
        return value

    return BeforeValidator(check)


def _one_vcpu(value: object) -> object:
    if isinstance(value, int) and value > 1:
        raise _rule("above 1 is not supported yet")
    return value


def _file_name(value: str) -> str:
    if not value or "\0" in value:
        raise _rule("must be the name of a file")
    return value


Time: TypeAlias = Annotated[int, BeforeValidator(_time), PlainSerializer(units.exact_time, return_type=str)]
Size: TypeAlias = Annotated[int, BeforeValidator(_size), PlainSerializer(units.exact_size, return_type=str)]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=64)]
FileName: TypeAlias = Annotated[str, AfterValidator(_file_name)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=4096)]


MAX_CPUS = 1024


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SpanWindow(_Table):
    """All spans between two instants are kept, whatever request they belong to."""

    start: Time
    end: Time

    @model_validator(mode="after")
    def _in_order(self) -> "SpanWindow":
        if self.end <= self.start:
            raise _table_rule(
                f"end must come after start, got {units.exact_time(self.end)} and {units.exact_time(self.start)}"
            )
        return self


class RunTable(_Table):
    """[run]: how long, which random numbers, what is kept."""

    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    warmup: Time = 0
    duration: Time | None = None
    exact_exits: bool = False
    log: Literal["ports"] | None = None
    slowest: Annotated[int, Field(ge=0, le=100_000)] = 50
    window: SpanWindow | None = None

    @field_validator("duration")
    @classmethod
    def _positive(cls, value: int | None) -> int | None:
        if value == 0:
            raise _rule("must be longer than 0")
        return value

    @model_validator(mode="after")
    def _warmup_ends(self) -> "RunTable":
        if self.duration is not None and self.warmup >= self.duration:
            raise _table_rule(
                f"warmup must be shorter than run.duration, "
                f"got {units.exact_time(self.warmup)} and {units.exact_time(self.duration)}"
            )
        return self


class WindowTable(_Table):
    """[[host.disk.window]]: a time at which the disk is slow, or stuck."""

    start: Time
    end: Time
    factor: Annotated[float, Field(ge=0.001, le=1e6, allow_inf_nan=False)] | None = None
    add: Time | None = None
    stuck: bool = False

    @model_validator(mode="after")
    def _one_effect(self) -> "WindowTable":
        if self.end <= self.start:
            raise _table_rule(
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
            raise _table_rule(
                f"factor, add or stuck = true is required, one of them, got {' and '.join(given) or 'none'}"
            )
        return self


class FaultTable(_Table):
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
            raise _table_rule(
                f"end must come after start, got {units.exact_time(self.end)} and {units.exact_time(self.start)}"
            )
        return self


class DiskCommon(_Table):
    """[[host.disk]]: what every model has."""

    name: Name
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
            raise _table_rule(f"queue_depth must be at least servers, got {self.queue_depth} and {self.servers}")
        return self

    @model_validator(mode="after")
    def _windows_follow_each_other(self) -> "DiskCommon":
        for before, after in pairwise(sorted(self.window, key=lambda window: window.start)):
            if after.start < before.end:
                raise _table_rule(
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
            raise _table_rule("capacity is required with over_provisioning")
        if self.write_buffer and self.write_buffer < self.page:
            raise _table_rule(
                f"write_buffer must hold a page, got {units.exact_size(self.write_buffer)} "
                f"and {units.exact_size(self.page)}"
            )
        return self


DiskTable: TypeAlias = Annotated[
    ConstantDiskTable | EmpiricalDiskTable | HddTable | SsdTable, Field(discriminator="model")
]


class HostTable(_Table):
    """[host]: the CPUs, the profile of costs, and the disks that all VMs share."""

    cpus: Annotated[int, Field(ge=1, le=MAX_CPUS)] | None = None
    slice: Time = 3_000_000
    profile: FileName = "vmx-2013"
    disk: Annotated[list[DiskTable], Field(min_length=1)]

    @field_validator("slice")
    @classmethod
    def _long_enough(cls, value: int) -> int:
        if value < 1000:
            raise _rule("must be at least 1us")
        return value


class BackgroundTable(_Table):
    """[[vm.background]]: exits of the guest beside its disk I/O."""

    reason: str
    rate: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
    arrivals: Literal["periodic", "poisson"] = "poisson"
    kvm_exit: str | None = None


class EventTable(_Table):
    """[[vm.event]]: something that happens to the VM at one instant."""

    at: Time
    kind: Literal[
        "signal", "stop", "cont", "reset", "shutdown", "internal-error", "unknown-exit", "fail-entry", "run-error"
    ]
    rate: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    duration: Time | None = None

    @model_validator(mode="after")
    def _storms_are_of_signals(self) -> "EventTable":
        if (self.rate is None) != (self.duration is None):
            raise _table_rule(f"{'rate' if self.rate is None else 'duration'} is required for a storm of signals")
        if self.rate is not None and self.kind != "signal":
            raise _table_rule(f"rate must be left out unless kind is signal, got kind {self.kind}")
        return self


class DriveTable(_Table):
    """[[vm.drive]]: an emulated disk and the requests that its guest makes of it."""

    interface: Annotated[Literal["ide"], _later("virtio-blk")] = "ide"
    transfer: Literal["pio", "dma"] = "dma"
    data_width: Literal[16, 32] = 32
    string: bool = True
    multiple: Literal[1, 2, 4, 8, 16] = 16
    index: Annotated[int, Field(ge=0, le=3)] | None = None
    driver: Literal["libata", "bare-poll", "bare-irq"] = "libata"
    max_sectors: Annotated[int, Field(ge=1, le=LBA48_MAX_COUNT)] = 1024
    size: Size | None = None
    disk: Name | None = None
    cache: Annotated[Literal["none", "directsync"], _later("writeback", "writethrough", "unsafe")]
    aio: Annotated[Literal["threads"], _later("native", "io_uring")] = "threads"
    trace: FileName
    replay: Literal["open", "closed"] = "open"
    rerror: Literal["report", "stop", "ignore"] = "report"
    werror: Literal["report", "stop", "ignore", "enospc"] = "enospc"
    retries: Annotated[int, Field(ge=0, le=1000)] = 5

    @property
    def mode(self) -> Transfer:
        """PIO mode or DMA."""
        return Transfer(self.transfer)

    @model_validator(mode="before")
    @classmethod
    def _bare_metal_default(cls, data: Any) -> Any:
        """A bare-metal driver, which knows LBA28 only, splits at 256 sectors unless told otherwise."""
        if isinstance(data, dict) and data.get("driver") in ("bare-poll", "bare-irq") and "max_sectors" not in data:
            return {**data, "max_sectors": LBA28_MAX_COUNT}
        return data

    @model_validator(mode="after")
    def _bare_metal_is_lba28(self) -> "DriveTable":
        if self.driver != "libata" and self.max_sectors > LBA28_MAX_COUNT:
            raise _table_rule(
                f"max_sectors must be at most {LBA28_MAX_COUNT} with driver {self.driver}, which knows LBA28 only, "
                f"got {self.max_sectors}"
            )
        return self


class VmTable(_Table):
    """[[vm]]: one virtual machine, or *count* clones of it."""

    name: Name
    count: Annotated[int, Field(ge=1, le=4096)] = 1
    offset: Time = 0
    vcpus: Annotated[int, Field(ge=1), BeforeValidator(_one_vcpu)] = 1
    cpus: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    qemu: Literal["1.6", "7.2"] = "7.2"
    kernel: Literal["3.10", "6.1"] = "6.1"
    eoi: Literal["apic-access", "x2apic", "none"] | None = None
    win2k_install_hack: bool = False
    boot: Time | None = None
    drive: Annotated[list[DriveTable], Field(min_length=1, max_length=4)]
    background: Annotated[list[BackgroundTable], Field(max_length=32)] = []
    event: list[EventTable] = []

    @property
    def eoi_kind(self) -> str:
        """What an end of interrupt is: by default an APIC access in 3.10, no exit in 6.1 (docs/path.md says why)."""
        return self.eoi or ("apic-access" if self.kernel == "3.10" else "none")

    @model_validator(mode="after")
    def _indices_differ(self) -> "VmTable":
        taken = [drive.index for drive in self.drive if drive.index is not None]
        if len(set(taken)) != len(taken):
            raise _table_rule(f"drive has index {max(taken, key=taken.count)} twice")
        channels: dict[int, str] = {}
        for position, drive in zip(self.positions(), self.drive, strict=True):
            other = channels.setdefault(position >> 1, drive.driver)
            if other != drive.driver:
                raise _table_rule(
                    f"drive must have one driver for master and slave of a channel, got {other} and {drive.driver}"
                )
            if position & 1 and drive.driver != "libata":
                raise _table_rule(
                    f"drive with driver {drive.driver} must have index 0 or 2, the master of a channel, got {position}"
                )
        return self

    @model_validator(mode="after")
    def _a_reset_guest_boots(self) -> "VmTable":
        if self.boot is None and any(event.kind == "reset" for event in self.event):
            raise _table_rule("boot is required with an event of kind reset")
        return self

    @model_validator(mode="after")
    def _clones_start_in_time(self) -> "VmTable":
        if self.offset * (self.count - 1) >= units.MAX_NS:
            raise _table_rule(
                f"offset times the clones before the last must be shorter than 146 years, "
                f"got {units.exact_time(self.offset)} times {self.count - 1}"
            )
        return self

    def positions(self) -> list[int]:
        """Return each drive's place: 0 primary master, 1 primary slave, 2 secondary master, 3 secondary slave."""
        free = iter([i for i in range(4) if i not in {drive.index for drive in self.drive}])
        return [next(free) if drive.index is None else drive.index for drive in self.drive]


class Scenario(_Table):
    """A whole scenario. `iosim.scenario.load` reads it from a file."""

    run: RunTable = RunTable()
    host: HostTable
    vm: Annotated[list[VmTable], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_agree(self) -> "Scenario":
        disks = [disk.name for disk in self.host.disk]
        if len(set(disks)) != len(disks):
            raise _table_rule(f"host.disk has the name {max(disks, key=disks.count)} twice")
        vms = [vm.name for vm in self.vm]
        if len(set(vms)) != len(vms):
            raise _table_rule(f"vm has the name {max(vms, key=vms.count)} twice")
        for vm in self.vm:
            if vm.cpus is not None and self.host.cpus is None:
                raise _table_rule(f"vm.{vm.name}.cpus needs host.cpus, the number of CPUs")
            if vm.cpus is not None and self.host.cpus is not None and max(vm.cpus) >= self.host.cpus:
                raise _table_rule(
                    f"vm.{vm.name}.cpus must be below host.cpus, which is {self.host.cpus}, got {max(vm.cpus)}"
                )
            for number, drive in enumerate(vm.drive):
                place = f"vm.{vm.name}.drive.{number}.disk"
                if drive.disk is None and len(disks) > 1:
                    raise _table_rule(f"{place} is required where there are several disks: {', '.join(disks)}")
                if drive.disk is not None and drive.disk not in disks:
                    raise _table_rule(f"{place} must be one of {', '.join(disks)}, got {drive.disk!r}")
        return self
