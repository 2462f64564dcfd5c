"""[[vm]]: virtual machines, their background exits, load and events."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from iosim.model import units
from iosim.model.scenario.drive import MAX_DRIVES, MAX_IDE_DRIVES, DriveTable
from iosim.model.scenario.fields import Name, Table, Time, VcpuNumber, rule, table_rule

MAX_VCPUS = 64


class BackgroundTable(Table):
    """[[vm.background]]: exits of the guest beside its disk I/O."""

    reason: str
    rate: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
    arrivals: Literal["periodic", "poisson"] = "poisson"
    kvm_exit: str | None = None
    vcpu: VcpuNumber = 0


class LoadTable(Table):
    """[vm.load]: computing of the guest beside its disk I/O, on each of its vCPUs."""

    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    burst: Time = 1_000_000
    lengths: Literal["exponential", "constant"] = "exponential"

    @field_validator("burst")
    @classmethod
    def _positive(cls, value: int) -> int:
        if value == 0:
            raise rule("must be longer than 0")
        return value


class EventTable(Table):
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
            raise table_rule(f"{'rate' if self.rate is None else 'duration'} is required for a storm of signals")
        if self.rate is not None and self.kind != "signal":
            raise table_rule(f"rate must be left out unless kind is signal, got kind {self.kind}")
        return self


class VmTable(Table):
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
                raise table_rule(f"{place} must be below vcpus, which is {self.vcpus}, got {number}")
        for number, drive in enumerate(self.drive):
            if self.vcpus > 1 and drive.driver != "libata":
                raise table_rule(
                    f"drive.{number}.driver must be libata with several vcpus: the bare-metal guests have one, "
                    f"got {drive.driver}"
                )
        return self

    @model_validator(mode="after")
    def _indices_differ(self) -> "VmTable":
        taken = [drive.index for drive in self.drive if drive.index is not None and not drive.is_virtio]
        if len(set(taken)) != len(taken):
            raise table_rule(f"drive has index {max(taken, key=taken.count)} twice")
        n_ide = sum(not drive.is_virtio for drive in self.drive)
        if n_ide > MAX_IDE_DRIVES:
            raise table_rule(f"drive must have at most {MAX_IDE_DRIVES} entries with interface ide, got {n_ide}")
        channels: dict[int, str] = {}
        for position, drive in zip(self.positions(), self.drive, strict=True):
            if drive.is_virtio:
                continue
            other = channels.setdefault(position >> 1, drive.driver)
            if other != drive.driver:
                raise table_rule(
                    f"drive must have one driver for master and slave of a channel, got {other} and {drive.driver}"
                )
            if position & 1 and drive.driver != "libata":
                raise table_rule(
                    f"drive with driver {drive.driver} must have index 0 or 2, the master of a channel, got {position}"
                )
        return self

    @model_validator(mode="after")
    def _a_replayed_channel_has_one_drive(self) -> "VmTable":
        channels = [position >> 1 for position in self.positions()]
        for number, (drive, channel) in enumerate(zip(self.drive, channels, strict=True)):
            if drive.replay == "ports" and channels.count(channel) > 1:
                raise table_rule(f"drive.{number} must be the only drive of its channel with replay ports")
        return self

    @model_validator(mode="after")
    def _a_reset_guest_boots(self) -> "VmTable":
        if self.boot is None and any(event.kind == "reset" for event in self.event):
            raise table_rule("boot is required with an event of kind reset")
        return self

    @model_validator(mode="after")
    def _options_exist(self) -> "VmTable":
        """What the block layer of 1.6 cannot do."""
        for number, drive in enumerate(self.drive):
            if self.qemu != "1.6":
                break
            if drive.throttling is not None and drive.throttling.bursts:
                key = min(drive.throttling.bursts)
                raise table_rule(f"drive.{number}.throttling.{key} must be left out with qemu 1.6, which has no bursts")
            if drive.format == "qcow2" and drive.l2_cache_size is not None:
                raise table_rule(f"drive.{number}.l2_cache_size must be left out with qemu 1.6, which has 16 L2 tables")
        return self

    @model_validator(mode="after")
    def _virtio_fits_the_version(self) -> "VmTable":
        polls: dict[str, int] = {}
        for number, drive in enumerate(self.drive):
            if not drive.is_virtio:
                continue
            if self.qemu == "1.6" and drive.iothread is not False:
                raise table_rule(f"drive.{number}.iothread needs qemu 7.2, got qemu '1.6'")
            if drive.num_queues is not None and drive.num_queues > 1 and not self.can_have_queues(drive):
                raise table_rule(
                    f"drive.{number}.num_queues above 1 needs qemu 7.2, transport 'mmio' and irq 'irqfd', "
                    f"got {drive.num_queues}"
                )
            if self.qemu == "1.6" and drive.transport == "mmio":
                raise table_rule(f"drive.{number}.transport must be 'pio' with qemu 1.6, got 'mmio'")
            if isinstance(drive.iothread, str):
                other = polls.setdefault(drive.iothread, drive.poll_max_ns)
                if other != drive.poll_max_ns:
                    raise table_rule(
                        f"drive.{number}.poll_max_ns must be that of the other drives of iothread {drive.iothread}, "
                        f"{other}, got {drive.poll_max_ns}"
                    )
        return self

    @model_validator(mode="after")
    def _aio_exists(self) -> "VmTable":
        for number, drive in enumerate(self.drive):
            place = f"drive.{number}.aio {drive.aio}"
            if drive.aio == "io_uring" and (self.qemu, self.kernel) != ("7.2", "6.1"):
                raise table_rule(f"{place} needs qemu 7.2 and kernel 6.1, got {self.qemu} and {self.kernel}")
            if drive.aio == "native" and self.qemu == "7.2" and not drive.direct:
                raise table_rule(f"{place} needs cache none or directsync with qemu 7.2, got {drive.cache!r}")
        return self

    @model_validator(mode="after")
    def _clones_start_in_time(self) -> "VmTable":
        last = self.offset * (self.count - 1)
        if last >= units.MAX_NS:
            raise table_rule(
                f"offset times the clones before the last must be shorter than 146 years, "
                f"got {units.exact_time(self.offset)} times {self.count - 1}"
            )
        if last + self.phase >= units.MAX_NS:
            raise table_rule(
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
