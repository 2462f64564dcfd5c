"""The trace commands of the command line: check, info, convert and synth."""

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
    from iosim import screen
    from iosim.cli import complain
    from iosim.trace_view import check

    options = _options(format_name, device, skip, sort, clock, threads)
    raise typer.Exit(check(paths, options, screen.stderr(), complain))


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

    info(screen.stdout(), screen.stderr(), path, _options(format_name, device, skip, sort, clock, threads))


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
    accesses: Annotated[
        bool, typer.Option("--accesses", help="Write the port accesses of a guest instead, as a table (.parquet).")
    ] = False,
) -> None:
    """Write the requests of one trace, or of several merged, as a canonical trace."""
    from iosim import screen
    from iosim.trace_convert import Change, convert, convert_accesses

    options = _options(format_name, device, skip, sort, clock, threads)
    change = Change.parsed(begin, end, scale_time, scale_address, stack)
    if accesses:
        convert_accesses(screen.stdout(), screen.stderr(), paths, options, change)
    else:
        convert(screen.stdout(), screen.stderr(), paths, options, change)


@trace_app.command("synth")
def trace_synth(
    target: Annotated[
        Path, typer.Argument(metavar="DST", help="The trace to write: .csv, .csv.gz, .csv.zst, .parquet.")
    ],
    n: Annotated[int | None, typer.Option("--requests", help="How many requests.")] = None,
    duration: Annotated[str | None, typer.Option("--duration", help="How long, such as 60s.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", help="Requests a second, Poisson (default: 1000).")] = None,
    on: Annotated[str | None, typer.Option("--on", help="Mean length of bursts, in which --rate holds.")] = None,
    off: Annotated[str | None, typer.Option("--off", help="Mean time between bursts.")] = None,
    reads: Annotated[
        float | None, typer.Option("--reads", help="Share of reads among reads and writes (default: 0.5).")
    ] = None,
    flushes: Annotated[float | None, typer.Option("--flushes", help="Share of flushes among all (default: 0).")] = None,
    sizes: Annotated[
        str | None, typer.Option("--sizes", help="Sizes and their weights: 4KiB or 4KiB:3,64KiB:1 (default: 4KiB).")
    ] = None,
    sequential: Annotated[
        float | None, typer.Option("--sequential", help="Share that goes on where the last of its kind ended.")
    ] = None,
    span: Annotated[str | None, typer.Option("--span", help="Size of the drive (default: 1GiB).")] = None,
    align: Annotated[
        str | None, typer.Option("--align", help="What random addresses are multiples of (default: 4KiB).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random numbers.")] = 1,
    given: Annotated[Path | None, typer.Option("--like", help="Make a trace with the statistics of this one.")] = None,
    format_name: FormatName = None,
    device: Device = None,
    skip: Skip = False,
    sort: Sort = False,
    clock: Clock = None,
    threads: Threads = None,
) -> None:
    """Make up a trace: Poisson or bursts, a mix of operations, sizes and addresses; or one like a given trace."""
    from iosim import screen
    from iosim.trace_synth import Wish, synth

    wish = Wish(n, duration, rate, on, off, reads, flushes, sizes, sequential, span, align)
    synth(
        screen.stdout(),
        screen.stderr(),
        target,
        wish,
        seed,
        given,
        _options(format_name, device, skip, sort, clock, threads),
    )
