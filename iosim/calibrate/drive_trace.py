"""Recorded service times of a disk: what was asked, when, and how long it took."""

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from iosim.model.errors import TraceError, reason
from iosim.model.records import READ, WRITE

Whole = npt.NDArray[np.int64]


class Services(NamedTuple):
    """One row for each request, in the order in which they were served: a column each, times in ns.

    *think_ns*: from the end of a request until the next one is given to the disk.
    """

    op: npt.NDArray[np.str_]
    sector: Whole
    sectors: Whole
    service_ns: Whole
    think_ns: Whole
