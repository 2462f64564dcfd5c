"""The network of a scenario, with the demands that a run of it has shown (docs/analytic.md has the mapping)."""

import numpy as np

from iosim.analytic.demands import Means, done_in_window, pooled, rows_by_drive, stage_means, window_ns
from iosim.analytic.network import Centre, Customers, Gate, Network
from iosim.analytic.resources import Inventory, gate_of, iothread_of, kind_of
from iosim.analytic.roles import certain_stages, loop_stages, own_stages, vcpu_stages
from iosim.model.clones import DriveKey, disk_names, vm_names
from iosim.model.errors import ResultError
from iosim.model.scenario import DiskCommon, DriveTable, LoadTable, Scenario, VmTable
from iosim.model.stages import Stage
from iosim.results.result import Result

CPUS = "cpus"


def network_of(result: Result) -> Network:
    """Return the network of the run's scenario: customers are the requests of each drive of each [[vm]] table.

    Drives without counted requests, or whose requests took no time (flushes of a device without write cache), are left
    out. Raises ResultError if no drive is left.
    """
    run = _Run(result)
    scenario = result.scenario
    customers = [
        run.requests_of(table, number, means)
        for table in scenario.vm
        for number in range(len(table.drive))
        if (means := pooled(run.means, _of_drive(table, number))) is not None and means.of(Stage) > 0
    ]
    if not customers:
        raise ResultError("no request that took any time was done after the warm-up: nothing is known of demands")
    if scenario.host.cpus is not None:
        customers += [_computing(table, table.load) for table in scenario.vm if table.load is not None]
    return Network(tuple(_centres(scenario)), tuple(customers), tuple(run.gates()))


def _of_drive(table: VmTable, number: int) -> list[DriveKey]:
    return [(name, number) for name in vm_names(table)]


def _centres(scenario: Scenario) -> list[Centre]:
    """Return what serves: the disks, and the host's CPUs, or each VM's own vCPUs and loops if it has as many as needed.

    With `host.cpus` a thread's work is done by the CPUs, and a thread is no centre of its own.
    """
    disks = [Centre(name, disk.servers) for disk in scenario.host.disk for name in _centres_of(disk)]
    if scenario.host.cpus is not None:
        return [Centre(CPUS, scenario.host.cpus), *disks]
    threads = []
    for table in scenario.vm:
        loops = dict.fromkeys(_loop_of(table, number) for number in range(len(table.drive)))
        threads.append(Centre(_vcpus_of(table), table.vcpus, table.name))
        threads += [Centre(loop, 1, table.name) for loop in loops]
    return [*threads, *disks]


def _centres_of(disk: DiskCommon) -> list[str]:
    return [f"disk/{name}" for name in disk_names(disk)]


def _vcpus_of(table: VmTable) -> str:
    return f"{table.name}/vcpu"


def _loop_of(table: VmTable, number: int) -> str:
    """Return the event loop that completes the requests of a drive."""
    iothread = iothread_of(table, number)
    return f"{table.name}/main_loop" if iothread is None else f"{table.name}/iothread/{iothread}"


def _computing(table: VmTable, load: LoadTable) -> Customers:
    """Return the bursts of the guests' own computing: a vCPU computes, then pauses."""
    burst = float(load.burst)
    return Customers(
        name=f"{table.name}/load",
        vm=table.name,
        service_ns={CPUS: burst},
        replicas=table.count,
        population=table.vcpus,
        think_ns=burst * (1 - load.share) / load.share,
        is_request=False,
    )


