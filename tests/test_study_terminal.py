"""A study on the terminal: figures with their intervals, columns that fit, reasons to doubt."""

import math
from pathlib import Path
from typing import Any

import pytest

from iosim.model.catalogue import CATALOGUE
from iosim.study.terminal import Figures, relative, with_interval
from tests.commandline import run
from tests.studies import SCENARIO, SMALL, STUDY, write_study


def row(estimate: float, half: float) -> dict[str, Any]:
    return {"estimate": estimate, "low": estimate - half, "high": estimate + half}


@pytest.mark.parametrize(
    ("estimate", "half", "text"),
    [
        (176_830, 123, "176.8 ±0.12"),
        (176_830, 1_700, "176.8 ±1.7"),
        (249_000, 42_300, "249 ±42"),
        (41_612, 430, "41.61 ±0.43"),
        (33_890_120, 3_900, "33,890 ±3.9"),
        (1_589_900, 172_000, "1,590 ±172"),
        (177_000, 0, "177 ±0"),
        (177_000, 1, "177.0 ±<0.01"),
        (177_000, math.nan, "177"),
    ],
)
def test_a_figure_has_as_many_digits_as_its_interval_is_worth(estimate: float, half: float, text: str) -> None:
    assert with_interval(row(estimate, half), 1000) == text


def test_a_figure_that_no_run_has_is_a_dash() -> None:
    assert with_interval(None, 1000) == "-"


class Two(Figures):
    """A reference of 100 us, and a point that differs by *difference* +- *half*."""

    def __init__(self, difference: float, half: float, pairs: int = 5) -> None:
        self._rows = {
            "base": {"estimate": 100_000.0},
            "other": {
                "pairs": pairs,
                "difference": difference,
                "difference_low": difference - half,
                "difference_high": difference + half,
            },
        }

    def get(self, point: str, metric: str) -> dict[str, Any] | None:
        return self._rows[point]


@pytest.mark.parametrize(
    ("difference", "half", "text"),
    [
        (12_340, 3_100, "+12.3% ±3.1%"),
        (-64_630, 260, "-64.63% ±0.26%"),
        (857_000, 276_000, "+857% ±276%"),
        (-8, 1_000, "-0.0% ±1.0%"),
        (0, 0, "0% ±0%"),
        (3_034, 1, "+3.03% ±<0.01%"),
        (5_000, math.nan, "+5%"),
    ],
)
def test_a_difference_is_a_share_of_the_reference(difference: float, half: float, text: str) -> None:
    assert relative(Two(difference, half), "other", "base", "latency_mean") == text


def test_the_reference_has_no_difference_and_one_without_pairs_is_a_dash() -> None:
    assert relative(Two(0, 0), "base", "base", "latency_mean") == ""
    assert relative(Two(math.nan, math.nan, pairs=0), "other", "base", "latency_mean") == "-"


KEYS = {
    "no key": SMALL,
    "two keys": STUDY,
    "many keys": STUDY + 'host.cpus = [2]\nvm.web.qemu = ["7.2"]\n',
    "warm-up": STUDY + '[statistics]\nwarmup = "mser-5"\npilots = 1\n',
}


@pytest.mark.parametrize("name", KEYS)
def test_numbers_stay_whole_and_lines_within_the_width(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path, KEYS[name].replace("replications = 3", "replications = 2"))
    monkeypatch.chdir(tmp_path)
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        answer = run(capsys, "sweep", "study.toml", "--out", "out", "--workers", "1")
        assert answer.status == 0
        assert "…" not in answer.out
        assert max(len(line) for line in answer.out.splitlines()) <= width
        assert answer.out.endswith("\nWritten to out/; iosim report out makes a page of it\n")
        head = next(line for line in answer.out.splitlines() if line.startswith("point"))
        assert ("busiest" in head) == (width == 120)
        assert ("warm-up" in head) == (name == "warm-up")
        assert ("interface" in head) == (width == 120 and name in ("two keys", "warm-up"))


CONSTANT = 'name = "constant"\ntitle = "constant"\nmachine = "none"\norigin = "a test"\n' + "".join(
    f'[cost.{key}]\nvalue = "1us"\nkind = "assumed"\nsource = "a test"\n' for key in CATALOGUE
)
BUSY = SCENARIO.replace("90us", "600us").replace("cache", 'interface = "virtio-blk"\ncache')


@pytest.mark.parametrize(
    ("study", "scenario", "caution"),
    [
        (
            SMALL,
            SCENARIO,
            "One replication says nothing about how far a figure moves with other random numbers.",
        ),
        (
            SMALL.replace("replications = 1", "replications = 2"),
            SCENARIO.replace("vmx-2017", "constant.toml"),
            "All replications of two are equal: nothing that is drawn at random matters there. "
            "Arrivals come from the trace and are the same in each.",
        ),
        (
            SMALL,
            BUSY,
            "two: the busiest resource is busy for 90% of the time or more: requests queue, and their latency depends "
            "on the length of the run.",
        ),
        (
            SMALL,
            f'[run]\nduration = "10200us"\n{SCENARIO}',
            "two: requests did not finish; the figures leave them out.",
        ),
        (SMALL, SCENARIO, "two: too few requests for p99, which needs 100."),
        (
            SMALL.replace("replications = 1", "replications = 2")
            + '[statistics.until]\nmetric = "latency_mean"\nwithin = 0.00001\nmax_replications = 3\n',
            SCENARIO,
            "two: latency_mean is not known within 0.001 % after 3 replications.",
        ),
    ],
)
def test_reasons_to_doubt(
    study: str,
    scenario: str,
    caution: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_study(tmp_path, study, scenario)
    (tmp_path / "constant.toml").write_text(CONSTANT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    answer = run(capsys, "sweep", "study.toml", "--out", "out", "--workers", "1")
    assert answer.status == 0
    assert f"\n- {caution}\n" in answer.out
