"""Rotation and seek of a drive by least squares, from the service times of reads that the medium had to serve.

Such a read takes an overhead, the seek, a wait that is uniform between 0 and one revolution, and its sectors' time. The
seek over d sectors is that of Ruemmler and Wilkes, "An introduction to disk drive modeling", IEEE Computer 27(3), 1994:
a root up to a distance, a line from there on, here without a corner between the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BINS = 8
"""Reads are put together by distance, so many in each bin as in the others."""
LEVELS = 40
"""Heights of each bin's distribution curve that are compared."""
RESAMPLES = 24
"""Bootstrap samples for the standard errors."""
NAMES = ("revolution", "overhead and shortest seek", "root", "line", "border")
_MS = 1e6


@dataclass(frozen=True)
class Seek:
    """Times in ns: one revolution; the overhead with the shortest seek; and what a seek over d sectors takes beyond it.

    That is *root_ns* sqrt(d / span) up to *border* times the *span* of the disk in sectors, and goes on from there
    with the slope of *line_ns* per span. *errors* are the standard errors of the five, by the bootstrap; *rms_ns* is
    what is left of the distribution curves.
    """

    span: float
    revolution_ns: float
    base_ns: float
    root_ns: float
    line_ns: float
    border: float
    errors: tuple[float, ...]
    rms_ns: float
    n: int

    def beyond_ns(self, distance: npt.ArrayLike) -> Floats:
        """Return what a seek over *distance* sectors takes more than the shortest one."""
        return _beyond(np.asarray(distance, dtype=np.float64) / self.span, self.root_ns, self.line_ns, self.border)


def _beyond(share: Floats, root: float, line: float, border: float) -> Floats:
    near = root * np.sqrt(np.minimum(share, border))
    return np.asarray(near + line * np.maximum(share - border, 0.0), dtype=np.float64)


def _residuals(values: Floats, bins: Sequence[tuple[Floats, Floats]], curves: Sequence[Floats]) -> Floats:
    """Return predicted less measured quantiles of all bins, in ms."""
    revolution, base, root, line, border = values
    found = []
    for (share, wait), measured in zip(bins, curves, strict=True):
        predicted = base + _beyond(share, root, line, border) + wait * revolution
        found.append(_quantiles(predicted) - measured)
    return np.asarray(np.concatenate(found), dtype=np.float64)


_HEIGHTS = (np.arange(LEVELS) + 0.5) / LEVELS


def _quantiles(values: Floats) -> Floats:
    """Return what np.quantile returns at the heights, without its preparations: this is what the fit spends time on."""
    ordered = np.sort(values)
    at = _HEIGHTS * (len(ordered) - 1)
    below = at.astype(np.int64)
    part = at - below
    return np.asarray(ordered[below] * (1 - part) + ordered[np.minimum(below + 1, len(ordered) - 1)] * part)


def _waits(n: int) -> Floats:
    """Return n waits spread evenly over one revolution, in an order that has nothing to do with anything."""
    return np.asarray((np.arange(n) * 0.618033988749895 + 0.5) % 1.0, dtype=np.float64)


def _fit(distance: Floats, ms: Floats, span: float, begin: Floats | None = None) -> tuple[Floats, float]:
    """Return the five values, in ms, and the root of the mean squared residual; *begin*: where to begin to look."""
    from scipy import optimize

    order = np.argsort(distance, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    bins = [(distance[part] / span, _waits(len(part))) for part in parts]
    curves = [_quantiles(ms[part]) for part in parts]
    spread = float(np.median([np.ptp(curve) for curve in curves]))
    least, most = float(ms.min()), float(ms.max())
    start = np.array([spread, max(least, 1e-3), max(0.3 * (most - least), 1e-3), max(0.3 * (most - least), 1e-3), 0.2])
    bounds = (
        [0.3 * spread, 0.0, 0.0, 0.0, 0.01],
        [3.0 * spread + 1e-3, most + 1e-3, 5 * most + 1e-3, 5 * most + 1e-3, 1.0],
    )
    solved = optimize.least_squares(
        _residuals,
        np.clip(start if begin is None else begin, *bounds),
        bounds=bounds,
        x_scale=np.maximum(start, 1e-3),
        args=(bins, curves),
    )
    return np.array(solved.x, dtype=np.float64), float(np.sqrt(np.mean(solved.fun**2)))


def fit(distance: npt.ArrayLike, medium_ns: npt.ArrayLike, span: float, seed: int = 1) -> Seek:
    """Fit to reads over *distance* sectors that took *medium_ns*, transfer aside; *span*: sectors of the disk."""
    far = np.asarray(distance, dtype=np.float64)
    ms = np.asarray(medium_ns, dtype=np.float64) / _MS
    values, rms = _fit(far, ms, span)
    chance = np.random.default_rng(seed)
    again = []
    for _ in range(RESAMPLES):
        rows = chance.integers(0, len(ms), len(ms))
        again.append(_fit(far[rows], ms[rows], span, values)[0])
    errors = np.std(np.array(again), axis=0, ddof=1)
    units = np.array([_MS, _MS, _MS, _MS, 1.0])
    revolution, base, root, line, border = (float(value) for value in values * units)
    return Seek(span, revolution, base, root, line, border, tuple((errors * units).tolist()), rms * _MS, len(ms))
