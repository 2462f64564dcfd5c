"""Folded stacks and speedscope's profiles: the same stacks and times as the table of functions."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from iosim.exports.stacks import write_folded, write_speedscope
from iosim.results.result import Result
from iosim.results.summary import counted
from tests.support import Row, scenario, simulate

MS = 1_000_000
ROWS: list[Row] = [(MS, "W", 0, 8), (3 * MS, "R", 0, 8), (5 * MS, "F", 0, 0)]
SCHEMA = Path(__file__).parent / "data" / "speedscope-file-format-schema.json"


@pytest.fixture(scope="module")
def result() -> Result:
    return simulate(scenario([{"transfer": "pio"}, {"interface": "virtio-blk"}], qemu="1.6", kernel="3.10"), ROWS)


def folded(result: Result, folder: Path) -> dict[str, int]:
    """The lines as flamegraph.pl reads them: everything up to the last blank is the stack."""
    write_folded(result, folder / "stacks.folded")
    found: dict[str, int] = {}
    for line in (folder / "stacks.folded").read_text(encoding="utf-8").splitlines():
        match = re.fullmatch(r"(.*)\s+?(\d+(?:\.\d*)?)", line)
        assert match, line
        assert match[1] not in found
        found[match[1]] = int(match[2])
    return found


def speedscope(result: Result, folder: Path) -> Any:
    write_speedscope(result, folder / "stacks.speedscope.json")
    document = json.loads((folder / "stacks.speedscope.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    return document


def expected(result: Result) -> dict[str, int]:
    """ns by stack, the first frame VM, drive and operation, the second who has the requests."""
    sums: dict[str, int] = {}
    for vm, drive, op, carrier, stage, stack, _, ns in result.functions.values.tolist():
        waits = f"{stage};" if carrier in ("waits", "host disk") else ""
        line = f"{vm}/drive{drive} {op};{carrier};{waits}{stack}"
        sums[line] = sums.get(line, 0) + ns
    return sums


def test_folded_stacks_are_those_of_the_table(result: Result, tmp_path: Path) -> None:
    found = folded(result, tmp_path)
    assert found == expected(result)
    assert sum(found.values()) == counted(result.requests)["latency_ns"].sum()
    word = "web/drive0 W;vCPU thread;qemu_kvm_cpu_thread_fn;kvm_cpu_exec;kvm_handle_io;cpu_outl;address_space_write;"
    assert [line for line in found if line.startswith(word) and line.endswith(";ide_sector_write")]
    assert found["web/drive1 R;host disk;disk_service;submit_bio"] == 90_000


def test_speedscope_profiles_are_those_of_the_table(result: Result, tmp_path: Path) -> None:
    document = speedscope(result, tmp_path)
    names = [frame["name"] for frame in document["shared"]["frames"]]
    assert len(set(names)) == len(names)
    everything, *each = document["profiles"]
    assert everything["name"] == "all requests"
    assert [profile["name"] for profile in each] == [f"web/drive{drive} {op}" for drive in (0, 1) for op in "RWF"]
    found = {
        ";".join((profile["name"], *(names[number] for number in sample))): ns
        for profile in each
        for sample, ns in zip(profile["samples"], profile["weights"], strict=True)
    }
    assert found == expected(result)
    for profile in document["profiles"]:
        assert (profile["unit"], profile["startValue"]) == ("nanoseconds", 0)
        assert profile["endValue"] == sum(profile["weights"])
    assert everything["endValue"] == counted(result.requests)["latency_ns"].sum()
    # Stacks with callers in common stand together: going through them, none of the outermost three comes back.
    for depth in (1, 2, 3):
        outermost = [tuple(sample[:depth]) for sample in everything["samples"]]
        runs = [stack for stack, before in zip(outermost, [None, *outermost], strict=False) if stack != before]
        assert len(runs) == len(set(runs))


def test_run_of_one_kind_of_request_is_one_profile(tmp_path: Path) -> None:
    document = speedscope(simulate(scenario(), [(MS, "W", 0, 8)]), tmp_path)
    assert [profile["name"] for profile in document["profiles"]] == ["all requests"]


def test_run_without_counted_requests_is_an_empty_profile(tmp_path: Path) -> None:
    nothing = simulate(scenario(run={"warmup": "1s"}), ROWS)
    assert folded(nothing, tmp_path) == {}
    document = speedscope(nothing, tmp_path)
    assert [(profile["samples"], profile["endValue"]) for profile in document["profiles"]] == [([], 0)]
