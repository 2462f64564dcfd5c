"""Judge disk models on recorded service times of named drives, and put the tables into docs/validation.md.

    python tools/validate_disks.py [FOLDER] [--write]

FOLDER (default: ../shared/traces/drives beside the project) has NAME.trace.gz in DiskSim's validation format and, where
there are any, NAME.diskspecs with the files that it names. For each drive: the disk that DiskSim's files describe; a
disk fitted to the first half of the recording; the quantiles of the first half. The last two are judged on the second
half, which they have not seen.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from iosim.disk.build import disk_model
from iosim.disk.model import DiskModel
from iosim.drives import command_fit, disksim, drive_fit, empirical_table
from iosim.drives.disk_file import checked
from iosim.drives.judge import judge, own_spread
from iosim.drives.service_logs import read_services
from iosim.drives.services import Services
from iosim.model.units import SECTOR_BYTES
from iosim.validate.match import Match
from iosim.validate.tables import markdown, signed

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "validation.md"
BEGIN = "<!-- begin of the output of tools/validate_disks.py -->\n"
END = "<!-- end of the output of tools/validate_disks.py -->\n"
DRIVES = PROJECT.parent / "shared" / "traces" / "drives"
DISKSIM_MS = {"atlas10k": 0.268, "cheetah9LP": 0.107, "barracuda": 0.349, "hp_c2247a": 0.090}
"""DiskSim's own demerit figures, from its validation script."""


class Judged(NamedTuple):
    """One drive: the recording, and the matches of each way to a model, the total first; None where there is none."""

    name: str
    recorded: Services
    described: list[Match] | None
    fitted: list[Match]
    empirical: list[Match]


def main() -> None:
    """Print the tables, or write them with --write."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--write"]
    folder = Path(arguments[0]) if arguments else DRIVES
    names = sorted(path.name.removesuffix(".trace.gz") for path in folder.glob("*.trace.gz"))
    if not names:
        sys.exit(f"{folder}: has no NAME.trace.gz")
    text = tables([judged(folder, name) for name in names])
    if "--write" not in sys.argv[1:]:
        print(text)
        return
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{PAGE}: has no {BEGIN.strip()} and {END.strip()}")
    PAGE.write_text(before + BEGIN + text + END + behind, encoding="utf-8")


def judged(folder: Path, name: str) -> Judged:
    """Return what the three ways make of the drive *name*."""
    recorded = read_services(folder / f"{name}.trace.gz").services
    first, second = recorded.halves()
    specs = folder / f"{name}.diskspecs"
    described = None
    if specs.exists():
        described = judge(_model(disksim.convert(specs, _bus_rate(specs, recorded))), recorded)
    fitted = judge(_model(drive_fit.fit(first, recorded.end_sector).disk), second)
    return Judged(name, recorded, described, fitted, judge(_empirical(first), second))


def _model(disk: dict[str, Any]) -> DiskModel:
    return disk_model(checked({"name": "sda", **disk}, "disk"), Path())


def _bus_rate(specs: Path, recorded: Services) -> int | None:
    """Return the speed of the bus that the recording shows, where the files leave it open."""
    if not disksim.leaves_bus_open(specs):
        return None
    hit = command_fit.fit(recorded, command_fit.hits(recorded, None))
    return round(1e9 / hit.sector_ns) * SECTOR_BYTES if hit and hit.sector_ns else None


def _empirical(recorded: Services) -> DiskModel:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        (Path(folder) / "t.csv").write_text(empirical_table.to_csv(empirical_table.groups(recorded)), encoding="utf-8")
        table = checked({"name": "sda", "model": "empirical", "table": "t.csv", "flush": "0s"}, "disk")
        return disk_model(table, Path(folder))


def tables(drives: list[Judged]) -> str:
    """Return both tables in Markdown."""
    head = ["drive", "requests", "mean (ms)", "halves apart", "DiskSim's own", "DiskSim's parameters", "in its terms"]
    head += ["fitted, held out", "in its terms", "quantiles, held out"]
    body = []
    for one in drives:
        own = DISKSIM_MS.get(one.name)
        described = one.described[0].demerit_ns / 1e6 if one.described else None
        fitted = one.fitted[0].demerit_ns / 1e6
        body.append(
            [
                f"`{one.name}`",
                f"{len(one.recorded):,}",
                f"{one.recorded.service_ns.mean() / 1e6:.2f}",
                f"{own_spread(one.recorded)[0] / 1e6:.3f}",
                "-" if own is None else f"{own:.3f}",
                "-" if described is None else f"{described:.3f}",
                "-" if described is None or own is None else f"{described / own:.2f} x",
                f"{fitted:.3f}",
                "-" if own is None else f"{fitted / own:.2f} x",
                f"{one.empirical[0].demerit_ns / 1e6:.3f}",
            ]
        )
    return f"{markdown(head, body)}\n{markdown(*_parts(drives))}"


def _parts(drives: list[Judged]) -> tuple[list[str], list[list[str]]]:
    """Return where the distance is: errors of mean and p99, and demerits in ms, by operation and access."""
    head = ["drive", "part", "n", "mean (ms)", "DiskSim's parameters: mean", "p99", "demerit", "fitted: mean", "p99"]
    head += ["demerit"]
    body = []
    for one in drives:
        fitted = {match.name: match for match in one.fitted}
        for match in one.described or one.fitted:
            other = fitted.get(match.name)
            body.append(
                [
                    f"`{one.name}`",
                    match.name,
                    f"{len(match.measured):,}",
                    f"{match.measured_ns['mean'] / 1e6:.2f}",
                    *(_errors(match) if one.described else ["-"] * 3),
                    *(_errors(other) if other else ["-"] * 3),
                ]
            )
    return head, body


def _errors(match: Match) -> list[str]:
    return [signed(match.error["mean"]), signed(match.error["p99"]), f"{match.demerit_ns / 1e6:.3f}"]


if __name__ == "__main__":
    main()
