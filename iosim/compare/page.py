"""A comparison as one page of HTML that needs nothing else."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, PackageLoader
from markupsafe import Markup

from iosim.compare import functions, pictures, tables
from iosim.compare.changes import Change
from iosim.compare.comparison import Comparison, Difference
from iosim.compare.doubts import doubts
from iosim.compare.findings import finding, signed_percent
from iosim.model.errors import OutputError, reason
from iosim.model.units import human_time, three_digits
from iosim.report.flame import fragment
from iosim.report.page import environment
from iosim.report.table import Table
from iosim.results.wording import percent, plural

MARK = " – iosim compare</title>"
"""The head of a page has this, by which it is known and may be replaced."""
MOST_FUNCTIONS, MOST_DRIVES, MOST_RESOURCES = 50, 200, 20
_HEAD_CHARACTERS = 4000


def html(found: Sequence[Comparison], changed: Sequence[Change]) -> str:
    """Return the page."""
    made = environment()
    assert made.loader is not None
    made.loader = ChoiceLoader([PackageLoader("iosim.compare"), made.loader])
    return made.get_template("compare.html.j2").render(_content(found, changed))


def _content(found: Sequence[Comparison], changed: Sequence[Change]) -> dict[str, Any]:
    everybody = [found[0].base, *(comparison.other for comparison in found)]
    comparable = [comparison for comparison in found if comparison.mean is not None]
    content: dict[str, Any] = {
        "title": f"{', '.join(run.name for run in everybody[1:])} against {everybody[0].name}",
        "findings": [finding(comparison) for comparison in found],
        "facts": _facts(found[0]) if len(found) == 1 else [],
        "changes": _untitled(tables.changes(changed, [run.name for run in everybody])),
        "busy": _untitled(tables.busy(found, MOST_RESOURCES)),
        "runs": _untitled(tables.runs(everybody)),
        "doubts": doubts(found),
        "latency": None,
    }
    if not comparable:
        return content
    return content | {
        "alone": len(comparable) == 1,
        "about": _about(comparable),
        "distributions": pictures.distributions(comparable),
        "percentiles": pictures.percentiles(comparable),
        "latency": tables.latency(comparable),
        "stage_bars": pictures.stages(comparable),
        "stages": tables.stages(comparable),
        "flames": [(comparison.other.name, _flame(comparison)) for comparison in comparable[: pictures.MOST]],
        "functions": tables.functions(comparable, MOST_FUNCTIONS),
        "drives": tables.drives(comparable, MOST_DRIVES),
        "figures": tables.figures(comparable),
    }


def _flame(found: Comparison) -> Markup:
    """Return the flame graph of the other run, coloured by how it differs from the base."""
    base, other = (
        functions.comparable(side, found.pairing.is_paired) for side in (found.pairing.base, found.pairing.other)
    )
    return fragment(other, base, found.other.name, found.base.name)


def _untitled(table: Table) -> Table:
    """Return the table without its caption: the section's heading says the same."""
    return replace(table, caption="")


def _about(found: Sequence[Comparison]) -> str:
    """Say what the figures are of."""
    text = "From the arrival in the guest's block layer until the driver completes the request."
    if all(comparison.pairing.is_paired for comparison in found):
        n = {comparison.n for comparison in found}
        pairs = plural(n.pop(), "pair") if len(n) == 1 else "pairs"
        text += f" Of {pairs} of requests: the same row of the same trace in both runs."
    else:
        text += " Where nothing is paired, of all that count in a run."
    return text + (f" The pictures have the first {pictures.MOST} others." if len(found) > pictures.MOST else "")


def _facts(found: Comparison) -> list[tuple[str, str, str]]:
    """Return the few figures at the top: what, how much it differs, and from which value to which."""
    if found.mean is None:
        return []
    facts = [("mean latency", _much(found.mean), _ends(found.mean, human_time))]
    highest = [p for p in ("99", "90", "50") if p in found.percentiles][:1]
    facts += [(f"p{p}", _much(found.percentiles[p]), _ends(found.percentiles[p], human_time)) for p in highest]
    rate, exits = found.rates["requests/s"], found.per_request["exits"]
    facts.append(("requests/s", _much(rate), _ends(rate, three_digits)))
    facts.append(("exits per request", _much(exits), _ends(exits, three_digits)))
    busiest = [(name, *shares) for name, shares in found.busy.items() if None not in shares][:1]
    facts += [
        ("busiest", percent(other or 0.0), f"{name}, was {percent(first or 0.0)}") for name, first, other in busiest
    ]
    kind = "pairs of requests" if found.pairing.is_paired else "requests, not paired"
    facts.append((kind, f"{found.n:,}", f"of {found.pairing.base.n_counted:,} and {found.pairing.other.n_counted:,}"))
    return facts


def _much(difference: Difference) -> str:
    if not difference.value:
        return "the same"
    if difference.ratio is None:
        return "new"
    return signed_percent(difference.ratio) if abs(difference.ratio) >= 0.0005 else "within 0.1%"


def _ends(difference: Difference, shown: Any) -> str:
    return f"{shown(difference.base)} to {shown(difference.other)}"


def check_target(path: Path) -> None:
    """Raise OutputError unless *path* can be made, or is the page of an earlier comparison."""
    if path.suffix not in (".html", ".htm"):
        raise OutputError(f"{path}: a page's name must end in .html")
    try:
        if path.is_dir():
            raise OutputError(f"{path}: is a folder")
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as file:
                if MARK not in file.read(_HEAD_CHARACTERS):
                    raise OutputError(f"{path}: is no page of an earlier iosim compare; choose another name")
        above = next(parent for parent in path.absolute().parents if parent.exists() or parent.is_symlink())
        if not above.is_dir():
            raise OutputError(f"{path}: cannot be made, {above.name} is not a folder")
    except OSError as error:
        raise OutputError(f"{path}: {reason(error)}") from None


def write(found: Sequence[Comparison], changed: Sequence[Change], path: Path) -> None:
    """Write the page to *path*, whole or not at all. Raises OutputError."""
    page = html(found, changed)
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(page, encoding="utf-8")
        made.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: {reason(error)}") from None
    finally:
        made.unlink(missing_ok=True)
