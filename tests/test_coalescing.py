"""Both engines, coalesced and exit by exit, give the same, to the nanosecond, in every table."""

from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from iosim.machine import Machine
from iosim.model.cost_changes import changed
from iosim.model.costs import Profile
from iosim.model.scenario import Scenario
from iosim.results.result import Result
from iosim.run import Collector
from iosim.simulation import run_and_tabulate
from tests.support import Row, constant_profile, drawn_profile, same_with_both_engines, scenario
from tests.support import traces as traces_of

REASONS = ["MSR_WRITE", "CPUID", "EPT_VIOLATION", "EPT_MISCONFIG", "EXTERNAL_INTERRUPT", "PENDING_INTERRUPT"]
KVM_EXITS = [
    ("HLT", "HLT"),
    ("PENDING_INTERRUPT", "IRQ_WINDOW_OPEN"),
    ("EPT_VIOLATION", "MMIO"),
    ("CR_ACCESS", "SET_TPR"),
]
EVENTS = ["signal", "signal", "signal", "shutdown", "internal-error", "unknown-exit", "fail-entry", "run-error"]
RUN_STATES = ["stop", "stop", "cont", "cont", "reset", "shutdown", "internal-error", "signal"]

ZONES = [
    {"first_cylinder": 0, "cylinders": 40, "sectors_per_track": 50, "track_skew": 5, "region_tracks": 4, "spares": 7},
    {"first_cylinder": 40, "cylinders": 1 << 23, "sectors_per_track": 400, "offset": 11, "slips": [3, 77, 400]},
]
DISKSIM = {"model": "disksim", "heads": 8, "zone": ZONES, "seek": [[1, "40us"], [1000, "200us"]], "rpm": 100_000}
SEGMENTED: list[dict[str, Any]] = [
    {**DISKSIM, "segments": 2, "segment_size": "4KiB", "ahead_on_hit": True, "read_before": True},
    {**DISKSIM, "read_ahead": "next-track", "write_segment": True, "least_buffered": "1KiB", "watermark": 0.5},
    {**DISKSIM, "read_ahead": "cylinder", "write_back": False, "read_at_once": True, "write_at_once": True},
    {**DISKSIM, "read_ahead": "none", "hits_on_writes": False, "write_sequential": "10us"},
]
COST_CHANGES: list[dict[str, Any]] = [{}, {}, {"all": 0.5}, {"cpu": {"vm_exit": "900ns", "all": 2}}]

SMALL = {"write_buffer": "8KiB", "units": 2, "servers": 1}
WINDOWS: list[list[dict[str, Any]]] = [
    [{"start": "150us", "end": "900us", "stuck": True}],
    [{"start": "100us", "end": "400us", "factor": 3.5}, {"start": "500us", "end": "2ms", "add": "70us"}],
]
FAULTS: list[list[dict[str, Any]]] = [
    [{}],
    [{"error": "ENOSPC", "ops": ["write"], "end": "700us"}],
    [{"probability": 0.5}, {"error": "ENOSPC", "ops": ["flush"]}],
    [{"first_sector": 7, "sectors": 1, "start": "200us"}],
]

CACHES = ["none", "none", "directsync", "writeback", "writeback", "writeback", "writethrough", "unsafe"]


@st.composite
def drives(draw: st.DrawFn) -> list[dict[str, Any]]:
    result = []
    places = draw(st.lists(st.sampled_from(range(4)), min_size=1, max_size=3, unique=True))
    drivers = ["libata"] * 4 + ["bare-poll", "bare-irq"]
    driver = {n: "libata" if 2 * n + 1 in places else draw(st.sampled_from(drivers)) for n in (0, 1)}
    for place in places:
        result.append(
            {
                "index": place,
                "driver": driver[place >> 1],
                "transfer": draw(st.sampled_from(["pio", "dma", "dma"])),
                "data_width": draw(st.sampled_from([16, 32])),
                "string": draw(st.booleans()),
                "multiple": draw(st.sampled_from([1, 2, 16])),
                "max_sectors": draw(st.sampled_from([2, 5, 256])),
                "cache": draw(st.sampled_from(CACHES)),
                "aio": draw(st.sampled_from(["threads", "threads", "native", "io_uring"])),
                **draw(replays()),
                "disk": draw(st.sampled_from(["sda", "sda", "sdb"])),
                "werror": draw(st.sampled_from(["enospc", "report", "stop", "ignore"])),
                "rerror": draw(st.sampled_from(["report", "stop", "ignore"])),
                "retries": draw(st.sampled_from([0, 1, 5])),
                **draw(images()),
                **draw(st.sampled_from(LIMITS)),
            }
        )
    return result


