"""Files that grow until their disk is full: the host's part of it without QEMU, then qcow2 images of VMs."""

import errno
from typing import Any

import pytest

from iosim.disk import ConstantDisk, Disk, HostFile
from iosim.host import Host, HostThread
from iosim.model import draws
from iosim.model.records import Request
from iosim.model.steps import Binder, Steps
from iosim.results.result import Result
from tests.support import Row, constant_profile, scenario, simulate
from tests.test_timelines import stages


def results(sectors: int | None, length: int | None, writes: list[tuple[int, int]]) -> tuple[list[int], Disk]:
    """What pwrite returns for each (sector, sectors) in turn, on a disk that holds nothing but the file."""
    host = Host()
    disk = Disk(host, "sda", ConstantDisk(90_000, 90_000), 1, sectors=sectors)
    assert disk.allocate(length or 0)
    file = HostFile(Binder(constant_profile()), disk, 0, length)
    request = Request(draws.identity(draws.source(1, "vm", "drive 0"), 0), None, 0, "W", 0, 8, 0)
    found: list[int] = []

    def writer(thread: HostThread) -> Steps[None]:
        for sector, n in writes:
            found.append((yield from file.pwrite(thread, request, sector, n)))

    thread = HostThread(host, 0, "writer", request)
    thread.start(writer(thread))
    host.run()
    return found, disk


def test_a_file_grows_until_the_disk_is_full() -> None:
    # 100 sectors, 10 of them the file's. To 50, within, to 100; 101 is too much, and nothing is taken for it.
    found, disk = results(100, 10, [(0, 8), (40, 10), (20, 8), (92, 8), (93, 8), (0, 8)])
    assert found == [0, 0, 0, 0, -errno.ENOSPC, 0]
    assert disk.used_sectors == 100


def test_a_write_that_does_not_fit_goes_to_no_disk() -> None:
    found, disk = results(100, 10, [(96, 8)])
    assert found == [-errno.ENOSPC]
    assert disk.busy.area == 0


def test_a_file_with_room_set_aside_never_meets_the_end() -> None:
    assert results(100, None, [(92, 8)])[0] == [0]


def test_a_disk_without_a_size_is_never_full() -> None:
    assert results(None, 0, [(1 << 40, 8)])[0] == [0]


# A qcow2 image on a disk that is too small. Nothing costs time but the disk (90 us, flush 500 us) and libata's delays:
# 30.8 us from the arrival to the submission of a DMA command, 0.4 us behind the interrupt (tests/test_timelines.py).

CLUSTER = 128
NEW_TABLE_NS = 4 * 90_000 + 3 * 500_000
"""Four accesses and three flushes of QEMU 7.2 until a first L2 table is there (docs/path.md)."""
MS = 1_000_000

# Header, refcount table, refcount block and L1 table: four clusters. One L2 table, and room for one cluster of data.
FULL_WITH_ONE_CLUSTER = {"model": "constant", "service": "90us", "flush": "500us", "capacity": "384KiB"}

both_modes = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])


def run(
    rows: list[Row], exact: bool, disk: dict[str, Any], qemu: str = "7.2", events: Any = (), **drive: Any
) -> Result:
    described = scenario(
        [{"format": "qcow2", "size": "64MiB", **drive}],
        disks=[disk],
        run={"exact_exits": exact, "duration": "30ms"},
        qemu=qemu,
        event=list(events),
    )
    return simulate(described, rows, constant_profile(0))


def happened(result: Result) -> list[tuple[int, int, str, str]]:
    return list(result.events[["time_ns", "request", "event", "why"]].itertuples(index=False, name=None))


@both_modes
def test_a_full_disk_stops_the_vm_each_time_the_write_is_repeated(exact: bool) -> None:
    # The first write takes the L2 table and the last free cluster. The second one's fallocate fails at once; repeated
    # at 20 ms, it fails again. The third, which would need no room, waits in the guest that is stopped.
    rows: list[Row] = [(MS, "W", 0, 8), (10 * MS, "W", CLUSTER, 8), (12 * MS, "W", 0, 8)]
    table = run(rows, exact, FULL_WITH_ONE_CLUSTER, events=[{"at": "20ms", "kind": "cont"}])
    requests = table.requests
    assert requests["status"].tolist() == ["ok", "unfinished", "unfinished"]
    assert requests["done_ns"].iloc[0] == MS + 30_800 + NEW_TABLE_NS + 90_000 + 400
    assert happened(table) == [
        (10_030_800, 1, "error-stopped", "ENOSPC"),
        (10_030_800, -1, "stop", "io-error"),
        (20 * MS, -1, "cont", "event"),
        (20 * MS, 1, "error-stopped", "ENOSPC"),
        (20 * MS, -1, "stop", "io-error"),
    ]
    assert stages(requests.iloc[1]) == {"guest_run": 30_800, "paused": 20 * MS - 30_800}
    assert stages(requests.iloc[2]) == {"paused": 18 * MS}


