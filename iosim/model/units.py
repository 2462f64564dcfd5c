"""Times and sizes as humans write them, and back. The only place where a unit is converted."""

import re
from decimal import Decimal

NS_PER_UNIT = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000, "h": 3_600_000_000_000}
BYTES_PER_UNIT = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
SECTOR_BYTES = 512
MAX_NS = 1 << 62
"""Times stay below this (146 years), so that sums of a few of them still fit an int64."""

_QUANTITY = re.compile(r"\s*([+-]?(?:\d[\d_]*(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*([A-Za-zµ]*)\s*", re.ASCII)


def _split(text: str, example: str, units: dict[str, int]) -> tuple[Decimal, str]:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f'must be a quantity such as "{example}"')
    number, unit = Decimal(match[1].replace("_", "")), match[2]
    if unit not in units:
        raise ValueError(f"must have one of the units {', '.join(units)}")
    return number, unit


def parse_ns(text: object) -> int:
    """Return the nanoseconds that *text* (``"90us"``, ``"1.5 ms"``) stands for.

    Raises ValueError, worded as a rule, for another type, a missing or unknown unit, a negative time, a time beyond
    146 years, or a fraction of a nanosecond.
    """
    if not isinstance(text, str):
        raise ValueError('must be a time with its unit, such as "90us"')
    number, unit = _split(text, "90us", NS_PER_UNIT)
    if number.is_signed() and number != 0:
        raise ValueError("must not be negative")
    ns = number * NS_PER_UNIT[unit]
    if ns >= MAX_NS:
        raise ValueError("must be shorter than 146 years")
    if ns != int(ns):
        raise ValueError("must be a whole number of nanoseconds")
    return int(ns)


def parse_bytes(text: object) -> int:
    """Return the bytes that *text* (``"20GiB"``) stands for: whole sectors of 512 bytes, at least one.

    Raises ValueError, worded as a rule.
    """
    if not isinstance(text, str):
        raise ValueError('must be a size with its unit, such as "20GiB"')
    number, unit = _split(text, "20GiB", BYTES_PER_UNIT)
    size = number * BYTES_PER_UNIT[unit]
    if size > 1 << 57:
        raise ValueError("must be at most 2^48 sectors, the limit of LBA48")
    if size <= 0 or size % SECTOR_BYTES != 0:
        raise ValueError("must be a positive multiple of 512 bytes")
    return int(size)


def exact_time(ns: int) -> str:
    """Return *ns* in the largest unit that keeps it whole, such as ``"90us"``; `parse_ns` gives it back."""
    for unit in ("s", "ms", "us"):
        if ns and ns % NS_PER_UNIT[unit] == 0:
            return f"{ns // NS_PER_UNIT[unit]}{unit}"
    return f"{ns}ns" if ns else "0s"


def exact_size(size: int) -> str:
    """Return *size* bytes in the largest binary unit that keeps it whole; `parse_bytes` gives it back."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size % BYTES_PER_UNIT[unit] == 0:
            return f"{size // BYTES_PER_UNIT[unit]}{unit}"
    return f"{size}B"


def human_unit(ns: float) -> str:
    """Return the unit in which a time of *ns* nanoseconds reads best with three digits: ns, us, ms or s."""
    for unit in ("s", "ms", "us"):
        if float(f"{abs(ns):.3g}") >= NS_PER_UNIT[unit]:
            return unit
    return "ns"


def human_time(ns: float, unit: str | None = None) -> str:
    """Return *ns* with three significant digits in *unit* (the one that reads best if none is given)."""
    unit = unit or human_unit(ns)
    return f"{three_digits(ns / NS_PER_UNIT[unit])} {unit}"


def three_digits(value: float) -> str:
    """Return *value* with three significant digits and no exponent; more digits left of the point are kept."""
    if value == 0:
        return "0"
    magnitude = float(f"{abs(value):.3g}")
    decimals = 2 if magnitude < 10 else 1 if magnitude < 100 else 0
    if magnitude < 1:
        return f"{value:.3g}" if magnitude >= 1e-4 else f"{value:.2e}"
    return f"{value:,.{decimals}f}"
