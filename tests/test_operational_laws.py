"""Operational laws: a result that was tampered with breaks them, and the program says so; no run does by itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iosim import simulation
from iosim.analytic.laws import check, require
from iosim.model.errors import FaultError
from iosim.model.scenario import Scenario
from iosim.results.result import Result
from tests.commandline import run, write_inputs
from tests.support import Row, scenario, simulate

MS = 1_000_000
ROWS: list[Row] = [(n * MS // 4, op, 8 * n, 8) for n, op in enumerate("WRWFRRWF" * 3)]
"""Every 250 us; the disk takes 90 us."""


def shared(**run_table: str) -> Result:
    """Two VMs on one disk, an IDE and a virtio-blk drive each, all closed but the first."""
    drives: list[dict[str, Any]] = [
        {"index": 0},
        {"interface": "virtio-blk", "request_merging": False, "replay": "closed"},
    ]
    return simulate(scenario(drives, run=run_table, count=2), ROWS)


def with_level(result: Result, resource: str, **values: float) -> Result:
    """The result with other figures of a resource."""
    resources = result.resources.copy()
    for column, value in values.items():
        resources.loc[resources["resource"] == resource, column] = value
    return replace(result, resources=resources)


def level(result: Result, resource: str, column: str) -> float:
    return float(result.resources.set_index("resource")[column].to_dict()[resource])


def with_request(result: Result, row: int, **more_ns: int) -> Result:
    """The result with some times of the request in a row of the table longer."""
    requests = result.requests.copy()
    for name, ns in more_ns.items():
        values = requests[f"{name}_ns"].to_numpy(copy=True)
        values[row] += ns
        requests[f"{name}_ns"] = values
    return replace(result, requests=requests)


def broken(result: Result) -> list[tuple[str, str]]:
    return [(violation.law, violation.subject) for violation in check(result)]


# No run breaks them (tests.support.check asks so after every simulation of the test suite)


@pytest.mark.parametrize(
    "run_table",
    [{}, {"warmup": "2ms"}, {"duration": "3210us"}, {"warmup": "1999us", "duration": "3333us"}, {"duration": "1us"}],
    ids=str,
)
def test_requests_cut_by_the_ends_of_a_run_break_nothing(run_table: dict[str, str]) -> None:
    result = shared(**run_table)
    assert check(result) == []
    require(result)


# Tampered results


def test_a_disk_that_is_busier_than_its_servers_can_be() -> None:
    result = shared()
    end = float(result.summary["end_ns"])
    wrong = with_level(result, "disk/sda", busy_ns=round(1.2 * end), utilisation=1.2)
    assert ("U <= 1", "disk/sda") in broken(wrong)
    with pytest.raises(FaultError, match=r"disk/sda: busy for .* utilisation 1\.2 \(U <= 1\)"):
        require(wrong)


def test_a_disk_that_is_busy_for_longer_than_requests_are_served() -> None:
    result = shared()
    busy = level(result, "disk/sda", "busy_ns")
    more = with_level(result, "disk/sda", busy_ns=busy + 1000, utilisation=(busy + 1000) / result.summary["end_ns"])
    assert broken(more) == [("U = X D", "disk/sda")]
    less = with_level(result, "disk/sda", busy_ns=busy - 1000, utilisation=(busy - 1000) / result.summary["end_ns"])
    assert broken(less) == [("U = X D", "disk/sda")]
    assert str(check(less)[0]).startswith("disk/sda: busy for ")


def test_a_utilisation_that_is_not_busy_time_over_time() -> None:
    result = shared()
    half = level(result, "web#0/bql", "utilisation") / 2
    assert broken(with_level(result, "web#0/bql", utilisation=half)) == [("U <= 1", "web#0/bql")]


@pytest.mark.parametrize("resource", ["web#1/channel0", "web#1/drive1"])
def test_a_queue_that_nobody_waits_in(resource: str) -> None:
    result = shared()
    queue = level(result, resource, "mean_queue") + 0.5
    assert broken(with_level(result, resource, mean_queue=queue)) == [("N = X R", resource)]


@pytest.mark.parametrize("resource", ["web#1/channel0", "web#1/drive1"])
def test_a_gate_that_is_held_for_less_than_requests_are_behind_it(resource: str) -> None:
    result = shared()
    busy = level(result, resource, "busy_ns") * 0.9
    share = busy / result.summary["end_ns"] / level(result, resource, "servers")
    assert broken(with_level(result, resource, busy_ns=round(busy), utilisation=share)) == [("N = X R", resource)]


@pytest.mark.parametrize(
    ("resource", "subject"), [("web#0/vcpu0", "web#0, its vCPUs"), ("web#0/main_loop", "web#0, its event loops")]
)
def test_a_thread_that_works_for_requests_while_it_is_not_busy(resource: str, subject: str) -> None:
    wrong = with_level(shared(), resource, busy_ns=0, utilisation=0.0)
    assert broken(wrong) == [("U = X D", subject)]


def test_cpus_that_do_not_add_up() -> None:
    result = simulate(scenario(host={"cpus": 2}, count=2), ROWS)
    assert check(result) == []
    busy = level(result, "cpu1", "busy_ns") + 10
    wrong = with_level(result, "cpu1", busy_ns=busy, utilisation=busy / result.summary["end_ns"])
    assert broken(wrong) == [("U = X D", "cpus")]


def test_a_stage_that_is_not_in_the_latency() -> None:
    wrong = with_request(shared(), 3, kvm_exit_handling=1)
    assert broken(wrong) == [("R >= sum of demands", "request 3 of web#0 drive 0")]
    assert "; 1 such requests" in str(check(wrong)[0])


def test_a_negative_stage() -> None:
    wrong = with_request(shared(), 5, throttle_wait=-7, guest_run=7)
    assert broken(wrong) == [("R >= sum of demands", "request 5 of web#0 drive 0")]


def test_a_request_that_came_before_the_last_was_done() -> None:
    """Its wait in the guest's block layer begins a bit earlier, so that its own times still agree."""
    result = shared()
    requests = result.requests
    row = int(((requests["vm"] == "web#1") & (requests["drive"] == 1)).to_numpy().argmax()) + 4
    wrong = with_request(result, row, arrival=-50, latency=50, guest_queue=50)
    assert ("N <= customers", "web#1 drive 1") in broken(wrong)


