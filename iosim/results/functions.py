"""The table of functions: where the time of all counted requests goes, with the call chain of each function."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from iosim.model.chains import NOT_SAMPLED
from iosim.model.stages import Stage
from iosim.model.trace import OPS
from iosim.results.sampling import SampledDrive
from iosim.results.statistics import counted
from iosim.results.sums import RequestSums

COLUMNS = ["vm", "drive", "op", "carrier", "stage", "stack", "sampled", "total_ns"]


def functions(sampled: list[SampledDrive], requests: pd.DataFrame) -> pd.DataFrame:
    """Return `functions_of` the counted *requests* (that table)."""
    return functions_of(sampled, _totals(counted(requests)))


def functions_of_sums(sampled: list[SampledDrive], sums: RequestSums, vms: Sequence[str]) -> pd.DataFrame:
    """Return `functions_of` the counted requests of *sums*; *vms* are the names of the VMs by number."""
    return functions_of(
        sampled,
        [((vms[vm], drive, OPS[op]), list(place.stages_ns)) for (vm, drive, op), place in sums.places.items()],
    )


def functions_of(sampled: list[SampledDrive], sums: Iterable[tuple[tuple[str, int, str], list[int]]]) -> pd.DataFrame:
    """Return one row per VM, drive, operation, stage and call chain; *sums* are of all counted requests, by stage.

    What the sampled requests spent is scaled stage by stage: the rows of a stage add up to its sum exactly. The time of
    a stage that none of them has been in is a row of its own, without a chain.
    """
    found = {(group.vm, group.drive, group.op): group for group in sampled}
    rows: list[tuple[Any, ...]] = []
    for place, totals in sums:
        group = found.get(place) or SampledDrive(*place, 0, [])
        stages = {stage: list(spent) for stage, spent in groupby(group.rows, key=itemgetter(0))}
        for stage, total in zip(Stage, totals, strict=True):
            if total:
                spent = stages.get(stage) or [(stage, NOT_SAMPLED, f"[{stage.label}]", 1)]
                shares = apportioned([ns for _, _, _, ns in spent], total)
                for (_, carrier, stack, _), ns in zip(spent, shares, strict=True):
                    rows.append((*place, carrier, stage.label, stack, group.n, ns))
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in COLUMNS]
    frame = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    return frame.astype({"drive": np.int64, "sampled": np.int64, "total_ns": np.int64})


def _totals(requests: pd.DataFrame) -> Iterator[tuple[tuple[str, int, str], list[int]]]:
    """Return the sum of each stage over the requests of each VM, drive and operation, in this order."""
    if requests.empty:
        return
    vms, ops = requests["vm"].cat, requests["op"].cat
    drives = requests["drive"].to_numpy()
    n_drives = int(drives.max()) + 1
    key = (vms.codes.to_numpy(dtype=np.int64) * n_drives + drives) * len(ops.categories) + ops.codes.to_numpy()
    order = np.argsort(key, kind="stable")
    present, first = np.unique(key[order], return_index=True)
    sums = [np.add.reduceat(requests[f"{stage.label}_ns"].to_numpy()[order], first).tolist() for stage in Stage]
    for group, totals in zip(present.tolist(), zip(*sums, strict=True), strict=True):
        place, op = divmod(group, len(ops.categories))
        vm, drive = divmod(place, n_drives)
        yield (vms.categories[vm], drive, ops.categories[op]), list(totals)


def apportioned(parts: list[int], total: int) -> list[int]:
    """Return whole numbers in the proportions of *parts* that add up to *total*, by the largest remainders."""
    whole = sum(parts)
    shares = [part * total // whole for part in parts]
    remainders = [part * total % whole for part in parts]
    largest = sorted(range(len(parts)), key=lambda at: (-remainders[at], at))
    for at in largest[: total - sum(shares)]:
        shares[at] += 1
    return shares
