"""The tables of a comparison, for page and terminal: of two runs in detail, of more with the differences alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from iosim.compare.changes import Change
from iosim.compare.comparison import PER_REQUEST, Comparison, Difference, Run
from iosim.compare.findings import signed_percent
from iosim.compare.functions import n_sampled
from iosim.model.stages import Stage
from iosim.model.units import NS_PER_UNIT, human_unit, three_digits
from iosim.report.table import Cell, Column, Table
from iosim.results.pictures import COLOURS
from iosim.results.summary import is_resolved
from iosim.results.wording import common_unit, figure, percent

Key = TypeVar("Key")
EACH_PAIR = "each pair"
INTERVAL = "95% interval"
_COLOUR_OF = {stage.label: colour for stage, colour in COLOURS.items()}


@dataclass(frozen=True)
class Line:
    """A row: the figure of the base and how it differs in each other run, None where there is none."""

    head: tuple[Cell, ...]
    differences: tuple[Difference | None, ...]
    style: Literal["", "sum", "none"] = ""


def runs(found: Sequence[Run]) -> Table:
    """Return what each run is and what came of it, all that counts in it."""
    latencies = [run.result.summary["latency_ns"] for run in found]
    means = [float(latency["mean"]) for latency in latencies if latency["mean"] is not None]
    unit = common_unit(max(means, default=0.0), 0) if means else "us"
    numbers = ("requests", "failed", "unfinished", f"mean ({unit})", "p99", "requests/s")
    table = Table(
        [Column("run", number=False, code=True), Column("folder", number=False, code=True), *map(Column, numbers)],
        label="Runs",
        caption="Runs, the first is the base",
    )
    for run, latency in zip(found, latencies, strict=True):
        summary = run.result.summary
        counts = summary["requests"]
        times = [latency["mean"], latency["percentile"].get("99.000000")]
        known = [True, is_resolved("99", counts["counted"])]
        table.add(
            run.name,
            run.folder,
            *(f"{counts[key]:,}" for key in ("counted", "failed", "unfinished")),
            *("-" if t is None or not k else figure(t / NS_PER_UNIT[unit]) for t, k in zip(times, known, strict=True)),
            three_digits(summary["throughput_per_s"]),
        )
    return table


def changes(found: Sequence[Change], names: Sequence[str]) -> Table:
    """Return what changed in the scenario."""
    columns = [Column("key", number=False, code=True), *(Column(name, number=False, code=True) for name in names)]
    table = Table(columns, label="What changed", caption="What changed")
    for change in found:
        table.add(change.key, *change.values)
    return table


def latency(found: Sequence[Comparison]) -> Table:
    """Return mean and percentiles, and the mean of each operation."""
    means = [comparison.mean for comparison in found]
    lines = [Line((Cell("mean"),), tuple(means), "sum")]
    for percentile in _keys([comparison.percentiles for comparison in found]):
        lines.append(Line((Cell(f"p{percentile}"),), tuple(c.percentiles.get(percentile) for c in found)))
    for name in _keys([comparison.by_operation for comparison in found]):
        each = [comparison.by_operation.get(name) for comparison in found]
        lines.append(Line((Cell(f"mean of {name}"),), tuple(None if d is None else d[1] for d in each)))
    return _times(("Latency", "Latency of {}, and differences"), [Column("", number=False)], lines, found, "latency")


def stages(found: Sequence[Comparison]) -> Table:
    """Return the mean time per request in each stage, and what share of the whole difference each has."""
    lines, idle = [], []
    for stage in Stage:
        each = tuple(comparison.stages.get(stage) for comparison in found)
        if any(d is not None and (d.base or d.other) for d in each):
            lines.append(Line((Cell(stage.label, colour=COLOURS[stage]),), each))
        else:
            idle.append(stage.label)
    lines.append(Line((Cell("latency"),), tuple(comparison.mean for comparison in found), "sum"))
    titles = ("Where the difference is: mean of a request", "Mean in each stage of {}, and differences")
    table = _times(titles, [Column("stage", number=False, code=True)], lines, found, "share")
    table.sorts = True
    table.note = f"No time in any of the runs: {', '.join(idle)}." if idle else ""
    return table


def functions(found: Sequence[Comparison], most: int) -> Table:
    """Return the *most* functions whose own time differs most, those that differ at all."""
    keys = _keys([comparison.functions for comparison in found])
    sizes = {key: max(abs(c.functions[key].value) for c in found if key in c.functions) for key in keys}
    differing = sorted((key for key in keys if sizes[key]), key=lambda key: -sizes[key])
    lines = [
        Line(
            (Cell(key.name), Cell(key.stage, colour=_COLOUR_OF.get(key.stage, ""))),
            tuple(comparison.functions.get(key, Difference(0.0, 0.0)) for comparison in found),
        )
        for key in differing[:most]
    ]
    heads = [Column("function", number=False, code=True), Column("stage", number=False, code=True)]
    titles = (
        "Functions by difference: mean time of their own",
        "Functions of {}, and differences: mean time of their own",
    )
    table = _times(titles, heads, lines, found, "share", intervals=False)
    table.sorts, table.tall = True, len(lines) > 24
    notes = [f"The first {len(lines):,} of {len(differing):,} functions."] if len(differing) > len(lines) else []
    sides = [(found[0].base, found[0].pairing.base), *((c.other, c.pairing.other) for c in found)]
    sampled = [f"{n:,} of {run.name}" for run, side in sides if (n := n_sampled(side)) is not None]
    if sampled:
        notes.append(f"Stages are split into functions by a sample of the requests: {', '.join(sampled)}.")
    table.note = " ".join(notes)
    return table


def drives(found: Sequence[Comparison], most: int) -> Table | None:
    """Return the mean latency of *most* drives, those that differ most first; None if there are not several."""
    keys = _keys([comparison.by_drive for comparison in found])
    if not keys:
        return None
    each = {key: [comparison.by_drive.get(key) for comparison in found] for key in keys}
    sizes = {key: max(abs(d[1].value) for d in ds if d is not None) for key, ds in each.items()}
    lines = [
        Line(
            (Cell(key[0]), Cell(str(key[1]), key[1])),
            tuple(None if d is None else d[1] for d in each[key]),
        )
        for key in sorted(keys, key=lambda key: -sizes[key])[:most]
    ]
    heads = [Column("VM", number=False, code=True), Column("drive")]
    titles = ("Drives by difference: mean latency", "Drives of {}, and differences: mean latency")
    table = _times(titles, heads, lines, found, "latency")
    table.sorts, table.tall = True, len(lines) > 24
    n = max(comparison.n_drives for comparison in found)
    table.note = f"The first {len(lines):,} of {n:,} drives." if n > len(lines) else ""
    return table


def figures(found: Sequence[Comparison]) -> Table:
    """Return throughput, and what is counted per request."""
    lines = [
        Line((Cell(name),), tuple(comparison.rates[name] for comparison in found)) for name in ("requests/s", "MB/s")
    ]
    for key, name in PER_REQUEST.items():
        lines.append(Line((Cell(f"{name} per request"),), tuple(c.per_request.get(key) for c in found)))
    head = [Column("", number=False)]
    titles = ("Throughput, and events per request", "Throughput and events of {}, and differences")
    return _table(titles, "", head, lines, found, "latency", figure, _signed)


def busy(found: Sequence[Comparison], most: int) -> Table:
    """Return the utilisation of the *most* busiest resources in each run."""
    names = [found[0].base.name, *(comparison.other.name for comparison in found)]
    table = Table(
        [Column("resource", number=False, code=True), *(Column(name) for name in names)],
        label="Utilisation",
        caption="Utilisation of the busiest resources",
        sorts=True,
    )
    if len(found) == 1:
        table.columns.append(Column("difference (points)"))
    shares: dict[str, list[float | None]] = {}
    for at, comparison in enumerate(found):
        for name, (first, other) in comparison.busy.items():
            row = shares.setdefault(name, [first, *[None] * len(found)])
            row[at + 1] = other
    order = sorted(shares, key=lambda name: (-max(share or 0.0 for share in shares[name]), name))
    for name in order[:most]:
        row = shares[name]
        cells = [Cell("-", "") if share is None else Cell(percent(share), share) for share in row]
        if len(found) == 1:
            first, other = row
            known = first is not None and other is not None
            points = 100 * ((other or 0.0) - (first or 0.0))
            cells.append(Cell(_points(points), points) if known else Cell("-", ""))
        table.add(Cell(name), *cells)
    if len(order) > most:
        table.note = f"And {len(order) - most:,} more in resources.parquet of the runs."
    return table


def _points(points: float) -> str:
    return "0" if not points else f"{points:+.1f}" if abs(points) >= 0.05 else f"{'+' if points > 0 else '-'}<0.1"


def _keys(tables: Sequence[Mapping[Key, object]]) -> list[Key]:
    return list(dict.fromkeys(key for table in tables for key in table))


def _times(
    titles: tuple[str, str],
    head: list[Column],
    lines: list[Line],
    found: Sequence[Comparison],
    last: Literal["latency", "share"],
    intervals: bool = True,
) -> Table:
    """Return a table of times: values in one unit, differences in one, which is a smaller one if they are small."""
    known = [d for line in lines for d in line.differences if d is not None]
    values = [value for d in known for value in (d.base, d.other)]
    unit = common_unit(max((d.base for d in known[:1]), default=0.0), max(values, default=0.0), 100)
    largest = max((abs(d.value) for d in known), default=0.0)
    small = unit if not largest or largest >= 0.1 * NS_PER_UNIT[unit] else human_unit(largest)
    units = unit if unit == small else f"{unit}; differences in {small}"
    return _table(
        titles,
        f" ({units})",
        head,
        lines,
        found,
        last,
        lambda ns: figure(ns / NS_PER_UNIT[unit]),
        lambda ns: _signed(ns / NS_PER_UNIT[small]),
        intervals,
    )


def _table(
    titles: tuple[str, str],
    unit: str,
    head: list[Column],
    lines: list[Line],
    found: Sequence[Comparison],
    last: Literal["latency", "share"],
    value: Callable[[float], str],
    signed: Callable[[float], str],
    intervals: bool = True,
) -> Table:
    """Return the table of *lines*: both runs in full, or the base and the differences of several others.

    *titles* are those of the two kinds of table, the second with a place for the name of the base.
    """
    name = found[0].base.name
    title = titles[0] if len(found) == 1 else titles[1].format(name)
    table = Table([*head, Column(name)], label=title, caption=f"{title}{unit}")
    if len(found) == 1:
        shown = "share" if last == "share" else "%"
        table.columns += [Column(found[0].other.name), Column("difference"), Column(shown)]
        table.columns += [Column(INTERVAL)] * intervals
    else:
        for comparison in found:
            table.columns += [Column(comparison.other.name, help="difference from the base")]
            table.columns += [Column(INTERVAL)] * intervals
    for line in lines:
        base = next((d.base for d in line.differences if d is not None), None)
        cells = [Cell("-", "") if base is None else Cell(value(base), base)]
        for comparison, difference in zip(found, line.differences, strict=True):
            if difference is None:
                cells += [Cell("-", "")] * ((3 if len(found) == 1 else 1) + intervals)
                continue
            if len(found) == 1:
                cells.append(Cell(value(difference.other), difference.other))
            cells.append(Cell(signed(difference.value), difference.value))
            if len(found) == 1:
                cells.append(_share(difference, comparison.mean) if last == "share" else _ratio(difference))
            if intervals:
                cells.append(_interval(difference, signed))
        table.add(*line.head, *cells, style=line.style)
    return table


def _signed(value: float) -> str:
    """Return *value* with its sign and three significant digits."""
    return figure(value) if not value else f"{'+' if value > 0 else '-'}{figure(abs(value))}"


def _ratio(difference: Difference) -> Cell:
    if difference.ratio is None:
        return Cell("-", "") if difference.value else Cell("0.0%", 0.0)
    return Cell(signed_percent(difference.ratio), difference.ratio)


def _share(difference: Difference, total: Difference | None) -> Cell:
    """Return a stage's share of the whole difference, where there is one."""
    if total is None or not (total.is_clear or (total.interval is None and total.value)):
        return Cell("-", "")
    share = difference.value / total.value
    return Cell(f"{'-' if share < 0 else ''}{percent(abs(share))}", share)


def _interval(difference: Difference, signed: Callable[[float], str]) -> Cell:
    if difference.constant:
        return Cell(EACH_PAIR, "")
    if difference.interval is None:
        return Cell("-", "")
    low, high = difference.interval
    return Cell(f"{signed(low)} to {signed(high)}", high - low)
