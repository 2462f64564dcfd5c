"""A flame graph of a run, or of the difference between two, as a part of a page.

The picture stands in the page as SVG and needs no script; `templates/flame.js` makes it answer, `templates/flame.css`
is its style. Both are included once, however many graphs a page has.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from iosim.model.stages import Stage
from iosim.model.units import human_time
from iosim.report.flame_tree import FlameTree, Frame, flame_tree
from iosim.results.pictures import COLOURS
from iosim.results.result import Result
from iosim.results.wording import percent

ROW = 19
"""Height of a frame in pixels, the line below it included."""
_SMALLEST = 0.001
"""Share below which a frame is not drawn until one zooms in."""
_NAMED = 0.03
"""Share from which a frame has its name in it where no script can tell how much room there is."""
_SAME, _FULL = 0.01, 0.5
"""Relative difference up to which a frame has no colour, and from which it has all of it."""


def fragment(result: Result, base: Result | None = None, name: str = "", base_name: str = "base") -> Markup:
    """Return the flame graph of all counted requests of *result*.

    With *base* it is a differential one: widths are those of *result*, colours say by how much a frame takes more or
    less time per request than in *base*. The names are what the runs are called.
    """
    tree = flame_tree([result] if base is None else [result, base])
    if not tree.frames[0].ns(0) and (base is None or not tree.frames[0].ns(1)):
        return Markup('<p class="note">No request counts, so there is no flame graph.</p>')
    names = [name] if base is None else [name, base_name]
    return Markup(
        '<div class="flame" data-row="{row}">\n<div class="flame-tools"></div>\n{key}\n'
        '<svg class="flame-graph" width="100%" height="{height}" role="group" aria-label="{label}">\n{frames}</svg>\n'
        '<p class="flame-say">{say}</p>\n'
        '<script type="application/json" class="flame-data">{data}</script>\n</div>'
    ).format(
        row=ROW,
        key=_key(tree) if base is None else _difference_key(names),
        height=tree.n_rows * ROW,
        label="Flame graph: where the time of all requests goes, function by function",
        frames=Markup("").join(_frames(tree)),
        say=_say(tree, names),
        data=_script(_data(tree, names)),
    )


def _say(tree: FlameTree, names: Sequence[str]) -> str:
    """Say what the graph is of."""
    texts = []
    for run, name in enumerate(names):
        n = sum(tree.requests[run])
        mean = human_time(tree.per_request(tree.frames[0], run))
        texts.append(f"{name + ': ' if len(names) > 1 else ''}{n:,} request{'s' if n != 1 else ''}, {mean} each")
    return "; ".join(texts)


def _frames(tree: FlameTree) -> Iterator[Markup]:
    """Return every frame that is wide enough, at its place; the first run decides the widths."""
    run = 0 if tree.frames[0].ns(0) else 1
    whole = tree.frames[0].ns(run)
    begins = [0] * len(tree.frames)
    ends = [0] * len(tree.frames)
    for at, frame in enumerate(tree.frames):
        begin = begins[at] = ends[frame.parent] if at else 0
        ends[at] = begin
        if at:
            ends[frame.parent] += frame.ns(run)
        share = frame.ns(run) / whole
        if share < _SMALLEST:
            continue
        colour = _colour(tree, frame)
        yield Markup(
            '<svg class="{kind}"{style} x="{x:.3f}%" y="{y}" width="{width:.3f}%" height="{height}">'
            '<title>{name}: {time} per request, {share}</title><rect width="100%" height="100%"{fill}/>'
            "{text}</svg>\n"
        ).format(
            kind=colour["kind"],
            style=Markup(' style="--d:{}%"').format(colour["d"]) if "d" in colour else "",
            x=100 * begin / whole,
            y=frame.depth * ROW,
            width=100 * share,
            height=ROW - 1,
            name=frame.name,
            time=human_time(tree.per_request(frame, run)),
            share=percent(share),
            fill=Markup(' style="--c:{}"').format(colour["fill"]) if "fill" in colour else "",
            text=_text(frame.name, colour) if share >= _NAMED else "",
        )


def _text(name: str, colour: dict[str, Any]) -> Markup:
    ink = Markup(' style="--t:{}"').format(colour["ink"]) if "ink" in colour else ""
    return Markup('<text x="4" y="13"{}>{}</text>').format(ink, name)


def _colour(tree: FlameTree, frame: Frame) -> dict[str, Any]:
    """Return the class of a frame and what it needs beside; `templates/flame.js` does the same for what it draws."""
    if len(frame.total_ns) > 1:
        new, old = tree.per_request(frame, 0), tree.per_request(frame, 1)
        change = (new - old) / max(new, old, 1e-9)
        if abs(change) < _SAME:
            return {"kind": "fr same"}
        return {"kind": f"fr {'more' if change > 0 else 'less'}", "d": round(100 * min(1.0, abs(change) / _FULL))}
    if frame.depth < 2:
        return {"kind": "fr who"}
    colour = COLOURS[Stage(frame.total_ns[0].index(max(frame.total_ns[0])))]
    return {"kind": "fr" if frame.own_ns else "fr through", "fill": colour, "ink": ink_on(colour)}


def ink_on(colour: str) -> str:
    """Return black or white, whichever is easier to read on *colour* (relative luminance of WCAG 2)."""
    levels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if luminance < 0.179 else "#000000"


def _key(tree: FlameTree) -> Markup:
    """Return what colour is which stage, with its share."""
    totals = tree.frames[0].total_ns[0]
    return Markup('<p class="flame-key">{}</p>').format(
        Markup(" ").join(
            Markup('<span data-stage="{}"><i style="background:{}"></i>{} <b>{}</b></span>').format(
                int(stage), COLOURS[stage], stage.label, percent(totals[stage] / sum(totals))
            )
            for stage in Stage
            if totals[stage]
        )
    )


def _difference_key(names: Sequence[str]) -> Markup:
    """Return what the colours of a difference say."""
    return Markup(
        '<p class="flame-key"><span><i class="less"></i>less time per request than in {base}</span> '
        '<span><i class="same"></i>the same</span> <span><i class="more"></i>more</span></p>'
    ).format(base=names[1])


def _data(tree: FlameTree, names: Sequence[str]) -> dict[str, Any]:
    """Return what the script needs: frames by number, and their own time in each run, group and stage."""
    texts = sorted({frame.name for frame in tree.frames})
    numbers = {text: number for number, text in enumerate(texts)}
    own: list[list[int]] = [[] for _ in names]
    for at, frame in enumerate(tree.frames):
        for (run, group, stage), ns in frame.own_ns.items():
            own[run] += [group, at, stage, ns]
    return {
        "stages": [[stage.label, COLOURS[stage], ink_on(COLOURS[stage])] for stage in Stage],
        "texts": texts,
        "names": [numbers[frame.name] for frame in tree.frames],
        "parents": [frame.parent for frame in tree.frames],
        "groups": [[group.where, group.op] for group in tree.groups],
        "runs": [
            {"name": name, "requests": requests, "own": values}
            for name, requests, values in zip(names, tree.requests, own, strict=True)
        ],
    }


def _script(data: dict[str, Any]) -> Markup:
    """Return *data* as JSON that may stand in a script element, whatever names are in it."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
