"""Sobol indices: which share of the variance of a metric each factor is responsible for, by SALib.

SALib is imported when it is needed: it takes most of a second.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.sensitivity.sensitivity_file import SobolTable

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Indices:
    """Indices of the factors, in their order, with half the widths of their intervals."""

    first: Floats
    first_half: Floats
    total: Floats
    total_half: Floats


def sample(n_factors: int, table: SobolTable) -> Floats:
    """Return `size` x (factors + 2) points of the unit cube, one row each, as Saltelli's scheme wants them.

    A. Saltelli et al., Computer Physics Communications 181(2), 2010, over a scrambled Sobol sequence.
    """
    from SALib.sample import sobol

    points: Floats = sobol.sample(_problem(n_factors), table.size, calc_second_order=False, seed=table.seed)
    return points


def indices(values: Floats, n_factors: int, table: SobolTable, confidence: float) -> Indices | None:
    """Return the indices of *values*, one for each row of `sample`; None if they do not vary.

    Intervals are by bootstrap: `resamples` of them, normal around the estimate.
    """
    from SALib.analyze import sobol

    if np.ptp(values) == 0:
        return None
    found: dict[str, Any] = sobol.analyze(
        _problem(n_factors),
        values,
        calc_second_order=False,
        num_resamples=table.resamples,
        conf_level=confidence,
        seed=table.seed,
    )
    columns = (np.asarray(found[name], dtype=np.float64) for name in ("S1", "S1_conf", "ST", "ST_conf"))
    return Indices(*columns)


def _problem(n_factors: int) -> dict[str, Any]:
    return {
        "num_vars": n_factors,
        "names": [f"x{number}" for number in range(n_factors)],
        "bounds": [[0.0, 1.0]] * n_factors,
    }
