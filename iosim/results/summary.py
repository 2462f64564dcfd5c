"""summary.json: the run in one small versioned document."""

import platform
from fractions import Fraction
from importlib.metadata import version
from typing import Any

from iosim.model.scenario import Scenario
from iosim.model.stages import Stage
from iosim.results.statistics import Figures, Statistics
from iosim.results.statistics import counted as counted

SUMMARY_VERSION = 1
SUMMARY_KEYS = (
    *("summary_version", "iosim", "python", "libraries", "engine", "scenario", "profile", "traces", "end_ns"),
    *("requests", "throughput_per_s", "bytes_per_s", "percentile_error", "latency_ns", "page_cache", "stages_ns"),
    *("per_request", "wear"),
)
FIO_PERCENTILES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99)
"""fio's default list (--percentile_list)."""
STAGE_PERCENTILES = (50, 90, 99)
LIBRARIES = ("numpy", "pandas", "pyarrow", "simpy")


def is_resolved(percentile: str, n: int) -> bool:
    """Tell whether *n* requests say anything of *percentile*: at least one of them must lie beyond it."""
    return n * (100 - Fraction(percentile)) >= 100


def summarise(
    scenario: Scenario,
    found: Statistics,
    traces: list[dict[str, Any]],
    profile: dict[str, Any],
    end_ns: int,
    n_spanned: int,
    wear: dict[str, dict[str, int]],
    page_cache: dict[str, int] | None,
    engine: str,
) -> dict[str, Any]:
    """Return the document: what was run, with which inputs and versions, and what came of it."""
    latency = found.latency.get(None)
    window_ns = max(1, end_ns - min(scenario.run.warmup, end_ns))
    return {
        "summary_version": SUMMARY_VERSION,
        "iosim": version("iosim"),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "engine": engine,
        "scenario": scenario.model_dump(mode="json", exclude_none=True),
        "profile": profile,
        "traces": traces,
        "end_ns": end_ns,
        "requests": {
            "in": sum(found.by_status.values()),
            **{{"ok": "done", "error": "failed"}.get(status, status): n for status, n in found.by_status.items()},
            "in_trace": sum(trace["requests"] for trace in traces),
            "warmup": found.warmup,
            "counted": found.counted,
            "with_spans": n_spanned,
        },
        "throughput_per_s": found.counted / window_ns * 1e9,
        "bytes_per_s": found.sectors * 512 / window_ns * 1e9,
        "percentile_error": found.percentile_error,
        "latency_ns": {
            "mean": None if latency is None else latency.mean,
            "min": None if latency is None else latency.least,
            "max": None if latency is None else latency.most,
            "percentile": {} if latency is None else _percentiles(latency, FIO_PERCENTILES),
        },
        "page_cache": page_cache,
        "stages_ns": {stage.label: _stage(found, stage) for stage in Stage},
        "per_request": {
            name: found.means.get(name) for name in ("exits", "userspace_exits", "irqs", "irq_line_ioctls")
        },
        "wear": {disk: counts | {"write_amplification": _amplification(counts)} for disk, counts in wear.items()},
    }


def _amplification(wear: dict[str, int]) -> float | None:
    return wear["pages_programmed"] / wear["pages_written"] if wear["pages_written"] else None


def _stage(found: Statistics, stage: Stage) -> dict[str, Any]:
    times = found.stages.get(stage)
    if times is None:
        return {"total": 0, "share": 0.0, "mean": None, "percentile": {}}
    total_ns = found.latency[None].total
    return {
        "total": times.total,
        "share": times.total / total_ns if total_ns else 0.0,
        "mean": times.mean,
        "percentile": _percentiles(times, STAGE_PERCENTILES),
    }


def _percentiles(times: Figures, of: tuple[float, ...]) -> dict[str, float]:
    return {f"{p:f}": value for p, value in zip(of, times.percentiles(of), strict=True)}
