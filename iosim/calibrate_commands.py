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


@calibrate_app.command("disk")
def calibrate_disk(
    out: Annotated[Path, typer.Option("--out", help="The file to write, with a [[host.disk]] (.toml).")],
    recordings: Annotated[
        list[Path] | None, typer.Argument(help="Recorded service times of one disk, see docs/calibration.md.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="disksim, hdd, ssd or empirical.")] = "disksim",
    diskspecs: Annotated[
        Path | None, typer.Option("--diskspecs", help="Take the parameters from DiskSim's files of the drive.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the disk.")] = "sda",
    capacity: Annotated[
        str | None, typer.Option("--capacity", help="Size of the disk (default: where the recording ends).")
    ] = None,
    bus_rate: Annotated[
        str | None, typer.Option("--bus-rate", help="Bytes per second of the bus, where --diskspecs leaves it open.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Use the whole recording and hold no half of it out for the judgement.")
    ] = False,
    format_name: Annotated[
        str | None, typer.Option("--format", help="Format of the recordings (default: by content).")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Take the requests of this device, in recordings of several.")
    ] = None,
    skip: Skip = False,
    clock: Clock = None,
) -> None:
    """Make a model of a disk from recorded service times, by least squares or as a table, or from DiskSim's files."""
    from iosim import screen
    from iosim.drives import calibrate
    from iosim.traces.reading import parsed_options

    options = parsed_options(format_name, device, skip, False, clock, None)
    wish = calibrate.Wish(list(recordings or []), out, model, diskspecs, name, capacity, bus_rate, everything)
    calibrate.run(wish, options, screen.stdout(), screen.stderr())
