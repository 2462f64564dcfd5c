"""What the tables of a scenario are made of: times, sizes, names, and the errors of values that break a rule."""

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints
from pydantic_core import PydanticCustomError

from iosim.model import units


def rule(text: str) -> PydanticCustomError:
    """Return the error of one value that breaks the rule *text*."""
    return PydanticCustomError("rule", "{text}", {"text": text})


def table_rule(text: str) -> PydanticCustomError:
    """Return the error of a table whose keys do not fit together; *text* begins with the key and has the values."""
    return PydanticCustomError("table_rule", "{text}", {"text": text})


def _time(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        raise rule('must be a time with its unit, such as "90us"')
    try:
        return units.parse_ns(value)
    except ValueError as error:
        raise rule(str(error)) from None


def _size(value: object) -> int:
    try:
        return units.parse_bytes(value)
    except ValueError as error:
        raise rule(str(error)) from None


def _file_name(value: str) -> str:
    if not value or "\0" in value:
        raise rule("must be the name of a file")
    return value


Time: TypeAlias = Annotated[int, BeforeValidator(_time), PlainSerializer(units.exact_time, return_type=str)]
Size: TypeAlias = Annotated[int, BeforeValidator(_size), PlainSerializer(units.exact_size, return_type=str)]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=64)]
TraceFormat: TypeAlias = Literal[
    "auto",
    "csv",
    "parquet",
    "qemu-log",
    "simpletrace",
    "kvm",
    "block",
    "blkparse",
    "fio-iolog",
    "fio-lat",
    "fio-bw",
    "accesses",
    "msr",
    "alibaba",
    "tencent",
    "spc",
    "fiu",
    "vscsi",
    "disksim",
    "mqsim",
    "heimdall",
    "perf-script",
    "trace-cmd",
    "ftrace",
    "fio",
]
FileName: TypeAlias = Annotated[str, AfterValidator(_file_name)]
VcpuNumber: TypeAlias = Annotated[int, Field(ge=0)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=4096)]


MAX_CPUS = 1024


class Table(BaseModel):
    """A table of the file: no other keys than its own, no values of other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
