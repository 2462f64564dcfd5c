"""The scenario: what is simulated, as the TOML file says it (docs/scenario.md). The keys are a contract.

All models are frozen; a change is a copy. Times are int nanoseconds and sizes int bytes inside, texts with units
outside.
"""

from typing import Annotated

from pydantic import Field, model_validator

from iosim.model.scenario.disk import (
    MAX_DISKS,
    ConstantDiskTable,
    DiskCommon,
    DisksimTable,
    DiskTable,
    EmpiricalDiskTable,
    FaultTable,
    HddTable,
    SsdTable,
    WindowTable,
)
from iosim.model.scenario.drive import VIRTQUEUE_SIZE, DriveTable, ThrottlingTable
from iosim.model.scenario.fields import FileName, Name, Table, TraceFormat, table_rule
from iosim.model.scenario.host import HostTable, PageCacheTable
from iosim.model.scenario.run import RunTable, SpanWindow
from iosim.model.scenario.vm import MAX_VCPUS, BackgroundTable, EventTable, LoadTable, VmTable
from iosim.model.scenario.zone import ZoneTable

__all__ = [
    "MAX_VCPUS",
    "VIRTQUEUE_SIZE",
    "BackgroundTable",
    "ConstantDiskTable",
    "DiskCommon",
    "DiskTable",
    "DisksimTable",
    "DriveTable",
    "EmpiricalDiskTable",
    "EventTable",
    "FaultTable",
    "FileName",
    "HddTable",
    "HostTable",
    "LoadTable",
    "Name",
    "PageCacheTable",
    "RunTable",
    "Scenario",
    "SpanWindow",
    "SsdTable",
    "Table",
    "ThrottlingTable",
    "TraceFormat",
    "VmTable",
    "WindowTable",
    "ZoneTable",
]


class Scenario(Table):
    """A whole scenario. `iosim.scenario.load` reads it from a file."""

    run: RunTable = RunTable()
    host: HostTable
    vm: Annotated[list[VmTable], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_agree(self) -> "Scenario":
        disks = [disk.name for disk in self.host.disk]
        if len(set(disks)) != len(disks):
            raise table_rule(f"host.disk has the name {max(disks, key=disks.count)} twice")
        n_disks = sum(disk.count for disk in self.host.disk)
        if n_disks > MAX_DISKS:
            raise table_rule(f"host.disk must be at most {MAX_DISKS} disks, their counts together, got {n_disks}")
        vms = [vm.name for vm in self.vm]
        if len(set(vms)) != len(vms):
            raise table_rule(f"vm has the name {max(vms, key=vms.count)} twice")
        for vm in self.vm:
            if vm.cpus is not None and self.host.cpus is None:
                raise table_rule(f"vm.{vm.name}.cpus needs host.cpus, the number of CPUs")
            if vm.cpus is not None and self.host.cpus is not None and max(vm.cpus) >= self.host.cpus:
                raise table_rule(
                    f"vm.{vm.name}.cpus must be below host.cpus, which is {self.host.cpus}, got {max(vm.cpus)}"
                )
            for number, drive in enumerate(vm.drive):
                place = f"vm.{vm.name}.drive.{number}.disk"
                if drive.disk is None and len(disks) > 1:
                    raise table_rule(f"{place} is required where there are several disks: {', '.join(disks)}")
                if drive.disk is not None and drive.disk not in disks:
                    raise table_rule(f"{place} must be one of {', '.join(disks)}, got {drive.disk!r}")
        return self