@st.composite
def replays(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.sampled_from([False, False, True])):
        return {"replay": "closed"}
    return {"replay": "open", "trace_speed": draw(st.sampled_from([1.0, 1.0, 0.7, 3.0]))}


LIMITS: list[dict[str, Any]] = [
    {},
    {},
    {"throttling": {"iops_total": 20_000}},
    {"throttling": {"iops_write": 5_000, "bps_read": "2MiB"}},
    {"throttling": {"bps_total": "1MiB", "iops_read": 100_000}},
]


@st.composite
def images(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        return {}
    return {
        "format": "qcow2",
        "cluster_size": draw(st.sampled_from(["1KiB", "4KiB", "64KiB"])),
        "lazy_refcounts": draw(st.booleans()),
        **draw(st.sampled_from([{}, {"backing": "512B"}, {"backing": "64KiB"}])),
    }


@st.composite
def virtio_drives(draw: st.DrawFn, qemu: str) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        drive = {
            "interface": "virtio-blk",
            "queue_size": draw(st.sampled_from([4, 4, 128])),
            "seg_max": draw(st.sampled_from([1, 1, 126])),
            "max_sectors": draw(st.sampled_from([2, 5, 256])),
            "request_merging": draw(st.booleans()),
            "event_idx": draw(st.booleans()),
            "transport": "pio" if qemu == "1.6" else draw(st.sampled_from(["pio", "mmio"])),
            "cache": draw(st.sampled_from(CACHES)),
            "aio": draw(st.sampled_from(["threads", "threads", "native", "io_uring"])),
            **draw(replays()),
            "disk": draw(st.sampled_from(["sda", "sda", "sdb"])),
            "driver": "libata",
            "werror": draw(st.sampled_from(["enospc", "report", "stop", "ignore"])),
            "rerror": draw(st.sampled_from(["report", "stop", "ignore"])),
        }
        loop = draw(st.sampled_from(["main", "main", "vcpu", "line", "iothread", "iothread", "own"]))
        if qemu == "7.2" and loop in ("iothread", "own"):
            drive["iothread"] = "io0" if loop == "iothread" else True
            drive["poll_max_ns"] = 32_768 if loop == "iothread" else draw(st.sampled_from([0, 5_000, 200_000]))
            if drive["transport"] == "mmio":
                drive["num_queues"] = draw(st.sampled_from([1, 2]))
        elif loop in ("vcpu", "line"):
            drive["ioeventfd"] = loop == "line" and draw(st.booleans())
            drive["irq"] = "line" if loop == "line" else "irqfd"
        result.append(drive)
    return result


@st.composite
def vms(draw: st.DrawFn, name: str) -> dict[str, Any]:
    backgrounds: list[dict[str, Any]] = []
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        reason, kvm_exit = draw(st.sampled_from([(r, None) for r in REASONS] + KVM_EXITS))
        background = {
            "reason": reason,
            "rate": draw(st.sampled_from([500.0, 5_000.0, 50_000.0])),
            "arrivals": draw(st.sampled_from(["poisson", "periodic"])),
        }
        backgrounds.append(background if kvm_exit is None else {**background, "kvm_exit": kvm_exit})
    events: list[dict[str, Any]] = [
        {"at": f"{draw(st.integers(1, 8000)) * 100}ns", "kind": draw(st.sampled_from(EVENTS))}
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3])))
    ]
    restart: dict[str, Any] = {}
    if draw(st.booleans()):
        restart = {"boot": f"{draw(st.sampled_from([0, 100, 77_700, 500_000]))}ns"}
        for _ in range(draw(st.integers(0, 4))):
            events.append({"at": f"{draw(st.integers(1, 9000)) * 100}ns", "kind": draw(st.sampled_from(RUN_STATES))})
    if draw(st.sampled_from([False, False, True])):
        storm: dict[str, Any] = {"at": f"{draw(st.integers(0, 5000)) * 100}ns", "kind": "signal"}
        events.append({**storm, "rate": draw(st.sampled_from([20_000.0, 300_000.0])), "duration": "200us"})
    qemu, kernel = draw(st.sampled_from(["1.6", "7.2"])), draw(st.sampled_from(["3.10", "6.1"]))
    disks = [*draw(virtio_drives(qemu)), *draw(drives())]
    for drive in disks:
        if drive["aio"] == "io_uring" and (qemu, kernel) != ("7.2", "6.1"):
            drive["aio"] = "threads"
        if drive["aio"] == "native" and qemu == "7.2" and drive["cache"] not in ("none", "directsync"):
            drive["aio"] = "threads"
    vcpus = draw(st.sampled_from([1, 1, 2, 3])) if all(drive["driver"] == "libata" for drive in disks) else 1
    for table in [*backgrounds, *events]:
        table["vcpu"] = draw(st.integers(0, vcpus - 1))
    load: dict[str, Any] = {}
    if draw(st.sampled_from([False, False, True])):
        share, burst = draw(st.sampled_from([0.1, 0.5, 1.0])), draw(st.sampled_from(["3us", "77us", "1ms"]))
        load = {"load": {"share": share, "burst": burst, "lengths": draw(st.sampled_from(["exponential", "constant"]))}}
    return {
        **restart,
        "name": name,
        "vcpus": vcpus,
        "apicv": draw(st.booleans()),
        "irq_vcpu": draw(st.integers(0, vcpus - 1)),
        **load,
        "count": draw(st.sampled_from([1, 1, 2])),
        "offset": f"{draw(st.sampled_from([0, 100, 12_345]))}ns",
        "qemu": qemu,
        "kernel": kernel,
        "win2k_install_hack": draw(st.booleans()),
        "drive": disks if draw(st.booleans()) else disks[:2],
        "background": backgrounds,
        "event": events,
        **draw(st.sampled_from([{}, {"eoi": "apic-access"}, {"eoi": "x2apic"}, {"eoi": "none"}])),
    }


