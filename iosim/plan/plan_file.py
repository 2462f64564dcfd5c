"""Plan files: targets, the knob that is turned, changes to be ranked, and what configurations cost (docs/plans.md)."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from iosim import toml_file
from iosim.model.errors import StudyError
from iosim.model.scenario import FileName, Name
from iosim.plan.targets import Target, parse_target
from iosim.study.study_file import Replications


def _table_rule(text: str) -> PydanticCustomError:
    """Return the error of a table whose keys do not fit together; *text* begins with the key and has the values."""
    return PydanticCustomError("table_rule", "{text}", {"text": text})


def _target(text: str) -> str:
    try:
        parse_target(text)
    except ValueError as error:
        raise PydanticCustomError("rule", "{text}", {"text": str(error)}) from None
    return text


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PlanTable(_Table):
    """[plan]: the base, the targets, and how sure a verdict has to be."""

    scenario: FileName
    targets: Annotated[list[Annotated[str, AfterValidator(_target)]], Field(min_length=1, max_length=20)]
    replications: Annotated[Replications, Field(ge=2)] = 5
    max_replications: Annotated[Replications, Field(ge=2)] = 40
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    seed: Annotated[int, Field(ge=0, lt=1 << 62)] | None = None

    @model_validator(mode="after")
    def _can_add(self) -> "PlanTable":
        if self.max_replications < self.replications:
            raise _table_rule(
                f"max_replications must be at least replications, got {self.max_replications} and {self.replications}"
            )
        return self


class KnobTable(_Table):
    """[knob]: the key whose value is looked for."""

    key: str
    low: Any
    high: Any
    scale: Literal["linear", "log"] = "linear"
    steps: Annotated[int, Field(ge=1, le=100_000)] | None = None
    find: Literal["largest", "smallest"] | None = None
    curve: Annotated[int, Field(ge=1, le=1000)] = 6


class ChangeTable(_Table):
    """[[change]]: one change of the base, whose limit is looked for as well."""

    name: Name
    set: Annotated[dict[str, Any], Field(min_length=1)]


class ResourceTable(_Table):
    """[[cost.resource]]: what can be bought, from the weakest to the strongest."""

    key: str
    values: Annotated[list[Any], Field(min_length=1, max_length=100)]
    costs: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None
    cost_each: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _has_a_cost(self) -> "ResourceTable":
        if (self.costs is None) == (self.cost_each is None):
            raise _table_rule(
                f"costs or cost_each is required, one of them, got {'none' if self.costs is None else 'both'}"
            )
        if self.costs is not None and len(self.costs) != len(self.values):
            raise _table_rule(
                f"costs must have an entry for each of values, got {len(self.costs)} and {len(self.values)}"
            )
        if self.cost_each is not None and not all(type(value) in (int, float) for value in self.values):
            raise _table_rule("cost_each needs values that are numbers; give costs")
        return self

    def cost(self, number: int) -> float:
        """Return what the value with this *number* costs."""
        if self.costs is not None:
            return self.costs[number]
        assert self.cost_each is not None
        return self.cost_each * float(self.values[number])


class CostTable(_Table):
    """[cost]: loads to be carried as cheaply as possible, and the cost table."""

    loads: Annotated[list[Any], Field(min_length=1, max_length=100)]
    fixed: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    unit: str = ""
    resource: Annotated[list[ResourceTable], Field(min_length=1, max_length=10)]


class Plan(_Table):
    """A whole plan file."""

    plan: PlanTable
    set: dict[str, Any] = {}
    knob: KnobTable
    change: Annotated[list[ChangeTable], Field(max_length=100)] = []
    cost: CostTable | None = None

    @model_validator(mode="after")
    def _names_differ(self) -> "Plan":
        names = ["base", *(change.name for change in self.change)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise _table_rule(f"change must have names that differ from each other and from base, got {twice[0]} twice")
        keys = [self.knob.key, *(resource.key for resource in (self.cost.resource if self.cost else ()))]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise _table_rule(f"knob.key and the keys of cost.resource must differ, got {twice[0]} twice")
        return self

    @property
    def targets(self) -> list[Target]:
        """The targets."""
        return [parse_target(text) for text in self.plan.targets]


def load(path: Path) -> Plan:
    """Return the plan in the TOML file *path*; its scenario is not looked at yet. Raises StudyError."""
    return toml_file.check(Plan, toml_file.read(path, StudyError), str(path), StudyError)
