"""Every form of a cost has the mean and the quantiles that it promises, in its table and in what is drawn from it."""

import math

import numpy as np
import pytest
from scipy import stats

from iosim.model import draws
from iosim.model.catalogue import CATALOGUE
from iosim.model.costs import Cost, CostTables, Profile, exponential, parse_profile
from iosim.model.errors import ProfileError

KEY = "kvm.handle_io"
N = 40_000


def profile_text(figure: str, head: str = "") -> str:
    """A profile in which every cost is 1 us but `KEY`."""
    lines = ['name = "t"', 'title = "t"', 'machine = "t"', 'origin = "t"', head]
    for key in CATALOGUE:
        lines += [f"[cost.{key}]", figure if key == KEY else 'value = "1us"', 'kind = "assumed"', 'source = "a test"']
    return "\n".join(lines)


def profile(figure: str, head: str = "") -> Profile:
    return parse_profile(profile_text(figure, head), "t.toml")


def cost(figure: str, head: str = "") -> Cost:
    return profile(figure, head).cost(KEY)


def sample(of: Cost) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    subject = draws.Subject(draws.identity(draws.source(1, "vm", "drive 0"), 0))
    return np.array([of.sample(subject) for _ in range(N)], dtype=np.int64)


def check_sample(of: Cost) -> None:
    """The sample's mean lies within 99.9 % of the table's, and its distribution is the table's."""
    values = sample(of)
    low, high = stats.t.interval(0.999, N - 1, loc=values.mean(), scale=stats.sem(values))
    assert low - 1 <= of.mean_ns <= high + 1  # interpolation rounds down
    for q in (0.1, 0.5, 0.9):
        at = of.quantile_ns(q)
        tolerance = 4 * math.sqrt(q * (1 - q) / N) + 1e-3
        assert (values < at).mean() - tolerance <= q <= (values <= at).mean() + tolerance, q


def test_constant() -> None:
    constant = cost('value = "1.5us"')
    assert (constant.ns, constant.mean_ns, constant.quantile_ns(0.99)) == (1_500, 1_500, 1_500)
    assert constant.sample(draws.Subject(1)) == 1_500


def test_constant_in_cycles_of_the_profile() -> None:
    # 6,209 cycles at 2,600 per us: 2,388.08 ns.
    assert cost('value = "6,209 cycles"', "cycles_per_us = 2600").ns == 2_388


def test_exponential() -> None:
    drawn = cost('distribution = "exponential"\nmean = "2us"')
    assert drawn.ns is None
    assert drawn.mean_ns == pytest.approx(2_000, rel=1e-3)
    assert drawn.quantile_ns(0.5) == pytest.approx(2_000 * math.log(2), abs=1)
    assert drawn.quantile_ns(0.9) == pytest.approx(2_000 * math.log(10), abs=1)
    check_sample(drawn)


def test_exponential_for_arrivals_is_the_same() -> None:
    assert exponential("gap", 2_000).mean_ns == pytest.approx(2_000, rel=1e-3)
    assert exponential("gap", 2_000).quantile_ns(0.5) == pytest.approx(2_000 * math.log(2), abs=1)


def test_uniform() -> None:
    drawn = cost('distribution = "uniform"\nlow = "1us"\nhigh = "3us"')
    assert drawn.mean_ns == pytest.approx(2_000, abs=1)
    assert [drawn.quantile_ns(q) for q in (0, 0.25, 1)] == [1_000, 1_500, 3_000]
    check_sample(drawn)


def test_lognormal() -> None:
    drawn = cost('distribution = "lognormal"\nmedian = "2us"\nsigma = 0.5')
    # Mean of a lognormal: median x exp(sigma^2 / 2); 84.13 % quantile: median x exp(sigma).
    assert drawn.mean_ns == pytest.approx(2_000 * math.exp(0.125), rel=2e-3)
    assert drawn.quantile_ns(0.5) == pytest.approx(2_000, abs=1)
    assert drawn.quantile_ns(0.841345) == pytest.approx(2_000 * math.exp(0.5), abs=2)
    check_sample(drawn)


def test_quantile_table() -> None:
    drawn = cost('quantiles = [[0, "1us"], [0.5, "2us"], [1, "8us"]]')
    # Half the mass is uniform over 1-2 us, half over 2-8 us: (1.5 + 5) / 2.
    assert drawn.mean_ns == pytest.approx(3_250, abs=1)
    assert [drawn.quantile_ns(q) for q in (0, 0.25, 0.5, 0.75, 1)] == [1_000, 1_500, 2_000, 5_000, 8_000]
    check_sample(drawn)


def test_quantile_table_keeps_its_mean_with_a_steep_tail_off_the_grid() -> None:
    # 99.99 % at 1 us, then up to 10 ms: 0.9999 x 1 us + 0.0001 x (1 us + 10 ms) / 2 = 1,500 ns.
    drawn = cost('quantiles = [[0, "1us"], [0.9999, "1us"], [1, "10ms"]]')
    assert drawn.mean_ns == pytest.approx(1_499.95, rel=2e-3)


