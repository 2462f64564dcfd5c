"""summary.json: the run in one small versioned document."""

import platform
from fractions import Fraction
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from iosim.model.records import STATUSES
from iosim.model.scenario import Scenario
from iosim.model.stages import Stage

SUMMARY_VERSION = 1
SUMMARY_KEYS = (
    *("summary_version", "iosim", "python", "libraries", "engine", "scenario", "profile", "traces", "end_ns"),
    *("requests", "throughput_per_s", "bytes_per_s", "latency_ns", "page_cache", "stages_ns", "per_request", "wear"),
)
FIO_PERCENTILES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99)
"""fio's default list (--percentile_list)."""
STAGE_PERCENTILES = (50, 90, 99)
LIBRARIES = ("numpy", "pandas", "pyarrow", "simpy")


def counted(requests: pd.DataFrame) -> pd.DataFrame:
    """Return the requests that statistics count: done, and arrived after the warm-up."""
    return requests[(requests["status"] == "ok") & ~requests["warmup"]]


def is_resolved(percentile: str, n: int) -> bool:
    """Tell whether *n* requests say anything of *percentile*: at least one of them must lie beyond it."""
    return n * (100 - Fraction(percentile)) >= 100


def latency_percentiles(latency_ns: "pd.Series[int]") -> dict[str, float]:
    """Return fio's 17 percentiles in ns, linear between order statistics; empty without requests."""
    if latency_ns.empty:
        return {}
    values = latency_ns.quantile([p / 100 for p in FIO_PERCENTILES], interpolation="linear")
    return {f"{p:f}": float(v) for p, v in zip(FIO_PERCENTILES, values, strict=True)}


def summarise(
    scenario: Scenario,
    requests: pd.DataFrame,
    traces: list[dict[str, Any]],
    profile: dict[str, Any],
    end_ns: int,
    n_spanned: int,
    wear: dict[str, dict[str, int]],
    page_cache: dict[str, int] | None,
    engine: str,
) -> dict[str, Any]:
    """Return the document: what was run, with which inputs and versions, and what came of it."""
    table = counted(requests)
    latency = table["latency_ns"]
    window_ns = max(1, end_ns - min(scenario.run.warmup, end_ns))
    total = int(latency.sum())
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
            "in": len(requests),
            **{
                {"ok": "done", "error": "failed"}.get(status, status): int((requests["status"] == status).sum())
                for status in STATUSES
            },
            "in_trace": sum(trace["requests"] for trace in traces),
            "warmup": int(requests["warmup"].sum()),
            "counted": len(table),
            "with_spans": n_spanned,
        },
        "throughput_per_s": len(table) / window_ns * 1e9,
        "bytes_per_s": int(table["sectors"].sum()) * 512 / window_ns * 1e9,
        "latency_ns": {
            "mean": float(latency.mean()) if len(table) else None,
            "min": int(latency.min()) if len(table) else None,
            "max": int(latency.max()) if len(table) else None,
            "percentile": latency_percentiles(latency),
        },
        "page_cache": page_cache,
        "stages_ns": {stage.label: _stage(table, stage, total) for stage in Stage},
        "per_request": {
            name: float(table[name].mean()) if len(table) else None
            for name in ("exits", "userspace_exits", "irqs", "irq_line_ioctls")
        },
        "wear": {disk: counts | {"write_amplification": _amplification(counts)} for disk, counts in wear.items()},
    }


def _amplification(wear: dict[str, int]) -> float | None:
    return wear["pages_programmed"] / wear["pages_written"] if wear["pages_written"] else None


def _stage(table: pd.DataFrame, stage: Stage, total_ns: int) -> dict[str, Any]:
    values = table[f"{stage.label}_ns"]
    if table.empty:
        return {"total": 0, "share": 0.0, "mean": None, "percentile": {}}
    percentiles = np.percentile(values.to_numpy(), STAGE_PERCENTILES).tolist()
    return {
        "total": int(values.sum()),
        "share": int(values.sum()) / total_ns if total_ns else 0.0,
        "mean": float(values.mean()),
        "percentile": {f"{p:f}": value for p, value in zip(STAGE_PERCENTILES, percentiles, strict=True)},
    }
