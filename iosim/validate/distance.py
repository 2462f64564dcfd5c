"""Distances between the distributions of two samples."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVELS = 10_000
"""At how many heights DiskSim looks at the two curves: RMS_INCR = 0.0001 in its rms.c."""


def demerit_ns(measured: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return the root of the mean squared horizontal distance of the two distribution curves.

    The demerit figure of Ruemmler and Wilkes, "An introduction to disk drive modeling", IEEE Computer 27(3), 1994, as
    DiskSim's rms.c computes it: at the heights 0.0001, 0.0002 ... 1 the difference of the two curves, each linear
    between its points. Point i of n is the i-th smallest value at height i/n; below the first the first holds. The
    samples may differ in size. Raises ValueError for an empty sample.
    """
    heights = np.arange(1, LEVELS + 1) / LEVELS
    difference = curve_at(measured, heights) - curve_at(predicted, heights)
    return float(np.sqrt(np.mean(difference**2)))


def curve_at(sample: npt.ArrayLike, heights: Floats) -> Floats:
    """Return the values of the distribution curve of *sample* at *heights* between 0 and 1."""
    ordered = np.sort(np.asarray(sample, dtype=np.float64))
    if not len(ordered):
        raise ValueError("a distribution needs at least one value")
    return np.interp(heights, np.arange(1, len(ordered) + 1) / len(ordered), ordered)


def ks_distance(measured: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return the largest vertical distance of the two distribution functions (Kolmogorov and Smirnov), 0 to 1.

    The statistic of scipy.stats.ks_2samp, without its probability, which costs more and has no value for samples of
    one. Raises ValueError for an empty sample.
    """
    first, second = np.sort(np.asarray(measured, dtype=np.float64)), np.sort(np.asarray(predicted, dtype=np.float64))
    if not len(first) or not len(second):
        raise ValueError("a distribution needs at least one value")
    values = np.concatenate([first, second])
    below = np.searchsorted(first, values, side="right") / len(first)
    return float(np.max(np.abs(below - np.searchsorted(second, values, side="right") / len(second))))
