"""What holds for every test: how many random cases there are, no terminal width from outside, and rarer collections."""

import gc
import signal

import pytest
from hypothesis import HealthCheck, settings

# The property tests draw the same cases each time; with ``make fuzz``, many new ones.
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("usual", deadline=None, max_examples=75, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile("fuzz", deadline=None, max_examples=2000, suppress_health_check=_SLOW)
settings.load_profile("usual")

# A shell's background job ignores SIGINT, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_GARBAGE = (100_000, 20, 50)
"""The collector's thresholds: thousands of steps of simulated threads live at once and are not garbage."""


def pytest_collection_finish() -> None:
    """Never look again at what modules and collected tests hold; look less often at the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE)


@pytest.fixture(autouse=True)
def _own_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
