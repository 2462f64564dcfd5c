"""Every shipped scenario runs, keeps what every run must keep, and says which question it answers."""

from functools import cache
from pathlib import Path

import pytest

import iosim
from iosim.results.result import Result
from tests.support import check

FOLDER = Path(__file__).parents[1] / "scenarios"
SHIPPED = sorted(str(path.relative_to(FOLDER)) for path in [*FOLDER.glob("*.toml"), *FOLDER.glob("interfaces/*.toml")])
FEWER_SPANS = ["run.slowest=1"]


@cache
def run(name: str, *changes: str) -> Result:
    return iosim.simulate(iosim.load(FOLDER / name, [*FEWER_SPANS, *changes]))


def test_the_promised_scenarios_are_shipped() -> None:
    promised = {
        "seed-path.toml",
        "linux-pio.toml",
        "linux-dma.toml",
        "linux-ext4.toml",
        "eight-vms.toml",
        "virtio-blk.toml",
        "interfaces/ide-pio.toml",
        "interfaces/ide-dma.toml",
        "interfaces/virtio-blk.toml",
        "interfaces/virtio-blk-iothread.toml",
        "cpus.toml",
        "cache-modes.toml",
        "versions.toml",
        "failing-disk.toml",
        "port-accesses.toml",
    }
    assert promised <= set(SHIPPED)


CUT_OFF = ["port-accesses.toml"]
"""Its recording ends within a command."""


@pytest.mark.parametrize("name", SHIPPED)
def test_scenario_begins_with_its_question(name: str) -> None:
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    heading = [line.removeprefix("#").strip() for line in lines[: next(n for n, s in enumerate(lines) if s[:1] != "#")]]
    question = " ".join(heading).partition("?")[0]
    assert question[:1].isupper()
    assert "?" in " ".join(heading)


@pytest.mark.parametrize("name", SHIPPED)
def test_scenario_runs_and_every_request_is_done(name: str) -> None:
    result = run(name)
    check(result)
    assert set(result.requests["status"][: len(result.requests) - (name in CUT_OFF)]) == {"ok"}
    if name in CUT_OFF:
        assert result.requests["status"].iloc[-1] == "unfinished"


def test_seed_path_has_the_275_exits_of_the_seed() -> None:
    table = run("seed-path.toml").requests
    assert len(table) == 48
    assert set(table["sectors"]) == {1}
    assert set(table["userspace_exits"]) == {275}


def test_linux_dma_has_26_exits_whatever_the_size() -> None:
    table = run("linux-dma.toml").requests
    assert set(table.loc[table["op"] != "F", "sectors"]) == {1, 2, 8, 16, 32, 128}
    assert set(table.loc[table["op"] != "F", "userspace_exits"]) == {26}
    assert set(table.loc[table["op"] == "F", "userspace_exits"]) == {12}


def test_virtio_blk_has_one_exit_and_needs_less_than_half_the_time_of_dma_beside_the_disk() -> None:
    virtio, dma = (run(name).requests for name in ("virtio-blk.toml", "linux-dma.toml"))
    assert set(virtio["exits"]) == {1}
    assert set(virtio["userspace_exits"]) == {0}
    assert virtio["disk_service_ns"].tolist() == dma["disk_service_ns"].tolist()
    beside = [(table["latency_ns"] - table["disk_service_ns"]).mean() for table in (virtio, dma)]
    assert 2 * beside[0] < beside[1]


def test_linux_pio_has_the_exits_of_multiple_commands_of_32_bits() -> None:
    """14 + 5K registers, 128 words a sector written, one exit a sector read (domain.md 2.3); flushes 12."""
    table = run("linux-pio.toml").requests
    expected = [
        12 if op == "F" else 14 + 5 * -(-sectors // 16) + sectors * {"W": 128, "R": 1}[op]
        for op, sectors in zip(table["op"], table["sectors"], strict=True)
    ]
    assert table["userspace_exits"].tolist() == expected


def test_linux_ext4_uses_lba48_for_its_large_writes() -> None:
    table = run("linux-ext4.toml").requests
    assert table["op"].value_counts().to_dict() == {"W": 106, "F": 67, "R": 25}
    assert set(table.loc[table["sectors"] > 256, "userspace_exits"]) == {31}
    assert (table["sectors"] > 256).sum() == 4


def test_eight_vms_wait_for_each_other_at_the_disk_and_one_does_not() -> None:
    eight, one = run("eight-vms.toml"), run("eight-vms.toml", "vm.linux.count=1")
    assert sorted(set(eight.requests["vm"])) == [f"linux#{k}" for k in range(8)]
    assert len(eight.requests) == 8 * 198 == 8 * len(one.requests)
    assert one.requests["disk_wait_ns"].sum() == 0
    assert eight.requests["disk_wait_ns"].mean() > eight.requests["disk_service_ns"].mean()
    assert eight.requests["latency_ns"].mean() > 2 * one.requests["latency_ns"].mean()
