"""Replay the recorded bare-metal workloads and put simulated and measured latency side by side.

    python tools/validate.py            prints the table
    python tools/validate.py --write    puts it into docs/validation.md

Measured is what the guest's own clock said, untraced: from before the first register write of a command to its
completion seen. The simulated latency has the same two ends.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd

import iosim

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "validation.md"
BEGIN, END = "<!-- begin of the output of tools/validate.py -->\n", "<!-- end of the output of tools/validate.py -->\n"
WORKLOADS = ["w30_outw_1", "w30_outw_8", "w30_outw_64", "dma_w_irq_1", "dma_w_irq_8", "dma_w_8"]


BM_STATUS_READS_RECORDED = 10.6
"""Reads of the bus-master status per command of dma_w_8, polls included: mean of its light_trace."""
ACCESSES_WITHOUT_THEM = 12
"""The other port accesses of a command of dma_w_8: 9 up to the command, the start, one status read, the stop."""


class Row(NamedTuple):
    """One workload and one statistic (mean or p50), us per command: simulated, and of each measured repetition."""

    workload: str
    statistic: str
    simulated: float
    measured: list[float]

    @property
    def middle(self) -> float:
        """The median of the repetitions."""
        return float(pd.Series(self.measured).median())

    @property
    def error_percent(self) -> float:
        """Simulated against the median of the repetitions."""
        return 100 * (self.simulated / self.middle - 1)

    @property
    def spread_percent(self) -> float:
        """How far the repetitions lie apart: largest less smallest, against their median."""
        return 100 * (max(self.measured) - min(self.measured)) / self.middle


def measured(workload: str) -> pd.DataFrame:
    """Return mean and p50 (columns) of each repetition (rows) of *workload*, in us per command."""
    rows = pd.read_csv(PROJECT / "traces" / "bare" / f"{workload}.measured.csv.gz")
    latency = rows[["regs_us", "data_us", "wait_us"]].sum(axis=1)
    return latency.groupby([rows["batch"], rows["rep"]]).agg(mean="mean", p50="median")


def replay(workload: str) -> pd.DataFrame:
    """Return the simulated requests of *workload*."""
    return iosim.simulate(iosim.load(PROJECT / "scenarios" / "validation" / f"{workload}.toml")).requests


def compare(workload: str, requests: pd.DataFrame) -> list[Row]:
    """Return the rows of *workload*, of which *requests* were simulated: mean, then p50."""
    latency = requests["latency_ns"] / 1000
    real = measured(workload)
    return [
        Row(workload, "mean", float(latency.mean()), real["mean"].tolist()),
        Row(workload, "p50", float(latency.median()), real["p50"].tolist()),
    ]


def us(value: float) -> str:
    """Return a time in whole microseconds."""
    return f"{value:,.0f}"


def table() -> str:
    """Return the Markdown table of all workloads, and the line about polls."""
    simulated = {workload: replay(workload) for workload in WORKLOADS}
    lines = [
        "| workload | us per command | simulated | measured: median of the repetitions |"
        " measured: smallest to largest | repetitions | spread of the repetitions | error | within the range |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for workload in WORKLOADS:
        for row in compare(workload, simulated[workload]):
            low, high = min(row.measured), max(row.measured)
            cells = [
                f"`{workload}`",
                row.statistic,
                us(row.simulated),
                us(row.middle),
                f"{us(low)} to {us(high)}",
                str(len(row.measured)),
                f"{row.spread_percent:.0f} %",
                f"{row.error_percent:+.1f} %",
                "yes" if low <= row.simulated <= high else "no",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    reads = simulated["dma_w_8"]["userspace_exits"].mean() - ACCESSES_WITHOUT_THEM
    lines += [
        "",
        f"Reads of the bus-master status per command of `dma_w_8`, polls included (mean): simulated {reads:.1f}, "
        f"recorded {BM_STATUS_READS_RECORDED}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, or write it into the page."""
    text = table()
    if sys.argv[1:] != ["--write"]:
        print(text, end="")
        return
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + text + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
