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
WORKLOADS = ["w30_outw_1", "w30_outw_8", "w30_outw_64", "dma_w_irq_1", "dma_w_irq_8", "dma_w_irq_64", "dma_w_8"]


DATA, BM_COMMAND = 0x1F0, 0xC000
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
    """Return the simulated requests of *workload*, by number, with `submitted_ns`: the exit that submits the last part.

    That is the last word that goes to the data port, or the write that starts the bus master.
    """
    path = PROJECT / "scenarios" / "validation" / f"{workload}.toml"
    result = iosim.simulate(iosim.load(path, ['run.log="ports"']))
    assert result.accesses is not None
    out = result.accesses[result.accesses["direction"] == "out"]
    if workload.startswith("dma"):
        # The command register of the bus master is written three times: direction, start, stop.
        submitted = out[out["port"] == BM_COMMAND].groupby("request")["time_ns"].nth(1)
        submitted.index = out.loc[submitted.index, "request"]
    else:
        submitted = out[out["port"] == DATA].groupby("request")["time_ns"].max()
    return result.requests.set_index("request").assign(submitted_ns=submitted)


def parts(workload: str, requests: pd.DataFrame) -> list[float]:
    """Return medians in us: up to the submission simulated and measured, behind it simulated and measured."""
    rows = pd.read_csv(PROJECT / "traces" / "bare" / f"{workload}.measured.csv.gz")
    by_run = [rows["batch"], rows["rep"]]
    before, behind = rows["regs_us"] + rows["data_us"], rows["wait_us"]
    return [
        float((requests["submitted_ns"] - requests["arrival_ns"]).median() / 1000),
        float(before.groupby(by_run).median().median()),
        float((requests["done_ns"] - requests["submitted_ns"]).median() / 1000),
        float(behind.groupby(by_run).median().median()),
    ]


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
    lines += [
        "",
        "| workload | p50, us: up to the submission, simulated | measured | behind it, simulated | measured |",
        "|---|---|---|---|---|",
    ]
    for workload in WORKLOADS:
        lines.append(f"| `{workload}` | {' | '.join(map(us, parts(workload, simulated[workload])))} |")
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
