"""Sensitivity studies: which costs are scaled, between which factors, and what is looked at."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from iosim import toml_file
from iosim.model.costs import KINDS
from iosim.model.errors import StudyError, shown
from iosim.study.study_file import MAX_REPLICATIONS, Metric, StudyTable

MOST_FACTOR = 1000.0
LATENCIES = ["latency_mean", "latency_p99"]

Factor: TypeAlias = Annotated[float, Field(ge=0, le=MOST_FACTOR, allow_inf_nan=False)]
Scale: TypeAlias = Literal["log", "linear"]
By: TypeAlias = Literal["cost", "function", "group", "stage"]


def _table_rule(text: str) -> PydanticCustomError:
    return PydanticCustomError("table_rule", "{text}", {"text": text})


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise PydanticCustomError("rule", "{text}", {"text": "must be a power of two"})
    return value


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RangeTable(_Table):
    """Between which factors a cost is taken to lie; 1 is the profile's figure."""

    low: Factor = 0.5
    high: Factor = 2.0

    @model_validator(mode="after")
    def _around_one(self) -> "RangeTable":
        if not self.low <= 1 <= self.high or self.low == self.high:
            raise _table_rule(f"low and high must have 1 between them, got {self.low:g} and {self.high:g}")
        return self


class SobolTable(_Table):
    """[sensitivity.sobol]: a sample over the most important factors."""

    size: Annotated[int, Field(ge=4, le=65_536), AfterValidator(_power_of_two)] = 128
    factors: Annotated[int, Field(ge=1, le=100)] = 6
    replications: Annotated[int, Field(ge=1, le=MAX_REPLICATIONS)] = 1
    seed: Annotated[int, Field(ge=1, lt=1 << 62)] = 1
    scale: Scale = "log"
    resamples: Annotated[int, Field(ge=10, le=100_000)] = 1000


class SensitivityTable(RangeTable):
    """[sensitivity]: what is scaled, and what is looked at."""

    metrics: Annotated[list[Metric], Field(min_length=1, max_length=10)] = LATENCIES
    of: str = ""
    by: By = "cost"
    only: Annotated[list[str], Field(min_length=1)] | None = None
    kind: dict[str, RangeTable] = {}
    sobol: SobolTable | Literal[False] = SobolTable()

    @model_validator(mode="after")
    def _kinds_are_known(self) -> "SensitivityTable":
        known = [kind for kind in KINDS if kind != "included"]
        if unknown := sorted(set(self.kind) - set(known)):
            raise _table_rule(f"kind must have tables named {', '.join(known)}, got {shown(unknown[0])}")
        return self


class StatisticsTable(_Table):
    """[statistics]: what is said of the replications."""

    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95


class SensitivityStudy(_Table):
    """A whole file."""

    study: StudyTable
    set: dict[str, Any] = {}
    sensitivity: SensitivityTable
    statistics: StatisticsTable = StatisticsTable()

    @model_validator(mode="after")
    def _fits_together(self) -> "SensitivityStudy":
        if self.study.reference != "base":
            raise _table_rule("study.reference must be left out: costs are compared to the base")
        if len(set(self.sensitivity.metrics)) < len(self.sensitivity.metrics):
            raise _table_rule("sensitivity.metrics must name each metric once")
        table = self.sensitivity
        ranges = {"sensitivity": table, **{f"sensitivity.kind.{kind}": inside for kind, inside in table.kind.items()}}
        if table.sobol and table.sobol.scale == "log":
            for place, inside in ranges.items():
                if not inside.low:
                    raise _table_rule(f'{place}.low must be above 0 with sensitivity.sobol.scale "log", got 0')
        return self


def load(path: Path) -> SensitivityStudy:
    """Return the study in the TOML file *path*; its scenario is not looked at yet. Raises StudyError."""
    data = toml_file.read(path, StudyError)
    if "sensitivity" not in data:
        raise StudyError(f"{path}: [sensitivity] is required; what has none is for iosim sweep or iosim plan")
    return toml_file.check(SensitivityStudy, data, str(path), StudyError)
