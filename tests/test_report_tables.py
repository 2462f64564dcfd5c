"""The numbers of a report agree with the tables of the run, computed here another way."""

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from iosim.analytic.demands import demands
from iosim.analytic.resources import KINDS, TITLES, kind_of
from iosim.model.catalogue import CATALOGUE
from iosim.model.stages import Stage
from iosim.report import page_tables, request_tables
from iosim.report.bands import bands
from iosim.report.inputs import differences, inputs
from iosim.report.over_time import MOST_LINES, Bins, latencies, levels
from iosim.report.table import Cell, Table
from iosim.results.result import Result
from iosim.results.summary import counted
from tests.made import Request, result
from tests.support import STAGES, drawn_profile, scenario, simulate
from tests.test_terminal import assert_agrees

FIO = [1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99]
RUN, DISK, QUEUE = Stage.GUEST_RUN, Stage.DISK_SERVICE, Stage.GUEST_QUEUE
SSD = {"model": "ssd"}


@pytest.fixture(scope="module")
def mixed() -> Result:
    """Six VMs with two drives on two disks, reads, writes and flushes with drawn costs, and a warm-up."""
    rng = np.random.default_rng(3)
    rows = []
    at = 0
    for op in rng.choice(list("RWWF"), 60):
        at += int(rng.exponential(2_000_000))
        rows.append((at, str(op), 0 if op == "F" else int(rng.integers(0, 9999)), 0 if op == "F" else 8))
    drives: list[dict[str, Any]] = [{"disk": "sda"}, {"disk": "sdb", "index": 2}]
    run = {"warmup": "40ms", "slowest": 30}
    vms: list[dict[str, Any]] = [
        {"name": "web", "count": 5, "offset": "1ms", "drive": drives},
        {"name": "db", "drive": [{"disk": "sdb"}]},
    ]
    return simulate(scenario(disks=[SSD, SSD], run=run, vms=vms, host={"cpus": 2}), rows, drawn_profile())


def column(table: Table, name: str) -> list[Cell]:
    """The cells below a heading that begins with *name*."""
    at = next(at for at, heading in enumerate(table.columns) if heading.name.startswith(name))
    return [row.cells[at] for row in table.rows]


def texts(table: Table, name: str) -> list[str]:
    return [cell.text for cell in column(table, name)]


def test_percentiles_are_fios_and_only_where_a_request_lies_beyond(mixed: Result) -> None:
    table = page_tables.percentiles(mixed)
    names = [row.cells[0].text for row in table.rows]
    assert names == ["requests", "mean", "min", *(f"p{p:g}" for p in FIO), "max"]
    scale = {"(us)": 1e3, "(ms)": 1e6}[table.caption.split()[-1]]
    every = counted(mixed.requests)
    for heading, op in (("all", ""), ("reads", "R"), ("writes", "W"), ("flushes", "F")):
        latency = (every[every["op"] == op] if op else every)["latency_ns"].to_numpy()
        n, mean, least, *shown, most = texts(table, heading)
        assert n == f"{len(latency):,}"
        for text, value in ((mean, latency.mean()), (least, latency.min()), (most, latency.max())):
            assert_agrees(text, value / scale)
        for text, p in zip(shown, FIO, strict=True):
            assert (text == "-") == (len(latency) * (10_000 - round(p * 100)) < 10_000)
            if text != "-":
                assert_agrees(text, float(np.percentile(latency, p)) / scale)


def test_bands_are_the_requests_around_a_percentile() -> None:
    """2000 requests of 1 to 2000 us, the first 1000 in one stage and what goes beyond 1000 us in another.

    By rank from 0: 900 to 1099 are around the median, 1750 to 1849 around p90, 1970 to 1989 around p99.
    """
    rows = [Request(at, {RUN: min(at + 1, 1000), QUEUE: max(0, at + 1 - 1000)}) for at in range(2000)]
    found = {band.short: band for band in bands(result(rows).requests)}
    assert {name: (band.n, band.mean_ns / 1000) for name, band in found.items()} == {
        "all": (2000, 1000.5),
        "p50": (200, 1000.5),
        "p90": (100, 1800.5),
        "p99": (20, 1980.5),
        "slowest": (2, 1999.5),
    }
    assert found["p90"].stages_ns[RUN] == 1_000_000
    assert found["p90"].stages_ns[QUEUE] == 800_500
    assert found["p90"].share(QUEUE) == 800.5 / 1800.5
    assert found["p50"].stages_ns[QUEUE] == sum(range(101)) * 1000 / 200


