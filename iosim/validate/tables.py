"""Tables of predictions beside measurements: for the terminal, and as Markdown for a document."""

from collections.abc import Sequence

from rich.table import Table

from iosim.model.units import NS_PER_UNIT, three_digits
from iosim.results.wording import common_unit
from iosim.validate.match import FIGURES, Match

Row = list[str]


def rows(found: Sequence[Match]) -> tuple[Row, list[Row]]:
    """Return the head and one row for each match; all times in one unit, which the head names."""
    unit = common_unit(
        max((m.measured_ns["p50"] for m in found), default=0.0),
        max((max(m.measured_ns["p99"], m.predicted_ns["p99"]) for m in found), default=0.0),
    )
    scale = NS_PER_UNIT[unit]
    spread = any(m.repetitions is not None for m in found)
    head = ["", "measured", "predicted"]
    for figure in FIGURES:
        head += [f"{figure} measured ({unit})", "predicted", "error"] + (["spread"] if spread else [])
    head += ["KS", f"demerit ({unit})"] + ([f"KS and demerit of repetitions ({unit})"] if spread else [])
    return head, [_row(m, scale, spread) for m in found]


def _row(m: Match, scale: int, spread: bool) -> Row:
    cells = [m.name, f"{len(m.measured):,}", f"{len(m.predicted):,}"]
    for figure in FIGURES:
        cells += [three_digits(m.measured_ns[figure] / scale), three_digits(m.predicted_ns[figure] / scale)]
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
        drawn.add_column(name, justify="right" if number else "left", overflow="fold")
    for cells in body:
        drawn.add_row(*cells)
    return drawn
