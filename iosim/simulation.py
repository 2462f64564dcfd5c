"""From a scenario to its result: inputs read and checked, the machine run, tables built."""

import atexit
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from iosim import engines
from iosim.analytic import laws
from iosim.model.ata import MAX_MULT_SECTORS
from iosim.model.clones import vm_names
from iosim.model.cost_changes import changed
from iosim.model.cost_watch import watched
from iosim.model.costs import Profile, load_profile, shipped_profiles
from iosim.model.errors import ScenarioError, shown
from iosim.model.scenario import Scenario, VmTable
from iosim.model.trace import AnyTrace
from iosim.model.units import MAX_NS, SECTOR_BYTES
from iosim.results import tables
from iosim.results.functions import functions, functions_of_sums
from iosim.results.result import Result, StoredResult, SummaryResult
from iosim.results.row_file import Location, RowFile
from iosim.results.spans import spans
from iosim.results.statistics import Statistics
from iosim.results.summary import summarise
from iosim.results.sums import RequestSums, series_of_sums
from iosim.run import Progress, build_machine, run_machine
from iosim.traces import ReadOptions, open_trace
from iosim.traces.reading import PortDrive
from iosim.traces.table import check_size

TraceReader = Callable[[Path, ReadOptions], AnyTrace]
"""Path of a trace file, and what is asked of it -> trace. Raises TraceError."""
Traces = Mapping[tuple[int, int], AnyTrace]
"""The trace of each drive, by number of the VM's table and number of the drive."""


ROWS_IN_MEMORY = 1 << 20
"""A table of more requests goes to a file as it comes, where there is a folder for it."""


def simulate(
    scenario: Scenario,
    folder: str | Path = ".",
    progress: Progress | None = None,
    reader: TraceReader = open_trace,
    say: engines.Say | None = None,
    rows: bool = True,
    beside: Path | None = None,
) -> Result:
    """Run *scenario* and return its result; one without requests, but with their statistics, with *rows* false.

    If a folder *beside* is given, a table of requests that is too long for memory is put into a file there.

    File names in the scenario are relative to *folder* (that of the scenario file). *progress* is called now and then
    with (requests ended, requests in all), *say* with what takes long before the first event. Raises ScenarioError,
    TraceError or ProfileError for bad input, EngineError if the engine asked for cannot run it, and FaultError for a
    result that breaks a law which every run keeps (`iosim.analytic.laws`).
    """
    folder = Path(folder)
    profile, traces = _inputs(scenario, folder, reader)
    try:
        result = run_and_tabulate(scenario, profile, traces, folder, progress, say, rows, beside)
    except OverflowError:
        raise ScenarioError("the run takes more than 292 years of simulated time, the end of the clock") from None
    if result.found is None:
        laws.require(result)
    return result


def check(scenario: Scenario, folder: str | Path = ".", reader: TraceReader = open_trace) -> None:
    """Raise what `simulate` would raise before its first event: every file is read, the machine built and dropped."""
    folder = Path(folder)
    profile, traces = _inputs(scenario, folder, reader)
    build_machine(scenario, profile, traces, folder)


def engine_of(scenario: Scenario, folder: Path, reader: TraceReader) -> str:
    """Return the engine that `simulate` would choose for a scenario that `check` has passed."""
    traces = {
        (at, index): reader(folder / drive.trace, trace_options(vm, index))
        for at, vm in enumerate(scenario.vm)
        for index, drive in enumerate(vm.drive)
    }
    return engines.choose(scenario, traces)


def spent_costs(scenario: Scenario, folder: str | Path = ".", reader: TraceReader = open_trace) -> list[str]:
    """Return the keys of the costs that a run of *scenario* spends, in the order of the catalogue.

    Raises as `simulate` does.
    """
    folder = Path(folder)
    profile, traces = _inputs(scenario, folder, reader)
    spent: set[str] = set()
    run_machine(scenario, watched(profile, spent), traces, folder)
    return [key for key in profile.figures if key in spent]


def _inputs(scenario: Scenario, folder: Path, reader: TraceReader) -> tuple[Profile, Traces]:
    profile = costs_of(scenario, folder)
    check_background(scenario)
    return profile, read_traces(scenario, folder, reader)


def costs_of(scenario: Scenario, folder: Path) -> Profile:
    """Return the profile of *scenario*, changed as it says. Raises ScenarioError, ProfileError."""
    name = scenario.host.profile
    if not name.endswith(".toml") and name not in shipped_profiles():
        known = ", ".join(shipped_profiles())
        raise ScenarioError(f"host.profile must be one of {known}, or a .toml file, got {shown(name)}")
    return changed(load_profile(name, folder), scenario.host.cost)


def check_background(scenario: Scenario) -> None:
    """Raise ScenarioError if a declared exit is not one that the exit table knows."""
    from iosim.machine import background_exit

    for vm in scenario.vm:
        for number, table in enumerate(vm.background):
            try:
                background_exit(table)
            except ScenarioError as error:
                raise ScenarioError(f"vm.{vm.name}.background.{number}.{error}") from None


