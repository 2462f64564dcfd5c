"""Cost profiles on the terminal: which there are, and every figure of one with its source."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from iosim.model.catalogue import CATALOGUE
from iosim.model.costs import KINDS, load_profile, shipped_profiles
from iosim.model.units import human_time


def list_profiles(console: Console) -> None:
    """Print the shipped profiles with their origin and how well their figures are supported."""
    grid = Table(box=None, pad_edge=False)
    for name in ("profile", "what", *KINDS):
        grid.add_column(name, justify="left" if name in ("profile", "what") else "right", no_wrap=name != "what")
    for name in shipped_profiles():
        profile = load_profile(name)
        counts = profile.counts_by_kind()
        grid.add_row(name, Text(profile.title), *(str(counts[kind]) for kind in KINDS))
    console.print(grid)
    console.print("\niosim profiles NAME shows every figure with its source.", highlight=False)


def show_profile(console: Console, name: str) -> None:
    """Print every figure of a profile. Raises ProfileError."""
    profile = load_profile(name)
    console.print(Text(f"{profile.name}: {profile.title}", style="bold"))
    console.print(Text(f"machine: {profile.machine}"))
    console.print(Text(f"origin: {profile.origin}"))
    grid = Table(box=None, pad_edge=False)
    for column in ("cost", "stage", "function", "mean", "p99", "kind", "source"):
        grid.add_column(
            column, justify="right" if column in ("mean", "p99") else "left", no_wrap=column != "source", min_width=4
        )
    for key, row in CATALOGUE.items():
        figure = profile.figures[key]
        cost = figure.cost
        included = figure.kind == "included"
        grid.add_row(
            key,
            row.stage.label,
            row.function,
            "-" if included else human_time(cost.mean_ns),
            "-" if cost.ns is not None else human_time(cost.quantile_ns(0.99)),
            figure.kind,
            Text(f"in {figure.source}" if included else figure.source),
            style="dim" if included else None,
        )
    console.print(grid)
