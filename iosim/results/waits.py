"""Which spans are waits: nobody runs for the request then, and the span's thread is whoever has it meanwhile."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.model.records import WAITING_FUNCTION
from iosim.model.stages import Stage

_ALWAYS = {
    stage.label
    for stage in (
        Stage.GUEST_QUEUE,
        Stage.BQL_WAIT,
        Stage.AIO_WAIT,
        Stage.DISK_WAIT,
        Stage.COMPLETION_WAIT,
        Stage.CPU_WAIT,
        Stage.SUBMIT_WAIT,
        Stage.THROTTLE_WAIT,
        Stage.DIRTY_WAIT,
        Stage.PAUSED,
    )
}
_AT_TIMES = {
    stage.label: WAITING_FUNCTION[stage] for stage in (Stage.QEMU_SUBMIT, Stage.COMPLETION, Stage.IRQ_DELIVERY)
}
"""Stages in which a request waits only in this function."""


def is_wait(spans: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Tell for each row of *spans* whether the request waits; being served by a disk is no wait."""
    stage, function = spans["stage"], spans["function"]
    waits = stage.isin(_ALWAYS)
    for name, awaited in _AT_TIMES.items():
        waits |= (stage == name) & (function == awaited)
    return waits.to_numpy(dtype=bool)
