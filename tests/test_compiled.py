"""The compiled engine gives what the SimPy engine gives: every column of every table, and the summary."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import iosim
from iosim import engines
from iosim.compiled import execution, image, logs
from iosim.compiled.twins.requests import ROWS
from iosim.machine import Machine
from iosim.model.errors import EngineError, FaultError
from iosim.results import sampling
from iosim.run import Collector, run_machine
from tests.support import Row, constant_profile, drawn_profile, same, scenario, simulate, traces
from tests.test_scenarios import FEWER_SPANS, FOLDER, SHIPPED, run

VALIDATION = ["validation/dma_w_8.toml", "validation/w30_outw_1.toml"]
MANY: list[Row] = [(40_000 * n, "RWW"[n % 3], 64 * n % 4096, 8) for n in range(400)]


@pytest.mark.parametrize("name", [*SHIPPED, *VALIDATION])
def test_shipped_scenarios_are_equal(name: str) -> None:
    first = run(name)
    other = {"simpy": "compiled", "compiled": "simpy"}[first.summary["engine"]]
    second = iosim.simulate(iosim.load(FOLDER / name, FEWER_SPANS), engine=other)
    assert second.summary["engine"] == other
    same(first, second)


@pytest.mark.parametrize("profile", [constant_profile(), drawn_profile()], ids=["constant", "drawn"])
@pytest.mark.parametrize("drive", [{"transfer": "pio"}, {"transfer": "dma"}, {"interface": "virtio-blk"}])
def test_many_requests_warmup_window_and_sampling(drive: dict[str, Any], profile: Any) -> None:
    """More requests than are sampled, and more than are kept as the slowest; some in the warm-up, some in a window."""
    run = {"warmup": "1ms", "slowest": 20, "window": {"start": "3ms", "end": "4ms"}}
    vms = [{"name": "a", "count": 3, "phase": "1ms", "drive": [drive]}]
    rows = [(at, op, sector, 1) for at, op, sector, _ in MANY] if drive.get("transfer") == "pio" else MANY
    results = [
        simulate(scenario(vms=vms, run={**run, "engine": engine}, host={"cpus": 2}), rows, profile)
        for engine in ("compiled", "simpy")
    ]
    same(*results)
    assert results[0].summary["requests"]["warmup"] > 0
    assert 20 < results[0].summary["requests"]["with_spans"] < 1200


@pytest.mark.parametrize("exact", [False, True])
def test_logs_are_added_up_alike_when_there_is_little_room(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What logs have in common is forgotten often, memory is collected often, and logs are looked at one by one."""
    monkeypatch.setattr(engines.compiled(), "least_garbage", 1 << 15)
    run = {"exact_exits": exact, "slowest": 3}
    drives: list[dict[str, Any]] = [{"index": 0}, {"index": 2, "cache": "writethrough"}, {"interface": "virtio-blk"}]
    rows = MANY[:72]
    expected = simulate(scenario(drives, run={**run, "engine": "simpy"}), rows)
    assert set(expected.functions["sampled"]) == {24, 48}
    for held, kept, at_once in ((1, 50, 1), (40, 1 << 20, 100), (1 << 12, 300, 1 << 16)):
        monkeypatch.setattr(image, "_HELD", held)
        monkeypatch.setattr(sampling, "_KEPT", kept)
        monkeypatch.setattr(logs, "_AT_ONCE", at_once)
        same(simulate(scenario(drives, run={**run, "engine": "compiled"}), rows), expected)


def test_wear_and_page_cache_come_back() -> None:
    disk = {"model": "ssd", "capacity": "16MiB", "units": 2, "block_pages": 4, "over_provisioning": 0.1}
    drives = [{"cache": "writeback", "size": "1MiB"}]
    cache = {"size": "64KiB", "dirty_bytes": "16KiB", "dirty_background_bytes": "8KiB"}
    results = [
        simulate(scenario(drives, [disk], run={"engine": engine}, page_cache=cache), MANY[:100])
        for engine in ("compiled", "simpy")
    ]
    same(*results)
    assert results[0].summary["page_cache"]["evicted"] > 0
    assert results[0].summary["wear"]["sda"]["pages_written"] > 0


