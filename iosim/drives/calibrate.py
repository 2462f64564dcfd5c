"""`iosim calibrate disk`: from recorded service times, or DiskSim's files of a drive, to a [[host.disk]]."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from iosim.disk.build import disk_model
from iosim.drives import command_fit, disksim, drive_fit, empirical_table, hdd_table, ssd_fit
from iosim.drives.disk_file import checked, to_toml, write_beside
from iosim.drives.drive_fit import DriveFit, Parameter
from iosim.drives.judge import check_size, doubts, judge
from iosim.drives.service_logs import read_services
from iosim.drives.services import Services
from iosim.model.errors import OutputError, ScenarioError, TraceError
from iosim.model.units import SECTOR_BYTES, exact_size, parse_bytes
from iosim.results.wording import plural
from iosim.traces.reading import ReadOptions
from iosim.validate.match import Match
from iosim.validate.tables import WIDE, rows, table

MODELS = ("disksim", "hdd", "ssd", "empirical")
_ENOUGH = 200
MOST_SERVERS = 4096


@dataclass(frozen=True)
class Wish:
    """What the command line asks for."""

    recordings: list[Path]
    out: Path
    model: str
    diskspecs: Path | None
    name: str
    capacity: str | None
    bus_rate: str | None
    everything: bool


def run(wish: Wish, options: ReadOptions, console: Console, errors: Console) -> None:
    """Make the disk that *wish* asks for, write it, and show how good it is. Raises TraceError, ScenarioError."""
    _check(wish)
    recorded = _joined([_read(path, options, console) for path in wish.recordings])
    if recorded is not None and len(recorded) < _ENOUGH:
        raise TraceError(f"{recorded.source}: has {plural(len(recorded), 'request')}: a model needs {_ENOUGH}")
    made_from, held_out = (recorded, None)
    if recorded is not None and not wish.everything and wish.diskspecs is None:
        made_from, held_out = recorded.halves()
    beside: str | None = None
    with errors.status("") as status:
        if wish.diskspecs is not None:
            fitted = _from_specs(wish, recorded)
        elif wish.model == "empirical":
            assert made_from is not None
            fitted, beside = _empirical(made_from, wish.out)
        else:
            assert made_from is not None
            assert recorded is not None
            fitted = _fitted(wish, made_from, recorded.end_sector, lambda what: status.update(f"fitting {what}"))
        disk = {"name": wish.name, **fitted.disk}
        table_name = wish.out.with_suffix(".csv")
        if beside is not None:
            write_beside(table_name, beside)
        model_table = checked(disk, str(wish.out))
        model = disk_model(model_table, wish.out.parent)
        if recorded is not None:
            check_size(model, recorded, f"{wish.diskspecs or wish.out}: the disk {wish.name}")
        status.update("replaying the recording")
        found = {
            label: judge(model, part, model_table.servers) for label, part in _parts(wish, made_from, held_out).items()
        }
    write_beside(wish.out, to_toml(disk, _remarks(wish, recorded, fitted, found)))
    _show(console, wish, recorded, fitted, found)


def _check(wish: Wish) -> None:
    if wish.model not in MODELS:
        raise ScenarioError(f"--model must be one of {', '.join(MODELS)}, got {wish.model!r}")
    if wish.diskspecs is None and not wish.recordings:
        raise ScenarioError("calibrate disk needs a recording of service times, or --diskspecs")
    if wish.diskspecs is not None and wish.model != "disksim":
        raise ScenarioError(f"--diskspecs makes a disk with model = disksim, got --model {wish.model}")
    if wish.out.suffix != ".toml":
        raise OutputError(f"--out must end with .toml, got {wish.out}")
    if not wish.out.parent.is_dir():
        raise OutputError(f"{wish.out.parent}: is no folder")


def _read(path: Path, options: ReadOptions, console: Console) -> Services:
    log = read_services(path, options)
    said = [f"{n:,} x {what}" for what, n in log.reading.beside.items() if n]
    said += [f"{entry.count:,} skipped: {rule}" for rule, entry in log.reading.skipped.items()]
    console.print(Text(f"{path}: {plural(len(log.services), 'request')}, format {log.reading.format}"), soft_wrap=True)
    for line in [*said, *log.reading.notes]:
        console.print(Text(f"  {line}"), soft_wrap=True)
    return log.services


def _joined(parts: Sequence[Services]) -> Services | None:
    """Return the recordings one behind the other, a second apart."""
    if len(parts) < 2:
        return parts[0] if parts else None
    shifts, at = [], 0
    for part in parts:
        shifts.append(at - int(part.start_ns[0]))
        at += int(part.end_ns.max()) - int(part.start_ns[0]) + 1_000_000_000
    return Services(
        np.concatenate([part.op for part in parts]),
        np.concatenate([part.sector for part in parts]),
        np.concatenate([part.sectors for part in parts]),
        np.concatenate([part.start_ns + shift for part, shift in zip(parts, shifts, strict=True)]),
        np.concatenate([part.end_ns + shift for part, shift in zip(parts, shifts, strict=True)]),
        ", ".join(part.source for part in parts),
    )


def _sectors(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_bytes(text) // SECTOR_BYTES
    except ValueError as error:
        raise ScenarioError(f"--capacity {error}") from None


def _rate(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise ScenarioError(f"--bus-rate {error}") from None


# Ways to a disk


def _from_specs(wish: Wish, recorded: Services | None) -> DriveFit:
    """From DiskSim's files; the speed of the bus, where they leave it open, from the reads that hit the buffer."""
    assert wish.diskspecs is not None
    rate, notes = _rate(wish.bus_rate), []
    if rate is None and disksim.leaves_bus_open(wish.diskspecs):
        hit = None
        if recorded is not None:
            back = command_fit.fit(recorded, recorded.of("W")) if command_fit.written_back(recorded) else None
            hit = command_fit.fit(recorded, command_fit.hits(recorded, back.sector_ns if back else None)) or back
        if hit is not None and hit.sector_ns > 0:
            rate = max(1, round(1e9 / hit.sector_ns)) * SECTOR_BYTES
            notes.append(
                f"bus_rate is from the recording: {hit.sector_ns / 1e3:.1f} +- {hit.errors[2] / 1e3:.1f} us per sector "
                "of the reads that hit the buffer; the files leave it to DiskSim's bus"
            )
        else:
            notes.append(
                f"bus_rate is assumed, {exact_size(disksim.DEFAULT_BUS_RATE)}: the files leave it to DiskSim's bus"
            )
    return DriveFit(disksim.convert(wish.diskspecs, rate), [], notes)


