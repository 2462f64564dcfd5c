"""The report on the terminal: every printed number agrees with the tables, and nothing is cut off."""

import io
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from iosim.report.doubts import doubts
from iosim.results.summary import is_resolved
from iosim.results.terminal import headline, stage_table
from tests.commandline import SCENARIO, run, write_inputs
from tests.support import STAGES, constant_profile, drawn_profile, scenario, simulate

UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
TITLES = {"latency": "Latency in the guest", "stages": "Where the time of a request goes", "exits": "VM exits"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two VMs with two drives each, reads, writes and flushes, background exits, and a warm-up."""
    folder = tmp_path_factory.mktemp("report")
    text = SCENARIO.replace('name = "web"', 'name = "web"\ncount = 2\nqemu = "1.6"\nkernel = "3.10"')
    text += (
        'transfer = "pio"\n[[vm.drive]]\nindex = 2\ncache = "directsync"\ntrace = "trace.csv"\n'
        '[[vm.background]]\nreason = "MSR_WRITE"\nrate = 900\n'
    )
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.exponential(9000, size=300)).round(3)
    rows = [f"{t:.3f},{op},{int(s)},{int(n)}" for t, op, s, n in zip(
        times, rng.choice(list("RW"), 300), rng.integers(0, 10_000, 300), rng.integers(1, 17, 300), strict=True
    )]  # fmt: skip
    rows[20::25] = [f"{row.split(',')[0]},F,0,0" for row in rows[20::25]]
    write_inputs(folder, '[run]\nwarmup = "50ms"\n' + text, "time_us,op,sector,sectors\n" + "\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def reports(folder: Path) -> dict[int, str]:
    """What the run prints in 80 and in 120 columns."""
    texts = {}
    for width in (80, 120):
        answer = subprocess.run(
            [sys.executable, "-m", "iosim", "run", "scenario.toml", "--out", "out"],
            cwd=folder,
            env=os.environ | {"COLUMNS": str(width)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stderr == ""
        texts[width] = answer.stdout
    return texts


def block(text: str, title: str) -> tuple[str, list[list[str]]]:
    """Return the title line of a table of the report, and its rows in cells, the header first."""
    lines = text.split("\n")
    first = next(number for number, line in enumerate(lines) if line.startswith(title))
    rows = lines[first + 1 : lines.index("", first)]
    return lines[first], [row.split() for row in rows]


def assert_agrees(text: str, value: float) -> None:
    """The number that *text* begins with is *value*, rounded to its last digit."""
    match = re.fullmatch(r"(<?)([0-9.,]+)(?:e[+-]\d+)?(%|ns|us|ms|s|)", text)
    assert match, text
    number = Decimal(match[2].replace(",", ""))
    value = value * 100 if match[3] == "%" else value / UNITS.get(match[3], 1)
    if match[1]:
        assert 0 < value < float(number)
        return
    last_digit = 10.0 ** int(number.as_tuple().exponent)
    assert abs(value - float(number)) <= last_digit * 0.5000001, (text, value)


def counted(folder: Path) -> pd.DataFrame:
    table = pd.read_parquet(folder / "out" / "requests.parquet")
    return table[~table["warmup"] & (table["status"] == "ok")]


@pytest.mark.parametrize("width", [80, 120])
def test_headline(width: int, folder: Path, reports: dict[int, str]) -> None:
    lines = " ".join(reports[width].split("\n\n")[0].split())
    table = counted(folder)
    every = pd.read_parquet(folder / "out" / "requests.parquet")
    found = re.fullmatch(
        r"2 VMs, 4 drives, disk sda \(constant\), costs of vmx-2013, seed 1 "
        r"1,200 requests done, 0 failed, 0 unfinished, in (\S+) s of simulated time "
        r"(\S+) requests/s, (\S+) MB/s, without the (\d+) requests of the warm-up, here and below "
        r"per request: (\S+) exits \((\S+) to QEMU\), (\S+) interrupts, (\S+) IRQ-line ioctls",
        lines,
    )
    assert found, lines
    end_s = every["done_ns"].max() / 1e9
    assert_agrees(found[1], end_s)
    assert_agrees(found[2], len(table) / (end_s - 0.05))
    assert_agrees(found[3], table["sectors"].sum() * 512 / 1e6 / (end_s - 0.05))
    assert int(found[4]) == every["warmup"].sum() == 1200 - len(table) > 0
    for number, column in ((5, "exits"), (6, "userspace_exits"), (7, "irqs"), (8, "irq_line_ioctls")):
        assert_agrees(found[number], table[column].mean())


@pytest.mark.parametrize("width", [80, 120])
def test_latency(width: int, folder: Path, reports: dict[int, str]) -> None:
    title, (header, *rows) = block(reports[width], TITLES["latency"])
    scale = UNITS[title[-3:-1]]
    assert header == ["requests", "mean", "min", "p50", "p90", "p95", "p99", "p99.5", "p99.9", "max"]
    assert [row[0] for row in rows] == ["all", "reads", "writes", "flushes"]
    table = counted(folder)
    for name, n, mean, least, *percentiles, most in rows:
        latency = (table if name == "all" else table[table["op"] == name[0].upper()])["latency_ns"].to_numpy()
        assert int(n.replace(",", "")) == len(latency)
        for text, value in ((mean, latency.mean()), (least, latency.min()), (most, latency.max())):
            assert_agrees(text, value / scale)
        for text, percentile, needed in zip(
            percentiles, (50, 90, 95, 99, 99.5, 99.9), (2, 10, 20, 100, 200, 1000), strict=True
        ):
            assert (text != "-") == (len(latency) >= needed)
            if text != "-":
                assert_agrees(text, float(np.percentile(latency, percentile)) / scale)


@pytest.mark.parametrize("width", [80, 120])
def test_stages(width: int, folder: Path, reports: dict[int, str]) -> None:
    title, (header, *rows) = block(reports[width], TITLES["stages"])
    scale = UNITS[title[-3:-1]]
    assert header == ["stage", "mean", "p50", "p99", "share"]
    table = counted(folder)
    assert [f"{row[0]}_ns" for row in rows] == [*STAGES, "latency_ns"]
    bars = {}
    for stage, mean, median, high, share, *bar in rows:
        values = table[f"{stage}_ns"].to_numpy()
        if not values.any():
            assert [mean, median, high, share, *bar] == ["-"] * 4
            continue
        for text, value in ((mean, values.mean()), (median, np.median(values)), (high, np.percentile(values, 99))):
            assert_agrees(text, float(value) / scale)
        assert_agrees(share, values.sum() / table["latency_ns"].sum())
        bars[stage] = (values.sum(), sum("█▉▊▋▌▍▎▏".find(c) >= 0 and (8 - "█▉▊▋▌▍▎▏".find(c)) for c in "".join(bar)))
    del bars["latency"]
    longest, eighths = max(bars.values())
    for total, length in bars.values():
        assert abs(length - eighths * total / longest) <= 1


@pytest.mark.parametrize("width", [80, 120])
def test_exits(width: int, folder: Path, reports: dict[int, str]) -> None:
    text = reports[width]
    _, (header, *rows) = block(text, TITLES["exits"])
    exits = pd.read_parquet(folder / "out" / "exits.parquet")
    samples, time = exits["count"].sum(), exits["total_ns"].sum()
    footer = f"Total Samples:{samples:,}, Total events handled time:{time / 1000:,.2f}us."
    assert footer in text
    rows = rows[: next(number for number, row in enumerate(rows) if row[0] == "Total")]
    first = "VM-EXIT to QEMU Samples" if width == 120 else "VM-EXIT Samples"
    assert " ".join(header).startswith(f"{first} Samples% Time% Min Time Max Time Avg time")
    seen = []
    for reason, *cells in rows:
        if width == 120:
            to_qemu, count, samples_share, time_share, least, most, mean, *_, per_request = cells
            userspace = {"yes": True, "no": False}[to_qemu]
        else:
            userspace = cells[0] == "*"
            count, samples_share, time_share, least, most, mean, per_request = cells[userspace:]
        group = exits[(exits["reason"] == reason) & (exits["userspace"] == userspace)]
        seen.append((reason, userspace))
        assert int(count.replace(",", "")) == group["count"].sum()
        assert_agrees(samples_share, group["count"].sum() / samples)
        assert_agrees(time_share, group["total_ns"].sum() / time)
        assert_agrees(least, group["min_ns"].min())
        assert_agrees(most, group["max_ns"].max())
        assert_agrees(mean, group["total_ns"].sum() / group["count"].sum())
        assert_agrees(per_request, group["count"].sum() / len(counted(folder)))
    assert set(seen) == set(exits[["reason", "userspace"]].itertuples(index=False, name=None))
    assert len(seen) == len(set(seen))
    assert rows[0][0] == "IO_INSTRUCTION"


def test_percentiles_of_exits_stand_beside_one_vcpu(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "120")
    answer = run(capsys, "run", "scenario.toml", "--out", "one", "--set", "vm.web.count=1")
    _, (header, *rows) = block(answer.out, TITLES["exits"])
    assert " ".join(header).endswith("Avg time p50 p99 per request")
    exits = pd.read_parquet(folder / "one" / "exits.parquet").set_index(["reason", "userspace"])
    for reason, to_qemu, *cells in rows[:-1]:
        assert_agrees(cells[6], float(exits["p50_ns"][reason, to_qemu == "yes"]))
        assert_agrees(cells[7], float(exits["p99_ns"][reason, to_qemu == "yes"]))


@pytest.mark.parametrize("width", [80, 120])
def test_busiest(width: int, folder: Path, reports: dict[int, str]) -> None:
    text = reports[width]
    _, (header, *rows) = block(text, "Busiest")
    assert " ".join(header) == "resource servers utilisation mean queue max queue"
    resources = pd.read_parquet(folder / "out" / "resources.parquet").sort_values("utilisation", ascending=False)
    shown = [row for row in rows if "/" in row[0]]
    assert len(shown) == 8
    by_name = resources.set_index("resource")
    assert list(by_name["utilisation"][[row[0] for row in shown]]) == list(resources["utilisation"][:8])
    for name, servers, utilisation, mean, most, *_ in shown:
        assert int(servers) == by_name["servers"][name]
        assert_agrees(utilisation, float(by_name["utilisation"][name]))
        assert_agrees(mean, float(by_name["mean_queue"][name]))
        assert int(most) == by_name["max_queue"][name]
    assert f"and {len(resources) - 8} more in resources.parquet" in text


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_off_or_wider_than_the_terminal(width: int, reports: dict[int, str]) -> None:
    text = reports[width]
    assert "…" not in text
    assert max(map(len, text.split("\n"))) <= width
    assert not re.search(r" \n", text)


def test_long_names_and_times_are_not_cut_off_at_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a-very-long-name-of-a-virtual-machine-with-64-letters-in-all-yes"
    assert len(name) == 64
    text = SCENARIO.replace('"web"', f'"{name}"').replace('"90us"', '"40min"')
    write_inputs(tmp_path, text)
    (tmp_path / "b.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    answer = run(capsys, "run", "scenario.toml", "b.toml", "--out", "out")
    assert answer.status == 0
    assert "…" not in answer.out
    assert max(map(len, answer.out.split("\n"))) <= 80


def test_ascii_terminals_get_bars_of_number_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    command = [sys.executable, "-m", "iosim", "run", "scenario.toml", "--out", "ascii"]
    out = subprocess.run(command, capture_output=True, check=True).stdout
    assert out.isascii()
    assert b"  ####" in out


@pytest.mark.parametrize(
    ("percentile", "n", "expected"),
    [
        ("50", 1, False),
        ("50", 2, True),
        ("99", 99, False),
        ("99", 100, True),
        ("99.5", 199, False),
        ("99.5", 200, True),
        ("99.9", 999, False),
        ("99.9", 1000, True),  # 1000 * (100 - 99.9) is less than 100 in floating point
        ("99.99", 9999, False),
        ("99.99", 10000, True),
    ],
)
def test_a_percentile_needs_one_request_beyond_it(percentile: str, n: int, expected: bool) -> None:
    assert is_resolved(percentile, n) is expected


def test_the_headline_says_why_requests_failed() -> None:
    faults = [{"end": "1500us"}]
    described = scenario(
        drives=[{"retries": 0}],
        disks=[{"model": "constant", "service": "90us", "fault": faults}],
        event=[{"at": "5ms", "kind": "shutdown"}],
    )
    rows = [(at * 1_000_000, "W", 0, 8) for at in (1, 3, 10, 11)]
    assert "1 request done, 3 failed (2 down, 1 EIO), 0 unfinished" in str(headline(simulate(described, rows)))


def test_a_saturated_run_is_said_to_be_saturated() -> None:
    rows = [(1000 * number, "W", 0, 8) for number in range(1000)]
    result = simulate(scenario(disks=[{"model": "constant", "service": "20ms"}]), rows, drawn_profile())
    utilisation = result.resources.set_index("resource")["utilisation"]
    assert utilisation["web/channel0"] > utilisation["disk/sda"] > 0.9
    assert doubts(result)[0] == (
        "web/channel0 is busy for 100% of the time (1 other resource for 90% or more): "
        "requests queue, and their latency depends on the length of the run."
    )


def test_percentiles_of_stages_need_one_request_beyond_them_too() -> None:
    for n, known in ((99, False), (100, True)):
        result = simulate(scenario(), [(1_000_000 * k, "W", 0, 8) for k in range(n)], constant_profile())
        console = Console(width=80, file=io.StringIO())
        console.print(stage_table(result, console))
        assert isinstance(console.file, io.StringIO)
        rows = [line.split() for line in console.file.getvalue().splitlines()]
        high = {row[0]: row[3] for row in rows if len(row) > 3}
        assert high["disk_service"] == ("90.0" if known else "-")
        assert (high["latency"] != "-") is known