def test_auto_is_compiled_for_large_work() -> None:
    """From 5,000 requests on, and 30 more for each VM: 25 VMs with 230 requests each."""
    described = scenario(vms=[{"name": "a", "count": 25, "drive": [{}]}], run={"engine": "auto"})
    assert engines.choose(described, traces(described, MANY[:230])) == "compiled"
    assert engines.choose(described, traces(described, MANY[:229])) == "simpy"
    # Exit by exit a request by DMA counts as 7, one in PIO mode as 400.
    for drives, n in (([{"transfer": "pio"}], 13), ([{"index": 0}, {"index": 2}], 360)):
        exact = scenario(drives, run={"engine": "auto", "exact_exits": True})
        assert [engines.choose(exact, traces(exact, MANY[:k])) for k in (n - 1, n)] == ["simpy", "compiled"]
    virtio = scenario([{"interface": "virtio-blk"}], run={"engine": "auto", "exact_exits": True})
    assert engines.choose(virtio, traces(virtio, MANY)) == "simpy"
    assert engines.choose(scenario(run={"engine": "compiled"}), traces(exact, MANY[:1])) == "compiled"


def test_more_rows_than_the_native_block_holds_and_some_unfinished() -> None:
    """Requests arrive faster than they are served: many are under way at the end of the run."""
    rows: list[Row] = [(2000 * n, "RW"[n % 2], 8 * n, 8) for n in range(ROWS + 500)]
    results = [
        simulate(scenario([{}, {"index": 2}], run={"engine": engine, "duration": "12ms", "slowest": 1}), [rows, rows])
        for engine in ("compiled", "simpy")
    ]
    same(*results)
    assert results[0].summary["requests"]["in"] == 2 * len(rows)
    assert results[0].summary["requests"]["unfinished"] > ROWS


def test_what_goes_wrong_with_rows_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    described = scenario()

    def fail(machine: Machine, collector: Collector) -> int:
        collector.take = broken  # type: ignore[method-assign]
        return execution.execute(engines.compiled(), machine, collector)

    def broken(rows: Any) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run_machine(described, constant_profile(), traces(described, MANY), Path(), execute=fail)
    same(*[simulate(scenario(run={"engine": engine}), MANY[:2]) for engine in ("compiled", "simpy")])


@pytest.mark.parametrize("speed", ["3", "0.7"])
def test_a_faster_or_slower_trace_is_equal(speed: str) -> None:
    drives = [{"trace_speed": float(speed)}]
    same(*[simulate(scenario(drives, run={"engine": engine}), MANY[:100]) for engine in ("compiled", "simpy")])


def test_progress_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_SHOW_S", 0.0001)
    seen: list[tuple[int, int]] = []
    described = scenario([{"transfer": "pio"}], run={"engine": "compiled"})
    execute = engines.executor("compiled")
    rows = [(10_000 * n, "W", 0, 1) for n in range(1000)]
    run_machine(described, drawn_profile(), traces(described, rows), Path(), lambda *done: seen.append(done), execute)
    ended = [done for done, total in seen if total == 1000]
    assert len(ended) == len(seen) > 2
    assert ended == sorted(ended)


def test_what_is_not_compiled_is_refused_by_name() -> None:
    class Foreign:
        pass

    def plant_and_execute(machine: Machine, collector: Collector) -> int:
        machine.vms[0].life.foreign = Foreign()  # type: ignore[attr-defined]
        return execution.execute(engines.compiled(), machine, collector)

    described = scenario()
    with pytest.raises(EngineError, match=r"^the compiled engine does not know Lifecycle\.foreign$"):
        run_machine(described, constant_profile(), traces(described, MANY[:2]), Path(), execute=plant_and_execute)
    same(*[simulate(scenario(run={"engine": engine}), MANY[:2]) for engine in ("compiled", "simpy")])