def test_mixture() -> None:
    drawn = cost(
        'mixture = [{ weight = 3, value = "2us" }, '
        '{ weight = 1, distribution = "uniform", low = "30us", high = "50us" }]'
    )
    # Three quarters at 2 us, one quarter around 40 us.
    assert drawn.mean_ns == pytest.approx(0.75 * 2_000 + 0.25 * 40_000, rel=2e-3)
    assert drawn.quantile_ns(0.1) == drawn.quantile_ns(0.7) == 2_000
    assert drawn.quantile_ns(0.875) == pytest.approx(40_000, rel=1e-3)
    assert (drawn.quantile_ns(0), drawn.quantile_ns(1)) == (2_000, 50_000)
    check_sample(drawn)


def test_mixture_does_not_depend_on_the_order_of_its_parts() -> None:
    a, b = '{ weight = 1, value = "1us" }', '{ weight = 2, distribution = "exponential", mean = "9us" }'
    one, other = cost(f"mixture = [{a}, {b}]"), cost(f"mixture = [{b}, {a}]")
    assert [one.quantile_ns(k / 100) for k in range(101)] == [other.quantile_ns(k / 100) for k in range(101)]
    assert one.mean_ns == pytest.approx((1_000 + 2 * 9_000) / 3, rel=2e-3)


def test_included_figure_is_zero() -> None:
    text = profile_text("").replace(f'[cost.{KEY}]\n\nkind = "assumed"', f'[cost.{KEY}]\nkind = "included"')
    assert parse_profile(text, "t.toml").cost(KEY).ns == 0


def test_many_samples_at_once_equal_the_single_ones() -> None:
    costs = [cost('distribution = "exponential"\nmean = "2us"'), exponential("kvm.fast_pio", 500)]
    subject = draws.Subject(42)
    single = [[drawn.sample(subject) for _ in range(5)] for drawn in costs]
    assert [subject.take(drawn.place) for drawn in costs] == [5, 5]
    whats = np.array([drawn.what for drawn in costs for _ in range(5)], dtype=np.uint64)
    ks = np.array([0, 1, 2, 3, 4] * 2, dtype=np.uint64)
    rows = np.array([0] * 5 + [1] * 5, dtype=np.int64)
    assert CostTables(costs).sample(42, whats, ks, rows).tolist() == single[0] + single[1]


def test_two_keys_draw_independently() -> None:
    left, right = exponential("kvm.handle_io", 1_000), exponential("kvm.fast_pio", 1_000)
    assert abs(np.corrcoef(sample(left), sample(right))[0, 1]) < 4 / math.sqrt(N)


def test_counts_by_kind_count_every_figure() -> None:
    counts = profile('value = "1us"').counts_by_kind()
    assert counts == {"published": 0, "measured": 0, "derived": 0, "assumed": len(CATALOGUE), "included": 0}


def test_checksum_is_that_of_what_is_drawn() -> None:
    one = 'value = "1us"'
    other_source = parse_profile(profile_text(one).replace("a test", "another", 1), "t.toml")
    assert profile(one).checksum() == profile('value = "1000ns"').checksum() == other_source.checksum()
    figures = [one, 'value = "1001ns"', 'distribution = "uniform"\nlow = "0s"\nhigh = "2us"',
               'distribution = "uniform"\nlow = "1us"\nhigh = "2us"']  # fmt: skip
    assert len({profile(figure).checksum() for figure in figures}) == len(figures)


def test_means_are_of_every_cost() -> None:
    means = profile('quantiles = [[0, "0s"], [0.5, "1us"], [1, "4us"]]').means_ns()
    # Half of the area of a line from 0 to 1 us, and half of one from 1 to 4 us.
    assert means.pop(KEY) == pytest.approx(0.5 * 500 + 0.5 * 2500, rel=1e-6)
    assert set(means.values()) == {1000.0}
    assert len(means) == len(CATALOGUE) - 1


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (f"[cost.{KEY}]", "[cost.kvm.handle_oi]", "is not a cost of the model"),
        ('source = "a test"', 'source = ""', "needs source, a text"),
        ('kind = "assumed"', 'kind = "guessed"', "needs kind = one of published, measured, derived, assumed, included"),
        ('value = "1us"', "value = 1", 'must be a time with its unit, such as "90us"'),
        ('value = "1us"', 'value = "10 cycles"', "is given in cycles, but the profile has no cycles_per_us"),
    ],
)
def test_bad_figure_is_refused(old: str, new: str, rule: str) -> None:
    with pytest.raises(ProfileError, match=rule):
        parse_profile(profile_text('value = "1us"').replace(old, new, 1), "t.toml")
