"""Which requests an export shows, and the spans that the run has kept of them."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from iosim.model.errors import ExportError, shown
from iosim.model.units import exact_time, human_time, parse_ns
from iosim.results.result import Result
from iosim.results.spans import MAX_ROWS

KEY = ["vm", "drive", "request"]
DEFAULT_SLOWEST = 10


class Choice(NamedTuple):
    """The *slowest* so many requests, or those under way in *window* (begin and end in ns of simulated time).

    Neither: the 10 slowest of those that have spans.
    """

    slowest: int | None = None
    window: tuple[int, int] | None = None


class Selected(NamedTuple):
    """Requests and their spans.

    *requests* has the rows of the table `requests`, slowest first or in the order of arrival; *spans* the kept spans
    of each, in that order; *notes* says in one line each what was asked for and is not there.
    """

    requests: pd.DataFrame
    spans: list[pd.DataFrame]
    notes: list[str]


def parse_choice(slowest: int | None, window: str | None) -> Choice:
    """Return the choice that the command line makes. Raises ExportError, worded as a rule."""
    if slowest is not None and window is not None:
        raise ExportError("--slowest and --window exclude each other")
    if slowest is not None and slowest < 1:
        raise ExportError(f"--slowest must be at least 1, got {slowest}")
    return Choice(slowest, None if window is None else _parse_window(window))


def _parse_window(text: str) -> tuple[int, int]:
    begin, dots, end = text.partition("..")
    if not dots:
        raise ExportError(f"--window must be START..END, such as 1.5s..1.6s, got {shown(text)}")
    try:
        window = parse_ns(begin), parse_ns(end)
    except ValueError as error:
        raise ExportError(f"--window: START and END {error}, got {shown(text)}") from None
    if window[0] >= window[1]:
        raise ExportError(f"--window must end after it starts, got {shown(text)}")
    return window


def select(result: Result, choice: Choice) -> Selected:
    """Return the requests of *choice* that have spans. Raises ExportError, which says what there is, if none has."""
    table = result.requests[result.requests["latency_ns"] > 0]  # What took no time has no spans.
    kept = _places(result.spans)
    if choice.window is not None:
        begin, end = choice.window
        wanted = table[(table["arrival_ns"] < end) & (table["done_ns"] > begin)]
        wanted = wanted.sort_values("arrival_ns", kind="stable")
    elif choice.slowest is not None:
        wanted = table[~table["warmup"]].sort_values("latency_ns", ascending=False, kind="stable").head(choice.slowest)
    else:
        wanted = table[pd.MultiIndex.from_frame(table[KEY]).isin(list(kept))]
        wanted = wanted.sort_values("latency_ns", ascending=False, kind="stable").head(DEFAULT_SLOWEST)
    keys = list(wanted[KEY].itertuples(index=False, name=None))
    found = [key in kept for key in keys]
    if not any(found):
        raise ExportError(_nothing(result, choice, len(wanted), len(kept)))
    notes = [] if all(found) else [_partly(result, choice, sum(found), len(found))]
    return Selected(wanted[found], [result.spans.iloc[kept[key]] for key in keys if key in kept], notes)


def _places(spans: pd.DataFrame) -> dict[tuple[Any, ...], slice]:
    """Return where in *spans* the rows of each request are."""
    changes = spans[KEY].ne(spans[KEY].shift()).any(axis=1)
    first = np.flatnonzero(changes)
    keys = spans[KEY].iloc[first].itertuples(index=False, name=None)
    bounds = pairwise([*first.tolist(), len(spans)])
    return {key: slice(*bound) for key, bound in zip(keys, bounds, strict=True)}


def _nothing(result: Result, choice: Choice, n_wanted: int, n_kept: int) -> str:
    if not n_kept:
        return f"no spans are recorded; {_remedy(result, choice)}"
    begin, end = int(result.spans["start_ns"].min()), int(result.spans["end_ns"].max())
    there = f"spans are recorded of {n_kept:,} requests, between {human_time(begin)} and {human_time(end)}"
    if not n_wanted:
        empty = "counts" if choice.window is None else f"is under way in {_window(choice)}"
        return f"no request {empty}; {there}"
    return f"none of the {n_wanted:,} requests {_what(choice)} has spans; {there}; {_remedy(result, choice)}"


def _partly(result: Result, choice: Choice, n_found: int, n_wanted: int) -> str:
    return (
        f"spans are recorded of {n_found:,} of the {n_wanted:,} requests {_what(choice)}, and only these are shown; "
        f"{_remedy(result, choice)}"
    )


def _what(choice: Choice) -> str:
    return "that are the slowest" if choice.window is None else f"under way in {_window(choice)}"


def _window(choice: Choice) -> str:
    assert choice.window is not None
    return "..".join(exact_time(ns) for ns in choice.window)


def _remedy(result: Result, choice: Choice) -> str:
    """Return how to record what is missing; a run that was told to, and has not, has met its limit."""
    run = result.scenario.run
    if choice.window is None:
        n = choice.slowest or DEFAULT_SLOWEST
        if n <= run.slowest:
            return f"a run keeps at most {MAX_ROWS:,} spans"
        return f"run the scenario with --set run.slowest={n} for all of them"
    begin, end = choice.window
    if run.window is not None and run.window.start <= begin and end <= run.window.end:
        return f"a run keeps at most {MAX_ROWS:,} spans"
    changes = f"--set 'run.window.start=\"{exact_time(begin)}\"' --set 'run.window.end=\"{exact_time(end)}\"'"
    return f"run the scenario with {changes} for all of them"
