"""[host]: the CPUs, the profile of costs, the page cache, and the disks that all VMs share."""

from typing import Annotated

from pydantic import Field, field_validator

from iosim.model.scenario.costs import CostChanges
from iosim.model.scenario.disk import MAX_DISKS, DiskTable
from iosim.model.scenario.fields import FileName, Size, Table, Time, rule

MAX_CPUS = 1024


PAGE_BYTES = 4096


class PageCacheTable(Table):
    """[host.page_cache]: the host's page cache. Names of the limits are those of the kernel (vm.dirty_ratio ...)."""

    size: Size = 4 << 30
    dirty_background_ratio: Annotated[int, Field(ge=0, le=100)] = 10
    dirty_background_bytes: Size | None = None
    dirty_ratio: Annotated[int, Field(ge=0, le=100)] = 20
    dirty_bytes: Size | None = None
    dirty_writeback_interval: Time = 5_000_000_000
    dirty_expire_interval: Time = 30_000_000_000

    @field_validator("size")
    @classmethod
    def _holds_something(cls, value: int) -> int:
        if value < 4 * PAGE_BYTES:
            raise rule("must be at least 16KiB")
        return value

    @property
    def pages(self) -> int:
        """The size in pages."""
        return self.size // PAGE_BYTES

    def dirty_limits(self) -> tuple[int, int]:
        """Return (background limit, limit) in pages, as domain_dirty_limits does.

        A background limit that is not below the limit is half of it; the limit is two pages at least.
        """
        limit = max(2, _pages(self.dirty_bytes, self.dirty_ratio, self.pages))
        background = _pages(self.dirty_background_bytes, self.dirty_background_ratio, self.pages)
        return (background if background < limit else limit // 2), limit


def _pages(size: int | None, ratio: int, pages: int) -> int:
    """Return a limit in pages: *size*, or *ratio* per cent of *pages*."""
    return pages * ratio // 100 if size is None else -(-size // PAGE_BYTES)


class HostTable(Table):
    """[host]: the CPUs, the profile of costs, and the disks and the page cache that all VMs share."""

    cpus: Annotated[int, Field(ge=1, le=MAX_CPUS)] | None = None
    slice: Time = 3_000_000
    profile: FileName = "vmx-2013"
    cost: CostChanges | None = None
    disk: Annotated[list[DiskTable], Field(min_length=1, max_length=MAX_DISKS)]
    page_cache: PageCacheTable | None = None

    @field_validator("slice")
    @classmethod
    def _long_enough(cls, value: int) -> int:
        if value < 1000:
            raise rule("must be at least 1us")
        return value
