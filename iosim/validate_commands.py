"""The validate commands of the command line: predictions beside measurements."""

from pathlib import Path
from typing import Annotated

import typer

validate_app = typer.Typer(help="Compare predictions with measurements.", no_args_is_help=True)

FormatName = Annotated[
    str | None, typer.Option("--format", help="Format of the recording, see docs/calibration.md (default: by content).")
]
Device = Annotated[
    str | None, typer.Option("--device", help="Take the requests of this device, in a recording that has several.")
]
Skip = Annotated[bool, typer.Option("--skip", help="Count what cannot be used instead of refusing the file.")]


@validate_app.command("disk")
def validate_disk(
    recording: Annotated[Path, typer.Argument(help="Recorded service times of the disk.")],
    disk: Annotated[Path, typer.Option("--disk", help="A scenario, or a file with [[host.disk]].")],
    name: Annotated[str | None, typer.Option("--name", help="The disk, in a file that has several.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the distribution curves to this file (.png, .svg, .pdf).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draws of model = empirical.")] = 1,
    format_name: FormatName = None,
    device: Device = None,
    skip: Skip = False,
) -> None:
    """Replay recorded service times on a model of the disk, and compare the two."""
    from iosim import screen
    from iosim.drives import validate
    from iosim.traces.reading import parsed_options

    options = parsed_options(format_name, device, skip, False, None, None)
    validate.run(recording, disk, name, json_file, picture, seed, options, screen.stdout(), screen.stderr())