@st.composite
def traces(draw: st.DrawFn) -> list[Row]:
    at = 0
    rows: list[Row] = []
    for _ in range(draw(st.integers(1, 4))):
        at += draw(st.sampled_from([0, 100, 1_000, 40_000, 150_000, 700_000])) + draw(st.integers(0, 5)) * 100
        op = draw(st.sampled_from("RWWF"))
        size = 0 if op == "F" else draw(st.sampled_from([1, 1, 2, 3, 8]))
        sector = 0 if op == "F" else draw(st.sampled_from([0, 7, (1 << 28) - 4]))
        rows.append((at, op, sector, size))
    return rows


PAGE_CACHES: list[dict[str, Any]] = [
    {},
    {"size": "16KiB", "dirty_ratio": 100, "dirty_background_ratio": 50},
    {"size": "16KiB", "dirty_bytes": "8KiB", "dirty_background_ratio": 0},
    {"size": "64KiB", "dirty_bytes": "8KiB", "dirty_background_bytes": "4KiB"},
    {"size": "20KiB", "dirty_writeback_interval": "200us", "dirty_expire_interval": "300us"},
]

WAKES = ["main_loop.wake", "pool.worker_wake", "guest.status_r", "cpu.vm_exit", "kvm.handle_io", "kvm.leave_guest"]