@pytest.mark.parametrize(
    ("n", "names"),
    [
        (0, []),
        (1, ["all"]),
        (2, ["all", "p50", "slowest"]),
        (10, ["all", "p50", "p90", "slowest"]),
        (100, ["all", "p50", "p90", "p99", "slowest"]),
    ],
)
def test_bands_need_one_request_beyond_their_percentile(n: int, names: list[str]) -> None:
    rows = [Request(at, {RUN: at + 1}) for at in range(n)]
    made = result([*rows, Request(0, {RUN: 1}, status="unfinished")])
    assert [band.short for band in bands(counted(made.requests))] == names


def test_stages_of_each_band_add_up(mixed: Result) -> None:
    in_bands = bands(counted(mixed.requests))
    for band in in_bands:
        assert sum(band.stages_ns.values()) == pytest.approx(band.mean_ns, rel=1e-12)
    table = page_tables.stages(in_bands)
    shown = [row.cells[0].text for row in table.rows]
    assert shown[-1] == "latency"
    requests = counted(mixed.requests)
    assert shown[:-1] == [stage.label for stage in Stage if requests[f"{stage.label}_ns"].any()]
    slowest = requests.nlargest(1, "latency_ns").iloc[0]
    assert in_bands[-1].n == 1
    at = [heading.name for heading in table.columns].index("slowest")
    assert "(us)" in table.caption
    for row in table.rows[:-1]:
        time = float(slowest[f"{row.cells[0].text}_ns"])
        assert (row.cells[at].text == "-") == (time == 0)
        if time:
            assert_agrees(row.cells[at].text, time / 1000)
            assert_agrees(row.cells[at + 1].text + "%", time / float(slowest["latency_ns"]))


@pytest.mark.parametrize(
    ("resource", "kind"),
    [
        ("cpus", "cpus"),
        ("cpu12", "cpu"),
        ("page_cache", "page_cache"),
        ("disk/sda", "disk"),
        ("disk/bql", "disk"),
        ("web#3/vcpu1", "vcpu"),
        ("web/bql", "bql"),
        ("web/main_loop", "main_loop"),
        ("web/pool", "pool"),
        ("web/iothread/drive:1", "iothread"),
        ("web/iothread/pool", "iothread"),
        ("web/iothread/pool/pool", "pool"),
        ("web/channel1", "channel"),
        ("web/drive2", "ring"),
        ("web/drive2/qcow2", "qcow2"),
        ("web/drive2/throttle", "throttle"),
        ("disk/vcpu0", "disk"),
    ],
)
def test_the_kind_of_a_resource_by_its_name(resource: str, kind: str) -> None:
    disks = [{"name": name, "model": "constant", "service": "90us"} for name in ("sda", "bql", "vcpu0")]
    assert kind_of(resource, scenario([{"disk": "sda"}], disks)) == kind


def test_every_kind_has_words() -> None:
    assert set(KINDS) == set(TITLES)


def test_every_resource_of_a_run_has_a_kind() -> None:
    drives: list[dict[str, Any]] = [
        {"interface": "virtio-blk", "iothread": "io", "format": "qcow2", "size": "1GiB"},
        {"interface": "virtio-blk", "iothread": True, "throttling": {"iops_total": 1000}, "cache": "writeback"},
        {},
    ]
    made = simulate(scenario(drives, vcpus=2, host={"cpus": 2}), [(0, "W", 0, 8)])
    kinds = {name: kind_of(name, made.scenario) for name in made.resources["resource"]}
    assert set(kinds.values()) == set(KINDS)
    assert kinds["web/iothread/io"] == kinds["web/iothread/drive:1"] == "iothread"
    assert kinds["web/iothread/io/pool"] == "pool"
    assert kinds["web/drive0/qcow2"] == "qcow2"


