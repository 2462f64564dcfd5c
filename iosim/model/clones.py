"""What a table with a *count* stands for: the names of its VMs or disks, and the disk that holds each drive's image."""

from collections import Counter

from iosim.model.scenario import DiskCommon, Scenario, VmTable

DriveKey = tuple[str, int]
"""Name of a VM and number of its drive."""


def vm_names(table: VmTable) -> list[str]:
    """Return the names of the VMs of a [[vm]] table: web#0, web#1 ..., or just web for a single one."""
    return _names(table.name, table.count)


def disk_names(table: DiskCommon) -> list[str]:
    """Return the names of the disks of a [[host.disk]] table: nvme#0, nvme#1 ..., or just nvme for a single one."""
    return _names(table.name, table.count)


def _names(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}#{k}" for k in range(count)]


def disks_of_drives(scenario: Scenario) -> dict[DriveKey, str]:
    """Return the name of the disk that holds the image of each drive.

    The images of a [[host.disk]] table go to its disks in turn, in the order of the VMs, their clones and drives.
    """
    names = {table.name: disk_names(table) for table in scenario.host.disk}
    taken: Counter[str] = Counter()
    found = {}
    for table in scenario.vm:
        for vm in vm_names(table):
            for number, drive in enumerate(table.drive):
                disk = drive.disk or scenario.host.disk[0].name
                found[vm, number] = names[disk][taken[disk] % len(names[disk])]
                taken[disk] += 1
    return found
