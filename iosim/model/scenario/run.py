"""[run]: how long, which random numbers, what is kept."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from iosim.model import units
from iosim.model.scenario.fields import Table, Time, rule, table_rule


class SpanWindow(Table):
    """All spans between two instants are kept, whatever request they belong to."""

    start: Time
    end: Time

    @model_validator(mode="after")
    def _in_order(self) -> "SpanWindow":
        if self.end <= self.start:
            raise table_rule(
                f"end must come after start, got {units.exact_time(self.end)} and {units.exact_time(self.start)}"
            )
        return self


class RunTable(Table):
    """[run]: how long, which random numbers, what is kept."""

    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    warmup: Time = 0
    duration: Time | None = None
    exact_exits: bool = False
    log: Literal["ports"] | None = None
    slowest: Annotated[int, Field(ge=0, le=100_000)] = 50
    window: SpanWindow | None = None

    @field_validator("duration")
    @classmethod
    def _positive(cls, value: int | None) -> int | None:
        if value == 0:
            raise rule("must be longer than 0")
        return value

    @model_validator(mode="after")
    def _warmup_ends(self) -> "RunTable":
        if self.duration is not None and self.warmup >= self.duration:
            raise table_rule(
                f"warmup must be shorter than run.duration, "
                f"got {units.exact_time(self.warmup)} and {units.exact_time(self.duration)}"
            )
        return self
