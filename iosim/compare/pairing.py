"""Which requests of two runs belong together: the same row of the same trace of the same drive of the same VM."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.results.result import Result
from iosim.results.summary import counted

Rows = npt.NDArray[np.int64]
Drive = tuple[str, int]


@dataclass(frozen=True)
class Side:
    """The requests of one run that are compared, by their rows in its table: in pairs, or each for itself."""

    result: Result
    rows: Rows
    n_counted: int

    @property
    def alone(self) -> int:
        """How many requests count in this run, and are in no pair."""
        return self.n_counted - len(self.rows)

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column of `requests` for the rows."""
        return np.asarray(self.result.requests[name].to_numpy())[self.rows]


@dataclass(frozen=True)
class Pairing:
    """Two runs beside each other. Rows are in the order of arrival: of pairs in the base, else each in its own run."""

    base: Side
    other: Side
    is_paired: bool
    only_base: list[str]
    only_other: list[str]
    """VMs that only one of the runs has."""
    changed: list[Drive]
    """Drives of tables [[vm]] that both have, with another trace."""
    same_seed: bool


def pair(base: Result, other: Result) -> Pairing:
    """Pair the counted requests of two runs by (vm, drive, request), but for drives whose trace is another one.

    If there is not a single pair, all requests that count are kept, as they are in each run.
    """
    counted_rows = [np.asarray(counted(run.requests[["status", "warmup"]]).index, np.int64) for run in (base, other)]
    changed = _changed(base, other)
    keys = _keys((base, other), counted_rows, changed)
    _, first, second = np.intersect1d(keys[0][0], keys[1][0], assume_unique=True, return_indices=True)
    names = [set(run.requests["vm"].cat.categories) for run in (base, other)]
    is_paired = len(first) > 0
    if is_paired:
        rows = [keys[0][1][first], keys[1][1][second]]
        order = _by_arrival(base, rows[0])
        rows = [chosen[order] for chosen in rows]
    else:
        rows = [chosen[_by_arrival(run, chosen)] for run, chosen in zip((base, other), counted_rows, strict=True)]
    return Pairing(
        Side(base, rows[0], len(counted_rows[0])),
        Side(other, rows[1], len(counted_rows[1])),
        is_paired,
        [str(name) for name in base.requests["vm"].cat.categories if name not in names[1]],
        [str(name) for name in other.requests["vm"].cat.categories if name not in names[0]],
        changed,
        base.scenario.run.seed == other.scenario.run.seed,
    )


def _by_arrival(run: Result, rows: Rows) -> Rows:
    return np.argsort(run.requests["arrival_ns"].to_numpy()[rows], kind="stable")


def _changed(base: Result, other: Result) -> list[Drive]:
    """Return the drives that both scenarios have, with traces of different content."""
    first, second = ({(t["vm"], t["drive"]): t["sha256"] for t in run.summary["traces"]} for run in (base, other))
    return [drive for drive, checksum in first.items() if second.get(drive, checksum) != checksum]


def _keys(runs: tuple[Result, Result], rows: list[Rows], changed: list[Drive]) -> list[tuple[Rows, Rows]]:
    """Return for each run a number per request that says (vm, drive, request), and its row; not of *changed* drives."""
    names = sorted({str(name) for run in runs for name in run.requests["vm"].cat.categories})
    codes = {name: code for code, name in enumerate(names)}
    n_drives = 1 + max((int(run.requests["drive"].max()) for run in runs if len(run.requests)), default=0)
    n_requests = 1 + max((int(run.requests["request"].max()) for run in runs if len(run.requests)), default=0)
    left_out = [codes[name] * n_drives + drive for name in names for table, drive in changed if _table(name) == table]
    found = []
    for run, chosen in zip(runs, rows, strict=True):
        vm = run.requests["vm"].cat
        code = np.array([codes[str(name)] for name in vm.categories], np.int64)[vm.codes.to_numpy()[chosen]]
        drive = code * n_drives + run.requests["drive"].to_numpy()[chosen]
        stays = ~np.isin(drive, left_out)
        number = drive * n_requests + run.requests["request"].to_numpy()[chosen]
        found.append((number[stays], chosen[stays]))
    return found


def _table(name: str) -> str:
    """Return the name of the scenario's VM whose clone is called *name*."""
    return name.partition("#")[0]
