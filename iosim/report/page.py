"""The report of a run as one page of HTML that needs nothing else."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from rich.console import Console
from rich.text import Text

from iosim.analytic.demands import demands
from iosim.model.errors import IosimError, OutputError, reason
from iosim.model.stages import Stage
from iosim.model.units import human_time, three_digits
from iosim.report import course, distribution, doubts, findings, flame, inputs, page_tables, request_tables
from iosim.report.bands import Band, bands
from iosim.report.lanes import timeline
from iosim.report.port_table import port_accesses
from iosim.results.pictures import COLOURS
from iosim.results.result import Result, read
from iosim.results.summary import counted
from iosim.results.wording import percent

NAME = "report.html"
_SMALLEST_SEGMENT = 0.004
"""Share below which a stage joins the rest of its bar."""
_OTHER = "#e4e6e8"


def environment() -> Environment:
    """Return the environment that renders the templates of this package; all texts are escaped."""
    made = Environment(
        loader=PackageLoader("iosim.report"),
        autoescape=select_autoescape(["html.j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["time"] = human_time
    made.filters["percent"] = percent
    made.globals["text"] = text
    made.globals["version"] = version("iosim")
    return made


def text(name: str) -> Markup:
    """Return a style or script of this package as it stands in its file."""
    return Markup((resources.files("iosim.report") / "templates" / name).read_text(encoding="utf-8"))


def html(result: Result, name: str) -> str:
    """Return the page of *result*; *name* is what it is called."""
    template = environment().get_template("page.html.j2")
    return template.render(_content(result, name))


def _content(result: Result, name: str) -> dict[str, Any]:
    in_bands = bands(counted(result.requests))
    return {
        "name": name,
        "story": findings.story(result),
        "facts": _facts(result),
        "percentiles": page_tables.percentiles(result),
        "distribution": distribution.pictures(result),
        "bars": [(band, _segments(band)) for band in in_bands],
        "stages": page_tables.stages(in_bands) if in_bands else None,
        "flame": flame.fragment(result, name=name),
        "exits": page_tables.exits(result),
        "resources": page_tables.resources(result),
        "course": course.pictures(result),
        "utilisations": course.utilisations(result),
        "queues": course.queues(result),
        "heat_map": course.heat_map(result),
        "slowest": request_tables.slowest(result, timeline),
        "drives": request_tables.drives(result),
        "events": request_tables.events(result),
        "cache": request_tables.page_cache(result),
        "wear": request_tables.wear(result),
        "ports": port_accesses(result),
        "inputs": inputs.inputs(result),
        "doubts": doubts.doubts(result),
    }


def _facts(result: Result) -> list[tuple[str, str, str]]:
    """Return the few figures at the top: what, how much, and what it is about."""
    summary = result.summary
    latency = summary["latency_ns"]
    facts = [
        ("requests done", f"{summary['requests']['done']:,}", f"of {summary['requests']['in']:,} that arrived"),
        ("throughput", f"{three_digits(summary['throughput_per_s'])}/s",
         f"{three_digits(summary['bytes_per_s'] / 1e6)} MB/s"),
    ]  # fmt: skip
    if latency["mean"] is not None:
        facts.append(("mean latency", human_time(latency["mean"]), f"max {human_time(latency['max'])}"))
        stages = summary["stages_ns"]
        largest = max(Stage, key=lambda stage: stages[stage.label]["total"])
        facts.append(("largest stage", percent(stages[largest.label]["share"]), largest.label))
        per = summary["per_request"]
        to_qemu = f"{three_digits(per['userspace_exits'])} to QEMU"
        facts.append(("exits per request", three_digits(per["exits"]), to_qemu))
    if busiest := demands(result):
        facts.append(("busiest", percent(busiest[0].utilisation), busiest[0].resource))
    return facts


@dataclass(frozen=True)
class Segment:
    """A part of a band's bar."""

    name: str
    share: float
    ns: float
    colour: str

    @property
    def ink(self) -> str:
        """The colour of what is written on it."""
        return flame.ink_on(self.colour)


def _segments(band: Band) -> list[Segment]:
    """Return the parts of a band's bar in the order of the path; small ones come together at its end."""
    parts = [
        Segment(stage.label, band.share(stage), band.stages_ns[stage], COLOURS[stage])
        for stage in Stage
        if band.share(stage) >= _SMALLEST_SEGMENT
    ]
    rest = 1 - sum(part.share for part in parts)
    if rest > 1e-9 and band.mean_ns:
        parts.append(Segment("other stages", rest, rest * band.mean_ns, _OTHER))
    return parts


def write(folder: Path) -> Path:
    """Write the page of the result in *folder* into it and return its path, whole or not at all.

    Raises ResultError, OutputError.
    """
    page = html(read(folder), folder.resolve().name)
    target = folder / NAME
    made = folder / f".{NAME}.{os.getpid()}"
    try:
        made.write_text(page, encoding="utf-8")
        made.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: {reason(error)}") from None
    finally:
        made.unlink(missing_ok=True)
    return target


def write_all(
    folders: list[Path],
    say: Callable[[str], object],
    errors: Console,
    complain: Callable[[str], int],
    write: Callable[[Path], Path] = write,
) -> int:
    """Write the page of each result, by *write*, and return the worst exit status: 0, or what *complain* returned.

    One that fails does not stop the others: *complain* is called with what is wrong. On *errors*, if it is a terminal,
    the result at work is shown.
    """
    status = 0
    for folder in folders:
        try:
            with errors.status(Text(str(folder))) if errors.is_terminal else nullcontext():
                path = write(folder)
        except IosimError as error:
            status = max(status, complain(str(error)))
        else:
            say(f"Written to {path}")
    return status
