"""What holds for every test: how many random cases there are, and no terminal width from outside."""

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


@pytest.fixture(autouse=True)
def _own_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