def test_the_utilisation_law_holds(mixed: Result) -> None:
    """U = X D / servers, with X from the requests that went through the resource, counted here by hand."""
    table = mixed.requests
    done = table[(table["status"] == "ok") & (table["done_ns"] >= 40_000_000)]
    window_s = (mixed.summary["end_ns"] - 40_000_000) / 1e9
    through = {
        "cpus": done,
        "disk/sda": done[(done["vm"] != "db") & (done["drive"] == 0)],
        "disk/sdb": done[(done["vm"] == "db") | (done["drive"] == 1)],
        "web#2/channel0": done[(done["vm"] == "web#2") & (done["drive"] == 0)],
        "web#2/channel1": done[(done["vm"] == "web#2") & (done["drive"] == 1)],
        "web#2/bql": done[done["vm"] == "web#2"],
        "db/vcpu0": done[done["vm"] == "db"],
    }
    found = {demand.resource: demand for demand in demands(mixed)}
    assert set(found) == {name for name in mixed.resources["resource"] if kind_of(name, mixed.scenario) != "cpu"}
    for name, requests in through.items():
        demand = found[name]
        assert demand.requests == len(requests) > 0
        assert demand.demand_ns is not None
        assert demand.bound_per_s is not None
        rate = len(requests) / window_s
        assert demand.utilisation == pytest.approx(rate * demand.demand_ns / 1e9 / demand.servers, rel=1e-9)
        assert rate / demand.bound_per_s == pytest.approx(demand.utilisation, rel=1e-9)
    assert list(found.values()) == sorted(found.values(), key=lambda demand: -demand.utilisation)


def test_requests_go_through_the_iothread_and_the_ring_of_their_drive() -> None:
    drives: list[dict[str, Any]] = [
        {"interface": "virtio-blk", "iothread": "io"},
        {"interface": "virtio-blk", "iothread": True},
        {"interface": "virtio-blk"},
        {},
    ]
    rows = [[(at * 1_000_000, "W", 0, 8) for at in range(n)] for n in (1, 2, 4, 8)]
    found = {demand.resource: demand.requests for demand in demands(simulate(scenario(drives), rows))}
    assert found == {
        "web/vcpu0": 15,
        "web/bql": 15,
        "web/main_loop": 12,
        "web/pool": 12,
        "web/iothread/io": 1,
        "web/iothread/io/pool": 1,
        "web/iothread/drive:1": 2,
        "web/iothread/drive:1/pool": 2,
        "web/drive0": 1,
        "web/drive1": 2,
        "web/drive2": 4,
        "web/channel0": 8,
        "disk/sda": 15,
    }


def test_resources_of_many_vms_are_the_busiest_of_each_kind(mixed: Result) -> None:
    table = page_tables.resources(mixed)
    shown = texts(table, "resource")
    by_kind: dict[str, list[str]] = {}
    ordered = mixed.resources.sort_values("utilisation", ascending=False, kind="stable")
    for name in ordered["resource"]:
        by_kind.setdefault(kind_of(name, mixed.scenario), []).append(name)
    del by_kind["cpu"]
    assert {name for names in by_kind.values() for name in names[:3]} == set(shown)
    assert table.note == f"The busiest 3 of each kind; resources.parquet has all {sum(map(len, by_kind.values()))}."
    assert len(shown) == len(set(shown))


def test_exits_have_the_sums_and_only_a_single_vcpu_has_percentiles() -> None:
    exits = [
        ("a", 0, "HLT", False, 3, 60, 10, 20, 30, 31),
        ("a", 0, "IO_INSTRUCTION", True, 4, 8, 1, 2, 3, 4),
        ("b", 0, "IO_INSTRUCTION", True, 3, 12, 2, 3, 5, 6),
    ]
    table = page_tables.exits(result([Request(0, {RUN: 1}), Request(5, {RUN: 1})], exits=exits))
    rows = [[cell.text for cell in row.cells] for row in table.rows]
    assert rows == [
        ["IO_INSTRUCTION", "yes", "7", "70.00%", "25.00%", "1.00us", "6.00us", "2.86us", "-", "-", "3.50"],
        ["HLT", "no", "3", "30.00%", "75.00%", "10.00us", "31.00us", "20.00us", "20.00us", "30.00us", "1.50"],
    ]
    assert table.note.startswith("Total Samples:10, Total events handled time:80.00us.")


def test_each_drive_has_its_row(mixed: Result) -> None:
    table = request_tables.drives(mixed)
    assert table is not None
    keys = list(zip(texts(table, "VM"), texts(table, "drive"), strict=True))
    assert sorted(keys) == [("db", "0"), *((f"web#{k}", str(d)) for k in range(5) for d in range(2))]
    window_s = (mixed.summary["end_ns"] - 40_000_000) / 1e9
    rows = zip(
        keys, *(texts(table, name) for name in ("requests", "req/s", "mean", "max", "largest", "share")), strict=True
    )
    for (vm, drive), n, rate, mean, most, stage, share in rows:
        own = mixed.requests[(mixed.requests["vm"] == vm) & (mixed.requests["drive"] == int(drive))]
        assert int(n) == len(own)
        own = own[~own["warmup"]]
        assert_agrees(rate, len(own) / window_s)
        scale = 1e3 if "mean (us)" in [heading.name for heading in table.columns] else 1e6
        assert_agrees(mean, own["latency_ns"].mean() / scale)
        assert_agrees(most, own["latency_ns"].max() / scale)
        sums = own[STAGES].sum()
        assert f"{stage}_ns" == sums.idxmax()
        assert_agrees(share, sums.max() / sums.sum())


