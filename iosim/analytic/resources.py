"""What the rows of the table `resources` are: their kinds, whose they are, and which requests go through them."""

import re

from iosim.model.clones import DriveKey, disk_names, disks_of_drives, vm_names
from iosim.model.scenario import Scenario, VmTable

KINDS = {
    "cpus": "the CPUs of the host",
    "cpu": "a CPU of the host",
    "vcpu": "a vCPU",
    "bql": "QEMU's big lock",
    "main_loop": "QEMU's main loop",
    "iothread": "an iothread",
    "pool": "the aio workers",
    "channel": "an IDE channel, which takes one command at a time",
    "ring": "the ring of a virtio-blk drive",
    "qcow2": "the lock of a qcow2 image",
    "throttle": "the limits of a drive",
    "disk": "a disk of the host",
    "page_cache": "the page cache of the host",
}
"""Every kind of resource, in the order of the path, and what it is."""
TITLES = {
    "cpus": "CPUs of the host",
    "cpu": "Single CPUs",
    "vcpu": "vCPUs",
    "bql": "BQL",
    "main_loop": "Main loops",
    "iothread": "iothreads",
    "pool": "aio workers",
    "channel": "IDE channels",
    "ring": "virtio-blk rings",
    "qcow2": "Locks of qcow2 images",
    "throttle": "Limits of drives",
    "disk": "Disks of the host",
    "page_cache": "Page cache",
}
"""What all resources of a kind are called."""
NOT_SERVING = ("cpu", "throttle", "page_cache")
"""Kinds that set no bound: another CPU takes what one is too busy for (all of them are the resource `cpus`), limits
hold back instead of serving, and the page cache is more or less full."""
HOLDERS = ("bql", "pool", "channel", "ring", "qcow2")
"""Kinds that are held while others serve: their busy time contains that of CPUs and disks, and waits for these."""

_OF_A_VM = re.compile(
    r"(?P<numbered>vcpu|channel)\d+|(?P<named>bql|main_loop|pool)"
    r"|iothread/[^/]+(?P<pool>/pool)?|drive\d+(?:/(?P<part>qcow2|throttle))?"
)


def kind_of(resource: str, scenario: Scenario) -> str:
    """Return the kind of a resource of the table `resources`, one of `KINDS`; names that no run gives are "ring".

    The disks of a table together have its name.
    """
    if "/" not in resource:
        return resource if resource in ("cpus", "page_cache") else "cpu"
    owner, _, part = resource.partition("/")
    if owner == "disk" and any(part in (disk.name, *disk_names(disk)) for disk in scenario.host.disk):
        return "disk"
    found = _OF_A_VM.fullmatch(part)
    if found is None:
        return "ring"
    if part.startswith("iothread/"):
        return "pool" if found["pool"] else "iothread"
    return found["numbered"] or found["named"] or found["part"] or "ring"


def iothread_of(table: VmTable, number: int) -> str | None:
    """Return the name of the iothread that handles a drive of a VM, None if it is the main loop."""
    drive = table.drive[number]
    if not drive.is_virtio or drive.iothread is False:
        return None
    return f"drive:{number}" if drive.iothread is True else drive.iothread


def gate_of(table: VmTable, number: int) -> str:
    """Return what the commands of a drive of a VM are held in, without the VM's name: its channel or its ring."""
    if table.drive[number].is_virtio:
        return f"drive{number}"
    return f"channel{table.positions()[number] >> 1}"


class Inventory:
    """The VMs of a scenario by their names, and which of their drives' requests go through which resource."""

    def __init__(self, scenario: Scenario) -> None:
        self.tables = {name: table for table in scenario.vm for name in vm_names(table)}
        self._scenario = scenario
        self._disks = disks_of_drives(scenario)

    def drives(self, resource: str) -> list[DriveKey]:
        """Return VM and number of each drive whose requests go through *resource*; none for a VM that is not there."""
        kind = kind_of(resource, self._scenario)
        owner, _, part = resource.partition("/")
        if kind in ("disk", "cpus", "cpu", "page_cache"):
            return [
                (vm, number)
                for vm, table in self.tables.items()
                for number in range(len(table.drive))
                if kind != "disk" or self._disks[vm, number] == part
            ]
        table = self.tables.get(owner)
        if table is None:
            return []
        return [(owner, number) for number in range(len(table.drive)) if _goes_through(table, number, part)]


def _goes_through(table: VmTable, number: int, part: str) -> bool:
    """Tell whether the requests of a VM's drive go through the VM's resource *part*."""
    group, _, rest = part.partition("/")
    if group in ("main_loop", "pool"):
        return iothread_of(table, number) is None
    if group == "iothread":
        return iothread_of(table, number) == rest.removesuffix("/pool")
    if group.startswith("channel"):
        return group == gate_of(table, number)
    if group.startswith("drive"):
        return group == f"drive{number}"
    return True
