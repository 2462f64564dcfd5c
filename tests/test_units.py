"""Times and sizes: what is read, what is refused, what is written back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iosim.model.units import exact_size, exact_time, human_time, human_unit, parse_bytes, parse_ns, three_digits


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0s", 0),
        ("90us", 90_000),
        ("1.5 ms", 1_500_000),
        (" 2s ", 2_000_000_000),
        ("0.001us", 1),
        ("1e3ns", 1_000),
        ("1_000ns", 1_000),
        ("2min", 120_000_000_000),
        ("1h", 3_600_000_000_000),
        ("+3ns", 3),
        ("-0s", 0),
    ],
)
def test_times_are_read(text: str, ns: int) -> None:
    assert parse_ns(text) == ns


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (90, 'must be a time with its unit, such as "90us"'),
        (None, 'must be a time with its unit, such as "90us"'),
        ("", 'must be a quantity such as "90us"'),
        ("us", 'must be a quantity such as "90us"'),
        ("1.2.3us", 'must be a quantity such as "90us"'),
        ("1 2us", 'must be a quantity such as "90us"'),
        ("90", "must have one of the units ns, us, ms, s, min, h"),
        ("90 days", "must have one of the units ns, us, ms, s, min, h"),
        ("90US", "must have one of the units ns, us, ms, s, min, h"),
        ("-1us", "must not be negative"),
        ("0.5ns", "must be a whole number of nanoseconds"),
        ("1e30s", "must be shorter than 146 years"),
        ("4611686018427387905ns", "must be shorter than 146 years"),
    ],
)
def test_times_are_refused(value: object, rule: str) -> None:
    with pytest.raises(ValueError, match="must") as error:
        parse_ns(value)
    assert str(error.value) == rule


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512B", 512),
        ("4KiB", 4_096),
        ("0.5KiB", 512),
        ("1MiB", 1_048_576),
        ("20GiB", 21_474_836_480),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (512, 'must be a size with its unit, such as "20GiB"'),
        ("twenty", 'must be a quantity such as "20GiB"'),
        ("512", "must have one of the units B, KiB, MiB, GiB, TiB"),
        ("20GB", "must have one of the units B, KiB, MiB, GiB, TiB"),
        ("0B", "must be a positive multiple of 512 bytes"),
        ("-4KiB", "must be a positive multiple of 512 bytes"),
        ("513B", "must be a positive multiple of 512 bytes"),
        ("200000TiB", "must be at most 2^48 sectors, the limit of LBA48"),
    ],
)
def test_sizes_are_refused(value: object, rule: str) -> None:
    with pytest.raises(ValueError, match="must") as error:
        parse_bytes(value)
    assert str(error.value) == rule


@given(st.integers(0, (1 << 62) - 1))
def test_times_written_are_read_back(ns: int) -> None:
    assert parse_ns(exact_time(ns)) == ns


@given(st.integers(1, 1 << 48))
def test_sizes_written_are_read_back(sectors: int) -> None:
    assert parse_bytes(exact_size(512 * sectors)) == 512 * sectors


@pytest.mark.parametrize(
    ("ns", "text"), [(0, "0s"), (90_000, "90us"), (1_500, "1500ns"), (2_000_000, "2ms"), (3_000_000_000, "3s")]
)
def test_times_are_written_in_the_largest_whole_unit(ns: int, text: str) -> None:
    assert exact_time(ns) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (850, "850 ns"),
        (1_234, "1.23 us"),
        (45_678, "45.7 us"),
        (345_678_900, "346 ms"),
        (999_600, "1.00 ms"),
        (2e9, "2.00 s"),
    ],
)
def test_times_for_people_have_three_digits(ns: float, text: str) -> None:
    assert human_time(ns) == text


def test_times_that_are_compared_share_a_unit() -> None:
    assert human_unit(1_500_000) == "ms"
    assert human_time(45_000, "ms") == "0.045 ms"
    assert human_time(12_345_000_000, "ms") == "12,345 ms"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.96, "100"),
        (0.9996, "1.00"),
        (-1.234, "-1.23"),
        (0.5, "0.5"),
        (1234567, "1,234,567"),
    ],
)
def test_three_digits(value: float, text: str) -> None:
    assert three_digits(value) == text
