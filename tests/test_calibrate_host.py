"""calibrate host: known costs are recovered, recordings of a real host are understood, damage is told."""

import contextlib
import gzip
import hashlib
import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import iosim
from iosim.calibrate import host_events, qemu_events
from iosim.calibrate.host import Calibration, Knowledge, calibrate
from iosim.calibrate.profile_file import Base
from iosim.calibrate.recording import Recording
from iosim.model.catalogue import CATALOGUE
from iosim.model.costs import load_profile
from iosim.model.errors import TraceError
from iosim.results.result import Result
from iosim.traces.reading import ReadOptions
from tests.commandline import run
from tests.host_recording import lines, write

PROJECT = Path(__file__).parents[1]
HOST = PROJECT / "traces" / "host"
SCENARIO = PROJECT / "scenarios" / "validation" / "dma_w_irq_8.toml"
TSC = ReadOptions(clock_hz=Fraction(2_596_136_000))


@pytest.fixture(scope="module")
def simulated() -> Result:
    """The first 60 ms, with the spans of all requests."""
    return iosim.simulate(iosim.load(SCENARIO, ['run.window={start="0s",end="60ms"}']))


def durations_us(result: Result, function: str, stage: str) -> np.ndarray:
    """What *function* took in *stage* in each request but the first one, which calibration leaves out as cold."""
    spans = result.spans
    chosen = spans[(spans["function"] == function) & (spans["stage"] == stage) & (spans["request"] > 0)]
    return (chosen["end_ns"] - chosen["start_ns"]).to_numpy() / 1000


def calibrated(folder: Path, result: Result, entries: bool) -> tuple[Recording, Calibration]:
    recording = host_events.read(write(folder / "host.txt", lines(result.spans, entries)), ReadOptions())
    return recording, calibrate([recording], Base.named("pvm-nested"), Knowledge())


EXACT = {
    "worker.dequeue": ("worker_thread", "aio_worker"),
    "worker.notify": ("qemu_bh_schedule", "aio_worker"),
    "main_loop.wake": ("qemu_poll_ns", "completion_wait"),
    "main_loop.ide_dma_cb": ("ide_dma_cb", "completion"),
    "pool.worker_wake": ("thread_pool_submit_aio", "aio_wait"),
}
"""Costs whose span in the simulated run is one interval of the recording."""


@pytest.mark.parametrize("entries", [True, False])
def test_steps_of_a_synthesised_recording_are_those_that_were_simulated(
    tmp_path: Path, simulated: Result, entries: bool
) -> None:
    recording, found = calibrated(tmp_path, simulated, entries)
    assert recording.notes == []
    assert len(recording.steps) == simulated.spans["request"].nunique()
    for key, (function, stage) in EXACT.items():
        expected = np.median(durations_us(simulated, function, stage))
        assert float(found.draft.entries[key]["quantiles"][5][1].removesuffix("ns")) / 1000 == pytest.approx(
            expected, abs=0.0021
        ), key


@pytest.mark.parametrize("entries", [True, False])
def test_costs_of_a_synthesised_recording_are_recovered_within_sampling_error(
    tmp_path: Path, simulated: Result, entries: bool
) -> None:
    # The median of 260 draws lies between the 40 % and the 60 % quantile in all but 0.1 % of samples.
    true = load_profile("pvm-nested")
    _, found = calibrated(tmp_path, simulated, entries)
    keys = [key for key, entry in found.draft.entries.items() if entry["kind"] == "measured"]
    assert len(keys) > 18
    interpreted = {"guest.interrupt_return", "kvm.wake_polling", "kvm.wake_asleep", "qemu.submit_return"}
    constant = {"kvm.irq_line", "kvm.vcpu_ioctl", "kvm.return_to_userspace", "qemu.bmdma_cmd_writeb"}
    guest = {key for key in keys if key.startswith("guest.")}
    for key in set(keys) - interpreted - constant - (set() if entries else guest) - {"worker.pread_enter"}:
        median = float(found.draft.entries[key]["quantiles"][5][1].removesuffix("ns"))
        low, high = (true.cost(key).quantile_ns(q) for q in (0.4, 0.6))
        slack = 350 if key in ("qemu.ide_exec_cmd", "qemu.bmdma_write") else 45
        assert low - slack <= median <= high + slack, key
    trip = ("kvm.vcpu_ioctl", "cpu.vm_exit", "cpu.vmresume", "kvm.return_to_userspace")
    for kind in ("guest.reg_w", "guest.cmd_w", "guest.bm_w"):
        whole = sum(true.cost(key).mean_ns for key in (*trip, kind)) / 1000
        assert found.draft.us(*trip, kind) == pytest.approx(whole, rel=0.03)
    for key in ("kvm.wake_polling", "kvm.wake_asleep"):
        assert found.draft.us(key) == pytest.approx(true.cost(key).mean_ns / 1000, rel=0.25), key


