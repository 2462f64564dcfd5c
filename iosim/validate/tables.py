"""Tables of predictions beside measurements: for the terminal, and as Markdown for a document."""

from collections.abc import Sequence

from rich.table import Table

from iosim.model.units import NS_PER_UNIT, three_digits
from iosim.results.wording import common_unit
from iosim.validate.match import FIGURES, Match

Row = list[str]

WIDE = 150
"""From this width of the terminal on there is room for the predicted figures themselves."""


def rows(found: Sequence[Match], wide: bool = True) -> tuple[Row, list[Row]]:
    """Return the head and one row for each match; all times in one unit, which the head names.

    Each figure is the measured one, then the predicted one if *wide*, then its error, and the spread of repetitions
    where there are any.
    """
    unit = common_unit(
        max((m.measured_ns["p50"] for m in found), default=0.0),
        max((max(m.measured_ns["p99"], m.predicted_ns["p99"]) for m in found), default=0.0),
    )
    scale = NS_PER_UNIT[unit]
    spread = any(m.repetitions is not None for m in found)
    equal = all(len(m.measured) == len(m.predicted) for m in found)
    head = ["", "n"] if equal else ["", "n measured", "predicted"]
    for figure in FIGURES:
        head += [f"{figure} ({unit})", *(["predicted"] if wide else []), "error", *(["spread"] if spread else [])]
    head += ["KS", f"demerit ({unit})"] + ([f"KS and demerit of repetitions ({unit})"] if spread else [])
    return head, [_row(m, scale, spread, wide, equal) for m in found]


def _row(m: Match, scale: int, spread: bool, wide: bool, equal: bool) -> Row:
    cells = [m.name, f"{len(m.measured):,}", *([] if equal else [f"{len(m.predicted):,}"])]
    for figure in FIGURES:
        cells.append(three_digits(m.measured_ns[figure] / scale))
        if wide:
            cells.append(three_digits(m.predicted_ns[figure] / scale))
        cells.append(signed(m.error[figure]))
        if spread:
            cells.append("-" if m.repetitions is None else f"{m.repetitions.spread(figure):.0%}")
    cells += [f"{m.ks:.3f}", three_digits(m.demerit_ns / scale)]
    if spread:
        both = m.repetitions
        cells.append("-" if both is None else f"{both.ks:.3f}, {three_digits(both.demerit_ns / scale)}")
    return cells


def signed(error: float | None) -> str:
    """Return a relative error in percent with its sign; "-" where there is none."""
    return "-" if error is None else f"{error:+.1%}"


def markdown(head: Row, body: Sequence[Row]) -> str:
    """Return a table in Markdown; the first column is the name."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def table(head: Row, body: Sequence[Row], title: str | None = None) -> Table:
    """Return the same for the terminal."""
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, name in enumerate(head):
        drawn.add_column(name, justify="right" if number else "left", no_wrap=not number, overflow="fold")
    for cells in body:
        drawn.add_row(*cells)
    return drawn
