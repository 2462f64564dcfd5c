"""docs/answers.md is true: its commands are accepted, its figures are those of a fresh run, and its answers hold."""

import re
import shlex
from itertools import pairwise

import pytest

from iosim import scenario_file
from iosim.model.stages import Stage
from tests.test_scenarios import SHIPPED, run
from tools.answers import ANSWERS, CPUS, ERRORS, NO_WINDOW, PAGE, ROOT, SMALL_CACHE, VIRTIO, Answer, Row, shown

TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
LONG_RUNS = {("40",), ("56",), ("64",)}
"""VMs of cpus.toml: many seconds each."""
ROWS = [(answer, row) for answer in ANSWERS for row in answer.rows if row.labels not in LONG_RUNS]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_accepted(command: str) -> None:
    program, verb, *arguments = shlex.split(command)
    assert (program, verb, arguments[-2]) == ("iosim", "run", "--out")
    first = arguments.index("--set") if "--set" in arguments else arguments.index("--out")
    paths = [path for pattern in arguments[:first] for path in ROOT.glob(pattern)]
    options = arguments[first:-2]
    assert set(options[::2]) <= {"--set"}
    assert paths
    for path in paths:
        scenario_file.load(path, options[1::2])


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
def test_table_has_its_rows(answer: Answer) -> None:
    table = shown(answer, TEXT)
    assert table.startswith(answer.head())
    assert [tuple(line.strip("| ").split(" | "))[: len(answer.headings)] for line in table.splitlines()[2:]] == [
        row.labels for row in answer.rows
    ]


@pytest.mark.parametrize(("answer", "row"), ROWS, ids=[f"{answer.name} {' '.join(row.labels)}" for answer, row in ROWS])
def test_figures_are_those_of_a_fresh_run(answer: Answer, row: Row) -> None:
    """If this fails because the model has changed: python tools/answers.py --write, and read the page again."""
    assert answer.line(row) in shown(answer, TEXT)


# Directions


def mean(name: str, *changes: str) -> float:
    return float(run(name, *changes).summary["latency_ns"]["mean"])


@pytest.mark.parametrize("name", SHIPPED)
def test_more_cpus_do_not_make_requests_slower(name: str) -> None:
    means = [mean(name, f"host.cpus={n}") for n in (1, 2, 4, 8)]
    assert all(more <= 1.01 * fewer for fewer, more in pairwise(means)), means


def test_each_interface_is_quicker_than_the_one_before() -> None:
    names = ["ide-pio", "ide-dma", "virtio-blk", "virtio-blk-iothread"]
    means = [mean(f"interfaces/{name}.toml") for name in names]
    assert means == sorted(means, reverse=True)


def test_polling_iothread_does_not_sleep_and_behind_a_slow_disk_it_does() -> None:
    """A wait for the disk that is longer than poll_max_ns sets the time of polling back to 0, each time."""
    slow = ["host.disk.nvme.service=200us", "host.disk.nvme.flush=500us"]
    loops = ["interfaces/virtio-blk.toml", "interfaces/virtio-blk-iothread.toml"]
    for name in loops:
        assert set(run(name).requests["exits"]) == {1}
    assert run(loops[1], "vm.linux.drive.0.event_idx=false").requests["exits"].mean() < 0.02
    tables = [run(name, *slow).requests for name in loops]
    latencies = [table.loc[table["op"] != "F", "latency_ns"].tolist() for table in tables]
    assert latencies[0] == latencies[1]


def test_p99_grows_first_with_the_number_of_vms() -> None:
    """In the page's table, whose shorter runs are measured above."""
    lines = [line.strip("| ").split(" | ") for line in shown(CPUS, TEXT).splitlines()[2:]]
    busy, means, p50, p99, waits = (
        [float(line[column].replace(",", "")) for line in lines] for column in range(1, len(lines[0]))
    )
    for column in (busy, p99[1:], waits):
        assert column == sorted(column)
    light, loaded, full = (n for n, line in enumerate(lines) if line[0] in ("32", "48", "64"))
    assert p99[light] < 1.2 * p99[0]
    assert p50[loaded] < 1.1 * p50[0]
    assert p99[loaded] > 3 * p99[0]
    assert waits[full] > means[full] / 2


def test_cache_modes_do_what_their_names_promise() -> None:
    modes = ("writeback", "none", "writethrough", "directsync", "unsafe")
    tables = {mode: run("cache-modes.toml", f"vm.linux.drive.0.cache={mode}").requests for mode in modes}
    flush = {mode: table.loc[table["op"] == "F", "latency_ns"].mean() for mode, table in tables.items()}
    write = {mode: table.loc[table["op"] == "W", "latency_ns"].mean() for mode, table in tables.items()}
    whole = {mode: table["latency_ns"].sum() for mode, table in tables.items()}
    assert flush["writeback"] > flush["none"] > flush["unsafe"] > flush["writethrough"] == flush["directsync"] == 0
    assert write["unsafe"] <= write["writeback"] < write["none"] < write["directsync"] < write["writethrough"]
    assert whole["unsafe"] < whole["writeback"] < whole["none"] < whole["directsync"] < whole["writethrough"]


