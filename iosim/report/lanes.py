"""The timeline of one request as swim lanes: a picture in SVG with the guest on top and the disk at the bottom.

Waits are pale with a dashed edge, in the lane of whoever takes the request next. What is too short to be told apart is
one block; its height says which part of the time the lane has the request. A wait of more than 80 % of the time is cut
short on the axis.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from iosim.model.stages import Stage
from iosim.model.units import human_time
from iosim.report.lane_axis import LEFT, PLOT, RIGHT, Axis, coordinate
from iosim.report.lane_pieces import Bar, Journey, Lane
from iosim.results.pictures import COLOURS

NAMES = {
    Lane.GUEST: "guest",
    Lane.CPU: "CPU exit/entry",
    Lane.KVM: "KVM",
    Lane.QEMU: "QEMU, vCPU",
    Lane.WORKER: "worker",
    Lane.DISK: "disk",
    Lane.LOOP: "main loop",
}
MOST_CHARACTERS = 28_000
"""A picture with more is drawn again with less detail."""
_DETAILS = [(1.0, 5), (2.0, 5), (2.0, 3), (2.0, 2), (2.0, 1), *((2.0**k, 1) for k in range(2, 12))]
"""What is shorter than so many units is joined, and a tooltip has so many functions."""
_WIDTH = LEFT + PLOT + RIGHT
_LANE, _BAR = 30, 22
_TOP = 6
_LEGEND_ROW, _LEGEND_COLUMN = 18, _WIDTH // 4
_OF_THE_VCPU = {Lane.GUEST, Lane.CPU, Lane.KVM, Lane.QEMU}
_STYLE = "display:block;width:100%;min-width:700px;height:auto"


def timeline(spans: pd.DataFrame, label: str = "") -> Markup:
    """Return the picture of one request, whose rows of the table `spans` are given, as an element of a page.

    *label* is what a screen reader says of it. The picture fills the width that it gets; below 700 px it scrolls.
    """
    journey = Journey(spans)
    axis = Axis(journey)
    for shortest, n_functions in _DETAILS:
        drawn = _draw(journey, axis, journey.bars(shortest * axis.ns_per_unit), n_functions, label)
        if len(drawn) <= MOST_CHARACTERS:
            break
    return drawn


def lane_times(spans: pd.DataFrame) -> dict[Lane, int]:
    """Return the ns that one request is in each lane, waits included; they add up to its latency."""
    return _times(Journey(spans))


def _times(journey: Journey) -> dict[Lane, int]:
    lanes = journey.pieces.lane
    return {lane: int(journey.pieces.ns[lanes == lane].sum()) for lane in Lane}


def _draw(journey: Journey, axis: Axis, bars: list[Bar], n_functions: int, label: str) -> Markup:
    """Return the picture with *bars*, whose tooltips have *n_functions* each."""
    rows = {lane: row for row, lane in enumerate(lane for lane in Lane if lane in journey.runs.lane)}
    below = _TOP + _LANE * len(rows)
    stages: Counter[tuple[Stage, bool]] = Counter()
    for bar in bars:
        stages[bar.stage, bar.waits] += bar.ns
    height = below + 34 + _LEGEND_ROW * -(-len(stages) // 4)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}" style="{_STYLE}" '
        'font-size="12" fill="currentColor">',
        *axis.lines(_TOP, below),
        *_names(journey, rows),
        *_hand_overs(journey, rows, axis),
        *_bars(bars, rows, axis, n_functions),
        *_legend(stages, axis.total, below + 34),
        "</svg>",
    ]
    return Markup('<div class="lanes" style="overflow-x:auto">\n{}\n</div>').format(Markup("\n".join(parts)))


def _share(ns: int, total: int) -> str:
    share = ns / total
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def _names(journey: Journey, rows: dict[Lane, int]) -> Iterator[str]:
    """Yield for each lane its name on the left, and its time and share on the right."""
    names = NAMES if "main" in journey.loops else NAMES | {Lane.LOOP: "iothread"}
    times = _times(journey)
    for lane, row in rows.items():
        y = _TOP + _LANE * row + _BAR // 2 + 8
        yield f'<text x="{LEFT - 10}" y="{y}" text-anchor="end">{escape(names[lane])}</text>'
        yield f'<text x="{LEFT + PLOT + 10}" y="{y}">{_figures(times[lane], journey.total)}</text>'


def _figures(ns: int, total: int) -> Markup:
    return escape(f"{human_time(ns)}, {_share(ns, total)}")


def _hand_overs(journey: Journey, rows: dict[Lane, int], axis: Axis) -> Iterator[str]:
    """Yield a line for each time at which another thread or the disk gets the request, between the two lanes."""
    lanes, begins = journey.runs.lane, journey.runs.begin
    inside = np.isin(lanes, list(_OF_THE_VCPU))
    goes = (lanes[1:] != lanes[:-1]) & ~(inside[1:] & inside[:-1])
    lines = []
    for at in np.flatnonzero(goes):
        y, to = (_TOP + _LANE * rows[Lane(lane)] + _LANE // 2 for lane in lanes[at : at + 2])
        lines.append(f"M{coordinate(axis.x(int(begins[at + 1])))} {y}V{to}")
    if lines:
        yield f'<path d="{"".join(dict.fromkeys(lines))}" stroke="currentColor" stroke-opacity=".5" fill="none"/>'


def _bars(bars: list[Bar], rows: dict[Lane, int], axis: Axis, n_functions: int) -> Iterator[str]:
    """Yield the bars by stage, each as high as its part of the time of its block."""
    parts: dict[tuple[Stage, bool], list[str]] = {}
    for bar in bars:
        left = axis.x(bar.begin)
        width = max(axis.x(bar.end) - left, 0.8)
        scale = _BAR / (bar.end - bar.begin)
        height = max(scale * bar.ns, 1.2)
        top = _TOP + _LANE * rows[bar.lane] + (_LANE + _BAR) / 2 - scale * bar.below - height
        sides = zip(("x", "y", "width", "height"), (left, top, width, height), strict=True)
        box = " ".join(f'{side}="{coordinate(value)}"' for side, value in sides)
        title = escape(_about(bar, axis.total, n_functions))
        parts.setdefault((bar.stage, bar.waits), []).append(f"<rect {box}><title>{title}</title></rect>")
    for (stage, waits), rectangles in sorted(parts.items()):
        yield f"<g {_fill(stage, waits)}>{''.join(rectangles)}</g>"
    if axis.cut:
        lane, begin, end = axis.cut
        y = _TOP + _LANE * rows[lane] + _BAR // 2 + 8
        place = f'x="{coordinate(axis.x((begin + end) / 2))}" y="{y}" text-anchor="middle"'
        yield f'<text {place} pointer-events="none">{human_time(end - begin)} //</text>'


def _fill(stage: Stage, waits: bool) -> str:
    colour = COLOURS[stage]
    if not waits:
        return f'fill="{colour}"'
    return f'fill="{colour}" fill-opacity=".3" stroke="{colour}" stroke-dasharray="3 2"'


def _about(bar: Bar, total: int, n_functions: int) -> str:
    """Return the text of a bar: its stage, and the functions that take most of it, each with its time and share."""
    times = f", {bar.n:,} times between {bar.begin:,} and {bar.end:,} ns" if bar.n > 1 else ""
    lines = [f"{bar.stage.label}{' (waits)' if bar.waits else ''}: {bar.ns:,} ns, {_share(bar.ns, total)}{times}"]
    for function, thread, ns in bar.functions[:n_functions]:
        lines.append(f"{function} ({thread}): {ns:,} ns, {_share(ns, total)}")
    rest = [ns for _, _, ns in bar.functions[n_functions:]]
    if rest:
        lines.append(f"{len(rest)} more: {sum(rest):,} ns, {_share(sum(rest), total)}")
    return "\n".join(lines)


def _legend(stages: "Counter[tuple[Stage, bool]]", total: int, top: int) -> Iterator[str]:
    """Yield the stages of the request with their colours, times and shares."""
    yield '<g font-size="11">'
    for number, (stage, waits) in enumerate(sorted(stages)):
        row, column = divmod(number, 4)
        x, y = 4 + column * _LEGEND_COLUMN, top + row * _LEGEND_ROW
        yield f'<rect x="{x}.5" y="{y}.5" width="13" height="10" {_fill(stage, waits)}/>'
        yield f'<text x="{x + 20}" y="{y + 10}">{stage.label} {_figures(stages[stage, waits], total)}</text>'
    yield "</g>"
