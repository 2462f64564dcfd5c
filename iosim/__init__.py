"""iosim: a trace-driven discrete-event simulator of the path a guest's disk I/O takes through KVM and QEMU.

import iosim

scenario = iosim.load("scenarios/linux-dma.toml")
result = iosim.simulate(scenario)
result.requests["latency_ns"].quantile(0.99)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iosim.api import Result, Scenario, load, simulate

__all__ = ["Result", "Scenario", "load", "simulate"]


def __getattr__(name: str) -> Any:
    """Import the API when it is first used: the command line answers ``--help`` without it."""
    if name in __all__:
        from iosim import api

        return getattr(api, name)
    raise AttributeError(f"module 'iosim' has no attribute {name!r}")
