"""The page of a study as one file of HTML that needs nothing else."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, PackageLoader

from iosim.model.errors import OutputError, reason
from iosim.report import page as report
from iosim.study_pages import plan, sensitivity, sweep

NAME = "study.html"

KINDS: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "study.json": (sweep.TEMPLATE, sweep.content),
    "sensitivity.json": (sensitivity.TEMPLATE, sensitivity.content),
    "plan.json": (plan.TEMPLATE, plan.content),
}
"""Template and content of each kind of study, by the file by which its folder is known."""


def is_study(folder: Path) -> bool:
    """Tell whether *folder* is that of a finished study."""
    return any((folder / marker).is_file() for marker in KINDS)


def html(folder: Path) -> str:
    """Return the page of the study in *folder*. Raises ResultError."""
    template, content = next(KINDS[marker] for marker in KINDS if (folder / marker).is_file())
    made = report.environment()
    assert made.loader is not None
    made.loader = ChoiceLoader([PackageLoader("iosim.study_pages"), made.loader])
    return made.get_template(template).render(content(folder))


def write(folder: Path) -> Path:
    """Write the page of the study, or of the result, in *folder* into it and return its path, whole or not at all.

    Raises ResultError, OutputError.
    """
    if not is_study(folder):
        return report.write(folder)
    page = html(folder)
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
