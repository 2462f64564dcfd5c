"""How numbers read in reports: shares, times of one table in one unit, three digits."""

from iosim.model.scenario import DiskTable
from iosim.model.units import three_digits

BUSY = 0.9
"""From this utilisation on a resource makes requests queue for long."""


def percent(share: float, decimals: int = 1) -> str:
    """Return *share* in percent; what is above 0 never reads as 0."""
    least = 10.0 ** -(decimals + 2)
    return f"<{least * 100:g}%" if 0 < share < least / 2 else f"{share:.{decimals}%}"


def described_disk(disk: DiskTable) -> str:
    """Return "nvme (ssd)" or "4 x nvme (ssd)"."""
    return f"{disk.name} ({disk.model})" if disk.count == 1 else f"{disk.count:,} x {disk.name} ({disk.model})"


def plural(n: int, what: str) -> str:
    """Return "1 request" or "2 requests"."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def common_unit(middle_ns: float, longest_ns: float, ms_from: float = 10) -> str:
    """Return the unit of a whole table: us, ms from *ms_from* milliseconds on, s from 100 s on.

    The longest time, a thousand times over, counts like the one in the middle: it must fit into its column.
    """
    ns = max(middle_ns, longest_ns / 1000)
    if ns >= 100e9:
        return "s"
    return "ms" if ns >= ms_from * 1e6 else "us"


def figure(value: float) -> str:
    """Return *value* with three significant digits, but no more than three decimals."""
    if 0 < value < 0.001:
        return "<0.001"
    return f"{value:.3f}" if 0 < value < 1 else three_digits(value)


def perf_time(ns: float) -> str:
    """Return a time as perf kvm stat prints it: microseconds with two decimals."""
    return f"{ns / 1000:,.2f}us"
