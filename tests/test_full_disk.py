"""A file that grows until its disk is full: the host's part of it, without QEMU."""

import errno

from iosim.disk import ConstantDisk, Disk, HostFile
from iosim.host import Host, HostThread
from iosim.model import draws
from iosim.model.records import Request
from iosim.model.steps import Binder, Steps
from tests.support import constant_profile


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
