"""From a [[host.disk]] table to the disk: its model, its windows, its scheduler."""

import errno
from pathlib import Path

from iosim.disk import hdd
from iosim.disk.empirical import load_empirical
from iosim.disk.fault import Fault
from iosim.disk.geometry import Geometry, Zone
from iosim.disk.hdd import Hdd, HddConfig
from iosim.disk.mechanics import Mechanics
from iosim.disk.model import ConstantDisk, DiskModel
from iosim.disk.queue import Disk
from iosim.disk.scheduler import CScan, Deadline, DeadlineConfig, Fifo, Scheduler
from iosim.disk.segmented import CacheConfig, ReadAhead, SegmentedHdd
from iosim.disk.ssd import MAX_MAPPED_PAGES, Ssd, SsdConfig, blocks_per_unit
from iosim.disk.window import UNIT, Window, WindowedDisk
from iosim.host import Host
from iosim.model.errors import ScenarioError
from iosim.model.records import FLUSH, READ, WRITE
from iosim.model.scenario import (
    ConstantDiskTable,
    DisksimTable,
    DiskTable,
    EmpiricalDiskTable,
    FaultTable,
    HddTable,
    SsdTable,
    WindowTable,
)
from iosim.model.units import SECTOR_BYTES

_OPS = {"read": READ, "write": WRITE, "flush": FLUSH}
_ERRNO = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}


def build_disk(host: Host, table: DiskTable, name: str, folder: Path) -> Disk:
    """Return a disk called *name*, as *table* describes it; file names are relative to *folder*.

    Raises ScenarioError.
    """
    model = disk_model(table, folder)
    sectors = None if table.capacity is None else table.capacity // SECTOR_BYTES
    if isinstance(model, Hdd | SegmentedHdd):
        sectors = min(sectors or model.sectors, model.sectors)
    if table.window:
        windows = sorted((_window(window) for window in table.window), key=lambda window: window.start_ns)
        model = WindowedDisk(model, tuple(windows))
    faults = tuple(_fault(fault) for fault in table.fault)
    return Disk(host, name, model, table.servers, _scheduler(table), table.queue_depth, sectors, faults)


def disk_model(table: DiskTable, folder: Path) -> DiskModel:
    """Return the service model of *table*; file names are relative to *folder*. Raises ScenarioError."""
    place = f"host.disk.{table.name}"
    if isinstance(table, ConstantDiskTable):
        return ConstantDisk(table.service, table.service if table.flush is None else table.flush)
    if isinstance(table, EmpiricalDiskTable):
        return load_empirical(folder / table.table, table.flush, f"{place}.table")
    if isinstance(table, HddTable):
        return _hdd(table, place)
    if isinstance(table, DisksimTable):
        return SegmentedHdd(_mechanics(table), _cache(table))
    return Ssd(_ssd(table, place))


def _hdd(table: HddTable, place: str) -> Hdd:
    config = HddConfig(
        revolution_ns=60_000_000_000 // table.rpm,
        cylinders=table.cylinders,
        heads=table.heads,
        zones=tuple(table.zones),
        seek=tuple(table.seek),
        read_overhead_ns=table.read_overhead,
        write_overhead_ns=table.write_overhead,
        head_switch_ns=table.head_switch,
        write_settle_ns=table.write_settle,
        bus_sector_ns=SECTOR_BYTES * 1_000_000_000 // table.bus_rate,
        segment_sectors=table.read_ahead // SECTOR_BYTES if table.read_ahead else 0,
        write_buffer_sectors=table.write_buffer // SECTOR_BYTES if table.write_buffer else 0,
    )
    if rule := hdd.check(config):
        raise ScenarioError(f"{place}: {rule}")
    return Hdd(config)


def _mechanics(table: DisksimTable) -> Mechanics:
    zones = tuple(Zone(**{**zone.model_dump(), "slips": tuple(zone.slips)}) for zone in table.zone)
    return Mechanics(
        geometry=Geometry(table.heads, zones),
        revolution_ns=60_000_000_000 // table.rpm,
        seek=tuple(table.seek),
        head_switch_ns=table.head_switch,
        write_settle_ns=table.write_settle,
    )


def _cache(table: DisksimTable) -> CacheConfig:
    return CacheConfig(
        segments=table.segments - table.write_segment,
        segment_sectors=table.segment_size // SECTOR_BYTES,
        read_ahead=ReadAhead(table.read_ahead),
        most_ahead=table.most_ahead // SECTOR_BYTES if table.most_ahead else 0,
        read_hit_ns=table.read_hit,
        read_miss_ns=table.read_miss,
        write_ns=table.write,
        write_sequential_ns=table.write[1] if table.write_sequential is None else table.write_sequential,
        reconnect_ns=table.reconnect,
        read_end_ns=table.read_end,
        write_end_ns=table.write_end,
        bus_sector_ns=SECTOR_BYTES * 1_000_000_000 // table.bus_rate,
        write_back=table.write_back,
        write_segment=table.write_segment,
        hits_on_writes=table.hits_on_writes,
        ahead_on_hit=table.ahead_on_hit,
        read_before=table.read_before,
        read_at_once=table.read_at_once,
        write_at_once=table.write_at_once,
        least_write_seek_ns=table.least_write_seek,
        watermark=round(table.watermark * 1000),
        least_buffered=table.least_buffered // SECTOR_BYTES,
    )


def _ssd(table: SsdTable, place: str) -> SsdConfig:
    pages = blocks = 0
    if table.over_provisioning is not None:
        assert table.capacity is not None
        pages = -(-table.capacity // table.page)
        if pages > MAX_MAPPED_PAGES:
            raise ScenarioError(
                f"{place}.capacity must be at most {MAX_MAPPED_PAGES} pages with over_provisioning, got {pages}"
            )
        share = -(-pages // table.units)
        blocks = blocks_per_unit(pages, table.units, table.block_pages, table.over_provisioning)
        if blocks * table.block_pages < share + 2 * table.block_pages:
            raise ScenarioError(
                f"{place}.over_provisioning must leave each unit two blocks more than its {share} pages fill, "
                f"got {blocks} blocks of {table.block_pages} pages"
            )
    return SsdConfig(
        units=table.units,
        page_sectors=table.page // SECTOR_BYTES,
        block_pages=table.block_pages,
        read_ns=table.read,
        program_ns=table.program,
        erase_ns=table.erase,
        transfer_ns=table.transfer,
        overhead_ns=table.overhead,
        flush_ns=table.flush,
        buffer_pages=table.write_buffer // table.page if table.write_buffer else 0,
        pages=pages,
        blocks_per_unit=blocks,
        filled=table.filled,
    )


def _window(table: WindowTable) -> Window:
    slowness = None if table.stuck else round((table.factor or 1) * UNIT)
    return Window(table.start, table.end, slowness, table.add or 0)


def _fault(table: FaultTable) -> Fault:
    return Fault(
        ops=frozenset(_OPS[op] for op in table.ops),
        errno=_ERRNO[table.error],
        share=round(table.probability * (1 << 32)),
        start_ns=table.start,
        end_ns=table.end,
        first=table.first_sector,
        end=None if table.sectors is None else table.first_sector + table.sectors,
    )


def _scheduler(table: DiskTable) -> Scheduler:
    if table.scheduler == "c-scan":
        return CScan()
    if table.scheduler == "deadline":
        return Deadline(DeadlineConfig(table.read_expire, table.write_expire, table.fifo_batch, table.writes_starved))
    return Fifo()