@pytest.mark.parametrize(("entries", "within"), [(True, 0.02), (False, 0.04)])
def test_profile_of_a_synthesised_recording_gives_the_same_latencies(
    tmp_path: Path, simulated: Result, entries: bool, within: float
) -> None:
    # Without kvm_entry and kvm_exit KVM's part of an exit is the shortest exit, which holds some of the guest.
    _, found = calibrated(tmp_path, simulated, entries)
    head = {"name": "again", "title": "round trip", "machine": "simulated", "origin": "this test"}
    profile = tmp_path / "again.toml"
    profile.write_text(found.draft.text(head, found.comments()))
    again = iosim.simulate(iosim.load(SCENARIO, [f'host.profile="{profile}"']))
    was = iosim.simulate(iosim.load(SCENARIO)).requests["latency_ns"]
    assert again.requests["latency_ns"].median() == pytest.approx(was.median(), rel=within)
    assert again.requests["latency_ns"].mean() == pytest.approx(was.mean(), rel=0.07)  # rare outliers


@pytest.mark.parametrize(("name", "n"), [("dma_w_irq_8", 257), ("w30_outw_irq_8", 23)])
def test_steps_of_a_real_trace_are_those_that_another_program_found(name: str, n: int) -> None:
    found = host_events.read(HOST / f"{name}.ftrace.gz", TSC).steps
    theirs = pd.read_csv(HOST / f"{name}.steps.csv.gz").head(n)
    assert len(found) == n
    for mark in ("in", "wwake", "wret", "ws", "we", "evfd_end", "mwake", "main", "irq", "vwake", "ready"):
        ours = (found[mark] - found["exit"]).to_numpy()
        expected = (theirs[f"t_{mark}_us"] - theirs["t_exit_us"]).to_numpy()
        assert (np.isnan(ours) == np.isnan(expected)).all(), mark
        assert ours == pytest.approx(expected, abs=0.0025, nan_ok=True), mark


def test_exits_of_a_real_trace_are_those_of_the_guests_program() -> None:
    # dma_w_irq: 9 register writes and the command, start, status read, bus-master status, stop; per command.
    exits = host_events.read(HOST / "dma_w_irq_8.ftrace.gz", TSC).exits
    kinds = exits["kind"].value_counts()
    commands = kinds["cmd_w"]
    assert commands == 257
    assert abs(kinds["reg_w"] - 5 * commands) <= 8
    assert abs(kinds["bm_w"] - 4 * commands) <= 5
    assert abs(kinds["bm_start"] - commands) <= 1
    # Each sector's 256 words of w30_outw_irq: one opens the block, one submits it.
    kinds = host_events.read(HOST / "w30_outw_irq_8.ftrace.gz", TSC).exits["kind"].value_counts()
    assert kinds["data_w_last"] == 23
    assert kinds["data_w_first"] in (23, 24)
    assert kinds["data_w"] >= 23 * 254


def test_exits_of_a_qemu_log_are_those_of_the_guests_program() -> None:
    found = qemu_events.read(HOST / "dma_w_irq_8.qemu.trace.gz", ReadOptions())
    kinds = found.exits["kind"].value_counts()
    commands = 201
    assert {kind: kinds[kind] for kind in ("cmd_w", "bm_start", "bm_r")} == dict.fromkeys(
        ("cmd_w", "bm_start", "bm_r"), commands
    )
    assert abs(kinds["reg_w"] - 5 * commands) <= 5
    assert abs(kinds["bm_w"] - 4 * commands) <= 5
    assert found.records["qemu reg_w"] == 2
    assert found.steps.empty