def run_and_tabulate(
    scenario: Scenario,
    profile: Profile,
    traces: Traces,
    folder: Path = Path(),
    progress: Progress | None = None,
    say: engines.Say | None = None,
    rows: bool = True,
    beside: Path | None = None,
) -> Result:
    """Run *scenario* with inputs that have been read: *traces* by (number of the VM's table, number of the drive)."""
    engine = engines.choose(scenario, traces)
    keep: RequestSums | RowFile | None = None if rows else RequestSums(tables_of_vms(scenario))
    n_requests = sum(len(trace) * scenario.vm[at].count for (at, _), trace in traces.items())
    if rows and beside is not None and n_requests > ROWS_IN_MEMORY:
        keep = RowFile(beside)
    raw = run_machine(scenario, profile, traces, folder, progress, engines.executor(engine, say), keep)
    sums = raw.sums
    requests = tables.requests(raw) if sums is None else pd.DataFrame()
    stored = None
    if isinstance(keep, RowFile):
        stored = Location(_beside(beside))
        keep.write(stored.path, raw.vm_names)
    found = Statistics.of(requests if sums is None else sums, stored)
    span_table, n_spanned = spans(raw.logs)
    facts = []
    for at, vm in enumerate(scenario.vm):
        for index, drive in enumerate(vm.drive):
            trace = traces[at, index]
            fact: dict[str, Any] = {
                "vm": vm.name,
                "drive": index,
                "trace": drive.trace,
                "sha256": trace.sha256,
                "requests": len(trace) * vm.count,
            }
            if trace.ports is not None:
                made = [raw.replays[name, index] for name in vm_names(vm)]
                fact["ports"] = trace.ports.found | {key: sum(one[key] for one in made) for key in made[0]}
            facts.append(fact)
    described: dict[str, Any] = {
        "name": profile.name,
        "machine": profile.machine,
        "figures": profile.counts_by_kind(),
        "sha256": profile.checksum(),
        "costs_ns": profile.means_ns(),
    }
    kind = Result if sums is None else SummaryResult if stored is None else StoredResult
    result = kind(
        scenario=scenario,
        requests=requests,
        exits=tables.exits(raw),
        resources=tables.resources(raw),
        functions=(
            functions(raw.functions, requests) if sums is None else functions_of_sums(raw.functions, sums, raw.vm_names)
        ),
        spans=span_table,
        series=tables.series(raw, requests) if sums is None else series_of_sums(raw, sums),
        events=tables.events(raw),
        accesses=tables.accesses(raw),
        summary=summarise(scenario, found, facts, described, raw.end_ns, n_spanned, raw.wear, raw.page_cache, engine),
        found=None if sums is None else found,
    )
    if stored is not None and isinstance(result, StoredResult):
        result.at = stored
    return result


def tables_of_vms(scenario: Scenario) -> list[int]:
    """Return the number of the [[vm]] table of each VM, by number of the VM."""
    return [at for at, vm in enumerate(scenario.vm) for _ in vm_names(vm)]


def _beside(folder: Path | None) -> Path:
    """Return a new file in *folder*, which goes with the process unless it is moved."""
    number, name = tempfile.mkstemp(prefix=".requests.", suffix=".parquet", dir=folder)
    os.close(number)
    atexit.register(Path(name).unlink, missing_ok=True)
    return Path(name)


def trace_options(vm: VmTable, index: int) -> ReadOptions:
    """Return what the scenario asks of the reader of a drive's trace."""
    drive = vm.drive[index]
    ports = None
    if drive.replay == "ports":
        position = vm.positions()[index]
        other_is_free = all(other >> 1 != 1 - (position >> 1) for other in vm.positions() if other >= 0)
        multiple = drive.multiple if drive.multiple > 1 else MAX_MULT_SECTORS
        ports = PortDrive(position >> 1, position & 1, multiple, other_is_free, drive.completion)
    return ReadOptions(
        format=None if drive.trace_format == "auto" else drive.trace_format, device=drive.trace_device, ports=ports
    )


def read_traces(
    scenario: Scenario, folder: Path, reader: TraceReader = open_trace
) -> Mapping[tuple[int, int], AnyTrace]:
    """Return the trace of each (number of the VM's table, number of the drive), each file read once.

    Raises TraceError, also for requests beyond a drive's size, and ScenarioError for a bare-metal guest whose trace
    needs LBA48.
    """
    read: dict[tuple[Path, ReadOptions], AnyTrace] = {}
    traces: dict[tuple[int, int], AnyTrace] = {}
    for at, vm in enumerate(scenario.vm):
        for index, drive in enumerate(vm.drive):
            wanted = folder / drive.trace, trace_options(vm, index)
            if wanted not in read:
                read[wanted] = reader(*wanted)
            trace = traces[at, index] = read[wanted]
            place = f"vm.{vm.name}.drive.{index}"
            if trace.last_ns / drive.speed >= MAX_NS:
                raise ScenarioError(
                    f"{place}.trace_speed must keep the trace shorter than 146 years, got {drive.trace_speed}"
                )
            if drive.size is not None:
                check_size(trace, drive.size // SECTOR_BYTES, f"{place}.size")
            if drive.driver != "libata" and drive.replay != "ports":
                check_size(trace, 1 << 28, f"{place}.driver {drive.driver} knows LBA28 only")
    return traces
