"""The trace commands of the command line: check, info and convert."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from iosim.traces import ReadOptions

trace_app = typer.Typer(help="Look at traces of requests, convert them, make new ones.", no_args_is_help=True)

FormatName = Annotated[
    str | None, typer.Option("--format", help="Name of the format, see docs/traces.md (default: by content).")
]
Device = Annotated[
    str | None, typer.Option("--device", help="Take the requests of this device, in a trace that has several.")
]
Skip = Annotated[bool, typer.Option("--skip", help="Count what cannot be used instead of refusing the file.")]
Sort = Annotated[bool, typer.Option("--sort", help="Put requests in order of time also in a canonical trace.")]
Clock = Annotated[
    str | None, typer.Option("--clock", help="Rate of the clock of a kernel trace without seconds, such as 2.6GHz.")
]
Threads = Annotated[
    str | None,
    typer.Option("--threads", help="Threads or processes of the guest that is meant, in a kernel trace: 812,813."),
]


def _options(
    format_name: str | None, device: str | None, skip: bool, sort: bool, clock: str | None, threads: str | None
) -> "ReadOptions":
    from iosim.traces.reading import parsed_options

    return parsed_options(format_name, device, skip, sort, clock, threads)


@trace_app.command("check")
def trace_check(
    paths: Annotated[list[Path], typer.Argument(help="Trace files, plain, .gz or .zst.")],
    format_name: FormatName = None,
    device: Device = None,
    skip: Skip = False,
    sort: Sort = False,
    clock: Clock = None,
    threads: Threads = None,
) -> None:
    """Check traces against the rules; say for each that it is fine, or the first line that is not."""
    from iosim.cli import complain
    from iosim.trace_view import check

    raise typer.Exit(check(paths, _options(format_name, device, skip, sort, clock, threads), complain))


@trace_app.command("info")
def trace_info(
    path: Annotated[Path, typer.Argument(help="A trace file, plain, .gz or .zst.")],
    format_name: FormatName = None,
    device: Device = None,
    skip: Skip = False,
    sort: Sort = False,
    clock: Clock = None,
    threads: Threads = None,
) -> None:
    """Say what a trace is like: requests, rates, sizes, addresses, and what else stands in the file."""
    from iosim import screen
    from iosim.trace_view import info

    info(screen.stdout(), path, _options(format_name, device, skip, sort, clock, threads))


@trace_app.command("convert")
def trace_convert(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="SRC... DST",
            help="Trace files, and the canonical trace to write: .csv, .csv.gz, "
            ".csv.zst or .parquet. Several files are merged in order of time.",
        ),
    ],
    format_name: FormatName = None,
    device: Device = None,
    skip: Skip = False,
    sort: Sort = False,
    clock: Clock = None,
    threads: Threads = None,
    begin: Annotated[str, typer.Option("--from", help="Leave out what is earlier; times count from here.")] = "0s",
    end: Annotated[str | None, typer.Option("--to", help="Leave out what is at this time or later.")] = None,
    scale_time: Annotated[str, typer.Option("--scale-time", help="Multiply times by this, such as 0.5 or 1/3.")] = "1",
    scale_address: Annotated[str, typer.Option("--scale-address", help="Multiply first sectors by this.")] = "1",
    stack: Annotated[
        str | None, typer.Option("--stack", help="Give each file a range of this size, one behind the other.")
    ] = None,
) -> None:
    """Write the requests of one trace, or of several merged, as a canonical trace."""
    from iosim import screen
    from iosim.trace_convert import Change, convert

    change = Change.parsed(begin, end, scale_time, scale_address, stack)
    convert(screen.stdout(), screen.stderr(), paths, _options(format_name, device, skip, sort, clock, threads), change)
