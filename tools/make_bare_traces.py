"""Make traces/bare from the untraced recordings of the bare-metal guests.

    python tools/make_bare_traces.py RECORDINGS

RECORDINGS is the folder of the public recordings. For each workload it writes the trace to replay (`<name>.csv.gz`,
the canonical format: start times of the first repetition, addresses as the program makes them, sector 0 onwards) and
what was measured (`<name>.measured.csv.gz`: every command of every repetition). The gzip files carry neither a name
nor a time, so the same recordings give the same bytes.
"""

import gzip
import sys
from pathlib import Path

import pandas as pd

WORKLOADS = {
    "w30_outw_1": 1,
    "w30_outw_8": 8,
    "w30_outw_64": 64,
    "dma_w_irq_1": 1,
    "dma_w_irq_8": 8,
    "dma_w_irq_64": 64,
    "dma_w_8": 8,
}
"""Name of the guest's program and sectors per command. All write sequentially from sector 0."""

BATCHES = {"": "first", "_ctl": "control-1", "_ctl2": "control-2"}
"""Suffix of a recording and what it is called here: the same workload again in later batches, to see the drift."""


def trace(untraced: pd.DataFrame, sectors: int) -> str:
    """Return the canonical CSV of the first repetition."""
    first = untraced[untraced["rep"] == "a"]
    lines = [
        f"{at:.2f},W,{number * sectors},{sectors}" for number, at in zip(first["idx"], first["t_start_us"], strict=True)
    ]
    return "\n".join(["time_us,op,sector,sectors", *lines]) + "\n"


def measured(folder: Path, name: str) -> str:
    """Return the CSV of what every command of *name* took, in all repetitions of all batches."""
    frames = []
    for suffix, batch in BATCHES.items():
        path = folder / f"{name}_none{suffix}.csv.gz"
        if path.exists():
            frames.append(pd.read_csv(path).assign(batch=batch))
    rows = pd.concat(frames).rename(columns={"idx": "command"})
    columns = ["batch", "rep", "command", "regs_us", "data_us", "wait_us"]
    text: str = rows[columns].to_csv(index=False, float_format="%.2f", lineterminator="\n")
    return text


def packed(text: str) -> bytes:
    """Return *text* as gzip without name and time."""
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def files(recordings: Path) -> dict[str, bytes]:
    """Return the bytes of every file of traces/bare but its README."""
    folder = recordings / "B_kvm_baremetal" / "untraced"
    made = {}
    for name, sectors in WORKLOADS.items():
        made[f"{name}.csv.gz"] = packed(trace(pd.read_csv(folder / f"{name}_none.csv.gz"), sectors))
        made[f"{name}.measured.csv.gz"] = packed(measured(folder, name))
    return made


def main() -> None:
    """Write the files."""
    target = Path(__file__).resolve().parent.parent / "traces" / "bare"
    target.mkdir(parents=True, exist_ok=True)
    for name, data in files(Path(sys.argv[1])).items():
        (target / name).write_bytes(data)


if __name__ == "__main__":
    main()