class _Run:
    """The tables of a run, looked at for demands."""

    def __init__(self, result: Result) -> None:
        self.means = stage_means(result)
        self._scenario = result.scenario
        self._inventory = Inventory(result.scenario)
        self._window_ns = window_ns(result)
        self._done = done_in_window(result)
        self._resources = result.resources.set_index("resource")
        behind_warmup = result.requests[~result.requests["warmup"]]
        arrivals = behind_warmup["arrival_ns"].to_numpy()
        self._arrivals = {drive: arrivals[rows] for drive, rows in rows_by_drive(behind_warmup).items()}

    def requests_of(self, table: VmTable, number: int, means: Means) -> Customers:
        """Return the requests of a drive as customers; *means* are those of all its clones."""
        drive = table.drive[number]
        own, of_vcpu, of_loop = own_stages(table, number), vcpu_stages(table, number), loop_stages(table, number)
        disks = next(_centres_of(disk) for disk in self._scenario.host.disk if drive.disk in (None, disk.name))
        service, least, beside, visits = {}, {}, {}, {}
        # The images of all VMs are spread over the disks of a table: on average each disk has its share of a request.
        on_disk, beside_it = self._on_disks(disks, means)
        for disk in disks:
            service[disk], beside[disk], visits[disk] = on_disk / len(disks), beside_it / len(disks), 1 / len(disks)
        waits = {Stage.DISK_WAIT}
        if self._scenario.host.cpus is None:
            loop = _loop_of(table, number)
            service[_vcpus_of(table)], least[_vcpus_of(table)] = means.of(of_vcpu), means.of(of_vcpu & own)
            service[loop], least[loop] = self._in_loop(table, number, means), means.of(of_loop & own)
        else:
            service[CPUS], beside[CPUS] = self._on_cpus(table, means, number)
            least[CPUS], visits[CPUS] = means.of(_on_threads(table, number) & own), _visits(drive)
            waits.add(Stage.CPU_WAIT)
        if drive.replay == "open" or _shares_gate(table, number):
            waits.add(Stage.GUEST_QUEUE)
        return Customers(
            name=f"{table.name}/drive{number}",
            vm=table.name,
            service_ns=service,
            replicas=table.count,
            rate_per_s=self._rate_per_s(table, number) if drive.replay == "open" else None,
            delay_ns=max(0.0, means.of(set(Stage) - waits) - sum(service.values())),
            visits=visits,
            beside_ns=beside,
            least_ns={place: min(least.get(place, served), served) for place, served in service.items()},
            least_response_ns=max(1.0, means.of(certain_stages(table, number))),
            gate=f"{table.name}/{gate_of(table, number)}",
        )

    def gates(self) -> list[Gate]:
        """Return the channels and rings."""
        found = {}
        for table in self._scenario.vm:
            for gate in (gate_of(table, number) for number in range(len(table.drive))):
                name = f"{table.name}/{gate}"
                slots = self._resources["servers"][f"{vm_names(table)[0]}/{gate}"]
                found[name] = Gate(name, int(slots), table.name)
        return list(found.values())

    def _on_disks(self, disks: list[str], means: Means) -> tuple[float, float]:
        """Return for how long a request of the drive keeps a server of its disk busy, and work beside it does.

        Merged requests have the time of their operation each: then the disk's busy time says what a request costs.
        Write-back works for no request that waits for it.
        """
        users = [user for disk in disks for user in self._inventory.drives(disk)]
        everyone = pooled(self.means, users)
        n = max(1, sum(self._done.get(user, 0) for user in users))
        busy = sum(float(self._resources["busy_ns"][disk]) for disk in disks) / n
        assert everyone is not None
        own, charged = means.stages_ns[Stage.DISK_SERVICE], everyone.stages_ns[Stage.DISK_SERVICE]
        ends = 2 / n
        if busy < charged * (1 - ends):
            return own * busy / charged, 0.0
        return own, busy - charged if busy > charged * (1 + ends) else 0.0

    def _in_loop(self, table: VmTable, number: int, means: Means) -> float:
        """Return for how long a request of the drive keeps its event loop busy.

        Requests of a batch have each other's time as well: then the loop's busy time says what a request costs.
        """
        part = _loop_of(table, number).partition("/")[2]
        busy = sum(int(self._resources["busy_ns"][f"{name}/{part}"]) for name in vm_names(table))
        users = [user for name in vm_names(table) for user in self._inventory.drives(f"{name}/{part}")]
        n_done = sum(self._done.get(user, 0) for user in users)
        return min(means.of(loop_stages(table, number)), busy / max(1, n_done))

    def _on_cpus(self, table: VmTable, means: Means, number: int) -> tuple[float, float]:
        """Return for how long a request of the drive keeps the CPUs busy on its way, and work beside it does.

        Beside it are the way back into the guest after a submission, idling and waking up, and polling iothreads; not
        the polling of halted vCPUs, who give a CPU up to anybody. Requests of a batch have each other's time as well:
        then the threads' busy time says what a request costs.
        """
        users = [(name, other) for name in vm_names(table) for other in range(len(table.drive))]
        n_counted = sum(self.means[user].n for user in users if user in self.means)
        n_done = max(1, sum(self._done.get(user, 0) for user in users))
        charged = worker = 0.0
        for user in users:
            if user in self.means:
                weight = self.means[user].n / n_counted
                charged += weight * self.means[user].of(_on_threads(table, user[1]))
                worker += weight * self.means[user].stages_ns[Stage.AIO_WORKER]
        spent = self._threads_busy(table) * self._window_ns / n_done + worker
        own, certain = (means.of(_on_threads(table, number) & of) for of in (set(Stage), own_stages(table, number)))
        return max(certain, own * min(1.0, spent / max(1.0, charged))), max(0.0, spent - charged)

    def _threads_busy(self, table: VmTable) -> float:
        """Return how many vCPUs and event loops of all VMs of a table are busy, without the guests' own computing."""
        names = set(vm_names(table))
        busy = 0.0
        columns = self._resources[["utilisation", "mean_queue"]]
        for resource, utilisation, queue in columns.itertuples(name=None):
            if resource.partition("/")[0] in names:
                kind = kind_of(resource, self._scenario)
                if kind == "vcpu":
                    busy += _without_load(table.load, utilisation, queue)
                elif kind in ("main_loop", "iothread"):
                    busy += utilisation
        return busy

    def _rate_per_s(self, table: VmTable, number: int) -> float:
        """Return the arrivals of a drive of one VM per second, from its first to its last one behind the warm-up."""
        rates = []
        for drive in _of_drive(table, number):
            arrivals = self._arrivals.get(drive, np.empty(0))
            if len(arrivals):
                rates.append(len(arrivals) / (int(np.ptp(arrivals)) or self._window_ns) * 1e9)
        return sum(rates) / table.count


def _shares_gate(table: VmTable, number: int) -> bool:
    gates = [gate_of(table, other) for other in range(len(table.drive))]
    return gates.count(gates[number]) > 1


def _on_threads(table: VmTable, number: int) -> frozenset[Stage]:
    """Return the stages in which a thread of the host works for a request of the drive."""
    return vcpu_stages(table, number) | loop_stages(table, number) | {Stage.AIO_WORKER}


def _without_load(load: LoadTable | None, busy: float, steal: float) -> float:
    """Return the share of time that a vCPU is busy but for the guest's own computing.

    A pause begins when a burst has ended, and a burst stands still while the vCPU does something else or has no CPU.
    So the load takes share / (share / (1 - other - steal) + 1 - share) of the time.
    """
    if load is None:
        return busy
    other = 0.0
    for _ in range(50):
        free = max(1e-6, 1 - other - steal)
        other = max(0.0, busy - load.share / (load.share / free + 1 - load.share))
    return other


def _visits(drive: DriveTable) -> float:
    """Return how often a request has to wait for a CPU that others may have.

    When it arrives (the guest that waits for its last request is running then), and when the disk is done. The threads
    that take it over in between find the CPU that has just been left. Assumed.
    """
    return 1.0 if drive.replay != "open" else 2.0