def test_a_number_of_64_bits_that_is_annotated_as_an_int_is_refused() -> None:
    def plant_and_execute(machine: Machine, collector: Collector) -> int:
        machine.vms[0].life._n_hopeless = 1 << 62
        return execution.execute(engines.compiled(), machine, collector)

    described = scenario()
    with pytest.raises(EngineError, match=r"^Lifecycle\._n_hopeless is 4611686018427387904: more than 63 bits"):
        run_machine(described, constant_profile(), traces(described, MANY[:2]), Path(), execute=plant_and_execute)


def test_the_end_of_the_clock_is_refused() -> None:
    disks = [{"model": "constant", "service": "1000000h"}]
    with pytest.raises(EngineError, match="ends after 146 years"):
        simulate(scenario(disks=disks, run={"engine": "compiled"}), MANY[:2])


def test_a_native_stop_ends_the_run_and_not_the_process() -> None:
    """Native code that meets what cannot be: the run has an error, and the next one goes well."""
    native = engines.compiled()
    described = scenario()

    def stop(machine: Machine, collector: Collector) -> int:
        collector.first.clear()
        return execution.execute(native, machine, collector)

    with pytest.raises(FaultError, match=r"^the compiled engine has stopped: a key is not in the dictionary or set$"):
        run_machine(described, constant_profile(), traces(described, MANY[:2]), Path(), execute=stop)
    same(*[simulate(scenario(run={"engine": engine}), MANY[:2]) for engine in ("compiled", "simpy")])


def test_none_where_an_object_should_be_ends_the_run_and_not_the_process() -> None:
    native = engines.compiled()
    described = scenario()

    def plant_and_execute(machine: Machine, collector: Collector) -> int:
        machine.vms[0].life._guest = None  # type: ignore[assignment]
        return execution.execute(native, machine, collector)

    inputs = traces(described, MANY[:2])
    for _ in range(2):
        with pytest.raises(FaultError, match=r"^the compiled engine has stopped: what should be an object is none$"):
            run_machine(described, constant_profile(), inputs, Path(), execute=plant_and_execute)
        same(*[simulate(scenario(run={"engine": engine}), MANY[:2]) for engine in ("compiled", "simpy")])


def test_other_faults_end_the_process_as_before() -> None:
    """Behind a run, and in a thread that runs no native code, whoever handles the signal is who did before."""
    program = (
        "import ctypes, faulthandler, sys, threading; from iosim.compiled import faults; faulthandler.enable(); "
        "inside = faults.reported(lambda what: print(what, flush=True)); "
        "thread = threading.Thread(target=lambda: (inside.__enter__(), ctypes.string_at(0) if ARGUMENT else None, "
        "inside.__exit__(None, None, None))); thread.start(); thread.join(); ctypes.string_at(0)"
    )
    for here in (0, 1):
        text = program.replace("ARGUMENT", str(here))
        other = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
        assert other.returncode == -signal.SIGSEGV
        assert "Fatal Python error: Segmentation fault" in other.stderr
        assert ("what should be an object is none" in other.stdout) == bool(here)


def test_runs_in_one_process_and_in_several_are_equal() -> None:
    described = iosim.load(FOLDER / "failing-disk.toml", FEWER_SPANS)
    first, second = (iosim.simulate(described, engine="compiled") for _ in range(2))
    same(first, second)
    program = (
        "import iosim; import sys; "
        f"iosim.simulate(iosim.load({str(FOLDER / 'failing-disk.toml')!r}), engine='compiled')"
        ".requests.to_parquet(sys.stdout.buffer)"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env={**os.environ})
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(other.stdout)), first.requests, check_exact=True)


@pytest.mark.parametrize("seed", [(1 << 62) - 1, 1 << 62, (1 << 63) - 1])
def test_a_seed_may_have_all_its_bits(seed: int) -> None:
    cache = {"size": "64KiB", "dirty_bytes": "16KiB", "dirty_background_bytes": "8KiB"}
    drives = [{"cache": "writeback", "size": "1MiB"}, {"cache": "none", "size": "1MiB"}]
    same(
        *[
            simulate(
                scenario(drives, run={"engine": engine, "seed": seed}, page_cache=cache), MANY[:40], drawn_profile()
            )
            for engine in ("compiled", "simpy")
        ]
    )
