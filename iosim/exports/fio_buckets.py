"""fio's own latency statistics: buckets, percentiles from buckets, shares of latency ranges.

As fio 3.33 has them in stat.h and stat.c (`plat_val_to_idx`, `plat_idx_to_val`, `calc_clat_percentiles`, `calc_lat`,
`io_u_mark_lat_nsec` ...), so that the same latencies give the figures that fio would print.
"""

from fractions import Fraction
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.results.summary import FIO_PERCENTILES

Latencies = npt.NDArray[np.int64]
"""Latencies in ns."""

_BITS = 6
"""FIO_IO_U_PLAT_BITS: 64 buckets for each power of two."""
_PER_GROUP = 1 << _BITS
_BUCKETS = 29 * _PER_GROUP
"""FIO_IO_U_PLAT_NR; the last bucket takes what is longer than 17.1 s."""

_RANGES = {
    "latency_ns": (1, (2, 4, 10, 20, 50, 100, 250, 500, 750, 1000)),
    "latency_us": (1_000, (2, 4, 10, 20, 50, 100, 250, 500, 750, 1000)),
    "latency_ms": (1_000_000, (2, 4, 10, 20, 50, 100, 250, 500, 750, 1000, 2000)),
}
"""The ranges whose shares fio prints: the unit in ns, and the upper ends, exclusive."""


def bucket(values: Latencies) -> Latencies:
    """Return the number of the bucket of each value: exact below 128 ns, then 64 for each power of two."""
    exponent = np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1
    # Above 2^53 the conversion to float64 may round up to the next power of two; the last bucket begins far below.
    error_bits = np.maximum(exponent - _BITS, 0)
    offset = (_PER_GROUP - 1) & (values >> error_bits)
    index = np.where(exponent <= _BITS, values, ((error_bits + 1) << _BITS) + offset)
    return np.minimum(index, _BUCKETS - 1)


def middle(index: int) -> int:
    """Return the value in ns that stands for bucket *index*: the middle of its range."""
    if index < 2 * _PER_GROUP:
        return index
    error_bits = (index >> _BITS) - 1
    return (1 << (error_bits + _BITS)) + (2 * (index % _PER_GROUP) + 1) * (1 << error_bits) // 2


def statistics(values: Latencies) -> dict[str, Any]:
    """Return min, max, mean, stddev (of a sample, as fio's) and N; all 0 without values."""
    n = len(values)
    mean = float(values.mean()) if n else 0.0
    deviation = sqrt(float(((values - mean) ** 2).sum()) / (n - 1)) if n > 1 else 0.0
    return {
        "min": int(values.min()) if n else 0,
        "max": int(values.max()) if n else 0,
        "mean": round(mean, 6),
        "stddev": round(deviation, 6),
        "N": n,
    }


def distribution(values: Latencies) -> dict[str, Any]:
    """Return `statistics` with fio's percentiles and the buckets of json+; without values fio prints neither."""
    if not len(values):
        return statistics(values)
    indices, counts = np.unique(bucket(values), return_counts=True)
    middles = [middle(int(index)) for index in indices]
    reached = np.cumsum(counts).tolist()
    percentiles = {}
    for percentile in FIO_PERCENTILES:
        # fio compares with its percentile as a double: 99.9 is a bit more than 999 of 1000.
        wanted = Fraction(float(percentile)) / 100 * len(values)
        percentiles[f"{percentile:f}"] = next(m for m, n in zip(middles, reached, strict=True) if n >= wanted)
    bins = {str(m): int(count) for m, count in zip(middles, counts, strict=True)}
    return {**statistics(values), "percentile": percentiles, "bins": bins}


def shares(values: Latencies) -> dict[str, dict[str, float]]:
    """Return the percentages of *values* within fio's ranges, as ``latency_ns``, ``latency_us``, ``latency_ms``."""
    result: dict[str, dict[str, float]] = {}
    below = 0
    for name, (unit, ends) in _RANGES.items():
        result[name] = {}
        for end in ends:
            count = int((values < end * unit).sum()) - below
            below += count
            result[name][str(end)] = _percent(count, len(values))
    result["latency_ms"][">=2000"] = _percent(len(values) - below, len(values))
    return result


def _percent(count: int, total: int) -> float:
    return round(100 * count / total, 6) if total else 0.0
