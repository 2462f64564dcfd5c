"""A large result out of a small real one: its tables one after the other, as if the run had been repeated.

    python -m benchmarks.large SCENARIO.toml REQUESTS FOLDER [key.path=value ...]

simulates the scenario once and writes a result of at least so many requests to the folder. It is for measuring what
reads results. Nothing of it has been simulated but its first part, and its profile says so.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from iosim import api, scenario_file
from iosim.results.result import Result, write
from iosim.results.statistics import Statistics
from iosim.results.summary import summarise
from iosim.scenario_file import relocated

_MOST_BINS = 1000


def repeated(part: Result, times: int) -> Result:
    """Return *part* as if it had run *times* times, each when the one before had ended."""
    length_ns = part.summary["end_ns"]
    requests = _one_after_the_other(part.requests, times, length_ns, ["arrival_ns", "issue_ns", "done_ns"])
    requests["request"] += np.repeat(np.arange(times), len(part.requests)) * (int(part.requests["request"].max()) + 1)
    summary = summarise(
        part.scenario,
        Statistics.of(requests),
        [trace | {"requests": trace["requests"] * times} for trace in part.summary["traces"]],
        part.summary["profile"] | {"machine": f"a part of the run put together {times:,} times, not simulated"},
        length_ns * times,
        part.summary["requests"]["with_spans"],
        {},
        part.summary["page_cache"],
        part.summary["engine"],
    )
    exits, resources, functions = part.exits.copy(), part.resources.copy(), part.functions.copy()
    exits[["count", "total_ns"]] *= times
    functions = part.functions.assign(total_ns=part.functions["total_ns"] * times)
    resources["busy_ns"] *= times
    functions["total_ns"] *= times
    return replace(
        part,
        requests=requests,
        exits=exits,
        resources=resources,
        functions=functions,
        series=_series(part, times),
        summary=summary,
    )


def _one_after_the_other(table: pd.DataFrame, times: int, length_ns: int, columns: list[str]) -> pd.DataFrame:
    result = pd.concat([table] * times, ignore_index=True)
    for column in columns:
        result[column] += np.repeat(np.arange(times) * length_ns, len(table))
    return result


def _series(part: Result, times: int) -> pd.DataFrame:
    """Return the time bins, several of them as one where there are more than a run has."""
    length_ns = part.summary["end_ns"]
    table = _one_after_the_other(part.series, times, length_ns, ["start_ns", "end_ns"])
    group = np.arange(len(table)) // -(-len(table) // _MOST_BINS)
    grouped = table.groupby(group)
    histogram = np.array(table["latency_counts"].tolist())
    levels = [name for name in table if str(name).startswith(("utilisation", "queue"))]
    columns = {
        "start_ns": grouped["start_ns"].min(),
        "end_ns": grouped["end_ns"].max(),
        "arrivals": grouped["arrivals"].sum(),
        "completions": grouped["completions"].sum(),
        "latency_edges_ns": grouped["latency_edges_ns"].first(),
        "latency_counts": pd.Series([histogram[group == at].sum(axis=0).tolist() for at in range(group[-1] + 1)]),
    }
    return pd.concat([pd.DataFrame(columns), grouped[levels].mean()], axis=1)


def make(scenario: Path, n: int, folder: Path, changes: list[str]) -> Result:
    """Simulate, repeat and write; return the large result."""
    loaded = api.load(scenario, changes)
    part = api.simulate(loaded)
    large = repeated(part, -(-n // len(part.requests)))
    write(large, folder, scenario_file.to_toml(relocated(loaded, scenario.parent, folder)), pictures=False)
    return large


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
