"""[[vm.drive]]: an emulated disk and the requests that its guest makes of it."""

from fractions import Fraction
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, field_validator, model_validator

from iosim.model.ata import LBA28_MAX_COUNT, LBA48_MAX_COUNT, Transfer
from iosim.model.scenario.fields import FileName, Name, Size, Table, TraceFormat, VcpuNumber, rule, table_rule

Rate: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000)]
Seconds: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]


class ThrottlingTable(Table):
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
                    raise table_rule(f"{unit}_total{suffix} must not be given together with {given[0]}")
            for side in ("total", "read", "write"):
                self._check_burst(f"{unit}_{side}")
        if self.iops_size is not None and not any(
            getattr(self, f"iops_{side}") is not None for side in ("total", "read", "write")
        ):
            raise table_rule("iops_size must be given together with iops_total, iops_read or iops_write")
        return self

    def _check_burst(self, key: str) -> None:
        """A burst needs its limit and is not below it; its length needs a burst."""
        avg, burst, length = (getattr(self, key + suffix) for suffix in ("", "_max", "_max_length"))
        if burst is not None and avg is None:
            raise table_rule(f"{key}_max must be given together with {key}")
        if burst is not None and burst < avg:
            raise table_rule(f"{key}_max must be at least {key}, got {burst} and {avg}")
        if length is not None and burst is None:
            raise table_rule(f"{key}_max_length must be given together with {key}_max")

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
        raise rule("must be a power of two")
    return value


ACCESS_FORMATS = ("auto", "accesses", "qemu-log", "kvm", "perf-script", "trace-cmd", "ftrace")
"""Formats that may hold the port accesses of a guest."""


class DriveTable(Table):
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
    trace_speed: Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)] = 1.0
    replay: Literal["open", "closed", "ports"] = "open"
    completion: Literal["auto", "interrupt", "poll"] = "auto"
    rerror: Literal["report", "stop", "ignore"] = "report"
    werror: Literal["report", "stop", "ignore", "enospc"] = "enospc"
    retries: Annotated[int, Field(ge=0, le=1000)] = 5

    @property
    def speed(self) -> Fraction:
        """The trace speed as the decimal number that the scenario has."""
        return Fraction(str(self.trace_speed))

    @property
    def mode(self) -> Transfer:
        """PIO mode or DMA."""
        return Transfer(self.transfer)

    @field_validator("cluster_size")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1) or value > 2 * 1024 * 1024:
            raise rule("must be a power of two from 512B to 2MiB")
        return value

    @model_validator(mode="after")
    def _backed_images_are_not_preallocated(self) -> "DriveTable":
        if self.backing is not None and self.preallocation != "off":
            raise table_rule(f"backing must be left out with preallocation {self.preallocation}")
        return self

    @model_validator(mode="after")
    def _only_recorded_times_have_a_speed(self) -> "DriveTable":
        if self.trace_speed != 1 and self.replay != "open":
            raise table_rule(
                f"trace_speed must be 1 with replay {self.replay}, which follows no recorded times, "
                f"got {self.trace_speed}"
            )
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

    @model_validator(mode="after")
    def _accesses_fit_the_drive(self) -> "DriveTable":
        if self.replay == "ports":
            if self.is_virtio:
                raise table_rule("interface must be ide with replay ports, got 'virtio-blk'")
            if self.trace_format not in ACCESS_FORMATS:
                formats = ", ".join(ACCESS_FORMATS)
                raise table_rule(f"trace_format must be one of {formats} with replay ports, got {self.trace_format!r}")
        return self

    @property
    def is_virtio(self) -> bool:
        """Whether the drive is a virtio-blk device."""
        return self.interface == "virtio-blk"

    @model_validator(mode="after")
    def _iothread_has_what_it_needs(self) -> "DriveTable":
        if self.is_virtio and self.iothread is not False:
            if not self.ioeventfd:
                raise table_rule("iothread needs ioeventfd, got ioeventfd false")
            if self.irq == "line":
                raise table_rule("iothread needs irq irqfd, got 'line'")
        return self

    @model_validator(mode="after")
    def _bare_metal_is_lba28(self) -> "DriveTable":
        if not self.is_virtio and self.driver != "libata" and self.max_sectors > LBA28_MAX_COUNT:
            raise table_rule(
                f"max_sectors must be at most {LBA28_MAX_COUNT} with driver {self.driver}, which knows LBA28 only, "
                f"got {self.max_sectors}"
            )
        return self