def test_qemu_log_and_kernel_trace_make_one_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "p.toml"
    names = [str(HOST / name) for name in ("dma_w_irq_8.qemu.trace.gz", "dma_w_irq_8.ftrace.gz")]
    answer = run(capsys, "calibrate", "host", *names, "--clock", "2596.136MHz", "--out", str(out))
    assert (answer.status, answer.err) == (0, "")
    assert "dma_w_irq_8.qemu.trace.gz: a QEMU log has times of 1 us" in out.read_text()
    assert "in 2 runs" in load_profile(str(out)).figures["guest.reg_w"].source


def test_records_of_a_step_are_counted() -> None:
    # Read off the trace: a KVM_IRQ_LINE ioctl writes sys_enter, kvm_set_irq, kvm_pic_set_irq, kvm_ioapic_set_irq before
    # sys_exit; the worker sys_exit, then sys_enter and sys_exit of another futex call before it enters pwrite.
    records = host_events.read(HOST / "dma_w_irq_8.ftrace.gz", TSC).records
    assert records["irq_line"] == pytest.approx(4, abs=0.01)
    assert records["wret-ws"] == pytest.approx(3, abs=0.1)
    assert records["wwake-wret"] == pytest.approx(2, abs=0.1)
    assert records["qemu reg_w"] == 1
    assert records["kvm cmd_w"] == 8


def test_readme_has_the_checksums_of_the_files() -> None:
    text = (HOST / "README.md").read_text(encoding="utf-8")
    files = sorted(HOST.glob("*.gz"))
    assert len(files) == 5
    for path in files:
        assert f"| `{path.name}` | `{hashlib.sha256(path.read_bytes()).hexdigest()}` |" in text


def test_command_writes_a_profile_that_says_what_it_is_made_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "host.toml"
    traces = [str(HOST / f"{name}.ftrace.gz") for name in ("dma_w_irq_8", "w30_outw_irq_8")]
    wish = ["--clock", "2596.136MHz", "--machine", "a test", "--record-cost", "270ns", "--loop-io"]
    answer = run(capsys, "calibrate", "host", *traces, "--out", str(out), *wish)
    assert (answer.status, answer.err) == (0, "")
    assert "Overhead of tracing, taken out: 270 ns per record, as given." in answer.out
    profile = load_profile(str(out))
    assert profile.machine == "a test"
    assert profile.figures["pool.worker_wake"].kind == "measured"
    assert "n = 278" in profile.figures["pool.worker_wake"].source
    assert profile.figures["guest.error_handler"].kind == "assumed"
    assert profile.figures["guest.error_handler"].source.startswith("not in the recordings; vmx-2017, ")
    assert set(profile.figures) == set(CATALOGUE)


def test_untaken_overhead_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "host.toml"
    trace = str(HOST / "dma_w_irq_8.ftrace.gz")
    answer = run(capsys, "calibrate", "host", trace, "--clock", "2596.136MHz", "--out", str(out))
    assert "Overhead of tracing: unknown: nothing untraced was given" in answer.out
    assert out.read_text().count("Overhead of tracing: unknown") == 1


def part(path: Path, trace: str, first: int, last: int) -> list[str]:
    with gzip.open(HOST / trace, "rt") as file:
        return file.read().splitlines()[first:last]


def test_lost_events_are_counted_and_nothing_is_matched_across(tmp_path: Path) -> None:
    kept = part(tmp_path, "dma_w_irq_8.ftrace.gz", 0, 20_000)
    writing = next(at for at, line in enumerate(kept) if at > 10_000 and "sys_enter: NR 18 (" in line)
    kept.insert(writing + 1, "CPU:1 [LOST 1251 EVENTS]")
    path = write(tmp_path / "lost.txt", kept)
    with pytest.raises(TraceError, match=r"lost\.txt:\d+: events were lost here, got 1,251"):
        host_events.read(path, TSC)
    skipping = ReadOptions(clock_hz=TSC.clock_hz, skip=True)
    found = host_events.read(path, skipping)
    whole = host_events.read(write(tmp_path / "whole.txt", kept[: writing + 1] + kept[writing + 2 :]), skipping)
    assert found.n_lost == 1
    assert f"lost.txt:{writing + 2}: events were lost here; 1 such lines were skipped" in found.notes
    assert len(found.steps) == len(whole.steps) - 1


