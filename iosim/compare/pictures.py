"""Pictures of a comparison: distributions over each other, and differences with their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from iosim.compare.comparison import Comparison, Difference
from iosim.model.units import NS_PER_UNIT, human_unit
from iosim.report import distribution
from iosim.report.axes import PLAIN
from iosim.report.svg import INK, MUTED, SERIES, Picture, canvas
from iosim.results.pictures import COLOURS

MOST = len(SERIES)
"""Other runs that are drawn; more of them could not be told apart."""
_WIDTH = 440.0
_WIDE = 900.0


def distributions(found: Sequence[Comparison]) -> list[Picture]:
    """Draw the latencies that are compared: done within a time, and the tail. Percentiles are marked on the base."""
    lines = {
        comparison.other.name: (comparison.pairing.other.column("latency_ns"), colour)
        for comparison, colour in zip(found, SERIES, strict=False)
    }
    lines[found[0].base.name] = (found[0].pairing.base.column("latency_ns"), INK)
    key = tuple((name, colour) for name, (_, colour) in lines.items())
    return [replace(picture, key=key[-1:] + key[:-1]) for picture in distribution.draw(lines)]


def percentiles(found: Sequence[Comparison]) -> list[Picture]:
    """Draw for each other run how mean and percentiles differ, if they do."""
    pictures = []
    for number, comparison in enumerate(found[:MOST]):
        rows = {"mean": comparison.mean} | {f"p{p}": d for p, d in comparison.percentiles.items()}
        if not any(d is not None and d.value for d in rows.values()):
            continue
        colours = [SERIES[number]] * len(rows)
        pictures.append(
            _differences(f"percentiles-{number}", "Mean and percentiles", rows, comparison, colours, _WIDTH)
        )
    return _titled(pictures, found)


def stages(found: Sequence[Comparison]) -> list[Picture]:
    """Draw for each other run how the mean time of each stage differs, in the order of the path."""
    pictures = []
    for number, comparison in enumerate(found[:MOST]):
        rows = {stage: d for stage, d in comparison.stages.items() if d.value}
        if rows:
            named = {stage.label: d for stage, d in rows.items()}
            colours = [COLOURS[stage] for stage in rows]
            width = _WIDE if len(found) == 1 else _WIDTH
            pictures.append(_differences(f"stages-{number}", "Mean of each stage", named, comparison, colours, width))
    return _titled(pictures, found)


def _titled(pictures: list[Picture], found: Sequence[Comparison]) -> list[Picture]:
    """Return the pictures, without the names of the runs where there are only two."""
    return [replace(picture, about="") for picture in pictures] if len(found) == 1 else pictures


def _differences(
    name: str, title: str, rows: Mapping[str, Difference | None], found: Comparison, colours: list[str], width: float
) -> Picture:
    """Draw a bar for each difference with its interval; pale, where there is none."""
    known = {row: d for row, d in rows.items() if d is not None}
    bounds = [bound for d in known.values() for bound in (d.value, *(d.interval or ()))]
    unit = human_unit(max(map(abs, bounds), default=0.0) or 1.0)
    scale = NS_PER_UNIT[unit]
    label = f"{title}, differences of {found.other.name} from {found.base.name}"
    pale = False
    with canvas(f"differences-{name}", label, width, 60 + 24 * len(known)) as (_, axes, drawn):
        for place, (d, colour) in enumerate(zip(known.values(), colours, strict=True)):
            sure = d.constant or d.interval is not None
            pale = pale or not sure
            axes.barh(place, d.value / scale, 0.6, color=colour, alpha=1.0 if sure else 0.4)
            if d.interval is not None:
                ends = [bound / scale for bound in d.interval]
                axes.plot(ends, [place, place], color=INK, linewidth=1.4, marker="|", markersize=7)
        axes.axvline(0, color=MUTED, linewidth=0.9)
        axes.set_yticks(range(len(known)), list(known))
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_formatter(PLAIN)
        low, high = min(0.0, *bounds) / scale, max(0.0, *bounds) / scale
        room = 0.04 * (high - low) or 1.0
        axes.set_xlim(low - room * (low < 0), high + room * (high > 0))
        axes.set_xlabel(f"difference ({unit})")
    note = "Pale: too few requests for an interval." if pale else ""
    return Picture(f"{title}: differences with 95% intervals", drawn[0], note, found.other.name)
