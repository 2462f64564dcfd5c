"""The validate commands of the command line: predictions beside measurements."""

from pathlib import Path
from typing import Annotated

import typer

from iosim.engine_option import Engine, with_engine

validate_app = typer.Typer(help="Compare predictions with measurements.", no_args_is_help=True)


@validate_app.command("host")
def validate_host(
    measured: Annotated[
        list[Path],
        typer.Argument(
            help="What was measured, several repetitions if there are: tables of the guest's own clock, kernel traces, "
            "or folders of tables."
        ),
    ],
    scenario: Annotated[
        Path | None, typer.Option("--scenario", help="The scenario that replays the workload; it is simulated.")
    ] = None,
    result: Annotated[Path | None, typer.Option("--result", help="Or the result of an earlier run, a folder.")] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="The profile to judge (default: that of the scenario).")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key of the scenario: key.path=value; may be repeated.")
    ] = None,
    record_cost: Annotated[
        str | None, typer.Option("--record-cost", help="What one trace record costs, to be taken out of recordings.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the distribution curves to this file (.png, .svg, .pdf).")
    ] = None,
    clock: Annotated[
        str | None, typer.Option("--clock", help="Rate of the clock of a kernel trace without seconds, such as 2.6GHz.")
    ] = None,
    threads: Annotated[
        str | None, typer.Option("--threads", help="Threads or processes of the guest that is meant: 812,813.")
    ] = None,
    skip: Annotated[
        bool, typer.Option("--skip", help="Count what cannot be used instead of refusing the file.")
    ] = False,
    engine: Engine = None,
) -> None:
    """Simulate a recorded workload with a profile, and compare prediction and measurement part by part."""
    from iosim import screen
    from iosim.hosts import command

    wish = command.Wish(
        measured,
        scenario,
        result,
        profile,
        with_engine(changes, engine),
        record_cost,
        json_file,
        picture,
        clock,
        threads,
        skip,
    )
    command.run(wish, screen.stdout(), screen.stderr())
