"""Distances of two samples, the comparison of a prediction with its measurement, its tables and its picture."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from iosim.validate import demerit_ns, ks_distance, match
from iosim.validate.match import figures
from iosim.validate.picture import draw
from iosim.validate.tables import markdown, rows, signed

RNG = np.random.default_rng(7)
EXPONENTIAL = RNG.exponential(1e6, 3_000)


def test_demerit_of_a_sample_with_itself_is_zero() -> None:
    assert demerit_ns(EXPONENTIAL, EXPONENTIAL) == 0


def test_demerit_of_shifted_times_is_the_shift() -> None:
    assert demerit_ns(EXPONENTIAL, EXPONENTIAL + 250) == pytest.approx(250)


def test_demerit_of_constants_is_their_difference_whatever_the_sizes() -> None:
    assert demerit_ns([100] * 3, [400] * 5) == 300


def test_demerit_of_two_steps_by_hand() -> None:
    # Curves: (10, 1/2), (20, 1) and (10, 1/2), (40, 1): equal up to 1/2, then their distance grows linearly to 20.
    # Mean square over the heights: half of the mean of (20 t)^2 for t from 0 to 1, 400/6; 10,000 heights, so to 1e-3.
    assert demerit_ns([10, 20], [10, 40]) == pytest.approx(math.sqrt(400 / 6), rel=1e-3)


def test_demerit_of_equal_sizes_is_near_the_root_mean_square_of_the_ordered_pairs() -> None:
    other = RNG.exponential(1.2e6, 3_000)
    pairs = math.sqrt(float(np.mean((np.sort(EXPONENTIAL) - np.sort(other)) ** 2)))
    assert demerit_ns(EXPONENTIAL, other) == pytest.approx(pairs, rel=0.03)


def test_demerit_does_not_depend_on_the_order_or_the_direction() -> None:
    other = RNG.exponential(2e6, 777)
    assert demerit_ns(EXPONENTIAL[::-1], other) == demerit_ns(other[::-1], EXPONENTIAL)


def test_demerit_of_exponentials_has_its_closed_form() -> None:
    # Quantiles -a ln(1-u): distance |a-b| ln(1/(1-u)), mean square 2 (a-b)^2. Quantiles at (i-1/2)/n of a large n.
    heights = (np.arange(20_000) + 0.5) / 20_000
    curve = -np.log1p(-heights)
    assert demerit_ns(1_000 * curve, 1_300 * curve) == pytest.approx(300 * math.sqrt(2), rel=0.01)


@pytest.mark.parametrize("sample", [[], np.array([])])
def test_demerit_of_nothing_is_an_error(sample: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        demerit_ns(sample, [1.0])


def test_ks_distance_by_hand() -> None:
    # Curves at 2: 2/4 and 0; nowhere further apart.
    assert ks_distance([1, 2, 3, 4], [3, 4]) == 0.5
    assert ks_distance([1, 2], [3, 4]) == 1.0


@pytest.mark.parametrize("rounded", [False, True])
def test_ks_distance_is_the_statistic_of_scipy(rounded: bool) -> None:
    first, second = EXPONENTIAL, RNG.exponential(1.3e6, 1_000)
    if rounded:
        first, second = first.round(-5), second.round(-5)
    assert ks_distance(first, second) == pytest.approx(stats.ks_2samp(first, second).statistic)


def test_ks_distance_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        ks_distance([1.0], [])


def test_match_has_errors_of_mean_and_percentiles() -> None:
    found = match("disk", range(1, 102), [2 * value for value in range(1, 102)])
    assert found.measured_ns == {"mean": 51, "p50": 51, "p90": 91, "p99": 100}
    assert found.error == {"mean": 1.0, "p50": 1.0, "p90": 1.0, "p99": 1.0}
    assert found.relative_demerit == pytest.approx(found.demerit_ns / 51)


def test_error_of_what_was_measured_as_nothing_has_no_value() -> None:
    found = match("stage", [0, 0, 0], [1, 2, 3])
    assert found.error["p50"] is None
    assert found.relative_demerit is None
    assert signed(found.error["mean"]) == "-"


def test_spread_of_repetitions_is_between_smallest_and_largest() -> None:
    found = match("disk", [100], [115], [[100], [110], [120]])
    assert found.repetitions is not None
    assert found.repetitions.spread("p50") == pytest.approx(0.2)
    assert found.repetitions.demerit_ns == 10  # of 10, 10 and 20
    assert found.within_repetitions("mean") is True
    assert match("disk", [100], [121], [[100], [120]]).within_repetitions("mean") is False


def test_one_repetition_has_no_spread() -> None:
    assert match("disk", [100], [115], [[100]]).repetitions is None


def test_spread_from_zero_is_infinite_and_null_in_json() -> None:
    found = match("disk", [1], [1], [[0], [5]])
    assert found.repetitions is not None
    assert found.repetitions.spread("mean") == math.inf
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["repetitions"]["spread"]["mean"] is None


def test_json_has_all_figures() -> None:
    found = json.loads(json.dumps(match("disk", [1, 2], [2, 3]).as_json(), allow_nan=False))
    assert (found["n_measured"], found["n_predicted"]) == (2, 2)
    assert found["error"]["mean"] == pytest.approx(2 / 3)
    assert "repetitions" not in found


def test_figures_agree_with_scipy() -> None:
    found = figures(EXPONENTIAL)
    assert found["p99"] == pytest.approx(stats.scoreatpercentile(EXPONENTIAL, 99))
    assert found["mean"] == pytest.approx(stats.tmean(EXPONENTIAL))


def test_table_has_one_unit() -> None:
    found = [match("reads", [2_000_000] * 4, [1_000_000] * 4), match("writes", [500], [500])]
    assert markdown(*rows(found)) == (
        "|  | n | mean (us) | predicted | error | p50 (us) | predicted | error | p90 (us) | predicted | error "
        "| p99 (us) | predicted | error | KS | demerit (us) |\n"
        f"| ---{' | ---:' * 15} |\n"
        f"| reads | 4{' | 2,000 | 1,000 | -50.0%' * 4} | 1.000 | 1,000 |\n"
        f"| writes | 1{' | 0.5 | 0.5 | +0.0%' * 4} | 0.000 | 0 |\n"
    )


def test_narrow_table_has_errors_without_the_predicted_figures() -> None:
    head, body = rows([match("a", [100_000], [115_000])], wide=False)
    assert (head[2:4], body[0][2:4]) == (["mean (us)", "error"], ["100", "+15.0%"])


def test_table_has_both_numbers_of_values_where_they_differ() -> None:
    head, body = rows([match("a", [100], [115, 116])])
    assert (head[1:3], body[0][1:3]) == (["n measured", "predicted"], ["1", "2"])


def test_table_has_the_spread_where_there_are_repetitions() -> None:
    head, body = rows([match("a", [100], [115], [[100], [120]]), match("b", [100], [115])])
    assert head.count("spread") == 4
    assert body[0][5] == "20%"
    assert (body[1][5], body[1][-1]) == ("-", "-")


@pytest.mark.parametrize("n", [1, 5])
def test_picture_is_written_whole(tmp_path: Path, n: int) -> None:
    draw([match(f"part {k}", EXPONENTIAL, EXPONENTIAL * (1 + k / 10)) for k in range(n)], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_picture_of_times_of_zero(tmp_path: Path) -> None:
    draw([match("idle", [0, 0], [0, 0])], tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").stat().st_size > 1_000
