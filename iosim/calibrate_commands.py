"""The calibrate commands of the command line: a profile from recordings of a host."""

from pathlib import Path
from typing import Annotated

import typer

calibrate_app = typer.Typer(help="Make profiles of hosts and models of disks from recordings.", no_args_is_help=True)

Clock = Annotated[
    str | None, typer.Option("--clock", help="Rate of the clock of a kernel trace without seconds, such as 2.6GHz.")
]


@calibrate_app.command("host")
def calibrate_host(
    recordings: Annotated[
        list[Path],
        typer.Argument(
            help="Recordings of one host: kernel traces as text, QEMU logs (plain, .gz, .zst), or folders of tables."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The profile to write (.toml).")],
    base: Annotated[
        str, typer.Option("--base", help="The profile that costs are taken from which the recordings do not show.")
    ] = "vmx-2017",
    machine: Annotated[str | None, typer.Option("--machine", help="What the host is, for the profile's head.")] = None,
    untraced: Annotated[
        list[str] | None,
        typer.Option(
            "--untraced",
            help="What an exit takes untraced, KVM and QEMU together, measured in a microbenchmark that is also "
            "among the recordings: KIND=TIME, such as alt_r=7.64us; may be repeated.",
        ),
    ] = None,
    record_cost: Annotated[
        str | None, typer.Option("--record-cost", help="What one trace record costs, if that is known otherwise.")
    ] = None,
    empty_loop: Annotated[
        str | None,
        typer.Option("--empty-loop", help="One iteration of an empty loop, where KVM interprets the guest's code."),
    ] = None,
    string_io: Annotated[
        bool | None,
        typer.Option("--string-io/--loop-io", help="The guests move data by string instructions, or by a loop."),
    ] = None,
    clock: Clock = None,
    threads: Annotated[
        str | None, typer.Option("--threads", help="Threads or processes of the guest that is meant: 812,813.")
    ] = None,
    skip: Annotated[
        bool, typer.Option("--skip", help="Count what cannot be used instead of refusing the file.")
    ] = False,
) -> None:
    """Make a cost profile of a host from recordings of its kernel."""
    import sys

    from iosim import screen
    from iosim.calibrate import host_command

    wish = host_command.Wish(
        recordings,
        out,
        base,
        machine,
        clock,
        threads,
        skip,
        string_io,
        untraced or [],
        record_cost,
        empty_loop,
    )
    host_command.run(wish, sys.argv[1:], screen.stdout(), screen.stderr())