def _empirical(made_from: Services, out: Path) -> tuple[DriveFit, str]:
    groups = empirical_table.groups(made_from)
    parameters = [
        Parameter(f"{group.op}, {group.access}, {group.sectors} sectors", f"{len(group.service_ns):,} requests", "", "")
        for group in groups
    ]
    disk: dict[str, Any] = {"model": "empirical", "table": out.with_suffix(".csv").name}
    notes = []
    if not any(group.op == "F" for group in groups):
        disk["flush"] = "0s"
        notes.append("no flush was recorded: flush is set to 0s")
    if made_from.depth > 1:
        disk["servers"] = min(made_from.depth, MOST_SERVERS)
        notes.append(
            f"up to {made_from.depth} requests were under way at once: their times have waits for each other in them, "
            "and hold for about as many"
        )
    return DriveFit(disk, parameters, notes), empirical_table.to_csv(groups)


def _fitted(wish: Wish, made_from: Services, end_sector: int, step: drive_fit.Step) -> DriveFit:
    if wish.model == "ssd":
        return ssd_fit.fit(made_from)
    fitted = drive_fit.fit(made_from, max(_sectors(wish.capacity) or 0, end_sector), step)
    return hdd_table.simplified(fitted) if wish.model == "hdd" else fitted


# What is said about it


def _parts(wish: Wish, made_from: Services | None, held_out: Services | None) -> dict[str, Services]:
    if made_from is None:
        return {}
    if held_out is None:
        return {"the recording": made_from}
    return {"first half, fitted": made_from, "second half, held out": held_out}


def _remarks(wish: Wish, recorded: Services | None, fitted: DriveFit, found: dict[str, list[Match]]) -> list[str]:
    said = [f"Made by: iosim {' '.join(sys.argv[1:])}", f"Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"]
    if wish.diskspecs is not None:
        said.append(f"From DiskSim's parameters: {wish.diskspecs}")
    if recorded is not None:
        said.append(f"Recording: {recorded.source}, {plural(len(recorded), 'request')}")
    for label, matches in found.items():
        one = matches[0]
        errors = ", ".join(f"{name} {error:+.1%}" for name, error in one.error.items() if error is not None)
        said.append(
            f"{label}: {len(one.measured):,} requests, demerit {one.demerit_ns / 1e6:.3f} ms, KS {one.ks:.3f}, {errors}"
        )
    for row in fitted.parameters:
        plus = f" +- {row.error}" if row.error else ""
        said.append(f"  {row.name}: {row.value}{plus}{f' ({row.how})' if row.how else ''}")
    return said + fitted.notes


def _show(
    console: Console, wish: Wish, recorded: Services | None, fitted: DriveFit, found: dict[str, list[Match]]
) -> None:
    if fitted.parameters:
        drawn = Table(box=None, pad_edge=False, title="Parameters", title_justify="left")
        for name, justify in (("", "left"), ("value", "right"), ("standard error", "right"), ("how", "left")):
            drawn.add_column(name, justify="right" if justify == "right" else "left")
        for row in fitted.parameters:
            drawn.add_row(row.name, row.value, row.error, row.how)
        console.print(drawn)
    for label, matches in found.items():
        console.print()
        console.print(table(*rows(matches, wide=console.width >= WIDE), title=label[:1].upper() + label[1:]))
    if recorded is not None and found:
        console.print()
        for line in doubts(recorded, list(found.values())[-1]):
            console.print(Text(line), soft_wrap=True)
    for note in fitted.notes:
        console.print(Text(note), soft_wrap=True)
    written = f"{wish.out} and {wish.out.with_suffix('.csv')}" if wish.model == "empirical" else f"{wish.out}"
    console.print(Text(f"Written to {written}"), soft_wrap=True)
