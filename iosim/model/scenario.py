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


def _file_name(value: str) -> str:
    if not value or "\0" in value:
        raise _rule("must be the name of a file")
    return value


Time: TypeAlias = Annotated[int, BeforeValidator(_time), PlainSerializer(units.exact_time, return_type=str)]
Size: TypeAlias = Annotated[int, BeforeValidator(_size), PlainSerializer(units.exact_size, return_type=str)]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=64)]
TraceFormat: TypeAlias = Literal[
    "auto",
    "csv",
    "parquet",
    "qemu-log",
    "simpletrace",
    "kvm",
    "block",
    "blkparse",
    "fio-iolog",
    "fio-lat",
    "fio-bw",
    "msr",
    "alibaba",
    "tencent",
    "spc",
    "fiu",
    "vscsi",
    "disksim",
    "mqsim",
    "heimdall",
    "perf-script",
    "trace-cmd",
    "ftrace",
    "fio",
]
FileName: TypeAlias = Annotated[str, AfterValidator(_file_name)]
VcpuNumber: TypeAlias = Annotated[int, Field(ge=0)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=4096)]


MAX_CPUS = 1024
MAX_VCPUS = 64


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


PAGE_BYTES = 4096


class PageCacheTable(_Table):
    """[host.page_cache]: the host's page cache. Names of the limits are those of the kernel (vm.dirty_ratio ...)."""

    size: Size = 4 << 30
    dirty_background_ratio: Annotated[int, Field(ge=0, le=100)] = 10
    dirty_background_bytes: Size | None = None
    dirty_ratio: Annotated[int, Field(ge=0, le=100)] = 20
    dirty_bytes: Size | None = None
    dirty_writeback_interval: Time = 5_000_000_000
    dirty_expire_interval: Time = 30_000_000_000

    @field_validator("size")
    @classmethod
    def _holds_something(cls, value: int) -> int:
        if value < 4 * PAGE_BYTES:
            raise _rule("must be at least 16KiB")
        return value

    @property
    def pages(self) -> int:
        """The size in pages."""
        return self.size // PAGE_BYTES

    def dirty_limits(self) -> tuple[int, int]:
        """Return (background limit, limit) in pages, as domain_dirty_limits does.

        A background limit that is not below the limit is half of it; the limit is two pages at least.
        """
        limit = max(2, _pages(self.dirty_bytes, self.dirty_ratio, self.pages))
        background = _pages(self.dirty_background_bytes, self.dirty_background_ratio, self.pages)
        return (background if background < limit else limit // 2), limit


def _pages(size: int | None, ratio: int, pages: int) -> int:
    """Return a limit in pages: *size*, or *ratio* per cent of *pages*."""
    return pages * ratio // 100 if size is None else -(-size // PAGE_BYTES)


class HostTable(_Table):
    """[host]: the CPUs, the profile of costs, and the disks and the page cache that all VMs share."""

    cpus: Annotated[int, Field(ge=1, le=MAX_CPUS)] | None = None
    slice: Time = 3_000_000
    profile: FileName = "vmx-2013"
    disk: Annotated[list[DiskTable], Field(min_length=1, max_length=1000)]
    page_cache: PageCacheTable | None = None

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
    vcpu: VcpuNumber = 0


class LoadTable(_Table):
    """[vm.load]: computing of the guest beside its disk I/O, on each of its vCPUs."""

    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    burst: Time = 1_000_000
    lengths: Literal["exponential", "constant"] = "exponential"

    @field_validator("burst")
    @classmethod
    def _positive(cls, value: int) -> int:
        if value == 0:
            raise _rule("must be longer than 0")
        return value


class EventTable(_Table):
    """[[vm.event]]: something that happens to the VM at one instant."""

    at: Time
    vcpu: VcpuNumber = 0
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


Rate: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000)]
Seconds: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]


