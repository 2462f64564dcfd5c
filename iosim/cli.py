"""The command line. Heavy imports happen in the commands that need them, so that --help answers at once."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from iosim.model.errors import FaultError, IosimError

app = typer.Typer(
    help="Simulate the path of a guest's disk I/O through KVM and QEMU, from the port write to the host's disk.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
trace_app = typer.Typer(help="Look at traces of requests.", no_args_is_help=True)
app.add_typer(trace_app, name="trace")

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


def _engine(value: str) -> str:
    if value == "compiled":
        raise typer.BadParameter("the compiled engine is not supported yet; use simpy or auto")
    if value not in ("simpy", "auto"):
        raise typer.BadParameter(f"must be one of simpy, compiled, auto, got {value!r}")
    return value


@app.command()
def run(
    scenarios: Annotated[list[Path], typer.Argument(help="Scenario files (TOML); several are a batch.")],
    out: Out = None,
    changes: Changes = None,
    engine: Annotated[str, typer.Option(callback=_engine, help="simpy, compiled or auto.")] = "auto",
) -> None:
    """Run one scenario or a batch, write the results and show them."""
    from iosim import batch, screen

    status = batch.run_all(scenarios, out, list(changes or []), screen.stdout(), screen.stderr(), complain)
    raise typer.Exit(status)


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


@trace_app.command("check")
def trace_check(
    paths: Annotated[list[Path], typer.Argument(help="Trace files, plain or .gz.")],
    format_name: Annotated[str | None, typer.Option("--format", help="csv or qemu-log (default: by content).")] = None,
) -> None:
    """Check traces against the rules; say for each that it is fine, or the first line that is not."""
    from iosim.trace_view import check

    raise typer.Exit(check(paths, format_name, complain))


@trace_app.command("info")
def trace_info(
    path: Annotated[Path, typer.Argument(help="A trace file, plain or .gz.")],
    format_name: Annotated[str | None, typer.Option("--format", help="csv or qemu-log (default: by content).")] = None,
) -> None:
    """Say what a trace is like: requests, rates, sizes, addresses."""
    from iosim import screen
    from iosim.trace_view import info

    info(screen.stdout(), path, format_name)


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
    print(f"iosim: {' '.join(message.split())}", file=sys.stderr)
    return USER_ERROR


if __name__ == "__main__":
    main()