@pytest.mark.parametrize("seed", range(12))
def test_damaged_traces_raise_nothing_but_trace_errors(tmp_path: Path, seed: int) -> None:
    generator = random.Random(seed)
    kept = part(tmp_path, "dma_w_irq_8.ftrace.gz", 20_000, 21_500)
    for _ in range(150):
        at = generator.randrange(len(kept))
        line = kept[at]
        begin, end = sorted(generator.randrange(len(line) + 1) for _ in range(2))
        change = generator.randrange(5)
        if change == 0:
            kept[at] = line[:begin] + line[end:]
        elif change == 1:
            kept[at] = line[:begin] + "".join(generator.choices("0123456789abcdef():, ->=[]", k=4)) + line[end:]
        elif change == 2:
            kept[at], kept[at - 1] = kept[at - 1], kept[at]
        elif change == 3:
            del kept[at]
        else:
            kept.insert(at, line)
    path = write(tmp_path / "damaged.txt", kept)
    found = host_events.read(path, ReadOptions(clock_hz=TSC.clock_hz, skip=True))
    assert (found.exits["kvm_us"] >= 0).all()
    assert len(found.steps) <= 11
    with contextlib.suppress(TraceError):
        host_events.read(path, TSC)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("empty.txt", "", "empty.txt: is empty"),
        ("prose.txt", "to be or not to be\n", "prose.txt:1: a line must be of perf script, trace-cmd report or ftrace"),
        ("sched.txt", "q-1 [000] 1.000001: sched_switch: x\n", "sched.txt: has no exit of a vCPU to QEMU"),
        ("clock.txt", "q-1 [000] 1000001: kvm_entry: vcpu 0\n", "clock.txt:1: a time must be in seconds"),
    ],
)
def test_unusable_recordings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    answer = run(capsys, "calibrate", "host", str(tmp_path / name), "--out", str(tmp_path / "p.toml"))
    assert (answer.status, answer.out) == (2, "")
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "p.toml").exists()


def test_trace_that_was_cut_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "cut.gz"
    cut.write_bytes((HOST / "dma_w_irq_8.ftrace.gz").read_bytes()[:200_000])
    answer = run(capsys, "calibrate", "host", str(cut), "--clock", "2596.136MHz", "--out", str(tmp_path / "p.toml"))
    assert answer.status == 2
    assert "cut.gz: is cut short: its gzip data has no end" in answer.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "p.txt"], "p.txt: a profile is a .toml file"),
        (["--untraced", "alt=7us"], "--untraced must be KIND=TIME, KIND one of reg_w, "),
        (["--untraced", "alt_r=7"], "--untraced: "),
        (["--record-cost", "much"], "--record-cost: "),
        (["--base", "vmx-1999"], "a profile is one of pvm-nested, "),
        (["--clock", "fast"], "--clock must be a rate such as 2.6GHz"),
    ],
)
def test_wrong_options_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    options = arguments if "--out" in arguments else [*arguments, "--out", "p.toml"]
    answer = run(capsys, "calibrate", "host", str(HOST / "dma_w_irq_8.ftrace.gz"), *options)
    assert answer.status == 2
    assert message in answer.err
    assert list(tmp_path.iterdir()) == []


def test_folder_without_tables_and_table_without_columns_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    out = str(tmp_path / "p.toml")
    assert "run: has neither exits*.csv nor aio.csv" in run(capsys, "calibrate", "host", str(folder), "--out", out).err
    (folder / "exits.csv").write_text("port,dir,class\n0x1f7,W,cmd_w\n")
    assert "exits.csv: needs a column kvm_us" in run(capsys, "calibrate", "host", str(folder), "--out", out).err
    (folder / "exits.csv").write_text("port,dir,class,kvm_us,qemu_us\n0x1f7,W,cmd_w,fast,1\n")
    assert "exits.csv: kvm_us must be numbers" in run(capsys, "calibrate", "host", str(folder), "--out", out).err