class ThrottlingTable(_Table):
    """[vm.drive.throttling]: limits of operations and bytes per second, and of their bursts."""

    iops_total: Rate | None = None
    iops_total_max: Rate | None = None
    iops_total_max_length: Seconds | None = None
    iops_read: Rate | None = None
    iops_read_max: Rate | None = None
    iops_read_max_length: Seconds | None = None
    iops_write: Rate | None = None
    iops_write_max: Rate | None = None
    iops_write_max_length: Seconds | None = None
    bps_total: Size | None = None
    bps_total_max: Size | None = None
    bps_total_max_length: Seconds | None = None
    bps_read: Size | None = None
    bps_read_max: Size | None = None
    bps_read_max_length: Seconds | None = None
    bps_write: Size | None = None
    bps_write_max: Size | None = None
    bps_write_max_length: Seconds | None = None
    iops_size: Size | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "ThrottlingTable":
        """throttle_is_valid."""
        for unit in ("iops", "bps"):
            for suffix in ("", "_max"):
                sides = [f"{unit}_{side}{suffix}" for side in ("read", "write")]
                given = [key for key in sides if getattr(self, key) is not None]
                if getattr(self, f"{unit}_total{suffix}") is not None and given:
                    raise _table_rule(f"{unit}_total{suffix} must not be given together with {given[0]}")
            for side in ("total", "read", "write"):
                self._check_burst(f"{unit}_{side}")
        if self.iops_size is not None and not any(
            getattr(self, f"iops_{side}") is not None for side in ("total", "read", "write")
        ):
            raise _table_rule("iops_size must be given together with iops_total, iops_read or iops_write")
        return self

    def _check_burst(self, key: str) -> None:
        """A burst needs its limit and is not below it; its length needs a burst."""
        avg, burst, length = (getattr(self, key + suffix) for suffix in ("", "_max", "_max_length"))
        if burst is not None and avg is None:
            raise _table_rule(f"{key}_max must be given together with {key}")
        if burst is not None and burst < avg:
            raise _table_rule(f"{key}_max must be at least {key}, got {burst} and {avg}")
        if length is not None and burst is None:
            raise _table_rule(f"{key}_max_length must be given together with {key}_max")

    @property
    def bursts(self) -> list[str]:
        """The keys that are given and that QEMU 1.6 does not have."""
        return [key for key in self.model_fields_set if "_max" in key or key == "iops_size"]


MAX_IDE_DRIVES = 4
MAX_DRIVES = 16

VIRTQUEUE_SIZE = {"1.6": 128, "7.2": 256}
"""Default of queue_size: 128 up to QEMU 4.2, 256 since 5.0 (hw_compat_4_2 of hw/core/machine.c)."""


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise _rule("must be a power of two")
    return value


