"""Which spans are waits: nobody runs for the request then, and the span's thread is whoever has it meanwhile."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.model.records import WAITING_FUNCTION
from iosim.model.stages import Stage

WAITS = {stage.label: function for stage, function in WAITING_FUNCTION.items() if stage is not Stage.DISK_SERVICE}
"""The function that the spans of a wait have, by the label of their stage."""


def is_wait(spans: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Tell for each row of *spans* whether the request waits; being served by a disk is no wait."""
    function = spans["function"].to_numpy(dtype=object)
    awaited = spans["stage"].map(WAITS).to_numpy(dtype=object)
    result: npt.NDArray[np.bool_] = np.equal(function, awaited).astype(bool)
    return result
