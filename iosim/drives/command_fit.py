"""Overheads and the speed of the bus by least squares, from requests that the medium did not have to serve."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from iosim.drives.services import Mask, Services

Floats = npt.NDArray[np.float64]

_MS = 1e6
_NEAR_MS = 0.4
"""A hit is at most so far from the most frequent time of reads, bus time aside."""
_WINDOW_MS = 0.1
_LEAST_SHARE = 0.03
"""There are hits if this share of the reads takes one time, within the window."""
_SLOWEST_BUS_MS, _BUS_STEP_MS = 0.6, 0.005
_SCALE_MS = 0.05
"""Residuals beyond this count less than their square (scipy's soft_l1): waits that the fit does not know of."""


@dataclass(frozen=True)
class Overheads:
    """Overheads behind a read and behind a write, time of a sector on the bus, all in ns, with standard errors.

    *which*: the requests that it is fitted to; *rms_ns*: the root of their mean squared residual.
    """

    after_read_ns: float
    after_write_ns: float
    sector_ns: float
    errors: tuple[float, float, float]
    rms_ns: float
    which: Mask


def fit(recorded: Services, which: Mask, sector_ns: float | None = None) -> Overheads | None:
    """Fit to the requests *which*; with *sector_ns* that is kept as it is. None with fewer than 10 of them."""
    from scipy import optimize

    if which.sum() < 10:
        return None
    behind_write = np.concatenate([[False], recorded.of("W")[:-1]])[which]
    sectors = recorded.sectors[which].astype(np.float64)
    ms = recorded.service_ns[which] / _MS
    columns = [~behind_write, behind_write, sectors]
    design = np.stack(columns, axis=1).astype(np.float64)
    fixed = sector_ns is not None or len(np.unique(sectors)) < 2
    if fixed:
        ms = ms - sectors * (sector_ns or 0.0) / _MS
        design = design[:, :2]
    used = np.flatnonzero(design.any(axis=0))
    start = np.full(len(used), float(np.quantile(ms, 0.25)))
    if not fixed:
        start[-1] = max(float(np.ptp(ms)) / max(float(np.ptp(sectors)), 1.0), 1e-4)
    seen = design[:, used]

    def residuals(values: Floats) -> Floats:
        return np.asarray(seen @ values - ms)

    solved = optimize.least_squares(
        residuals,
        start,
        bounds=(np.zeros(len(used)), np.full(len(used), np.inf)),
        loss="soft_l1",
        f_scale=_SCALE_MS,
    )
    values, errors = np.full(3, np.nan), np.full(3, np.nan)
    values[used] = solved.x
    left = residuals(solved.x)
    spread = 1.4826 * float(np.median(np.abs(left)))
    errors[used] = spread * np.sqrt(np.diag(np.linalg.pinv(seen.T @ seen)))
    if fixed:
        values[2], errors[2] = (sector_ns or 0.0) / _MS, 0.0
    values[:2] = np.where(np.isnan(values[:2]), np.nanmax(values[:2]), values[:2])
    errors = np.nan_to_num(errors)
    return Overheads(
        float(values[0]) * _MS,
        float(values[1]) * _MS,
        float(values[2]) * _MS,
        (float(errors[0]) * _MS, float(errors[1]) * _MS, float(errors[2]) * _MS),
        float(np.sqrt(np.mean(left**2))) * _MS,
        which,
    )


def written_back(recorded: Services) -> bool:
    """Tell whether the drive reports writes before they are on the medium.

    It does if the middle half of the random writes of one size is less than a quarter as wide as that of the reads.
    """
    widths = []
    for op in ("R", "W"):
        which = recorded.of(op) & ~recorded.sequential
        if which.sum() < 10:
            return False
        sizes = recorded.sectors[which]
        size = int(np.bincount(sizes).argmax())
        low, high = np.quantile(recorded.service_ns[which][sizes == size], (0.25, 0.75))
        widths.append(high - low)
    return bool(widths[1] < widths[0] / 4)


def hits(recorded: Services, sector_ns: float | None) -> Mask:
    """Tell which reads were served from the buffer: those near the most frequent time, if there is such a time.

    That is the narrow window with most reads, bus time aside; without *sector_ns* the bus time is tried that puts most
    reads into it. The window must not lie above the median of the reads that go on nowhere: those are no hits.
    """
    reads = recorded.of("R")
    nothing = np.zeros(len(recorded), dtype=np.bool_)
    if reads.sum() < 10:
        return nothing
    tried = np.arange(0.0, _SLOWEST_BUS_MS, _BUS_STEP_MS) if sector_ns is None else [sector_ns / _MS]
    n, begin, slope = max(_densest(recorded, reads, float(one)) for one in tried)
    ms = recorded.service_ns / _MS - recorded.sectors * slope
    random = ms[reads & ~recorded.sequential]
    if n < _LEAST_SHARE * reads.sum() or (len(random) and begin > np.median(random)):
        return nothing
    return np.asarray(reads & (np.abs(ms - begin - _WINDOW_MS / 2) <= _NEAR_MS))


def _densest(recorded: Services, reads: Mask, slope: float) -> tuple[int, float, float]:
    """Return how many reads are in the window with most of them, its begin in ms, and the *slope* it was looked for."""
    values = np.sort(recorded.service_ns[reads] / _MS - recorded.sectors[reads] * slope)
    inside = np.searchsorted(values, values + _WINDOW_MS, side="right") - np.arange(len(values))
    at = int(inside.argmax())
    return int(inside[at]), float(values[at]), slope
