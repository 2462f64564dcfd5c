"""Logs of requests as arrays: what their entries say but for times is a step, which has a number."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from iosim.model.costs import Int64Array
from iosim.model.stages import Stage
from iosim.model.steps import Item, Path, Run, Template


class Step(NamedTuple):
    """What one entry of a log says but for times: the thread, what it did, and of that what is not in itself.

    *more*: of an item whether an interrupt was delivered, of a wait the function, of a template how many accesses.
    """

    thread: str
    what: Item | Stage | Path | Run | Template
    more: Any


class StepLog(NamedTuple):
    """A log without drawn costs, by entry: its number among *steps*, its begin, how long an item or a wait took."""

    steps: Sequence[Step]
    numbers: npt.NDArray[np.int32]
    starts_ns: Int64Array
    ns: Int64Array
