"""A study on the terminal: a line for each point, and what to keep in mind."""

from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from iosim.study.study_file import Study


def show(console: Console, name: str, study: Study, summary: pd.DataFrame, facts: dict[str, Any]) -> None:
    """Print a line for each point."""
    console.print(Text(f"{name}: {len(facts['points'])} points"))
