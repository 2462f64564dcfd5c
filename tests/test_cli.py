"""The command line: what it writes, where, what it says, and what an interrupted or failing run leaves behind."""

import importlib.metadata
import json
import os
import platform
import pty
import resource
import signal
import subprocess
import sys
import textwrap
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import iosim
from iosim.model.errors import ScenarioError, TraceError
from tests.commandline import SCENARIO, TRACE, read_terminal, run, write_inputs
from tests.support import STAGES

FILES = {
    "requests.parquet",
    "exits.parquet",
    "events.parquet",
    "resources.parquet",
    "functions.parquet",
    "spans.parquet",
    "series.parquet",
    "summary.json",
    "scenario.toml",
    "latency.png",
    "stages.png",
}
TABLES = ("requests", "exits", "resources", "functions", "spans", "series", "events")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with scenario.toml and trace.csv in it."""
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def read(folder: Path) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}


def assert_same_tables(a: Path, b: Path) -> None:
    left, right = read(a), read(b)
    assert left.keys() == right.keys()
    for name, frame in left.items():
        pd.testing.assert_frame_equal(frame, right[name], check_exact=True, obj=name)


def test_run_writes_every_file_of_the_contract(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, "run", "scenario.toml", "--out", "out")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.endswith("\nWritten to out/\n")
    assert names(folder) == {"scenario.toml", "trace.csv", "out"}
    assert names(folder / "out") == FILES
    for picture in ("latency.png", "stages.png"):
        assert (folder / "out" / picture).read_bytes().startswith(PNG)


def test_tables_have_the_columns_of_the_contract(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "run", "scenario.toml", "--out", "out")
    tables = read(folder / "out")
    assert list(tables["requests"]) == [
        "vm", "drive", "request", "op", "sector", "sectors", "arrival_ns", "issue_ns", "done_ns", "latency_ns",
        "status", "error", "warmup", "exits", "userspace_exits", "irqs", "irq_line_ioctls",
        "guest_queue_ns", "guest_run_ns", "vm_exit_ns", "kvm_exit_handling_ns", "bql_wait_ns", "qemu_dispatch_ns",
        "qemu_submit_ns", "vm_entry_ns", "aio_wait_ns", "aio_worker_ns", "disk_wait_ns", "disk_service_ns",
        "completion_wait_ns", "completion_ns", "irq_delivery_ns", "cpu_wait_ns", "submit_wait_ns",
        "throttle_wait_ns", "dirty_wait_ns", "paused_ns",
    ]  # fmt: skip
    assert list(tables["exits"]) == [
        "vm", "vcpu", "reason", "userspace", "count", "total_ns", "min_ns", "p50_ns", "p99_ns", "max_ns"
    ]  # fmt: skip
    assert list(tables["resources"]) == ["resource", "servers", "busy_ns", "utilisation", "mean_queue", "max_queue"]
    assert tables["resources"]["resource"].is_unique
    assert list(tables["functions"]) == [
        "vm", "drive", "op", "carrier", "stage", "stack", "sampled", "total_ns"
    ]  # fmt: skip
    assert list(tables["spans"]) == [
        "vm", "drive", "request", "thread", "stage", "function", "start_ns", "end_ns", "waits"
    ]  # fmt: skip
    assert list(tables["series"])[:4] == ["start_ns", "end_ns", "arrivals", "completions"]


def test_requests_are_those_of_the_trace(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "run", "scenario.toml", "--out", "out")
    table = read(folder / "out")["requests"]
    expected = [("web", 0, 0, "W", 0, 8, 0), ("web", 0, 1, "R", 64, 8, 1_000_000), ("web", 0, 2, "F", 0, 0, 2_000_000)]
    columns = ["vm", "drive", "request", "op", "sector", "sectors", "arrival_ns"]
    assert list(table[columns].itertuples(index=False, name=None)) == expected
    assert list(table["status"]) == ["ok"] * 3
    assert (table[STAGES].sum(axis=1) == table["done_ns"] - table["arrival_ns"]).all()


def test_summary_says_what_was_run_with_what(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "run", "scenario.toml", "--out", "out")
    summary = json.loads((folder / "out" / "summary.json").read_text())
    table = read(folder / "out")["requests"]
    assert summary["summary_version"] == 1
    assert summary["iosim"] == importlib.metadata.version("iosim")
    assert summary["python"] == platform.python_version()
    assert summary["libraries"]["simpy"] == importlib.metadata.version("simpy")
    # sha256sum of the three lines of the trace and its header
    checksum = subprocess.run(["sha256sum", "trace.csv"], capture_output=True, text=True, check=True).stdout.split()[0]
    assert summary["traces"] == [
        {"vm": "web", "drive": 0, "trace": "trace.csv", "sha256": checksum, "requests": 3},
    ]
    counts = {key: summary["requests"][key] for key in ("in", "done", "failed", "unfinished", "warmup", "counted")}
    assert counts == {"in": 3, "done": 3, "failed": 0, "unfinished": 0, "warmup": 0, "counted": 3}
    assert summary["latency_ns"]["mean"] == table["latency_ns"].mean()
    assert summary["latency_ns"]["percentile"]["50.000000"] == np.percentile(table["latency_ns"], 50)
    assert summary["stages_ns"]["disk_service"]["total"] == table["disk_service_ns"].sum() == 3 * 90_000
    assert summary["scenario"]["host"]["disk"][0]["service"] == "90us"


def test_resolved_scenario_has_the_defaults_and_runs_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "deep").mkdir()
    run(capsys, "run", "scenario.toml", "--out", "deep/out", "--set", "vm.web.drive.0.transfer=pio")
    text = (folder / "deep" / "out" / "scenario.toml").read_text()
    for line in ('transfer = "pio"', "multiple = 16", 'qemu = "7.2"', "seed = 1", 'trace = "../../trace.csv"'):
        assert f"\n{line}\n" in text
    assert run(capsys, "run", "deep/out/scenario.toml", "--out", "again").status == 0
    assert_same_tables(folder / "deep" / "out", folder / "again")


def test_default_folder_is_reports_and_the_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, "run", "scenario.toml")
    assert answer.out.endswith("\nWritten to reports/scenario/\n")
    assert names(folder / "reports" / "scenario") == FILES


def test_accesses_are_written_on_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "run", "scenario.toml", "--out", "out", "--set", 'run.log="ports"')
    assert names(folder / "out") == FILES | {"accesses.parquet"}
    tables = read(folder / "out")
    accesses = tables["accesses"]
    assert list(accesses) == ["vm", "vcpu", "drive", "request", "time_ns", "port", "direction", "width", "count"]
    # Every access to these ports returns to QEMU once: DMA 26, DMA 26, flush 12.
    assert list(accesses.groupby("request").size()) == [26, 26, 12] == list(tables["requests"]["userspace_exits"])


def test_set_changes_one_drive_or_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = '[[vm.drive]]\nindex = 2\ncache = "none"\ntrace = "trace.csv"\n'
    (folder / "scenario.toml").write_text(SCENARIO + second)
    for path, cached in (("vm.web.drive.1.transfer", ["dma", "pio"]), ("vm.drive.transfer", ["pio", "pio"])):
        assert run(capsys, "run", "scenario.toml", "--out", "out", "--set", f"{path}=pio").status == 0
        summary = json.loads((folder / "out" / "summary.json").read_text())
        assert [drive["transfer"] for drive in summary["scenario"]["vm"][0]["drive"]] == cached


@pytest.mark.parametrize(("engine", "used"), [("simpy", "simpy"), ("auto", "simpy"), ("compiled", "compiled")])
def test_the_summary_says_which_engine_ran(
    engine: str, used: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "run", "scenario.toml", "--out", "out", "--engine", engine).status == 0
    assert json.loads((folder / "out" / "summary.json").read_text())["engine"] == used


def test_result_of_an_earlier_run_is_replaced_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "run", "scenario.toml", "--out", "out", "--set", "run.log=ports")
    (folder / "out" / "old.txt").write_text("of an earlier version")
    assert run(capsys, "run", "scenario.toml", "--out", "out").status == 0
    assert names(folder / "out") == FILES
    assert names(folder) == {"scenario.toml", "trace.csv", "out"}


def test_empty_folder_and_link_to_a_folder_are_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")
    for _ in range(2):
        assert run(capsys, "run", "scenario.toml", "--out", "link").status == 0
    assert (folder / "link").is_symlink()
    assert names(folder / "real") == FILES
    assert names(folder) == {"scenario.toml", "trace.csv", "real", "link"}


def test_batch_has_a_folder_each_and_a_joint_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pio.toml").write_text(f'{SCENARIO}transfer = "pio"\n')
    answer = run(capsys, "run", "scenario.toml", "pio.toml", "--out", "both")
    assert (answer.status, answer.err) == (0, "")
    assert names(folder / "both") == {"scenario", "pio", "batch.csv"}
    assert names(folder / "both" / "scenario") == names(folder / "both" / "pio") == FILES
    joint = pd.read_csv(folder / "both" / "batch.csv").set_index("scenario")
    assert list(joint.index) == ["scenario", "pio"]
    for name in joint.index:
        row, tables = joint.loc[name], read(folder / "both" / str(name))
        table, used = tables["requests"], tables["resources"]
        assert (row["in"], row["done"], row["failed"], row["unfinished"]) == (3, 3, 0, 0)
        assert row["mean_ns"] == pytest.approx(table["latency_ns"].mean(), rel=1e-15)
        assert row["p99_ns"] == pytest.approx(np.percentile(table["latency_ns"], 99), rel=1e-15)
        assert row["throughput_per_s"] == pytest.approx(3 / (table["done_ns"].max() / 1e9), rel=1e-12)
        assert f"{row['largest_stage']}_ns" == table[STAGES].sum().idxmax()
        assert row["busiest"] == used["resource"][used["utilisation"].argmax()]
        assert row["utilisation"] == used["utilisation"].max()
        assert row["folder"] == f"both/{name}"
    # In PIO mode 1043 for 4 KiB written; 20 for a read of one sector, and one more for each of the other seven, which
    # libata fetches with a string instruction of its own; 12 for the flush.
    assert list(read(folder / "both" / "pio")["requests"]["userspace_exits"]) == [1043, 27, 12]


def test_batch_goes_on_behind_a_bad_scenario(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.toml").write_text(f'{SCENARIO}transfer = "udma"\n')
    (folder / "good.toml").write_text(SCENARIO)
    answer = run(capsys, "run", "scenario.toml", "bad.toml", "good.toml", "--out", "out")
    assert answer.status == 2
    assert answer.err == "iosim: bad.toml: vm.web.drive.0.transfer must be one of 'pio', 'dma', got 'udma'\n"
    assert names(folder / "out") == {"scenario", "good", "batch.csv"}
    assert list(pd.read_csv(folder / "out" / "batch.csv")["scenario"]) == ["scenario", "good"]


def test_run_without_a_finished_request_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b.toml").write_text(SCENARIO)
    answer = run(capsys, "run", "scenario.toml", "b.toml", "--out", "out", "--set", 'run.duration="1us"')
    assert answer.status == 0
    assert (
        "0 requests done, 0 failed, 1 unfinished, in 1.00 us of simulated time; 2 of the traces had not" in answer.out
    )
    assert names(folder / "out" / "b") == FILES


# Interrupted and failing runs


def long_inputs(folder: Path) -> None:
    """A run of half a minute or more: 20,000 writes of a sector by 256 exits each, exit by exit."""
    write_inputs(folder, f'[run]\nexact_exits = true\n{SCENARIO}transfer = "pio"\ndata_width = 16\n')
    rows = "".join(f"{10 * number},W,{number},1\n" for number in range(20_000))
    (folder / "trace.csv").write_text(f"time_us,op,sector,sectors\n{rows}")


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
def test_interrupt_leaves_the_earlier_result_and_nothing_else(engine: str, tmp_path: Path) -> None:
    long_inputs(tmp_path)
    old = tmp_path / "out"
    old.mkdir()
    (old / "summary.json").write_text('{"summary_version": 1, "iosim": "0.1.0"}')
    terminal, stderr = pty.openpty()
    command = [sys.executable, "-m", "iosim", "run", "scenario.toml", "--out", "out", "--engine", engine]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=stderr)
    os.close(stderr)
    shown = read_terminal(terminal, until=b"/20000")
    process.send_signal(signal.SIGINT)
    shown += read_terminal(terminal, until=b"interrupted")
    out, _ = process.communicate(timeout=30)
    os.close(terminal)
    assert (process.returncode, out) == (130, b""), shown
    assert b"Traceback" not in shown
    assert shown.rstrip().endswith(b"iosim: interrupted")
    assert names(tmp_path) == {"scenario.toml", "trace.csv", "out"}
    assert names(old) == {"summary.json"}


def test_full_disk_leaves_the_earlier_result_and_nothing_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "run", "scenario.toml", "--out", "out")
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    command = [sys.executable, "-m", "iosim", "run", "scenario.toml", "--out", "out", "--set", "run.seed=2"]

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    answer = subprocess.run(command, preexec_fn=small_files_only, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (2, "", "iosim: out: File too large\n")
    assert names(folder) == {"scenario.toml", "trace.csv", "out"}
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before


def test_progress_is_shown_on_a_terminal_only(folder: Path) -> None:
    rows = "".join(f"{500 * number},W,{8 * number},8\n" for number in range(1500))
    (folder / "trace.csv").write_text(f"time_us,op,sector,sectors\n{rows}")
    command = [sys.executable, "-m", "iosim", "run", "scenario.toml", "--out", "out"]
    piped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert piped.stderr == ""
    terminal, stderr = pty.openpty()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    os.close(stderr)
    shown = read_terminal(terminal, until=b"/1500")
    out, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert b"scenario" in shown
    assert out == piped.stdout


# Traces and profiles


def test_trace_check_says_of_each_that_it_is_fine_or_what_is_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.csv").write_text(TRACE + "1,W,0,8\n")
    answer = run(capsys, "trace", "check", "trace.csv", "bad.csv", "nope.csv", "trace.csv")
    assert answer.status == 2
    assert answer.out == "trace.csv: fine: 3 requests over 2.00 ms\n" * 2
    assert answer.err == (
        "iosim: bad.csv:5: time must not go back, got 1 us after 2000 us\niosim: nope.csv: No such file or directory\n"
    )
    assert run(capsys, "trace", "check", "trace.csv", "--format", "csv").status == 0


def test_trace_info(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "500000,W,0,8\n500100,W,8,24\n1500000,R,100,2\n1500000,R,102,2\n2500000,F,0,0\n"
    (folder / "trace.csv").write_text(f"time_us,op,sector,sectors\n{rows}")
    checksum = subprocess.run(["sha256sum", "trace.csv"], capture_output=True, text=True, check=True).stdout.split()[0]
    answer = run(capsys, "trace", "info", "trace.csv")
    # 5 requests in 2 s: 4 gaps, so 2 per second. 36 sectors of 512 bytes are 18.4 kB; sector 103 is the last, so the
    # drive needs 104. The second write and the second read begin where the first of their kind ended: 2 of 4.
    assert answer.out == textwrap.dedent(f"""\
        file        trace.csv
        format      csv
        sha256      {checksum}
        requests    5
        first at    500 ms
        span        2.00 s
        rate        2.00 requests/s on average
        peak        2 requests in one second
        moved       0.0184 MB
        sequential  50.0% begin where the last of their kind ended
        drive       needs 104 sectors (0.0532 MB)

                 requests  share      mean       p50       p99   largest
        reads           2  40.0%  1.00 KiB  1.00 KiB  1.00 KiB  1.00 KiB
        writes          2  40.0%  8.00 KiB  8.00 KiB  11.9 KiB  12.0 KiB
        flushes         1  20.0%         -         -         -         -
        """)


def test_profiles_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, "profiles")
    lines = answer.out.splitlines()
    assert [line.split("  ")[0] for line in lines if line[:1].isalpha()][:3] == ["pvm-nested", "vmx-2013", "vmx-2017"]
    assert lines[2] == "vmx-2013    KVM on VT-x, 2013"
    for name, line in zip(("pvm-nested", "vmx-2013", "vmx-2017"), (lines[1], lines[3], lines[5]), strict=True):
        text = (resources.files("iosim") / "profiles" / f"{name}.toml").read_text()
        kinds = ("published", "measured", "derived", "assumed", "included")
        counts = [(text.count(f'kind = "{kind}"'), kind) for kind in kinds]
        listed = ", ".join(f"{number} {kind}" for number, kind in counts if number)
        assert line.strip() == f"{sum(number for number, _ in counts)} costs: {listed}"


def test_profile_shows_every_cost_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, "profiles", "vmx-2013")
    text = (resources.files("iosim") / "profiles" / "vmx-2013.toml").read_text()
    # 60 cycles of a clock of 2.6 GHz are 23.08 ns, in whole nanoseconds 23.
    assert [" ".join(line.split()) for line in answer.out.splitlines()[:9]] == [
        "vmx-2013: KVM on VT-x, 2013",
        "machine: CPU not stated by the sources; a clock of 2.6 GHz is assumed",
        "origin: published cycle counts of one exit, split over the functions of the path",
        "",
        "cost mean p99 kind stage",
        "guest.block_layer 1.20 us - assumed guest_run",
        "blk_mq_dispatch_rq_list: no source found; a few hundred guest instructions and their cache misses",
        "guest.reg_w 23.0 ns - assumed guest_run",
        "ata_sff_tf_load: no source found; tens of guest instructions",
    ]
    for key in [line[6:-1] for line in text.splitlines() if line.startswith("[cost.")]:
        assert f"\n{key} " in answer.out
    assert max(map(len, answer.out.splitlines())) <= 120


def test_profile_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    answer = run(capsys, "profiles", "pvm-nested")
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "…" not in answer.out


# Start


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = textwrap.dedent("""\
        import sys
        from iosim.cli import main
        try:
            main(["--help"])
        except SystemExit as ended:
            heavy = {"numpy", "pandas", "pyarrow", "matplotlib", "scipy", "simpy", "pydantic"} & set(sys.modules)
            print(heavy or "light", ended.code)
        """)
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert answer.stdout.splitlines()[-1] == "light 0"
    assert min(spent) < 0.3


@pytest.mark.parametrize("arguments", [(), ("trace",)])
def test_without_a_command_the_help_is_printed(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, *arguments)
    assert answer.status == 2
    assert " ".join(("Usage: iosim", *arguments)) in answer.out
    assert answer.err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "version").out == f"iosim {importlib.metadata.version('iosim')}\n"


def test_fault_of_the_program_is_status_1_with_a_traceback(tmp_path: Path) -> None:
    code = (
        "import iosim.trace_view as view\n"
        "from iosim.cli import main\n"
        "del view.human_time\n"
        "main(['trace', 'check', 'trace.csv'])\n"
    )
    write_inputs(tmp_path)
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.endswith("NameError: name 'human_time' is not defined\n")


# Python


def test_python_api_gives_the_tables_that_the_command_writes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "run", "scenario.toml", "--out", "out")
    result = iosim.simulate(iosim.load("scenario.toml"))
    tables = read(folder / "out")
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(result, name).reset_index(drop=True), tables[name], check_dtype=False)
    assert result.accesses is None
    assert result.summary["requests"]["done"] == 3


def test_python_api_finds_traces_beside_the_scenario(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    scenario = iosim.load("../scenario.toml", ["vm.web.count=2"])
    assert [vm.count for vm in scenario.vm] == [2]
    assert list(iosim.simulate(scenario).requests["vm"].unique()) == ["web#0", "web#1"]


def test_python_api_raises_what_the_command_prints(folder: Path) -> None:
    with pytest.raises(ScenarioError, match=r"^nope\.toml: No such file or directory$"):
        iosim.load("nope.toml")
    (folder / "trace.csv").write_text("time_us,op,sector,sectors\n0,W,0,0\n")
    with pytest.raises(TraceError, match=r"^trace\.csv:2: a read or write must have at least 1 sector, got 0$"):
        iosim.simulate(iosim.load("scenario.toml"))
