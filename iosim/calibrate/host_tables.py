"""A recording as tables: a folder with exits*.csv and steps of the I/O (aio.csv, blk.csv), plain or .gz.

exits: t_us, vcpu, port, dir (R, W), size, count, value, class, kvm_us, qemu_us. aio: trigger, syscall, and the times
t_exit_us, t_in_us, t_wwake_us ... blk: t_queue_us, t_complete_us and sectors of the host's block layer, row for row
beside aio; it is left aside if it has not as many rows.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from iosim.calibrate.recording import MARKS, Recording
from iosim.model.errors import TraceError, reason

_EXITS = ("port", "dir", "class", "kvm_us", "qemu_us")
_KNOWN = {"reg_w", "cmd_w", "ctl_w", "status_r", "alt_r", "bm_w", "bm_start", "bm_r"}
_KNOWN |= {f"data_{way}{place}" for way in "rw" for place in ("", "_first", "_last")}


def holds(folder: Path) -> bool:
    """Tell whether *folder* is such a recording."""
    return folder.is_dir() and (_found(folder, "exits*.csv*") or _found(folder, "aio.csv*")) is not None


def read(folder: Path, string_io: bool | None = None) -> Recording:
    """Return the recording in *folder*. Raises TraceError."""
    exits, steps, notes = _no_exits(), pd.DataFrame({"kind": [], "call": []}), []
    if path := _found(folder, "exits*.csv*"):
        exits = _exits(path)
    if path := _found(folder, "aio.csv*"):
        steps = _steps(path)
        block = _found(folder, "blk.csv*")
        if block is not None:
            rows = _table(block, ("t_queue_us", "t_complete_us"))
            if len(rows) == len(steps):
                for mark in ("queue", "complete"):
                    steps[mark] = rows[f"t_{mark}_us"].to_numpy(dtype=np.float64)
                if "nsect" in rows:
                    steps["sectors"] = rows["nsect"].to_numpy()
            else:
                notes.append(
                    f"{folder.name}/{block.name}: has {len(rows):,} rows, {path.name} {len(steps):,}: left aside"
                )
    return Recording(folder.name, exits, steps, string_io, notes=notes)


def _found(folder: Path, pattern: str) -> Path | None:
    found = sorted(folder.glob(pattern))
    if len(found) > 1:
        raise TraceError(f"{folder}: has several files {pattern}: {', '.join(path.name for path in found)}")
    return found[0] if found else None


def _no_exits() -> pd.DataFrame:
    columns = ("vcpu", "kind", "port", "size", "count", "value", "kvm_us", "qemu_us")
    return pd.DataFrame({name: [] for name in columns})


def _table(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path)
    except (OSError, EOFError) as error:
        raise TraceError(f"{path}: {reason(error) if isinstance(error, OSError) else 'is cut short'}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: is no CSV table: {error}") from None
    if missing := [name for name in needed if name not in rows]:
        raise TraceError(f"{path}: needs a column {missing[0]}")
    for name in needed:
        if len(rows) and name.endswith("_us") and not pd.api.types.is_numeric_dtype(rows[name]):
            raise TraceError(f"{path}: {name} must be numbers")
    return rows


def _exits(path: Path) -> pd.DataFrame:
    rows = _table(path, _EXITS)
    try:
        port = rows["port"].map(lambda text: int(str(text), 16))
    except ValueError:
        raise TraceError(f"{path}: port must be hexadecimal") from None
    kind = rows["class"].where(rows["class"].isin(_KNOWN), "other")
    table = pd.DataFrame({"kind": kind, "port": port, "kvm_us": rows["kvm_us"], "qemu_us": rows["qemu_us"]})
    for name, default in (("vcpu", 0), ("size", 1), ("count", 1)):
        table[name] = rows.get(name, default)
    return table


def _steps(path: Path) -> pd.DataFrame:
    rows = _table(path, ("trigger", "syscall", "t_exit_us"))
    table = pd.DataFrame({"kind": rows["trigger"], "call": rows["syscall"]})
    for mark in MARKS:
        if f"t_{mark}_us" in rows:
            table[mark] = rows[f"t_{mark}_us"].astype(np.float64)
    return table