def test_one_drive_needs_no_table_of_drives() -> None:
    assert request_tables.drives(result([Request(0, {RUN: 1})])) is None
    assert request_tables.drives(result([Request(0, {RUN: 1}), Request(1, {RUN: 1}, vm="db")])) is not None


def test_the_slowest_come_first(mixed: Result) -> None:
    table = request_tables.slowest(mixed)
    slowest = mixed.requests[~mixed.requests["warmup"]].nlargest(30, "latency_ns")
    assert [cell.key for cell in column(table, "latency")] == list(slowest["latency_ns"])
    assert sorted(texts(table, "request")) == sorted(f"{n}" for n in slowest["request"])


def test_of_very_many_drives_and_requests_the_slowest_are_shown() -> None:
    rows = [Request(0, {RUN: 1 + at % 1001}, vm=f"web#{at}") for at in range(1002)]
    described = scenario(vms=[{"name": "web", "count": 1002, "drive": [{}]}], run={"slowest": 1002})
    made = result(rows, described, slowest=range(1002))
    table = request_tables.drives(made)
    assert table is not None
    assert set(texts(table, "VM")) == {f"web#{at}" for at in range(1, 1001)}
    assert table.note == "The slowest 1,000 of 1,002 drives; requests.parquet has them all."
    requests = request_tables.slowest(made)
    assert texts(requests, "VM") == [f"web#{at}" for at in range(1000, 900, -1)]
    assert requests.note == "The slowest 100; spans.parquet has more."


def test_latencies_over_time_are_exact(mixed: Result) -> None:
    done = mixed.requests[mixed.requests["status"] == "ok"]
    bins = Bins(mixed.series, 7)
    lines = {line.name: line.values for line in latencies(bins, done)}
    edges = bins.edges_ns
    assert len(edges) <= 8
    assert edges[0] == 0
    assert edges[-1] == mixed.summary["end_ns"]
    for point, (begin, end) in enumerate(pairwise(edges)):
        last = end == edges[-1]
        inside = done[(done["done_ns"] >= begin) & ((done["done_ns"] < end) | last)]["latency_ns"].to_numpy()
        for name, least in (("50", 2), ("90", 10), ("99", 100)):
            value = lines[f"p{name}"][point]
            assert np.isnan(value) == (len(inside) < least)
            if len(inside) >= least:
                assert value == pytest.approx(np.percentile(inside, int(name)), rel=1e-12)
        assert np.isnan(lines["max"][point]) if not len(inside) else lines["max"][point] == inside.max()


def test_rates_and_the_heat_map_count_every_request(mixed: Result) -> None:
    done = mixed.requests[mixed.requests["status"] == "ok"]
    for most in (1, 7, 5000):
        bins = Bins(mixed.series, most)
        assert (bins.rate_per_s("completions") * bins.lengths_ns / 1e9).sum() == pytest.approx(len(done))
        edges, counts = bins.histogram()
        assert counts.sum() == len(done)
        assert list(counts.sum(axis=0)) == [
            int(((done["latency_ns"] > low) & (done["latency_ns"] <= high)).sum())
            for low, high in zip(np.r_[-1, edges[:-1]], edges, strict=True)
        ]


def test_many_resources_are_drawn_as_the_busiest_few_and_all_together(mixed: Result) -> None:
    bins = Bins(mixed.series, 20)
    lines = levels(mixed, bins, "utilisation")
    busy = mixed.resources.set_index("resource")["busy_ns"]
    vcpus = busy[[name for name in busy.index if kind_of(name, mixed.scenario) == "vcpu"]]
    assert [line.name for line in lines["vcpu"]][-1] == f"mean of {len(vcpus)}"
    assert len(lines["vcpu"]) == MOST_LINES + 1
    mean = lines["vcpu"][-1].values
    names = [f"utilisation {name}" for name in vcpus.index]
    ends = mixed.series["end_ns"] - mixed.series["start_ns"]
    whole = (mixed.series[names].mean(axis=1) * ends).sum()
    assert (mean * bins.lengths_ns).sum() == pytest.approx(whole)
    assert [line.name for line in lines["disk"]] == sorted(
        ("disk/sda", "disk/sdb"), key=lambda name: -(mixed.series[f"utilisation {name}"] * ends).sum()
    )
    queues = levels(mixed, bins, "queue")
    total = mixed.series[
        [name for name in mixed.series if str(name).startswith("queue web#") and "channel" in str(name)]
    ]
    db = mixed.series["queue db/channel0"]
    assert (queues["channel"][-1].values * bins.lengths_ns).sum() == pytest.approx(
        ((total.sum(axis=1) + db) * ends).sum()
    )