class DriveTable(_Table):
    """[[vm.drive]]: an emulated disk and the requests that its guest makes of it."""

    interface: Literal["ide", "virtio-blk"] = "ide"
    transfer: Literal["pio", "dma"] = "dma"
    data_width: Literal[16, 32] = 32
    string: bool = True
    multiple: Literal[1, 2, 4, 8, 16] = 16
    index: Annotated[int, Field(ge=0, le=3)] | None = None
    driver: Literal["libata", "bare-poll", "bare-irq"] = "libata"
    max_sectors: Annotated[int, Field(ge=1, le=LBA48_MAX_COUNT)] = 1024
    vcpu: VcpuNumber | None = None
    size: Size | None = None
    disk: Name | None = None
    cache: Literal["writeback", "none", "writethrough", "directsync", "unsafe"] = "writeback"
    aio: Literal["threads", "native", "io_uring"] = "threads"
    format: Literal["raw", "qcow2"] = "raw"
    cluster_size: Size = 64 * 1024
    lazy_refcounts: bool = False
    preallocation: Literal["off", "metadata"] = "off"
    l2_cache_size: Size | None = None
    backing: Size | None = None
    throttling: ThrottlingTable | None = None
    queue_size: Annotated[int, Field(ge=4, le=1024), AfterValidator(_power_of_two)] | None = None
    num_queues: Annotated[int, Field(ge=1, le=1024)] | None = None
    seg_max: Annotated[int, Field(ge=1, le=1022)] | None = None
    ioeventfd: bool = True
    iothread: bool | Name = False
    poll_max_ns: Annotated[int, Field(ge=0, le=1_000_000_000)] = 32_768
    request_merging: bool = True
    event_idx: bool = True
    irq: Literal["irqfd", "line"] = "irqfd"
    transport: Literal["pio", "mmio"] | None = None
    trace: FileName
    trace_format: TraceFormat = "auto"
    trace_device: str | None = None
    replay: Literal["open", "closed"] = "open"
    rerror: Literal["report", "stop", "ignore"] = "report"
    werror: Literal["report", "stop", "ignore", "enospc"] = "enospc"
    retries: Annotated[int, Field(ge=0, le=1000)] = 5

    @property
    def mode(self) -> Transfer:
        """PIO mode or DMA."""
        return Transfer(self.transfer)

    @field_validator("cluster_size")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1) or value > 2 * 1024 * 1024:
            raise _rule("must be a power of two from 512B to 2MiB")
        return value

    @model_validator(mode="after")
    def _backed_images_are_not_preallocated(self) -> "DriveTable":
        if self.backing is not None and self.preallocation != "off":
            raise _table_rule(f"backing must be left out with preallocation {self.preallocation}")
        return self

    @property
    def direct(self) -> bool:
        """Whether the image is opened with O_DIRECT."""
        return self.cache in ("none", "directsync")

    @property
    def write_cache(self) -> bool:
        """Whether the device reports a write cache, so that the guest sends flushes."""
        return self.cache not in ("writethrough", "directsync")

    @model_validator(mode="before")
    @classmethod
    def _bare_metal_default(cls, data: Any) -> Any:
        """A bare-metal driver, which knows LBA28 only, splits at 256 sectors unless told otherwise."""
        if isinstance(data, dict) and data.get("driver") in ("bare-poll", "bare-irq") and "max_sectors" not in data:
            return {**data, "max_sectors": LBA28_MAX_COUNT}
        return data

    @property
    def is_virtio(self) -> bool:
        """Whether the drive is a virtio-blk device."""
        return self.interface == "virtio-blk"

    @model_validator(mode="after")
    def _iothread_has_what_it_needs(self) -> "DriveTable":
        if self.is_virtio and self.iothread is not False:
            if not self.ioeventfd:
                raise _table_rule("iothread needs ioeventfd, got ioeventfd false")
            if self.irq == "line":
                raise _table_rule("iothread needs irq irqfd, got 'line'")
        return self

    @model_validator(mode="after")
    def _bare_metal_is_lba28(self) -> "DriveTable":
        if not self.is_virtio and self.driver != "libata" and self.max_sectors > LBA28_MAX_COUNT:
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
    phase: Time = 0
    vcpus: Annotated[int, Field(ge=1, le=MAX_VCPUS)] = 1
    irq_vcpu: VcpuNumber = 0
    load: LoadTable | None = None
    cpus: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    qemu: Literal["1.6", "7.2"] = "7.2"
    kernel: Literal["3.10", "6.1"] = "6.1"
    eoi: Literal["apic-access", "x2apic", "none"] | None = None
    win2k_install_hack: bool = False
    apicv: bool = False
    boot: Time | None = None
    drive: Annotated[list[DriveTable], Field(min_length=1, max_length=MAX_DRIVES)]
    background: Annotated[list[BackgroundTable], Field(max_length=32)] = []
    event: list[EventTable] = []

    @property
    def eoi_kind(self) -> str:
        """What an end of interrupt is: by default an APIC access in 3.10, no exit in 6.1 (docs/path.md says why)."""
        return self.eoi or ("apic-access" if self.kernel == "3.10" and not self.apicv else "none")

    @model_validator(mode="after")
    def _vcpus_exist(self) -> "VmTable":
        places = [("irq_vcpu", self.irq_vcpu)]
        places += [(f"drive.{n}.vcpu", drive.vcpu) for n, drive in enumerate(self.drive) if drive.vcpu is not None]
        places += [(f"background.{n}.vcpu", table.vcpu) for n, table in enumerate(self.background)]
        places += [(f"event.{n}.vcpu", table.vcpu) for n, table in enumerate(self.event)]
        for place, number in places:
            if number >= self.vcpus:
                raise _table_rule(f"{place} must be below vcpus, which is {self.vcpus}, got {number}")
        for number, drive in enumerate(self.drive):
            if self.vcpus > 1 and drive.driver != "libata":
                raise _table_rule(
                    f"drive.{number}.driver must be libata with several vcpus: the bare-metal guests have one, "
                    f"got {drive.driver}"
                )
        return self

    @model_validator(mode="after")
    def _indices_differ(self) -> "VmTable":
        taken = [drive.index for drive in self.drive if drive.index is not None and not drive.is_virtio]
        if len(set(taken)) != len(taken):
            raise _table_rule(f"drive has index {max(taken, key=taken.count)} twice")
        n_ide = sum(not drive.is_virtio for drive in self.drive)
        if n_ide > MAX_IDE_DRIVES:
            raise _table_rule(f"drive must have at most {MAX_IDE_DRIVES} entries with interface ide, got {n_ide}")
        channels: dict[int, str] = {}
        for position, drive in zip(self.positions(), self.drive, strict=True):
            if drive.is_virtio:
                continue
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
    def _options_exist(self) -> "VmTable":
        """What the block layer of 1.6 cannot do."""
        for number, drive in enumerate(self.drive):
            if self.qemu != "1.6":
                break
            if drive.throttling is not None and drive.throttling.bursts:
                key = min(drive.throttling.bursts)
                raise _table_rule(
                    f"drive.{number}.throttling.{key} must be left out with qemu 1.6, which has no bursts"
                )
            if drive.format == "qcow2" and drive.l2_cache_size is not None:
                raise _table_rule(
                    f"drive.{number}.l2_cache_size must be left out with qemu 1.6, which has 16 L2 tables"
                )
        return self

    @model_validator(mode="after")
    def _virtio_fits_the_version(self) -> "VmTable":
        polls: dict[str, int] = {}
        for number, drive in enumerate(self.drive):
            if not drive.is_virtio:
                continue
            if self.qemu == "1.6" and drive.iothread is not False:
                raise _table_rule(f"drive.{number}.iothread needs qemu 7.2, got qemu '1.6'")
            if drive.num_queues is not None and drive.num_queues > 1 and not self.can_have_queues(drive):
                raise _table_rule(
                    f"drive.{number}.num_queues above 1 needs qemu 7.2, transport 'mmio' and irq 'irqfd', "
                    f"got {drive.num_queues}"
                )
            if self.qemu == "1.6" and drive.transport == "mmio":
                raise _table_rule(f"drive.{number}.transport must be 'pio' with qemu 1.6, got 'mmio'")
            if isinstance(drive.iothread, str):
                other = polls.setdefault(drive.iothread, drive.poll_max_ns)
                if other != drive.poll_max_ns:
                    raise _table_rule(
                        f"drive.{number}.poll_max_ns must be that of the other drives of iothread {drive.iothread}, "
                        f"{other}, got {drive.poll_max_ns}"
                    )
        return self

    @model_validator(mode="after")
    def _aio_exists(self) -> "VmTable":
        for number, drive in enumerate(self.drive):
            place = f"drive.{number}.aio {drive.aio}"
            if drive.aio == "io_uring" and (self.qemu, self.kernel) != ("7.2", "6.1"):
                raise _table_rule(f"{place} needs qemu 7.2 and kernel 6.1, got {self.qemu} and {self.kernel}")
            if drive.aio == "native" and self.qemu == "7.2" and not drive.direct:
                raise _table_rule(f"{place} needs cache none or directsync with qemu 7.2, got {drive.cache!r}")
        return self

    @model_validator(mode="after")
    def _clones_start_in_time(self) -> "VmTable":
        last = self.offset * (self.count - 1)
        if last >= units.MAX_NS:
            raise _table_rule(
                f"offset times the clones before the last must be shorter than 146 years, "
                f"got {units.exact_time(self.offset)} times {self.count - 1}"
            )
        if last + self.phase >= units.MAX_NS:
            raise _table_rule(
                f"phase behind the last clone's offset must be shorter than 146 years, "
                f"got {units.exact_time(self.phase)} and {units.exact_time(last)}"
            )
        return self

    def is_mmio(self, drive: DriveTable) -> bool:
        """Tell whether a virtio-blk drive has the registers of virtio 1.0."""
        return (drive.transport or ("pio" if self.qemu == "1.6" else "mmio")) == "mmio"

    def can_have_queues(self, drive: DriveTable) -> bool:
        """Tell whether a virtio-blk drive can have several queues, each with a doorbell and an MSI vector."""
        return self.qemu != "1.6" and self.is_mmio(drive) and drive.irq == "irqfd"

    def virtio_vcpus(self, index: int) -> list[int]:
        """Return the vCPUs that make the requests of a virtio-blk drive, each on a queue of its own.

        The drive's vCPU, if it has one; else as many as there are queues. By default a drive has a queue for each vCPU.
        """
        drive = self.drive[index]
        if drive.vcpu is not None:
            return [drive.vcpu]
        queues = drive.num_queues or (self.vcpus if self.can_have_queues(drive) else 1)
        first = index % self.vcpus
        return [(first + number) % self.vcpus for number in range(min(queues, self.vcpus))]

    def positions(self) -> list[int]:
        """Return each drive's place: 0 primary master, 1 primary slave, 2 secondary master, 3 secondary slave.

        -1 for a drive that is not IDE.
        """
        taken = {drive.index for drive in self.drive if not drive.is_virtio}
        free = iter([i for i in range(MAX_IDE_DRIVES) if i not in taken])
        places = []
        for drive in self.drive:
            if drive.is_virtio:
                places.append(-1)
            else:
                places.append(next(free) if drive.index is None else drive.index)
        return places


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
