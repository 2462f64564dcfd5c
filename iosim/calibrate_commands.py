"""The calibrate commands of the command line: a profile from recordings of a host."""

from pathlib import Path
from typing import Annotated

import typer

calibrate_app = typer.Typer(help="Make profiles of hosts and models of disks from recordings.", no_args_is_help=True)

Skip = Annotated[bool, typer.Option("--skip", help="Count what cannot be used instead of refusing the file.")]
Clock = Annotated[
    str | None, typer.Option("--clock", help="Rate of the clock of a kernel trace without seconds, such as 2.6GHz.")
]


@calibrate_app.command("host")
def calibrate_host(
    recordings: Annotated[
        list[Path], typer.Argument(help="Recordings of one host: kernel traces, QEMU logs, tables made of them.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The profile to write (.toml).")],
    base: Annotated[
        str, typer.Option("--base", help="The profile that costs are taken from which the recordings do not show.")
    ] = "vmx-2017",
    clock: Clock = None,
    skip: Skip = False,
) -> None:
    """Make a cost profile of a host from recordings of its kernel and of QEMU."""
    from iosim import screen
    from iosim.calibrate import host_command

    host_command.run(recordings, out, base, clock, skip, screen.stdout(), screen.stderr())