def test_a_disk_that_stands_still_stops_its_channel_and_nobody_else() -> None:
    """The slave waits behind the master that is stuck; the other channel and the other guest are as quick as ever."""
    stuck, healthy = (run("failing-disk.toml", *changes).requests for changes in ((), (NO_WINDOW,)))
    longest = [table.groupby(["vm", "drive"])["latency_ns"].max() for table in (stuck, healthy)]
    for place in (("on-bad", 0), ("on-both", 0), ("on-both", 1)):
        assert longest[0][place] > 90_000_000
    for place in (("on-both", 2), ("on-good", 0)):
        assert longest[0][place] < 1.5 * longest[1][place]


def test_errors_are_tried_six_times_and_only_the_bad_disk_has_them() -> None:
    table = run("failing-disk.toml", NO_WINDOW, ERRORS).requests
    failed = table[table["status"] == "error"].groupby(["vm", "drive"]).size()
    assert failed.to_dict() == {("on-bad", 0): 37, ("on-both", 0): 32}
    assert "(37 requests of `on-bad` fail, 32 of `on-both`;" in TEXT


def test_stopped_guest_is_stopped_with_all_its_drives() -> None:
    table = run("failing-disk.toml", NO_WINDOW, ERRORS, "vm.drive.werror=stop", "vm.drive.rerror=stop").requests
    unfinished = set(table.loc[table["status"] == "unfinished", ["vm", "drive"]].itertuples(index=False, name=None))
    assert unfinished == {("on-bad", 0), ("on-both", 0), ("on-both", 1), ("on-both", 2)}


def test_stuck_workers_delay_the_other_drives_of_the_guest_and_native_has_none() -> None:
    waits = []
    for aio in ("threads", "native"):
        table = run("failing-disk.toml", VIRTIO, f"vm.drive.aio={aio}").requests
        others = (table["vm"] == "on-both") & (table["drive"] > 0) & (table["op"] != "F")
        waits.append(table.loc[others, "aio_wait_ns"].max())
    assert waits[0] > 1_000_000
    assert waits[1] < 100_000


def test_dirty_pages_of_the_bad_disk_hold_up_writers_to_the_good_one() -> None:
    """With little room for dirty pages. With the default limit the bad disk does not fill it in a tenth of a second."""
    for cache, reached in ((SMALL_CACHE, True), (SMALL_CACHE[:1], False)):
        table = run("failing-disk.toml", *cache).requests
        waits = table.loc[table["vm"] == "on-good", "dirty_wait_ns"]
        assert (int(waits.max()) > 20_000_000) is reached


def test_old_and_new_kernel_differ_by_the_end_of_the_interrupt_and_by_polling() -> None:
    old, new = (run("versions.toml", f'vm.linux.kernel="{kernel}"').requests for kernel in ("3.10", "6.1"))
    assert old["exits"].tolist() == [exits + 1 for exits in new["exits"]]
    stages = [f"{stage.label}_ns" for stage in Stage]
    saved = old[stages].mean() - new[stages].mean()
    assert saved["kvm_exit_handling_ns"] > 1000
    assert saved["irq_delivery_ns"] > 1000
    assert saved.drop(["kvm_exit_handling_ns", "irq_delivery_ns"]).abs().sum() < 100


def test_old_and_new_qemu_differ_by_ioctls_with_dma_and_by_work_per_exit_in_pio_mode() -> None:
    old = ['vm.linux.qemu="1.6"']
    assert set(run("versions.toml", *old).requests["irq_line_ioctls"]) == {5}
    assert set(run("versions.toml").requests["irq_line_ioctls"]) == {12}
    assert mean("versions.toml", *old) < mean("versions.toml")
    pio = ["vm.linux.drive.0.transfer=pio"]
    assert mean("versions.toml", *pio, *old) > mean("versions.toml", *pio)


def test_first_writes_of_a_qcow2_image_cost_less_in_the_new_qemu() -> None:
    extra = []
    for qemu in ("1.6", "7.2"):
        changes = [f'vm.linux.qemu="{qemu}"']
        extra.append(mean("versions.toml", *changes, "vm.linux.drive.0.format=qcow2") - mean("versions.toml", *changes))
    assert extra[0] > 2 * extra[1] > 0
