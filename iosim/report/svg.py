"""Pictures of matplotlib as SVG inside a page: in the page's colours and font, without a name that another one has."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, ACCENT = "#000001", "#000002", "#000003", "#000004"
SERIES = ("#000011", "#000012", "#000013", "#000014", "#000015")
"""Colours to draw with. The page decides what they look like: each stands for a variable of its style."""
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", ACCENT: "--accent"} | {
    colour: f"--s{number}" for number, colour in enumerate(SERIES, 1)
}
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "font.size": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.5,
    "savefig.transparent": True,
}


@dataclass(frozen=True)
class Picture:
    """A picture with what stands above it and below; the *key* has the name and the colour of each line."""

    title: str
    svg: Markup
    note: str = ""
    about: str = ""
    key: tuple[tuple[str, str], ...] = ()

    @property
    def styled_key(self) -> list[tuple[str, str]]:
        """The key with the colours as the page's style has them."""
        return [(name, f"var({_VARIABLES[colour]})") for name, colour in self.key]


@contextmanager
def canvas(name: str, label: str, width: float, height: float) -> Iterator[tuple["Figure", "Axes", list[Markup]]]:
    """Give a figure and its axes to draw on, *width* x *height* points; the list has the SVG after the block.

    *name* makes the names inside the SVG unique in the page; *label* is what a screen reader says.
    """
    matplotlib.use("agg")
    from matplotlib import pyplot

    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure, axes = pyplot.subplots(figsize=(width / 72, height / 72), layout="constrained")
        drawn: list[Markup] = []
        try:
            yield figure, axes, drawn
            target = io.StringIO()
            figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
        finally:
            pyplot.close(figure)
        drawn.append(_inline(target.getvalue(), name, label))


def _inline(text: str, name: str, label: str) -> Markup:
    """Return the SVG document *text* as an element of the page."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*|<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', text)
    assert view
    head = Markup('<svg {} xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-label="{}">').format(
        Markup(view[0]), label
    )
    body = text[text.index(">") + 1 :]
    body = re.sub(r'<g id="[^"]*">', "<g>", body)
    body = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    return Markup(head + Markup(re.sub(r"\s*\n\s*", "\n", body)))
