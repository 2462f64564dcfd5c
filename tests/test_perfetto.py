"""The export for Perfetto: what each event says, and that it keeps the rules of the format."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from iosim.exports import perfetto
from iosim.exports.perfetto import write_perfetto
from iosim.exports.selection import Choice
from iosim.model.errors import ExportError
from iosim.results.result import Result
from tests import handmade, trace_rules
from tests.handmade import WRITE
from tests.support import scenario, simulate
from tests.trace_rules import Event

SLOWEST = Choice()


@pytest.fixture(scope="module")
def crowded() -> Result:
    return handmade.crowd()


def events_of(result: Result, folder: Path, choice: Choice = SLOWEST, said: list[str] | None = None) -> list[Event]:
    """The events of the export; what it says of it goes to *said*, and must be nothing without."""
    notes: list[str] = []
    write_perfetto(result, folder / "perfetto.json", choice, (notes if said is None else said).append)
    assert not notes
    return trace_rules.parse((folder / "perfetto.json").read_text())


def test_one_request_as_text(tmp_path: Path) -> None:
    spans = handmade.spans(WRITE)
    result = handmade.result([handmade.request(spans)], [spans])
    events_of(result, tmp_path)
    lines = [line.rstrip(",") for line in (tmp_path / "perfetto.json").read_text().splitlines()]
    assert json.loads(lines[0] + "]}")["otherData"] == {
        "iosim": result.summary["iosim"],
        "profile": "test",
        "seed": "1",
        "time": "simulated, from the begin of the run",
    }
    arguments = (
        '"args":{"vm":"web","drive":0,"request":0,"op":"W","sector":64,"sectors":8,"status":"ok","latency_ns":10000,'
        '"exits":26,"userspace_exits":25}'
    )
    track = '"cat":"request","id2":{"local":"0/0"},"pid":1,"tid":1'
    flow = '"name":"handed over","cat":"flow"'
    expected = f"""\
{{"ph":"b","ts":1.000,"name":"drive 0 write",{track},{arguments}}}
{{"ph":"b","ts":1.000,"name":"guest_queue",{track},"args":{{"request":0,"function":"blk_mq_sched_insert_request"}}}}
{{"ph":"e","ts":2.000,"name":"guest_queue",{track}}}
{{"ph":"b","ts":2.000,"name":"on vcpu0",{track},"args":{{"request":0}}}}
{{"ph":"X","name":"write 0","cat":"request","ts":2.000,"dur":2.001,"pid":1,"tid":3,{arguments}}}
{{"ph":"X","name":"driver","cat":"guest_run","ts":2.000,"dur":1.500,"pid":1,"tid":3,"args":{{"request":0}}}}
{{"ph":"X","name":"exit","cat":"vm_exit","ts":3.500,"dur":0.501,"pid":1,"tid":3,"args":{{"request":0}}}}
{{"ph":"s",{flow},"id":1,"ts":3.500,"pid":1,"tid":3,"bp":"e"}}
{{"ph":"e","ts":4.001,"name":"on vcpu0",{track}}}
{{"ph":"b","ts":4.001,"name":"aio_wait",{track},"args":{{"request":0,"function":"thread_pool_submit_aio"}}}}
{{"ph":"e","ts":6.000,"name":"aio_wait",{track}}}
{{"ph":"b","ts":6.000,"name":"on worker0",{track},"args":{{"request":0}}}}
{{"ph":"X","name":"write 0","cat":"request","ts":6.000,"dur":1.000,"pid":1,"tid":4,{arguments}}}
{{"ph":"X","name":"work","cat":"aio_worker","ts":6.000,"dur":1.000,"pid":1,"tid":4,"args":{{"request":0}}}}
{{"ph":"f",{flow},"id":1,"ts":6.000,"pid":1,"tid":4,"bp":"e"}}
{{"ph":"s",{flow},"id":2,"ts":6.000,"pid":1,"tid":4,"bp":"e"}}
{{"ph":"e","ts":7.000,"name":"on worker0",{track}}}
{{"ph":"b","ts":7.000,"name":"on disk sda",{track},"args":{{"request":0}}}}
{{"ph":"X","name":"write 0","cat":"disk_service","ts":7.000,"dur":2.000,"pid":2,"tid":5,{arguments}}}
{{"ph":"f",{flow},"id":2,"ts":7.000,"pid":2,"tid":5,"bp":"e"}}
{{"ph":"s",{flow},"id":3,"ts":7.000,"pid":2,"tid":5,"bp":"e"}}
{{"ph":"e","ts":9.000,"name":"on disk sda",{track}}}
{{"ph":"b","ts":9.000,"name":"completion_wait",{track},"args":{{"request":0,"function":"qemu_poll_ns"}}}}
{{"ph":"e","ts":10.000,"name":"completion_wait",{track}}}
{{"ph":"b","ts":10.000,"name":"on main",{track},"args":{{"request":0}}}}
{{"ph":"X","name":"write 0","cat":"request","ts":10.000,"dur":0.500,"pid":1,"tid":1,{arguments}}}
{{"ph":"X","name":"complete","cat":"completion","ts":10.000,"dur":0.500,"pid":1,"tid":1,"args":{{"request":0}}}}
{{"ph":"f",{flow},"id":3,"ts":10.000,"pid":1,"tid":1,"bp":"e"}}
{{"ph":"s",{flow},"id":4,"ts":10.000,"pid":1,"tid":1,"bp":"e"}}
{{"ph":"e","ts":10.500,"name":"on main",{track}}}
{{"ph":"b","ts":10.500,"name":"on vcpu0",{track},"args":{{"request":0}}}}
{{"ph":"X","name":"write 0","cat":"request","ts":10.500,"dur":0.500,"pid":1,"tid":3,{arguments}}}
{{"ph":"X","name":"handler","cat":"irq_delivery","ts":10.500,"dur":0.500,"pid":1,"tid":3,"args":{{"request":0}}}}
{{"ph":"f",{flow},"id":4,"ts":10.500,"pid":1,"tid":3,"bp":"e"}}
{{"ph":"e","ts":11.000,"name":"on vcpu0",{track}}}
{{"ph":"e","ts":11.000,"name":"drive 0 write",{track}}}"""
    assert [line for line in lines[1:-1] if '"ph":"M"' not in line and '"ph":"C"' not in line] == expected.splitlines()
    names = [line for line in lines if '_name"' in line]
    assert names == [
        '{"ph":"M","name":"process_name","pid":1,"args":{"name":"VM web"}}',
        '{"ph":"M","name":"process_name","pid":2,"args":{"name":"host"}}',
        '{"ph":"M","name":"thread_name","pid":1,"tid":1,"args":{"name":"main"}}',
        '{"ph":"M","name":"thread_name","pid":1,"tid":3,"args":{"name":"vcpu0"}}',
        '{"ph":"M","name":"thread_name","pid":1,"tid":4,"args":{"name":"worker0"}}',
        '{"ph":"M","name":"thread_name","pid":2,"tid":5,"args":{"name":"disk sda"}}',
    ]


@pytest.mark.parametrize("choice", [SLOWEST, Choice(slowest=1000), Choice(window=(3_000, 200_000))])
def test_a_crowded_host_keeps_the_rules_of_the_format(crowded: Result, tmp_path: Path, choice: Choice) -> None:
    trace_rules.check(events_of(crowded, tmp_path, choice))


def own_times(events: list[Event]) -> dict[tuple[str, str], int]:
    """ns that each call chain takes itself, by stage and chain; the slices of requests are no part of a chain."""
    times: dict[tuple[str, str], int] = defaultdict(int)
    open_: dict[int, list[tuple[int, str, tuple[str, ...]]]] = defaultdict(list)
    for event in events:
        if event["ph"] != "X" or event["cat"] == "disk_service":
            continue
        begin, ns = trace_rules.ns(event["ts"]), trace_rules.ns(event["dur"])
        stack = open_[event["tid"]]
        while stack and stack[-1][0] <= begin:
            stack.pop()
        chain = () if event["cat"] == "request" else (*stack[-1][2], event["name"])
        if stack:
            times[stack[-1][1], ";".join(stack[-1][2])] -= ns
        times[event["cat"], ";".join(chain)] += ns
        stack.append((begin + ns, event["cat"], chain))
    return {place: ns for place, ns in times.items() if ns}


def test_the_calls_are_those_of_the_table_of_functions(crowded: Result, tmp_path: Path) -> None:
    functions = crowded.functions
    assert functions["sampled"].min() > 0
    running = functions[~functions["carrier"].isin(["waits", "host disk"])]
    sums = running.groupby(["stage", "stack"])["total_ns"].sum()
    expected = {(str(stage), str(stack)): int(ns) for (stage, stack), ns in zip(sums.index, sums, strict=True)}
    found = own_times(events_of(crowded, tmp_path, Choice(slowest=1000)))
    # The wake-up of a vCPU is a function of its thread, but nobody works meanwhile.
    woken = {place for place in found if place[1].endswith(";kvm_vcpu_wake_up")}
    assert {place: ns for place, ns in found.items() if place not in woken} == expected
    assert len(found) > 200
    assert max(chain.count(";") for _, chain in found) > 20


def test_a_call_lasts_as_long_as_what_it_calls(tmp_path: Path) -> None:
    rows = [("vcpu0", stage, function, end) for stage, function, end in (
        ("vm_exit", "vmx_vcpu_run", 2000),
        ("vm_exit", "vmcs_read32", 2500),
        ("kvm_exit_handling", "handle_io", 3000),
        ("kvm_exit_handling", "kvm_arch_vcpu_ioctl_run", 3100),
        ("qemu_dispatch", "kvm_handle_io", 4000),
        ("guest_run", "ata_sff_tf_load", 4500),
        ("vm_exit", "vmx_vcpu_run", 5000),
    )]  # fmt: skip
    spans = handmade.spans(rows)
    events = events_of(handmade.result([handmade.request(spans)], [spans]), tmp_path)
    trace_rules.check(events)
    slices = [
        (trace_rules.ns(e["ts"]), trace_rules.ns(e["dur"]), e["name"], e["cat"]) for e in events if e["ph"] == "X"
    ]
    host = [
        "kvm_vcpu_thread_fn",
        "kvm_cpu_exec",
        "kvm_vcpu_ioctl",
        "kvm_arch_vcpu_ioctl_run",
        "vcpu_run",
        "vcpu_enter_guest",
    ]
    assert slices == [
        (1000, 4000, "write 0", "request"),
        (1000, 3000, host[0], "call"),
        (1000, 3000, host[1], "call"),
        (1000, 2100, host[2], "call"),
        (1000, 2100, host[3], "kvm_exit_handling"),
        (1000, 2000, host[4], "call"),
        (1000, 2000, host[5], "call"),
        (1000, 1500, "vmx_vcpu_run", "vm_exit"),
        (2000, 500, "vmcs_read32", "vm_exit"),
        (2500, 500, "vmx_handle_exit", "call"),
        (2500, 500, "__vmx_handle_exit", "call"),
        (2500, 500, "handle_io", "kvm_exit_handling"),
        (3100, 900, "kvm_handle_io", "qemu_dispatch"),
        *((4000, 500, name, "call") for name in (
            "submit_bio", "blk_mq_submit_bio", "blk_mq_run_hw_queue", "blk_mq_sched_dispatch_requests",
            "blk_mq_dispatch_rq_list", "scsi_queue_rq", "ata_scsi_queuecmd", "ata_qc_issue", "ata_bmdma_qc_issue",
        )),
        (4000, 500, "ata_sff_tf_load", "guest_run"),
        *((4500, 500, name, "call") for name in host),
        (4500, 500, "vmx_vcpu_run", "vm_exit"),
    ]  # fmt: skip


def test_a_thread_does_one_thing_at_a_time(crowded: Result, tmp_path: Path) -> None:
    events = events_of(crowded, tmp_path, Choice(slowest=1000))
    assert {name for name in threads(events).values() if "(" in name} == {"disk sda (2)", "disk sda (3)"}


def test_all_phases_of_a_request_add_up_to_its_latency(crowded: Result, tmp_path: Path) -> None:
    found = trace_rules.asynchronous(events_of(crowded, tmp_path, Choice(slowest=1000)))
    outer = [s for s in found if s[2].startswith("drive ")]
    inner = [s for s in found if not s[2].startswith("drive ")]
    assert sum(end - begin for begin, end, _ in outer) == crowded.requests["latency_ns"].sum()
    assert sum(end - begin for begin, end, _ in inner) == crowded.requests["latency_ns"].sum()


def threads(events: list[Event]) -> dict[int, str]:
    return {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}


def test_operations_that_a_disk_serves_at_once_have_tracks_of_their_own(tmp_path: Path) -> None:
    first = handmade.spans([("disk sda", "disk_service", "submit_bio", 4000)], begin=1000)
    second = handmade.spans([("disk sda", "disk_service", "submit_bio", 5000)], begin=2000, request=1)
    third = handmade.spans([("disk sda", "disk_service", "submit_bio", 6000)], begin=4000, request=2)
    kept = [first, second, third]
    events = events_of(handmade.result([handmade.request(spans) for spans in kept], kept), tmp_path)
    trace_rules.check(events)
    tracks = {event["args"]["request"]: threads(events)[event["tid"]] for event in events if event["ph"] == "X"}
    assert tracks == {0: "disk sda", 1: "disk sda (2)", 2: "disk sda"}


def test_an_operation_merged_from_two_requests_is_drawn_once(tmp_path: Path) -> None:
    common = [("main", "qemu_submit", "laio_io_submit", 3000), ("disk sda", "disk_service", "submit_bio", 9000)]
    leader = handmade.spans([("main", "qemu_submit", "virtqueue_pop", 2000), *common])
    follower = handmade.spans([("main", "submit_wait", "virtqueue_kick", 2000), *common], request=1)
    events = events_of(
        handmade.result([handmade.request(leader), handmade.request(follower)], [leader, follower]), tmp_path
    )
    trace_rules.check(events)
    drawn = [(e["name"], e["args"]["request"]) for e in events if e["ph"] == "X" and e["cat"] != "request"]
    assert drawn == [("virtqueue_pop", 0), ("laio_io_submit", 0), ("write 0", 0)]


@pytest.mark.parametrize(("merging", "n_operations"), [(True, 1), (False, 6)])
def test_a_disk_serves_what_is_merged_once(tmp_path: Path, merging: bool, n_operations: int) -> None:
    drives = [{"interface": "virtio-blk", "request_merging": merging}]
    disks = [{"model": "constant", "service": "90us", "servers": 2}]
    result = simulate(scenario(drives, disks), [(0, "W", 8 * k, 8) for k in range(6)])
    assert result.resources.set_index("resource")["busy_ns"]["disk/sda"] == 90_000 * n_operations
    events = events_of(result, tmp_path)
    trace_rules.check(events)
    assert [event["dur"] for event in events if event["ph"] == "X" and event["cat"] == "disk_service"] == [
        90
    ] * n_operations


def test_two_operations_of_a_disk_at_the_same_time_are_both_drawn(tmp_path: Path) -> None:
    kept = []
    for number in range(2):
        rows = [
            (f"worker{number}", "aio_worker", "worker_thread", 2000),
            ("disk sda", "disk_service", "submit_bio", 3000),
        ]
        kept.append(handmade.spans(rows, request=number))
    events = events_of(handmade.result([handmade.request(spans) for spans in kept], kept), tmp_path)
    assert [e["args"]["request"] for e in events if e["ph"] == "X" and e["cat"] == "disk_service"] == [0, 1]


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    name = '</script><b>"\\'
    spans = handmade.spans([(f"vcpu{name}", "guest_run", f"f{name}", 2000)], vm=name)
    events = events_of(handmade.result([handmade.request(spans)], [spans]), tmp_path)
    trace_rules.check(events)
    assert [e["args"]["name"] for e in events if e["name"] == "process_name"] == [f"VM {name}", "host"]
    assert f"f{name}" in [event["name"] for event in events]


def test_threads_are_in_the_order_of_the_path_and_of_their_numbers(tmp_path: Path) -> None:
    names = ["worker10", "iothread/a/worker0", "worker9", "vcpu10", "iothread/a", "vcpu9", "iou-wrk0"]
    rows = [(name, "guest_run", "f", 2000 + 1000 * k) for k, name in enumerate(names)]
    spans = handmade.spans(rows)
    events = events_of(handmade.result([handmade.request(spans)], [spans]), tmp_path)
    assert [name for _, name in sorted(threads(events).items())] == [
        *("main", "vcpu9", "vcpu10", "iothread/a"),
        *("iothread/a/worker0", "iou-wrk0", "worker9", "worker10"),
    ]


def test_counters_are_the_series_where_it_changes(crowded: Result, tmp_path: Path) -> None:
    events = events_of(crowded, tmp_path, Choice(slowest=1000))
    pids = {event["args"]["name"]: event["pid"] for event in events if event["name"] == "process_name"}
    series = crowded.series
    for column, process, name, key, scale in (
        ("queue web#1/channel0", "VM web#1", "channel0", "queue", 1),
        ("utilisation disk/sda", "host", "disk sda", "utilisation (%)", 100),
    ):
        expected, last = [], None
        for start, value in zip(series["start_ns"], series[column], strict=True):
            if value != last:
                expected.append((start, round(value * scale, 6)))
            last = value
        counted = [
            (trace_rules.ns(event["ts"]), float(event["args"][key]))
            for event in events
            if event["ph"] == "C" and (event["pid"], event["name"]) == (pids[process], name) and key in event["args"]
        ]
        assert counted == expected
        assert len(expected) > 2


def test_what_went_wrong_is_marked(tmp_path: Path) -> None:
    faults = [{"ops": ["write"]}]
    rows = [(0, "R", 0, 8), (1_000_000, "W", 0, 8)]
    result = simulate(scenario(disks=[{"model": "constant", "service": "90us", "fault": faults}]), rows)
    events = events_of(result, tmp_path)
    marks = [event for event in events if event["ph"] == "i"]
    assert {(mark["name"], mark["args"]["request"], mark["args"]["why"]) for mark in marks} == {
        ("error-reported", 1, "EIO")
    }
    assert len(marks) == len(result.events) > 0
    trace_rules.check(events)


def test_more_spans_than_a_browser_takes_are_cut_at_a_request(
    crowded: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = crowded.spans.groupby(["vm", "drive", "request"], sort=False).size()
    monkeypatch.setattr(perfetto, "MAX_SPANS", int(sizes.iloc[:2].sum()))
    said: list[str] = []
    events = events_of(crowded, tmp_path, Choice(slowest=5), said)
    assert sum(event["ph"] == "b" and event["name"].startswith("drive ") for event in events) == 2
    n, limit = sizes.iloc[:5].sum(), sizes.iloc[:2].sum()
    assert said == [f"only 2 of these 5 requests are shown: all have {n:,} spans, {limit:,} fit"]


def test_a_window_has_what_touches_it_and_whole_requests(tmp_path: Path) -> None:
    spans = handmade.spans(WRITE)
    later = handmade.spans([("vcpu0", "guest_run", "udelay", 30000)], begin=20000, request=1)
    result = handmade.result([handmade.request(spans), handmade.request(later)], [spans, later])
    events = events_of(result, tmp_path, Choice(window=(3_500, 7_000)))
    assert [e["name"] for e in events if e["ph"] == "X"] == ["write 0", "exit", "write 0", "work"]
    requests = [s for s in trace_rules.asynchronous(events) if s[2].startswith("drive ")]
    assert requests == [(1000, 11000, "drive 0 write")]
    with pytest.raises(
        ExportError, match=r"^no request is under way in 11us..20us; spans are recorded of 2 requests, "
    ):
        events_of(result, tmp_path, Choice(window=(11_000, 20_000)))
