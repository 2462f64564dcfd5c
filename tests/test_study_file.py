"""Study files: the points they stand for, and the one line that a wrong one is refused with before anything runs."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from iosim.model.units import parse_bytes, parse_ns
from iosim.study import study_file
from iosim.study.points import Point, points
from iosim.study.terminal import short_names
from tests.commandline import run
from tests.studies import SCENARIO, STUDY, TRACE, write_study

HEAD = '[study]\nscenario = "scenario.toml"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with study.toml, scenario.toml and trace.csv in it."""
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def described(folder: Path, text: str, *options: str) -> list[Point]:
    """The points of a study that begins with HEAD."""
    (folder / "study.toml").write_text(HEAD + text)
    path = Path("study.toml")
    return points(study_file.load(path), path, options)


def changes(found: list[Point]) -> dict[str, str]:
    return {point.name: point.label() for point in found}


# Points


def test_grid_has_every_combination_behind_the_base(folder: Path) -> None:
    assert changes(described(folder, STUDY.partition("replications = 3\n")[2])) == {
        "base": "",
        "grid-1": "vm.web.count=1, vm.web.drive.interface=ide",
        "grid-2": "vm.web.count=1, vm.web.drive.interface=virtio-blk",
        "grid-3": "vm.web.count=2, vm.web.drive.interface=ide",
        "grid-4": "vm.web.count=2, vm.web.drive.interface=virtio-blk",
    }


def test_points_are_the_base_with_their_changes(folder: Path) -> None:
    found = described(folder, '[grid]\nvm.web.count = [1, 2]\nvm.web.drive.interface = ["ide", "virtio-blk"]\n')
    assert [(p.scenario.vm[0].count, p.scenario.vm[0].drive[0].interface) for p in found] == [
        (1, "ide"),
        (1, "ide"),
        (1, "virtio-blk"),
        (2, "ide"),
        (2, "virtio-blk"),
    ]


def test_key_paths_may_be_quoted(folder: Path) -> None:
    quoted = described(folder, '[grid]\n"vm.web.count" = [1, 2]\n')
    assert quoted == described(folder, "[grid]\nvm.web.count = [1, 2]\n")


def test_names_of_a_kind_sort_as_its_points_do(folder: Path) -> None:
    names = [point.name for point in described(folder, f"[grid]\nvm.web.count = {list(range(1, 13))}\n")]
    assert names[:3] == ["base", "grid-01", "grid-02"]
    assert names == sorted(names)


def test_list_grid_and_sample_come_one_after_the_other(folder: Path) -> None:
    text = """\
[[point]]
name = "two"
set = { vm.web.count = 2 }
[[point]]
set = { vm.web.drive.trace = "trace.csv", host.profile = "vmx-2013" }
[grid]
vm.web.count = [3]
[sample]
size = 2
range = { vm.web.count = [4] }
"""
    assert changes(described(folder, text)) == {
        "base": "",
        "two": "vm.web.count=2",
        "point-2": "vm.web.drive.trace=trace.csv, host.profile=vmx-2013",
        "grid-1": "vm.web.count=3",
        "sample-1": "vm.web.count=4",
        "sample-2": "vm.web.count=4",
    }


def test_a_point_as_the_reference_leaves_out_the_base(folder: Path) -> None:
    text = 'reference = "grid-2"\n[grid]\nvm.web.count = [1, 2]\n'
    assert [point.name for point in described(folder, text)] == ["grid-1", "grid-2"]


def test_changes_of_the_study_and_the_command_line_are_below_those_of_the_points(folder: Path) -> None:
    text = "seed = 7\n[set]\nvm.web.count = 5\nhost.cpus = 2\n[grid]\nvm.web.count = [1]\n"
    base, point = described(folder, text, "host.cpus=3", "run.slowest=0")
    assert (base.scenario.vm[0].count, point.scenario.vm[0].count) == (5, 1)
    for found in (base.scenario, point.scenario):
        assert (found.host.cpus, found.run.slowest, found.run.seed) == (3, 0, 7)