def test_a_lost_request() -> None:
    result = shared()
    lost = replace(result, requests=result.requests.drop(index=2).reset_index(drop=True))
    assert {law for law, _ in broken(lost)} == {"X = C / T", "U = X D", "N = X R"}


def test_a_throughput_that_is_not_that_of_the_requests() -> None:
    result = shared()
    wrong = replace(result, summary={**result.summary, "throughput_per_s": 1.0})
    assert broken(wrong) == [("X = C / T", "summary")]


# The command


def test_a_fault_of_the_program_has_status_1_and_leaves_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second scenario of the batch that is right is written."""

    run_and_tabulate = simulation.run_and_tabulate

    def tampered(described: Scenario, *inputs: Any) -> Result:
        result = run_and_tabulate(described, *inputs)
        return with_level(result, "disk/sda", busy_ns=0, utilisation=0.0) if described.run.seed == 2 else result

    monkeypatch.setattr(simulation, "run_and_tabulate", tampered)
    write_inputs(tmp_path)
    text = (tmp_path / "scenario.toml").read_text(encoding="utf-8")
    (tmp_path / "wrong.toml").write_text("[run]\nseed = 2\n" + text, encoding="utf-8")
    answer = run(
        capsys, "run", str(tmp_path / "wrong.toml"), str(tmp_path / "scenario.toml"), "--out", f"{tmp_path}/out"
    )
    assert answer.status == 1
    assert answer.err.count("\n") == 1
    assert answer.err.startswith(
        f"iosim: fault of the program: {tmp_path / 'wrong.toml'}: the result breaks operational "
    )
    assert "disk/sda: busy for 0 ns, by the requests 270 us (U = X D); nothing was written" in answer.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["batch.csv", "scenario"]
