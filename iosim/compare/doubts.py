"""Reasons to doubt a comparison, each in a sentence; page and terminal both say them."""

from collections.abc import Sequence

from iosim.compare.comparison import Comparison, Run
from iosim.compare.pairing import Side
from iosim.model.units import three_digits
from iosim.report import doubts as report
from iosim.results.wording import plural

_MOST_NAMES = 3


def doubts(comparisons: Sequence[Comparison]) -> list[str]:
    """Return reasons to doubt the comparisons, all of the same base, and then the runs themselves."""
    many = len(comparisons) > 1
    own = [
        (found, text)
        for found in comparisons
        for text in (*_unpaired(found), *_alone(found), *_seeds(found), *_versions(found), *_alike(found))
    ]
    lines = [f"{found.other.name}: {text}" if many else text for found, text in own]
    return lines + _of_runs([comparisons[0].base, *(found.other for found in comparisons)])


def _unpaired(found: Comparison) -> list[str]:
    pairing = found.pairing
    if found.mean is None or pairing.is_paired:
        return []
    why = f"the traces of {found.base.name} and {found.other.name} have different content"
    if not pairing.changed:
        why = f"no request of {found.base.name} has the VM, drive and number of one of {found.other.name}"
    return [
        f"Nothing is paired: {why}. Each run is taken for itself, so the difference has the noise of both, "
        "and what else differs between their requests."
    ]


def _alone(found: Comparison) -> list[str]:
    """Say which requests are left out, and why."""
    pairing, lines = found.pairing, []
    for names, run in ((pairing.only_base, found.base), (pairing.only_other, found.other)):
        if names:
            lines.append(f"Only {run.name} has {_listed(names)}.")
    if not pairing.is_paired:
        return lines
    if pairing.changed:
        drives = _listed([f"{vm}, drive {drive}" for vm, drive in pairing.changed])
        lines.append(f"Another trace for {drives}: these requests are in no pair.")
    alone = [f"{side.alone:,} of {side.n_counted:,} in {run.name}" for side, run in _sides(found) if side.alone]
    if alone:
        lines.append(
            f"Requests that count in one run only are left out: {', '.join(alone)}. "
            "The means and percentiles here are of the pairs."
        )
    lost = [
        f"{counts['failed'] + counts['unfinished']:,} in {run.name}"
        for run in (found.base, found.other)
        if (counts := run.result.summary["requests"])["failed"] + counts["unfinished"]
    ]
    if lost:
        lines.append(
            f"Requests that failed or had no end are in no pair, and they may be the slowest: {', '.join(lost)}."
        )
    return lines


def _sides(found: Comparison) -> list[tuple[Side, Run]]:
    return [(found.pairing.base, found.base), (found.pairing.other, found.other)]


def _listed(names: list[str]) -> str:
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{names[0]} to {names[-1]}, {len(names):,} in all"


def _seeds(found: Comparison) -> list[str]:
    if found.pairing.same_seed:
        return []
    return [
        "The seeds differ: both runs have the same requests but not the same draws, "
        "so their chance is in each difference."
    ]


def _versions(found: Comparison) -> list[str]:
    first, second = (run.result.summary["iosim"] for run in (found.base, found.other))
    if first == second:
        return []
    return [f"The versions of iosim differ, {first} and {second}: a part of the difference may be the program's."]


def _alike(found: Comparison) -> list[str]:
    """Say why the mean has no interval."""
    if found.mean is None or found.mean.interval is not None or found.mean.constant:
        return []
    what = "pair" if found.pairing.is_paired else "request"
    if found.reach < 2:
        return [f"{plural(found.n, what)} are too few for an interval of the mean."]
    alike = "differ alike" if found.pairing.is_paired else "are alike"
    return [
        f"About {three_digits(found.reach)} requests in a row {alike}, so {plural(found.n, what)} are worth some "
        f"{max(1, round(found.n / found.reach)):,} independent ones: too few for an interval of the mean."
    ]


def _of_runs(runs: Sequence[Run]) -> list[str]:
    """Return the reasons to doubt the runs, each once; with the names of the runs unless it holds for all."""
    by_text: dict[str, list[str]] = {}
    for run in runs:
        for text in report.doubts(run.result):
            by_text.setdefault(text, []).append(run.name)
    return [text if len(names) == len(runs) else f"{', '.join(names)}: {text}" for text, names in by_text.items()]
