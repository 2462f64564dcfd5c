"""What is read of a study's folder: its tables and the JSON file by which it is known."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd

from iosim.model.errors import ResultError, reason


class Folder:
    """The folder of a finished study. *marker* is the name of its JSON file, of which *version* is read."""

    def __init__(self, path: Path, marker: str, version_key: str, version: int) -> None:
        self.path = path
        self.name = path.resolve().name
        place = path / marker
        try:
            facts = json.loads(place.read_text(encoding="utf-8"))
        except OSError as error:
            raise ResultError(f"{place}: {reason(error)}") from None
        except ValueError:
            raise ResultError(f"{place}: is damaged; run the study again") from None
        if not isinstance(facts, dict) or facts.get(version_key) != version:
            raise ResultError(f"{place}: is not of this version of iosim; run the study again")
        self.facts: dict[str, Any] = facts

    def table(self, name: str, *columns: str) -> pd.DataFrame:
        """Return the table ``name.parquet``, which must have *columns*. Raises ResultError."""
        place = self.path / f"{name}.parquet"
        try:
            frame = pd.read_parquet(io.BytesIO(place.read_bytes()))
        except OSError as error:
            raise ResultError(f"{place}: {reason(error)}") from None
        except ValueError:
            raise ResultError(f"{place}: is damaged; run the study again") from None
        if missing := [column for column in columns if column not in frame.columns]:
            raise ResultError(f"{place}: has no column {missing[0]}; run the study again")
        return frame


def damaged(path: Path) -> ResultError:
    """Return the error of a folder whose files do not fit together."""
    return ResultError(f"{path}: its files do not fit together; run the study again")
