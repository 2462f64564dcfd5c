"""`iosim validate disk`: a recording of service times played against a disk of a scenario, and compared."""

import json
from pathlib import Path

from rich.console import Console
from rich.text import Text

from iosim.drives.disk_file import read_disk, write_beside
from iosim.drives.judge import as_json, check_size, doubts, judge
from iosim.drives.service_logs import read_services
from iosim.model.errors import OutputError
from iosim.model.units import human_time
from iosim.results.wording import plural
from iosim.traces.reading import ReadOptions
from iosim.validate.picture import draw
from iosim.validate.tables import WIDE, rows, table

_PICTURES = (".png", ".svg", ".pdf")


def run(
    recording: Path,
    disk: Path,
    name: str | None,
    json_file: Path | None,
    picture: Path | None,
    seed: int,
    options: ReadOptions,
    console: Console,
    errors: Console,
) -> None:
    """Replay *recording* on the disk *name* of the file *disk*, show how far the two are apart, and what is left open.

    Raises TraceError, ScenarioError, OutputError.
    """
    if picture is not None and picture.suffix not in _PICTURES:
        raise OutputError(f"--picture must end with {', '.join(_PICTURES)}, got {picture}")
    for target in (json_file, picture):
        if target is not None and not target.parent.is_dir():
            raise OutputError(f"{target.parent}: is no folder")
    described, model = read_disk(disk, name)
    log = read_services(recording, options)
    recorded = log.services
    check_size(model, recorded, f"{disk}: the disk {described.name}")
    with errors.status("replaying the recording"):
        found = judge(model, recorded, described.servers, seed)
    title = f"{recording.name} on {described.name} ({described.model})"
    console.print(Text(f"{title}: {plural(len(recorded), 'request')}, closed loop with the recorded think times"))
    console.print()
    console.print(table(*rows(found, wide=console.width >= WIDE)))
    console.print()
    console.print(Text("Not explained", style="bold"))
    for line in doubts(recorded, found):
        console.print(Text(line), soft_wrap=True)
    share = found[0].relative_demerit
    part = f", {share:.1%} of the mean" if share is not None else ""
    console.print(Text(f"Demerit of all requests: {human_time(found[0].demerit_ns)}{part}"), soft_wrap=True)
    if json_file is not None:
        text = json.dumps({"disk": described.model_dump(mode="json"), **as_json(recorded, found)}, indent=1)
        write_beside(json_file, text + "\n")
    if picture is not None:
        draw(found, picture, title)
