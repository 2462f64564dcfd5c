"""Between the model's own classes and their twins: state goes to the twins before a run and comes back behind it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram

from iosim import run as collecting
from iosim.compiled.image import Image
from iosim.compiled.twins import costs, durations, environment, levels, requests
from iosim.disk.page_cache import PageCounts
from iosim.host import environment as simpy_environment
from iosim.host.any_level import MAX_BINS
from iosim.host.durations import LONGEST_NS, SIGNIFICANT_DIGITS, Durations
from iosim.host.levels import Level, Timeline
from iosim.kvm.exits import ExitAccount
from iosim.machine import Machine
from iosim.model.costs import Cost
from iosim.model.stages import Stage
from iosim.model.steps import AccessKind, Item, Mode, Op, Path, Run, Segment, Template
from iosim.model.trace import Trace
from iosim.results.sampling import ALL, WHAT


def give_back(twin: Any, original: Any) -> None:
    """Bring *original* into the state of its twin: as if it had been there all the time."""
    if isinstance(original, Timeline):
        original.width_ns = twin.width_ns
        for mine, its in zip(twin.levels, original.levels, strict=True):
            give_back(mine, its)
    elif isinstance(original, Level):
        original.fold()
        original.value, original.since_ns, original.highest = twin.value, twin.since_ns, twin.highest
        original._area = twin.area
        original._bins = np.array(twin._bins, dtype=np.int64)
        assert len(original._bins) == MAX_BINS
    elif isinstance(original, Durations):
        _give_back_durations(twin, original)
    elif isinstance(original, ExitAccount):
        original._whole_runs = twin._whole_runs
        given_back = {}
        for (reason, userspace), times in twin.times.items():
            key = (reason, bool(userspace))
            given_back[key] = Durations()
            give_back(times, given_back[key])
        original.times = given_back
    else:
        raise TypeError(f"{type(original).__name__} has no twin with a state of its own")


def _give_back_durations(twin: durations.Durations, original: Durations) -> None:
    original._loose, original._arrays, original._array_size = {}, [], 0
    original.count, original.total_ns = twin.count, twin.total_ns
    original.min_ns, original.max_ns = twin.min_ns, twin.max_ns
    original._histogram = None
    if twin.count:
        histogram = HdrHistogram(1, LONGEST_NS, SIGNIFICANT_DIGITS)
        for number, page in enumerate(twin.pages):
            if page is not None:
                histogram.counts[number * len(page) : (number + 1) * len(page)] = page
        histogram.total_count = twin.count
        histogram.min_value, histogram.max_value = min(twin.min_ns, LONGEST_NS), min(twin.max_ns, LONGEST_NS)
        original._histogram = histogram


# A whole machine


def converters() -> dict[type, Callable[[Any], Any]]:
    """Return what turns objects of the SimPy engine into their twins, by class."""
    return {
        simpy_environment.Host: _host,
        simpy_environment.Alarm: lambda original: environment.Alarm(None),
        Timeline: _timeline,
        Level: _level,
        Cost: _cost,
        collecting.Collector: _collector,
        Trace: _trace,
    }


def _host(original: Any) -> environment.Host:
    twin = environment.Host(original.exact)
    twin.timeline = original.timeline
    twin.cpus = original.cpus
    for at, place, _, event in sorted(original._queue, key=lambda entry: entry[:3]):
        alarm = environment.Alarm(twin)
        alarm.sleeper = event.callbacks[0].__self__._generator
        twin.n_events += 1
        twin.queue.append((int(at), place, twin.n_events, alarm))
    return twin


def _timeline(original: Any) -> levels.Timeline:
    twin = levels.Timeline()
    twin.levels = original.levels
    return twin


def _level(original: Any) -> levels.Level:
    twin = levels.Level.__new__(levels.Level)
    twin.name, twin.timeline, twin.value = original.name, original.timeline, original.value
    twin.since_ns, twin.highest, twin.area = original.since_ns, original.highest, 0
    twin._bins = [0] * MAX_BINS
    twin._at = twin._from_ns = twin._until_ns = twin._here = 0
    return twin


def _cost(original: Any) -> costs.Cost:
    twin = costs.Cost(original.key, original.ns, None, original.what, original.place)
    twin._table = original._array
    return twin


def _trace(original: Any) -> requests.Trace:
    return requests.Trace(original.ops, original.sectors_first, original.sectors_count)


def _collector(original: Any) -> requests.Collector:
    twin = requests.Collector()
    twin.first, twin.vm_number = original.first, original.vm_number
    twin.total, twin.hopeless = original.total, original.hopeless
    twin.warmup_ns = original.warmup_ns
    twin.stop = original.stop
    twin.rows = np.zeros(requests.ROWS * requests.WIDTH, dtype=np.int64)
    twin.n_slowest = original.n_slowest
    twin.window_begin_ns, twin.window_end_ns = original.window_begin_ns, original.window_end_ns
    functions = original.functions
    twin.what = WHAT
    twin.limits = {
        place: {op: None if limit == ALL else limit for op, limit in by_op.items()}
        for place, by_op in functions.limits.items()
    }
    return twin


def remade() -> dict[type, tuple[tuple[str, ...], Callable[..., Any]]]:
    """Return how objects that a native run has made are made again, by class: attributes, and what takes them."""
    return {
        Path: (("items", "mode"), lambda items, mode: Path(items, Mode(mode))),
        Template: (("items", "kind"), Template),
        Run: (("segments",), Run),
        Segment: (Segment._fields, Segment),
        AccessKind: (AccessKind._fields, AccessKind),
        Item: (Item._fields, _item),
        costs.Cost: (("key", "ns"), Cost),
        durations.Durations: (("count", "total_ns", "min_ns", "max_ns", "pages"), _durations),
        PageCounts: (tuple(PageCounts.__dataclass_fields__), PageCounts),
    }


def _item(op: int, stage: int, function: str, cost: Cost | None, mode: int) -> Item:
    return Item(Op(op), Stage(stage), function, cost, Mode(mode))


def _durations(count: int, total_ns: int, min_ns: int, max_ns: int, pages: list[list[int] | None]) -> Durations:
    twin = durations.Durations()
    twin.count, twin.total_ns, twin.min_ns, twin.max_ns, twin.pages = count, total_ns, min_ns, max_ns, pages
    original = Durations()
    _give_back_durations(twin, original)
    return original


def give_back_collector(image: Image, collector: collecting.Collector) -> None:
    """Give *collector* what its twin has collected beside the rows."""
    for name in ("total", "ended", "hopeless", "arrived"):
        setattr(collector, name, image.read(collector, name))


def give_back_machine(image: Image, machine: Machine) -> None:
    """Give the parts of *machine* what they have recorded in the image."""
    timeline = machine.host.timeline
    timeline.width_ns = image.read(timeline, "width_ns")
    for level in timeline.levels:
        level.value, level.since_ns, level.highest, level._area = (
            image.read(level, name) for name in ("value", "since_ns", "highest", "area")
        )
        level._bins = image.integers(image.word_in(level, "_bins"))
    for vm in machine.vms:
        vm.life.events = image.read(vm.life, "events")
        for vcpu in vm.qemu.vcpus:
            times = image.read(vcpu.account, "times")
            vcpu.account.times = {(reason, bool(userspace)): each for (reason, userspace), each in times.items()}
        for replay in vm.replays.values():
            replay.counts = image.read(replay, "counts")
        if vm.log is not None:
            rows = image.rows(image.word_in(vm.log, "rows"), 8).tolist()
            vm.log.rows = [(*row[:5], bool(row[5]), *row[6:]) for row in rows]
    cache = machine.files.cache
    if cache is not None:
        cache.counts = image.read_anew(cache, "counts")
        cache.n_dirty, cache.n_writeback = image.read(cache, "n_dirty"), image.read(cache, "n_writeback")
    for disk in machine.disks.values():
        for unit in disk.flash():
            for name in ("written", "programmed", "erased"):
                setattr(unit, name, image.read(unit, name))
