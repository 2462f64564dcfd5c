"""The utilisation law: what a request demands of each resource, and how many requests can go through it at most."""

from collections.abc import Iterable
from dataclasses import dataclass

from iosim.model.scenario import DriveTable, VmTable
from iosim.results.result import Result

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


@dataclass(frozen=True)
class Demand:
    """One resource with the requests that used it: those of its VM, channel, drive or disk that were done.

    `demand_ns` is how long a request keeps one server busy on average, `bound_per_s` the requests per second that all
    servers can take at that demand; both are None without requests.
    """

    resource: str
    kind: str
    servers: int
    utilisation: float
    mean_queue: float
    max_queue: int
    requests: int
    demand_ns: float | None
    bound_per_s: float | None


def kind_of(resource: str) -> str:
    """Return the kind of a resource of the table `resources`, one of `KINDS`."""
    owner, slash, part = resource.partition("/")
    if not slash:
        return owner if owner in KINDS else "cpu"
    if owner == "disk" and "/" not in part:
        return "disk"
    last = part.rsplit("/", 1)[-1]
    if part.startswith("iothread/"):
        return "pool" if part.count("/") > 1 else "iothread"
    for kind in ("vcpu", "channel"):
        if part.startswith(kind):
            return kind
    return last if last in KINDS else "ring"


def demands(result: Result) -> list[Demand]:
    """Return every resource that serves requests, the busiest first.

    Requests are those done between the warm-up and the end of the run, as `busy_ns` is the time between them.
    """
    table = result.requests
    done = table[(table["status"] == "ok") & (table["done_ns"] >= result.scenario.run.warmup)]
    per_drive = done.groupby([done["vm"].astype(str), "drive"]).size().to_dict()
    tables = _tables_by_vm(result)
    found = []
    for resource, servers, busy_ns, utilisation, mean_queue, max_queue in result.resources[
        ["resource", "servers", "busy_ns", "utilisation", "mean_queue", "max_queue"]
    ].itertuples(index=False, name=None):
        kind = kind_of(resource)
        if kind in NOT_SERVING:
            continue
        n = sum(per_drive.get(drive, 0) for drive in _drives_of(resource, kind, tables))
        demand_ns = busy_ns / n if n else None
        bound = servers / demand_ns * 1e9 if demand_ns else None
        found.append(Demand(resource, kind, servers, utilisation, mean_queue, max_queue, n, demand_ns, bound))
    return sorted(found, key=lambda demand: -demand.utilisation)


def _tables_by_vm(result: Result) -> dict[str, VmTable]:
    """Return the table of each VM by its name, clones by theirs."""
    tables: dict[str, VmTable] = {}
    for table in result.scenario.vm:
        names = [table.name] if table.count == 1 else [f"{table.name}#{k}" for k in range(table.count)]
        tables |= dict.fromkeys(names, table)
    return tables


def _drives_of(resource: str, kind: str, tables: dict[str, VmTable]) -> Iterable[tuple[str, int]]:
    """Return VM and number of each drive whose requests go through *resource*."""
    owner, _, part = resource.partition("/")
    if kind == "disk":
        return [
            (name, number)
            for name, table in tables.items()
            for number, drive in enumerate(table.drive)
            if drive.disk in (None, part)
        ]
    if owner not in tables:
        return [(name, number) for name, table in tables.items() for number in range(len(table.drive))]
    table = tables[owner]
    return [
        (owner, number)
        for number, (drive, position) in enumerate(zip(table.drive, table.positions(), strict=True))
        if _goes_through(number, drive, position, part)
    ]


def _goes_through(number: int, drive: DriveTable, position: int, part: str) -> bool:
    """Tell whether the requests of a VM's drive go through the VM's resource *part*."""
    group, _, rest = part.partition("/")
    if group.startswith("channel"):
        return not drive.is_virtio and group == f"channel{position >> 1}"
    if group.startswith("drive"):
        return group == f"drive{number}"
    if group == "iothread":
        name = f"drive:{number}" if drive.iothread is True else drive.iothread
        return drive.is_virtio and rest.removesuffix("/pool") == name
    return True
