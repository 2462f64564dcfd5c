"""The images on the host's disks, the page cache in front of them, and the flusher of each disk."""

from iosim.disk.bio import BioQueue
from iosim.disk.file import BufferedFile, HostFile
from iosim.disk.page_cache import PageCache, PageCacheConfig
from iosim.disk.queue import Disk
from iosim.disk.writeback import Flusher
from iosim.host import Host, HostThread
from iosim.model import draws
from iosim.model.steps import Binder

FLUSHERS, BIOS = 16, 1024
"""Numbers of the threads of disk k: its flusher is 16 + k, what the disk has under way without a thread 1024 + k."""


class HostFiles:
    """Opens images. The page cache and the flushers exist once a file needs them."""

    def __init__(self, host: Host, binder: Binder, config: PageCacheConfig, seed: draws.Number64) -> None:
        self.cache: PageCache | None = None
        self._host = host
        self._binder = binder
        self._config = config
        self._seed = seed
        self._bios: dict[Disk, BioQueue] = {}
        self._flushers: dict[Disk, Flusher] = {}

    def open(self, disk: Disk, first: int, sectors: int, direct: bool, length: int | None = None) -> HostFile:
        """Open the image that has *sectors* from *first* on, or may grow to that; *direct*: with O_DIRECT."""
        bios = self._bios.get(disk)
        if bios is None:
            bios = self._bios[disk] = BioQueue(self._host, disk, BIOS + len(self._bios))
        if direct:
            return HostFile(self._binder, disk, first, length, bios)
        if self.cache is None:
            self.cache = PageCache(self._host, self._config)
        flusher = self._flushers.get(disk)
        if flusher is None:
            name = f"flush-{disk.name}"
            subject = draws.Subject(draws.identity(draws.source(self._seed, "host", f"thread {name}"), 0))
            thread = HostThread(self._host, FLUSHERS + len(self._flushers), name, subject)
            flusher = self._flushers[disk] = Flusher(self._host, self._binder, self.cache, bios, thread)
        return BufferedFile(self._host, self._binder, disk, first, sectors, self.cache, flusher, length)
