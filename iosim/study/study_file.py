"""Study files: what is varied, how often each point is run, and what is asked of the figures (docs/studies.md)."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from iosim import toml_file
from iosim.model.errors import StudyError
from iosim.model.scenario import FileName, Name
from iosim.study.metrics import UNITS

MAX_REPLICATIONS = 10_000


def _table_rule(text: str) -> PydanticCustomError:
    """Return the error of a table whose keys do not fit together; *text* begins with the key and has the values."""
    return PydanticCustomError("table_rule", "{text}", {"text": text})


def _metric(value: str) -> str:
    if value not in UNITS:
        raise PydanticCustomError("rule", "{text}", {"text": "must be a metric of docs/studies.md"})
    return value


Replications: TypeAlias = Annotated[int, Field(ge=1, le=MAX_REPLICATIONS)]
Metric: TypeAlias = Annotated[str, AfterValidator(_metric)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StudyTable(_Table):
    """[study]: the base, and how often each point is run."""

    scenario: FileName
    replications: Replications = 10
    seed: Annotated[int, Field(ge=0, lt=1 << 62)] | None = None
    reference: Name = "base"


class PointTable(_Table):
    """[[point]]: one point by itself."""

    name: Name | None = None
    set: Annotated[dict[str, Any], Field(min_length=1)]


class SampleTable(_Table):
    """[sample]: a Latin hypercube."""

    size: Annotated[int, Field(ge=1, le=100_000)]
    seed: Annotated[int, Field(ge=0, lt=1 << 62)] = 1
    range: Annotated[dict[str, Any], Field(min_length=1)]


class UntilTable(_Table):
    """[statistics.until]: replications are added until an interval is short enough."""

    metric: Metric
    of: str = ""
    within: Annotated[float, Field(gt=0, lt=1)]
    max_replications: Replications = 100
    step: Replications = 5


class StatisticsTable(_Table):
    """[statistics]: what is said of the replications."""

    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    warmup: Literal["scenario", "mser-5"] = "scenario"
    pilots: Annotated[int, Field(ge=1, le=1000)] = 5
    until: UntilTable | None = None


class OutputTable(_Table):
    """[output]: what is written beside the tables."""

    keep: bool = False
    summary_only: bool = False


class Study(_Table):
    """A whole study file."""

    study: StudyTable
    set: dict[str, Any] = {}
    grid: dict[str, Any] = {}
    point: list[PointTable] = []
    sample: SampleTable | None = None
    statistics: StatisticsTable = StatisticsTable()
    output: OutputTable = OutputTable()

    @model_validator(mode="after")
    def _fits_together(self) -> "Study":
        if self.output.summary_only and self.statistics.warmup == "mser-5":
            raise _table_rule('output.summary_only must be false with statistics.warmup "mser-5", got true')
        until = self.statistics.until
        if until is not None and self.study.replications < 2:
            raise _table_rule("study.replications must be at least 2 with statistics.until, got 1")
        if until is not None and until.max_replications < self.study.replications:
            raise _table_rule(
                f"statistics.until.max_replications must be at least study.replications, "
                f"got {until.max_replications} and {self.study.replications}"
            )
        return self


def load(path: Path, summary_only: bool = False) -> Study:
    """Return the study in the TOML file *path*, with `output.summary_only` if it is to be so anyhow.

    Its scenario is not looked at yet. Raises StudyError.
    """
    data = toml_file.read(path, StudyError)
    if "sensitivity" in data:
        raise StudyError(f"{path}: [sensitivity] is for iosim sensitivity")
    if summary_only and isinstance(data.setdefault("output", {}), dict):
        data["output"]["summary_only"] = True
    return toml_file.check(Study, data, str(path), StudyError)
