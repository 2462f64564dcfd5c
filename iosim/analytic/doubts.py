"""Reasons to doubt the analysis of a scenario: assumptions that its runs show to be wrong."""

from collections.abc import Mapping

import numpy as np

from iosim.analytic.demands import rows_by_drive
from iosim.analytic.network import Network
from iosim.analytic.resources import Inventory
from iosim.analytic.scenario_network import network_of
from iosim.model.clones import disk_names, vm_names
from iosim.model.scenario import VmTable
from iosim.model.units import human_time, three_digits
from iosim.results.result import Result

_BURSTY, _REGULAR = 2.0, 0.5
_STEADY = 0.25
"""Squared coefficient of variation from which on arrivals count as bursty, below which as regular, and below which a
service time counts as constant. 1 is that of the exponential distribution."""
_IN_DEMAND = 0.3
"""Utilisation from which on a queue at a disk is worth a word."""
_GROWN = 1.2
"""Ratio of the largest to the smallest demand in several runs from which on it is said to depend on the load."""


def doubts(runs: Mapping[int, Result]) -> list[str]:
    """Return what is to be kept in mind of estimates from the run with the fewest VMs; *runs* by the number of VMs."""
    first, last = runs[min(runs)], runs[max(runs)]
    networks = {vms: network_of(result) for vms, result in runs.items()}
    return [*_arrivals(first), *_together(last), *_pauses(first), *_changed(networks), *_constant(first, last)]


def _arrivals(result: Result) -> list[str]:
    """Compare the gaps between requests with those of unrelated requests."""
    found = []
    arrival = result.requests["arrival_ns"].to_numpy()
    rows = rows_by_drive(result.requests)
    for table in result.scenario.vm:
        for number, drive in enumerate(table.drive):
            own = rows.get((vm_names(table)[0], number))
            if drive.replay != "open" or own is None or len(own) < 3:
                continue
            gaps = np.diff(np.sort(arrival[own]))
            variation = float(gaps.var() / gaps.mean() ** 2) if gaps.any() else 0.0
            name = f"Requests of {table.name} drive {number}"
            if variation > _BURSTY:
                found.append(
                    f"{name} come in bursts (the squared coefficient of variation of the gaps is "
                    f"{three_digits(variation)}, that of unrelated requests 1): they wait for longer than estimated."
                )
            elif variation < _REGULAR:
                found.append(
                    f"{name} come more evenly than unrelated ones (squared coefficient of variation of the gaps "
                    f"{three_digits(variation)}, not 1): they wait for less than estimated."
                )
    return found


def _pauses(result: Result) -> list[str]:
    """Name the drives whose guest has pauses of its own between two requests."""
    return [
        f"Between two requests of {table.name} drive {number} the guest pauses as it was recorded; the estimate has no "
        "such pauses."
        for table in result.scenario.vm
        for number, drive in enumerate(table.drive)
        if drive.replay == "ports"
    ]


def _together(result: Result) -> list[str]:
    """Name the tables whose VMs replay one trace at the same times."""

    def is_together(table: VmTable) -> bool:
        return (
            table.count > 1
            and not table.offset
            and not table.phase
            and any(drive.replay == "open" for drive in table.drive)
        )

    return [
        f"All VMs of {table.name} replay the same trace at the same times (offset is 0): they meet far more often than "
        "unrelated VMs, which the estimate takes them for."
        for table in result.scenario.vm
        if is_together(table)
    ]


def _changed(networks: Mapping[int, Network]) -> list[str]:
    """Compare what a request costs with few and with many VMs."""
    few, many = min(networks), max(networks)
    found = []
    later = {own.name: own for own in networks[many].customers}
    for own in networks[few].customers:
        if not own.is_request or own.name not in later or few == many:
            continue
        for place in own.service_ns:
            before, after = own.work_ns(place), later[own.name].work_ns(place)
            low, high = min(before, after), max(before, after)
            if high > _GROWN * low and high > 0.05 * own.least_response:
                found.append(
                    f"A request of {own.name} takes {human_time(before)} of {place} with {few:,} of the VMs and "
                    f"{human_time(after)} with {many:,}; the estimate has the first."
                )
    return found


def _constant(first: Result, last: Result) -> list[str]:
    """Name the disks that are in demand and whose time of service hardly varies."""
    found = []
    inventory, rows = Inventory(first.scenario), rows_by_drive(first.requests)
    column = first.requests["disk_service_ns"].to_numpy()
    busy = last.resources.set_index("resource")["utilisation"]
    for disk in (f"disk/{name}" for table in first.scenario.host.disk for name in disk_names(table)):
        own = [rows[drive] for drive in inventory.drives(disk) if drive in rows]
        if not own or busy.get(disk, 0) < _IN_DEMAND:
            continue
        times = column[np.concatenate(own)]
        times = times[times > 0]
        if len(times) and times.var() < _STEADY * times.mean() ** 2:
            found.append(
                f"The time that {disk} takes varies less than the estimate assumes (exponential): who queues for it "
                "waits for less."
            )
    return found