def test_a_table_is_a_value_where_it_stands_in_a_list(folder: Path) -> None:
    text = '[grid]\nhost.disk.sda.window = [[], [{ start = "1ms", end = "2ms", factor = 10 }]]\n'
    found = described(folder, text)
    assert found[2].label() == 'host.disk.sda.window=[{start = "1ms", end = "2ms", factor = 10}]'
    assert [len(point.scenario.host.disk[0].window) for point in found] == [0, 0, 1]


# Latin hypercubes: of 20 points one lies in each twentieth of a range.


def sampled(folder: Path, range_: str, size: int = 20) -> list[object]:
    found = described(folder, f"[sample]\nsize = {size}\n[sample.range]\n{range_}\n")[1:]
    return [value for point in found for value in point.changes.values()]


def test_sample_has_each_whole_number_equally_often(folder: Path) -> None:
    assert Counter(sampled(folder, "vm.web.count = { low = 3, high = 7 }")) == dict.fromkeys(range(3, 8), 4)


def test_sample_has_each_of_a_list_equally_often(folder: Path) -> None:
    values = sampled(folder, 'vm.web.drive.interface = ["ide", "virtio-blk"]')
    assert Counter(values) == {"ide": 10, "virtio-blk": 10}


def test_sample_of_times_has_one_in_each_part(folder: Path) -> None:
    times = [parse_ns(text) for text in sampled(folder, 'host.disk.sda.service = { low = "10us", high = "30us" }')]
    assert sorted((time - 10_000) // 1000 for time in times) == list(range(20))


def test_logarithmic_sample_has_one_in_each_part(folder: Path) -> None:
    text = 'host.disk.sda.service = { low = "1us", high = "100us", scale = "log" }'
    parts = [parse_ns(str(time)) for time in sampled(folder, text, 4)]
    assert [sum(low <= part < high for part in parts) for low, high in ((1000, 10_000), (10_000, 100_000))] == [2, 2]


def test_sample_of_sizes_is_of_whole_sectors(folder: Path) -> None:
    sizes = [parse_bytes(text) for text in sampled(folder, 'vm.web.drive.size = { low = "1GiB", high = "2GiB" }')]
    assert all(size % 512 == 0 and 1 << 30 <= size <= 1 << 31 for size in sizes)
    assert len(set(sizes)) == 20


def test_sample_depends_on_its_seed_alone(folder: Path) -> None:
    text = "[sample]\nsize = 5\nseed = {}\n[sample.range]\nvm.web.count = {{ low = 1, high = 4096 }}\n"
    first, again, other = (described(folder, text.format(seed)) for seed in (1, 1, 2))
    assert changes(first) == changes(again) != changes(other)


def test_columns_are_named_by_as_much_of_the_key_as_tells_them_apart() -> None:
    assert short_names(["vm.web.count", "host.disk.a.service", "host.disk.b.service"]) == [
        "count",
        "a.service",
        "b.service",
    ]


# Refused


class Case(NamedTuple):
    """What differs from the good files, and the one line behind ``iosim: ``."""

    study: str
    message: str
    scenario: str = SCENARIO
    trace: str = TRACE
    options: tuple[str, ...] = ()


GRID = "[grid]\nvm.web.count = [1, 2]\n"

REFUSED = {
    "no study table": Case("[grid]\na = [1]\n", "study.toml: study is required"),
    "not TOML": Case(
        "[study\n", "study.toml: is not TOML: Expected ']' at the end of a table declaration (at line 1, column 7)"
    ),
    "no scenario": Case("[study]\n", "study.toml: study.scenario is required"),
    "unknown key": Case(
        HEAD + "replication = 3\n" + GRID, "study.toml: study.replication is not a key; did you mean replications?"
    ),
    "no points": Case(HEAD, "study.toml: a [grid], a [[point]] or a [sample] is required"),
    "no replications": Case(
        HEAD + "replications = 0\n" + GRID, "study.toml: study.replications must be at least 1, got 0"
    ),
    "missing scenario": Case('[study]\nscenario = "nope.toml"\n' + GRID, "nope.toml: No such file or directory"),
    "wrong scenario": Case(
        HEAD + GRID,
        "scenario.toml: vm.web.count must be at least 1, got 0",
        SCENARIO.replace('name = "web"', 'name = "web"\ncount = 0'),
    ),
    "value that is no list": Case(
        HEAD + "[grid]\nvm.web.count = 2\n", "study.toml: grid.vm.web.count must be a list of values, got 2"
    ),
    "no values": Case(
        HEAD + "[grid]\nvm.web.count = []\n", "study.toml: grid.vm.web.count must be a list of values, got []"
    ),
    "wrong value": Case(
        HEAD + "[grid]\nvm.web.count = [1, 0]\n", "study.toml: point grid-2: vm.web.count must be at least 1, got 0"
    ),
    "unknown key of the scenario": Case(
        HEAD + '[grid]\nvm.web.drive.cach = ["none"]\n',
        "study.toml: point grid-1: vm.web.drive.0.cach is not a key; did you mean cache?",
    ),
    "unknown VM": Case(
        HEAD + "[grid]\nvm.wbe.count = [1]\n", "study.toml: point grid-1: vm.wbe.count has no element 'wbe'"
    ),
    "values that do not fit together": Case(
        HEAD + '[set]\nvm.web.drive = [{ trace = "trace.csv", interface = "virtio-blk", iothread = true }]\n'
        '[grid]\nvm.web.qemu = ["7.2", "1.6"]\n',
        "study.toml: point grid-2: vm.web.drive.0.iothread needs qemu 7.2, got qemu '1.6'",
    ),
    "missing trace at one point": Case(
        HEAD + '[grid]\nvm.web.drive.trace = ["trace.csv", "no.csv"]\n',
        "study.toml: point grid-2: no.csv: No such file or directory",
    ),
    "broken trace": Case(
        HEAD + GRID,
        "study.toml: point base: trace.csv:2: op must be R, W or F, got 'X'",
        trace="time_us,op,sector,sectors\n0,X,0,8\n",
    ),
    "unknown profile at one point": Case(
        HEAD + '[grid]\nhost.profile = ["vmx"]\n',
        "study.toml: point grid-1: host.profile must be one of pvm-nested, vmx-2013, vmx-2017, or a .toml file, "
        "got 'vmx'",
    ),
    "disk that cannot be built": Case(
        HEAD + '[grid]\nhost.disk.sda.capacity = ["1KiB"]\n',
        "study.toml: point grid-1: host.disk.sda: has 2 sectors, the images on it need 1864",
    ),
    "seed that is varied": Case(
        HEAD + "[grid]\nrun.seed = [1, 2]\n",
        "study.toml: point grid-2: run.seed must be left out: replications choose it",
    ),
    "name twice": Case(
        HEAD + '[[point]]\nname = "grid-1"\nset = { vm.web.count = 2 }\n' + GRID,
        "study.toml: two points have the name grid-1",
    ),
    "name of the base": Case(
        HEAD + '[[point]]\nname = "base"\nset = { vm.web.count = 2 }\n', "study.toml: two points have the name base"
    ),
    "unknown reference": Case(
        HEAD + 'reference = "grid-9"\n' + GRID,
        "study.toml: study.reference must be base or the name of a point, got 'grid-9'",
    ),
    "empty change": Case(
        HEAD + "[[point]]\nset = { }\n", "study.toml: point.0.set must have at least one entry, got 0"
    ),
    "empty part of a key": Case(
        HEAD + '[grid]\n"vm..count" = [1]\n', "study.toml: grid: a key path must have no empty part, got 'vm..count'"
    ),
    "too many points": Case(
        HEAD + f"[grid]\nvm.web.count = {list(range(1, 1001))}\nhost.cpus = {list(range(1, 102))}\n",
        "study.toml: a study has at most 100000 points, got more (101000 of the grid)",
    ),
    "range without an end": Case(
        HEAD + "[sample]\nsize = 2\nrange = { vm.web.count = { low = 1 } }\n",
        "study.toml: sample.range.vm.web.count: high is required",
    ),
    "range the wrong way": Case(
        HEAD + "[sample]\nsize = 2\nrange = { vm.web.count = { low = 2, high = 1 } }\n",
        "study.toml: sample.range.vm.web.count.low must be below high, got 2 and 1",
    ),
    "range of two kinds": Case(
        HEAD + '[sample]\nsize = 2\nrange = { vm.web.offset = { low = "1ms", high = 2 } }\n',
        "study.toml: sample.range.vm.web.offset must have low and high of one kind, got '1ms' and 2",
    ),
    "range in a wrong unit": Case(
        HEAD + '[sample]\nsize = 2\nrange = { vm.web.offset = { low = "1 sec", high = "2s" } }\n',
        "study.toml: sample.range.vm.web.offset.low must have one of the units ns, us, ms, s, min, h, got '1 sec'",
    ),
    "logarithm of 0": Case(
        HEAD + '[sample]\nsize = 2\nrange = { vm.web.offset = { low = "0s", high = "2s", scale = "log" } }\n',
        "study.toml: sample.range.vm.web.offset.low must be above 0 with scale log, got '0s'",
    ),
    "confidence of one": Case(
        HEAD + GRID + "[statistics]\nconfidence = 1.0\n", "study.toml: statistics.confidence must be below 1, got 1.0"
    ),
    "unknown metric": Case(
        HEAD + GRID + '[statistics.until]\nmetric = "p99"\nwithin = 0.05\n',
        "study.toml: statistics.until.metric must be a metric of docs/studies.md, got 'p99'",
    ),
    "stop rule with one replication": Case(
        HEAD + "replications = 1\n" + GRID + '[statistics.until]\nmetric = "latency_p99"\nwithin = 0.05\n',
        "study.toml: study.replications must be at least 2 with statistics.until, got 1",
    ),
    "stop rule that stops too early": Case(
        HEAD + GRID + '[statistics.until]\nmetric = "latency_p99"\nwithin = 0.05\nmax_replications = 5\n',
        "study.toml: statistics.until.max_replications must be at least study.replications, got 5 and 10",
    ),
    "wrong --set": Case(
        HEAD + GRID, "study.toml: --set must be key.path=value, got 'vm.web.count'", options=("--set", "vm.web.count")
    ),
    "--set that breaks a rule": Case(
        HEAD + GRID,
        "study.toml: set: vm.web.offset must not be negative, got '-1s'",
        options=("--set", "vm.web.offset=-1s"),
    ),
    "no workers": Case(
        HEAD + GRID,
        "Invalid value for '--workers': Input should be greater than or equal to 1",
        options=("--workers", "0"),
    ),
    "workers of a cluster": Case(
        HEAD + GRID,
        "--workers and --scheduler cannot be given together: the cluster has its own workers",
        options=("--workers", "2", "--scheduler", "tcp://127.0.0.1:8786"),
    ),
    "scheduler without an address": Case(
        HEAD + GRID, "--scheduler must be tcp://host:port, got 'localhost'", options=("--scheduler", "localhost")
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_studies_are_refused_before_anything_runs(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = REFUSED[name]
    write_study(folder, case.study, case.scenario, case.trace)
    answer = run(capsys, "sweep", "study.toml", "--out", "out", *case.options)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == f"iosim: {case.message}\n"
    assert not (folder / "out").exists()