@st.composite
def profiles(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        return {
            "default_ns": draw(st.sampled_from([100, 100, 7, 0])),
            "cpu__vm_exit": draw(st.sampled_from([0, 100, 1000])),
            "guest__status_r": draw(st.sampled_from([0, 100, 333])),
            "qemu__memory_region_dispatch": draw(st.sampled_from([0, 100, 5000])),
            "main_loop__wake": draw(st.sampled_from([0, 100, 20_000])),
        }
    return {"mean_ns": draw(st.sampled_from([20, 300])), "constant": draw(st.sampled_from([[], WAKES]))}


def profile(costs: dict[str, Any]) -> Profile:
    return drawn_profile(**costs) if "mean_ns" in costs else constant_profile(**costs)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    tables = [draw(vms("a"))]
    if draw(st.booleans()):
        tables.append(draw(vms("b")))
    rows = [draw(traces()) for table in tables for _ in table["drive"]]
    for table in tables:
        for drive in table["drive"]:
            if drive["driver"] != "libata":
                drive["max_sectors"] = min(drive["max_sectors"], 256)
    if any(drive["driver"] != "libata" for table in tables for drive in table["drive"]):
        rows = [[(at, op, min(sector, 7), n) for at, op, sector, n in each] for each in rows]
    run: dict[str, Any] = {"log": "ports", "seed": draw(st.integers(0, 3))}
    end_us = draw(st.sampled_from([300, 1200, 1200, 4000, None]))
    if end_us is not None:
        run["duration"] = f"{end_us}us"
    run["warmup"] = draw(st.sampled_from(["0s", "0s", "200us"]))
    if draw(st.booleans()):
        run["window"] = {"start": "50us", "end": "400us"}
    servers = draw(st.sampled_from([1, 2]))
    disks: list[dict[str, Any]] = [
        {"model": "constant", "service": draw(st.sampled_from(["0s", "90us", "2ms"])), "servers": servers},
        draw(st.sampled_from([{"model": "ssd"}, {"model": "ssd", **SMALL}, {"model": "hdd", "heads": 64}, *SEGMENTED])),
    ]
    disks[0]["count"] = draw(st.sampled_from([1, 1, 1, 2]))
    for disk in disks:
        disk["scheduler"] = draw(st.sampled_from(["none", "none", "deadline", "c-scan"]))
        disk["window"] = draw(st.sampled_from([[], [], *WINDOWS]))
        disk["fault"] = draw(st.sampled_from([[], [], *FAULTS]))
    free = draw(st.sampled_from([None, None, 0, 8, 300]))
    if disks[0]["count"] > 1 or disks[1]["model"] == "disksim":
        free = None
    page_cache = draw(st.sampled_from(PAGE_CACHES))
    costs = draw(profiles())
    if costs.get("default_ns") == 0 and any(drive["driver"] == "bare-poll" for vm in tables for drive in vm["drive"]):
        costs["default_ns"] = 7  # polling that costs nothing would poll for ever at one instant
    host: dict[str, Any] = {"cost": draw(st.sampled_from(COST_CHANGES))}
    cpus = draw(st.sampled_from([None, None, 1, 1, 2, 3]))
    if cpus is not None:
        host |= {"cpus": cpus, "slice": draw(st.sampled_from(["1us", "10us", "100us", "3ms"]))}
        for table in tables:
            if draw(st.booleans()):
                table["cpus"] = draw(st.lists(st.integers(0, cpus - 1), min_size=1, max_size=2))
    return {
        "vms": tables,
        "run": run,
        "disks": disks,
        "free": free,
        "page_cache": page_cache,
        "rows": rows,
        "costs": costs,
        "host": host,
    }


def run(case: dict[str, Any], engine: str, exact: bool) -> Result:
    case = {**case, "run": {**case["run"], "engine": engine}}
    described = described_by(case, exact, case["disks"])
    if case["free"] is not None:
        # So many free sectors are left for the qcow2 images on each disk.
        machine = Machine(
            described, constant_profile(), traces_of(described, case["rows"]), Path(), Collector({}, described, None)
        )
        used = [disk.used_sectors + case["free"] for disk in machine.disks.values()]
        sized = [
            {**disk, "capacity": f"{n * 512}B"} if n else disk for disk, n in zip(case["disks"], used, strict=True)
        ]
        described = described_by(case, exact, sized)
    costs = changed(profile(case["costs"]), described.host.cost)
    return run_and_tabulate(described, costs, traces_of(described, case["rows"]))


def described_by(case: dict[str, Any], exact: bool, disks: list[dict[str, Any]]) -> Scenario:
    return scenario(
        vms=case["vms"],
        disks=disks,
        page_cache=case["page_cache"],
        run={**case["run"], "exact_exits": exact},
        host=case["host"],
    )


SIGNAL_BEFORE_THE_ENTRY: dict[str, Any] = {
    "vms": [
        {
            "name": "a",
            "kernel": "3.10",
            "drive": [
                {"interface": "virtio-blk", "cache": "writeback", "disk": "sdb"},
                {"transfer": "pio", "data_width": 16, "string": False, "disk": "sda"},
            ],
            "background": [{"reason": "EPT_VIOLATION", "rate": 50_000.0, "arrivals": "periodic"}],
            "event": [{"at": "49900ns", "kind": "signal", "rate": 300_000.0, "duration": "200us"}],
        }
    ],
    "run": {"log": "ports", "seed": 2, "duration": "300us"},
    "disks": [{"model": "constant", "service": "90us"}, {"model": "ssd"}],
    "free": None,
    "page_cache": {},
    "rows": [[(300, "W", 7, 3)], [(300, "W", 7, 3)]],
    "costs": {"mean_ns": 20, "constant": ["cpu.vm_exit", "kvm.handle_io", "kvm.leave_guest"]},
    "host": {},
}
"""A signal comes while the vCPU, about to enter the guest, requests an interrupt window: the entry is cancelled."""


@example(SIGNAL_BEFORE_THE_ENTRY)
@given(cases())
def test_engines_and_modes_are_equal(case: dict[str, Any]) -> None:
    same_with_both_engines(partial(run, case))