@both_modes
def test_a_disk_that_has_room_again_takes_the_repeated_write(exact: bool) -> None:
    # Without room from 5 ms to 15 ms: the data of the second write fails after 90 us. At 20 ms it is written, into the
    # next cluster.
    fault = {"error": "ENOSPC", "ops": ["write"], "start": "5ms", "end": "15ms"}
    disk = {"model": "constant", "service": "90us", "flush": "500us", "fault": [fault]}
    rows: list[Row] = [(MS, "W", 0, 8), (10 * MS, "W", CLUSTER, 8)]
    table = run(rows, exact, disk, events=[{"at": "20ms", "kind": "cont"}])
    assert happened(table) == [
        (10_120_800, 1, "error-stopped", "ENOSPC"),
        (10_120_800, -1, "stop", "io-error"),
        (20 * MS, -1, "cont", "event"),
    ]
    assert stages(table.requests.iloc[1]) == {
        "guest_run": 30_800 + 400,
        "disk_service": 2 * 90_000,
        "paused": 20 * MS - 10_120_800,
    }
    assert table.requests["done_ns"].iloc[1] == 20 * MS + 90_000 + 400


@both_modes
@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
@pytest.mark.parametrize("cache", ["none", "directsync", "writeback", "writethrough", "unsafe"])
def test_a_full_disk_is_reported_to_the_guest(exact: bool, qemu: str, cache: str) -> None:
    # Buffered, too: the page cache takes room for what it is given.
    rows: list[Row] = [(MS, "W", 0, 8), (10 * MS, "W", CLUSTER, 8), (15 * MS, "W", 8, 8), (20 * MS, "R", CLUSTER, 8)]
    result = run(rows, exact, FULL_WITH_ONE_CLUSTER, qemu=qemu, cache=cache, werror="report", retries=0)
    assert result.requests["status"].tolist() == ["ok", "error", "ok", "ok"]
    assert result.requests["error"].tolist() == ["", "ENOSPC", "", ""]
    assert [event for _, _, event, _ in happened(result)] == ["error-reported"]


@both_modes
@pytest.mark.parametrize("aio", ["threads", "native", "io_uring"])
def test_a_write_of_a_whole_cluster_takes_room_itself(exact: bool, aio: str) -> None:
    # No fallocate: the write is the one that finds the disk full, at once.
    rows: list[Row] = [(MS, "W", 0, CLUSTER), (10 * MS, "W", CLUSTER, CLUSTER)]
    result = run(rows, exact, FULL_WITH_ONE_CLUSTER, aio=aio)
    assert happened(result) == [(10_030_800, 1, "error-stopped", "ENOSPC"), (10_030_800, -1, "stop", "io-error")]


def test_images_of_two_vms_share_what_is_left() -> None:
    # Twelve clusters: four of each image at the start; the one that writes first takes two, the other one as well.
    disk = {**FULL_WITH_ONE_CLUSTER, "capacity": "768KiB"}
    drive = {"format": "qcow2", "size": "64MiB", "werror": "report", "retries": 0}
    described = scenario(vms=[{"name": name, "drive": [drive]} for name in ("a", "b")], disks=[disk])
    rows: list[list[Row]] = [
        [(MS, "W", 0, 8), (20 * MS, "W", CLUSTER, 8)],
        [(10 * MS, "W", 0, 8), (30 * MS, "W", CLUSTER, 8)],
    ]
    requests = simulate(described, rows, constant_profile(0)).requests
    assert requests["error"].tolist() == ["", "ENOSPC", "", "ENOSPC"]


def test_the_room_of_a_file_that_reaches_beyond_the_end_begins_anew() -> None:
    disk = Disk(Host(), "sda", ConstantDisk(90_000, 90_000), 1, sectors=100)
    assert [disk.place(0, 8), disk.place(92, 8), disk.place(93, 8), disk.place(150, 8)] == [0, 92, 0, 57]
