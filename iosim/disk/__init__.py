"""The host's disks: pure service models, the scheduler and queue in front of them, the files on them."""

from iosim.disk.build import build_disk
from iosim.disk.empirical import EmpiricalDisk, load_empirical
from iosim.disk.file import HostFile
from iosim.disk.files import HostFiles
from iosim.disk.hdd import Hdd, HddConfig
from iosim.disk.model import ConstantDisk, DiskIo, DiskModel
from iosim.disk.page_cache import PageCacheConfig
from iosim.disk.queue import Disk, DiskJob
from iosim.disk.ssd import Ssd, SsdConfig

__all__ = [
    "ConstantDisk",
    "Disk",
    "DiskIo",
    "DiskJob",
    "DiskModel",
    "EmpiricalDisk",
    "Hdd",
    "HddConfig",
    "HostFile",
    "HostFiles",
    "PageCacheConfig",
    "Ssd",
    "SsdConfig",
    "build_disk",
    "load_empirical",
]
