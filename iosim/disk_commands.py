"""The commands about models of disks: calibrate disk, validate disk."""

from pathlib import Path
from typing import Annotated

import typer

from iosim.calibrate_commands import calibrate_app
from iosim.validate_commands import validate_app

__all__ = ["validate_app"]

FormatName = Annotated[
    str | None, typer.Option("--format", help="Format of the recording, see docs/disks.md (default: by content).")
]
Device = Annotated[
    str | None, typer.Option("--device", help="Take the requests of this device, in a recording that has several.")
]
Skip = Annotated[bool, typer.Option("--skip", help="Count what cannot be used instead of refusing the file.")]
Clock = Annotated[
    str | None, typer.Option("--clock", help="Rate of the clock of a kernel trace without seconds, such as 2.6GHz.")
]


@calibrate_app.command("disk")
def calibrate_disk(
    out: Annotated[Path, typer.Option("--out", help="The file to write, with one host.disk table (.toml).")],
    recordings: Annotated[
        list[Path] | None, typer.Argument(help="Recorded service times of one disk, see docs/disks.md.")
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
    format_name: FormatName = None,
    device: Device = None,
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


@validate_app.command("disk")
def validate_disk(
    recording: Annotated[Path, typer.Argument(help="Recorded service times of the disk.")],
    disk: Annotated[Path, typer.Option("--disk", help="A scenario, or a file with host.disk tables.")],
    name: Annotated[str | None, typer.Option("--name", help="The disk, in a file that has several.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the distribution curves to this file (.png, .svg, .pdf).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draws of model = empirical.")] = 1,
    format_name: FormatName = None,
    device: Device = None,
    skip: Skip = False,
    clock: Clock = None,
) -> None:
    """Replay recorded service times on a model of the disk, and compare the two."""
    from iosim import screen
    from iosim.drives import validate
    from iosim.traces.reading import parsed_options

    options = parsed_options(format_name, device, skip, False, clock, None)
    validate.run(recording, disk, name, json_file, picture, seed, options, screen.stdout(), screen.stderr())