def test_what_differs_from_the_defaults() -> None:
    described = scenario(
        [{"transfer": "pio", "multiple": 16}, {"throttling": {"iops_total": 5}}],
        run={"warmup": "1ms", "seed": 1, "engine": "auto"},
        host={"cpus": 2},
        qemu="1.6",
        vcpus=1,
    )
    assert list(differences(described)) == [
        ("run.warmup", '"1ms"', '"0s"'),
        ("host.cpus", "2", "not set"),
        ("host.disk.sda.model", '"constant"', "required"),
        ("host.disk.sda.service", '"90us"', "required"),
        ("vm.web.qemu", '"1.6"', '"7.2"'),
        ("vm.web.drive.0.transfer", '"pio"', '"dma"'),
        ("vm.web.drive.0.cache", '"none"', '"writeback"'),
        ("vm.web.drive.0.trace", '"test.csv"', "required"),
        ("vm.web.drive.1.cache", '"none"', '"writeback"'),
        ("vm.web.drive.1.throttling.iops_total", "5", "not set"),
        ("vm.web.drive.1.trace", '"test.csv"', "required"),
    ]


def test_sources_of_a_shipped_profile_cover_all_its_costs() -> None:
    made = result([Request(0, {RUN: 1})], figures={"derived": 1})
    assert inputs(made).sources is None
    made.summary["profile"]["name"] = "vmx-2017"
    sources = inputs(made).sources
    assert sources is not None
    assert sum(int(text) for text in texts(sources, "costs")) == len(CATALOGUE)
    assert set(texts(sources, "kind")) == {"derived", "assumed"}


def test_page_cache_and_wear_are_the_summarys() -> None:
    made = result([Request(0, {RUN: 1})])
    assert request_tables.page_cache(made) is None
    assert request_tables.wear(made) is None
    keys = ("pages", "read_hits", "read_misses", "filled", "dirtied", "written_back", "evicted")
    made.summary["page_cache"] = dict.fromkeys((*keys, "dirty_at_begin", "dirty_at_end"), 0) | {
        "read_hits": 300,
        "read_misses": 100,
    }
    made.summary["wear"] = {
        "sda": {"pages_written": 10, "pages_programmed": 25, "blocks_erased": 2, "write_amplification": 2.5},
        "sdb": {"pages_written": 0, "pages_programmed": 0, "blocks_erased": 0, "write_amplification": None},
    }
    cache, wear = request_tables.page_cache(made), request_tables.wear(made)
    assert cache is not None
    assert wear is not None
    assert cache.note == "75.0% of the pages that were read were in the cache."
    assert [cell.text for cell in cache.rows[1].cells] == ["read, in the cache", "300", "1.17"]
    assert [[cell.text for cell in row.cells] for row in wear.rows] == [
        ["sda", "10", "25", "2", "2.50"],
        ["sdb", "0", "0", "0", "-"],
    ]


def test_events_are_cut_where_there_are_too_many() -> None:
    made = result([Request(0, {RUN: 1})])
    assert request_tables.events(made) is None
    rows = [(at * 1000, "web", -1 if at else 0, -1 if at else 7, "stop", "event") for at in range(300)]
    made = dataclasses.replace(made, events=pd.DataFrame(rows, columns=made.events.columns))
    table = request_tables.events(made)
    assert table is not None
    assert [cell.text for cell in table.rows[0].cells] == ["0 ns", "web", "0", "7", "stop", "event"]
    assert [cell.text for cell in table.rows[1].cells] == ["1.00 us", "web", "-", "-", "stop", "event"]
    assert len(table.rows) == 200
    assert table.note == "And 100 more in events.parquet."


def test_columns_that_sort_have_numbers_to_sort_by(mixed: Result) -> None:
    tables = [
        page_tables.resources(mixed),
        page_tables.exits(mixed),
        request_tables.slowest(mixed),
        request_tables.drives(mixed),
    ]
    for table in tables:
        assert table is not None
        assert table.sorts
        for row in table.rows:
            for heading, cell in zip(table.columns, row.cells, strict=True):
                assert not heading.number or isinstance(cell.key, int | float | np.integer) or cell.key == "", heading
