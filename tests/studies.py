"""What tests of studies share: a small scenario whose costs are drawn, a study of it, and what a sweep wrote."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from iosim.study import sweep

SCENARIO = """\
[host]
profile = "vmx-2017"
[[host.disk]]
name = "sda"
model = "constant"
service = "90us"
[[vm]]
name = "web"
[[vm.drive]]
cache = "none"
trace = "trace.csv"
"""
TRACE = "time_us,op,sector,sectors\n" + "".join(f"{500 * k},{'RWW'[k % 3]},{64 * k},8\n" for k in range(30))
STUDY = """\
[study]
scenario = "scenario.toml"
replications = 3
[grid]
vm.web.count = [1, 2]
vm.web.drive.interface = ["ide", "virtio-blk"]
"""
SMALL = """\
[study]
scenario = "scenario.toml"
replications = 1
reference = "two"
[[point]]
name = "two"
set = { vm.web.count = 2 }
"""
POINTS = ["base", "grid-1", "grid-2", "grid-3", "grid-4"]
TABLES = ("runs.parquet", "summary.parquet", "study.json")


def write_study(folder: Path, study: str = STUDY, scenario: str = SCENARIO, trace: str = TRACE) -> None:
    """Write study.toml with its scenario and trace into *folder*."""
    for name, text in (("study.toml", study), ("scenario.toml", scenario), ("trace.csv", trace)):
        (folder / name).write_text(text, encoding="utf-8")


def sweep_here(folder: Path, workers: int = 1, out: str = "out", summary_only: bool = False) -> Path:
    """Run the study in *folder* without a command line of its own and return where its tables are."""
    console = Console(file=io.StringIO(), width=120)
    sweep.run(folder / "study.toml", folder / out, (), workers, None, False, summary_only, console, console)
    return folder / out


def tables(out: Path) -> dict[str, bytes]:
    """Return the tables of a study, byte for byte."""
    return {name: (out / name).read_bytes() for name in TABLES}


def runs(out: Path) -> pd.DataFrame:
    """Return the table of runs."""
    return pd.read_parquet(out / "runs.parquet")


def facts(out: Path) -> dict[str, Any]:
    """Return study.json."""
    document: dict[str, Any] = json.loads((out / "study.json").read_text(encoding="utf-8"))
    return document


def journal(out: Path) -> list[str]:
    """Return the digest of each run that was carried out, in order."""
    path = out / "store" / "journal.csv"
    return pd.read_csv(path)["digest"].tolist() if path.exists() else []


def records(out: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of writing of each record of the store, by its digest."""
    found = {}
    for path in (out / "store").glob("??/*.json"):
        status = path.stat()
        found[path.stem] = (status.st_ino, status.st_mtime_ns)
    return found
