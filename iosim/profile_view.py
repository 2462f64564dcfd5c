"""Cost profiles on the terminal: which there are, and every figure of one with its source."""

import textwrap

from rich.console import Console
from rich.text import Text

from iosim.model.catalogue import CATALOGUE
from iosim.model.costs import KINDS, load_profile, shipped_profiles
from iosim.model.units import human_time


def list_profiles(console: Console) -> None:
    """Print the shipped profiles with their origin and how well their figures are supported."""
    names = shipped_profiles()
    width = max(map(len, names))
    for name in names:
        profile = load_profile(name)
        counts = ", ".join(f"{number} {kind}" for kind, number in profile.counts_by_kind().items() if number)
        _print(console, f"{name:{width}}  {profile.title}")
        _print(console, f"{len(profile.figures)} costs: {counts}", indent=" " * (width + 2))
    console.print()
    for kind, meaning in KINDS.items():
        _print(console, f"{kind:9}  {meaning}")
    console.print()
    _print(console, "iosim profiles NAME shows every cost with its source.")


def show_profile(console: Console, name: str) -> None:
    """Print every figure of a profile, two lines or more each. Raises ProfileError."""
    profile = load_profile(name)
    console.print(Text(f"{profile.name}: {profile.title}", style="bold"), soft_wrap=True)
    for what, text in (("machine", profile.machine), ("origin", profile.origin)):
        _print(console, f"{what}: {text}")
    key_width = max(map(len, CATALOGUE))
    console.print(Text(f"\n{'cost':{key_width}} {'mean':>8} {'p99':>8}  {'kind':9} stage", style="bold"))
    for key, row in CATALOGUE.items():
        figure = profile.figures[key]
        cost = figure.cost
        included = figure.kind == "included"
        mean = "-" if included else human_time(cost.mean_ns)
        p99 = "-" if cost.ns is not None else human_time(cost.quantile_ns(0.99))
        line = f"{key:{key_width}} {mean:>8} {p99:>8}  {figure.kind:9} {row.stage.label}"
        console.print(Text(line), soft_wrap=True)
        source = f"in {figure.source}" if included else figure.source
        _print(console, f"{row.function}: {source}", indent="    ")


def _print(console: Console, text: str, indent: str = "") -> None:
    """Print *text*, broken between words at the console's width; every line begins with *indent*."""
    for line in textwrap.wrap(text, console.width, initial_indent=indent, subsequent_indent=indent):
        console.print(Text(line), soft_wrap=True)
