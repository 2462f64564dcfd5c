"""The option --engine, shared by the commands that simulate."""

from typing import Annotated

import typer

ENGINES = ("simpy", "compiled", "auto")


def _checked(value: str | None) -> str | None:
    if value is not None and value not in ENGINES:
        raise typer.BadParameter(f"must be one of {', '.join(ENGINES)}, got {value!r}")
    return value


Engine = Annotated[
    str | None,
    typer.Option("--engine", callback=_checked, help="simpy, compiled, or auto: compiled for large work (run.engine)."),
]


def with_engine(changes: list[str] | None, engine: str | None) -> list[str]:
    """Return *changes* of a scenario with that of its engine, if one is given."""
    return [*(changes or []), *([] if engine is None else [f"run.engine={engine}"])]
