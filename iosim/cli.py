"""The command line. Heavy imports happen in the commands that need them, so that --help answers at once."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from iosim.calibrate_commands import calibrate_app
from iosim.disk_commands import validate_app
from iosim.engine_option import Engine, with_engine
from iosim.exports.registry import EXPORTS
from iosim.model.errors import FaultError, IosimError
from iosim.trace_commands import trace_app

app = typer.Typer(
    help="Simulate the path of a guest's disk I/O through KVM and QEMU, from the port write to the host's disk.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(trace_app, name="trace")
app.add_typer(calibrate_app, name="calibrate")
app.add_typer(validate_app, name="validate")

FAULT = 1
"""Exit status for a fault of the program."""
USER_ERROR = 2
"""Exit status for what the user can mend."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 and the number of SIGINT."""

Out = Annotated[Path | None, typer.Option("--out", help="Folder for the result (default: reports/<scenario name>).")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change a key of the scenario: key.path=value; may be repeated.")
]


def _exports_help() -> str:
    what = "; ".join(f"{export.name}: {export.help}" for export in EXPORTS.values())
    return f"Also write a file for other tools into exports/; may be repeated. {what}; all: all of them."


SummaryOnly = Annotated[
    bool,
    typer.Option(
        "--summary-only", help="Keep no requests: less memory and disk; percentiles are within 0.05 %, means exact."
    ),
]


@app.command()
def run(
    scenarios: Annotated[list[Path], typer.Argument(help="Scenario files (TOML); several are a batch.")],
    out: Out = None,
    changes: Changes = None,
    engine: Engine = None,
    summary_only: SummaryOnly = False,
) -> None:
    """Run one scenario or a batch, write the results and show them."""
    from iosim import batch, screen

    status = batch.run_all(
        scenarios,
        out,
        with_engine(changes, engine),
        screen.stdout(),
        screen.stderr(),
        complain,
        rows=not summary_only,
    )
    raise typer.Exit(status)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Results of earlier runs, or studies, each a folder.")],
    exports: Annotated[list[str] | None, typer.Option("--export", help=_exports_help())] = None,
    slowest: Annotated[
        int | None, typer.Option("--slowest", help="Export the timeline of this many of the slowest requests (10).")
    ] = None,
    window: Annotated[
        str | None, typer.Option("--window", help="Export that of the requests under way in START..END (1.5s..1.6s).")
    ] = None,
) -> None:
    """Write a page into the folder of a result (report.html) or study (study.html): what came of it, with doubts."""
    from iosim import screen
    from iosim.exports import command
    from iosim.report.page import write_all
    from iosim.study_pages.page import write

    wish = command.parse(exports or [], slowest, window)
    status = write_all(folders, typer.echo, screen.stderr(), complain, write)
    if wish.exports:
        status = max(status, command.write_all(folders, wish, typer.echo, remark, screen.stderr(), complain))
    raise typer.Exit(status)


@app.command()
def show(folder: Annotated[Path, typer.Argument(help="The result of an earlier run, a folder.")]) -> None:
    """Tell the story of a result on the terminal: what was simulated, what came of it, and why to doubt it."""
    from iosim import screen
    from iosim.report.text import show_all

    show_all(folder, screen.stdout())


@app.command()
def compare(
    folders: Annotated[
        list[Path], typer.Argument(help="Results of earlier runs, each a folder; the first is the base.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Write the comparison as a page to this file too.")] = None,
) -> None:
    """Show how runs differ from the first one: by stage and percentile, with confidence, and what was changed."""
    from iosim import screen
    from iosim.compare.command import compare_all

    compare_all(folders, out, screen.stdout(), screen.stderr())


BaseChanges = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a key of the base scenario: key.path=value; may be repeated."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, max=1024, help="Worker processes (default: one per CPU).")
]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", help="Run on the Dask cluster of this scheduler, such as tcp://host:8786."),
]


@app.command()
def sweep(
    study: Annotated[Path, typer.Argument(help="A study file (TOML).")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the study (default: reports/<study name>).")
    ] = None,
    changes: BaseChanges = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    keep: Annotated[bool, typer.Option("--keep", help="Write the whole result of each run to points/.")] = False,
    summary_only: SummaryOnly = False,
    engine: Engine = None,
) -> None:
    """Run all points of a study, each with its replications; what is finished is not run again."""
    from iosim import screen
    from iosim.study import sweep as command

    options = with_engine(changes, engine)
    command.run(study, out, options, workers, scheduler, keep, summary_only, screen.stdout(), screen.stderr())


@app.command()
def plan(
    plan: Annotated[Path, typer.Argument(help="A plan file (TOML).")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the plan (default: reports/<plan name>).")
    ] = None,
    changes: BaseChanges = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    engine: Engine = None,
) -> None:
    """Find the largest load, or the smallest host, that meets targets; what breaks first; what to change or buy."""
    from iosim import screen
    from iosim.plan import command

    command.run(plan, out, with_engine(changes, engine), workers, scheduler, screen.stdout(), screen.stderr())


@app.command()
def sensitivity(
    study: Annotated[Path, typer.Argument(help="A study file (TOML) with a table [sensitivity].")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the study (default: reports/<study name>).")
    ] = None,
    changes: BaseChanges = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    engine: Engine = None,
) -> None:
    """Find out which cost of the profile matters: scale each one that is spent, and the largest together."""
    from iosim import screen
    from iosim.sensitivity import command

    command.run(study, out, with_engine(changes, engine), workers, scheduler, screen.stdout(), screen.stderr())


@app.command()
def profiles(
    name: Annotated[str | None, typer.Argument(help="A shipped profile, or the path of a profile file.")] = None,
) -> None:
    """List the cost profiles, or show every figure of one with its source."""
    from iosim import screen
    from iosim.profile_view import list_profiles, show_profile

    if name is None:
        list_profiles(screen.stdout())
    else:
        show_profile(screen.stdout(), name)


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    typer.echo(f"iosim {installed('iosim')}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line: what the user can mend is one line on stderr and exit status 2."""
    try:
        command: Any = typer.main.get_command(app)
        status = command.main(arguments, prog_name="iosim", standalone_mode=False) or 0
    except IosimError as error:
        status = complain(str(error))
    except FaultError as error:
        complain(f"fault of the program: {error}")
        status = FAULT
    except typer.TyperException as error:
        # Without a command the help has been printed already, and nothing is left to say.
        status = complain(error.format_message()) if error.format_message() else USER_ERROR
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    if status == INTERRUPTED:
        print("iosim: interrupted", file=sys.stderr)
    sys.exit(status)


def complain(message: str) -> int:
    """Print *message* as one line on stderr and return the exit status for it."""
    remark(message)
    return USER_ERROR


def remark(message: str) -> None:
    """Print *message* as one line on stderr."""
    print(f"iosim: {' '.join(message.split())}", file=sys.stderr)


if __name__ == "__main__":
    main()
