"""The exports by name: what each writes, under which name, and how."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:  # The names of the exports are asked for by --help, which answers at once.
    from iosim.exports.selection import Choice
    from iosim.results.result import Result

Say = Callable[[str], None]
"""Is told in one line what an export lacks."""


class Writer(Protocol):
    """Writes a result to a path at which nothing is yet. Raises ExportError if there is nothing to write."""

    def __call__(self, result: "Result", path: Path, choice: "Choice", say: Say) -> None:
        """Write what *choice* selects; *say* is told what lacks."""


class Export(NamedTuple):
    """One format. The file or folder is called by the name and the suffix."""

    name: str
    suffix: str
    help: str
    write: Writer
    chooses: bool = False
    """Whether --slowest and --window choose what is written."""

    @property
    def target(self) -> str:
        """The name of the file, or of the folder if there is no suffix."""
        return f"{self.name}{self.suffix}"


def _perfetto(result: "Result", path: Path, choice: "Choice", say: Say) -> None:
    from iosim.exports.perfetto import write_perfetto

    write_perfetto(result, path, choice, say)


def _folded(result: "Result", path: Path, choice: "Choice", say: Say) -> None:
    from iosim.exports.stacks import write_folded

    write_folded(result, path)


def _speedscope(result: "Result", path: Path, choice: "Choice", say: Say) -> None:
    from iosim.exports.stacks import write_speedscope

    write_speedscope(result, path)


def _fio(result: "Result", path: Path, choice: "Choice", say: Say) -> None:
    from iosim.exports.fio import write_fio

    write_fio(result, path)


def _blktrace(result: "Result", path: Path, choice: "Choice", say: Say) -> None:
    from iosim.exports.blktrace import write_blktrace

    write_blktrace(result, path, say)


def _csv(result: "Result", path: Path, choice: "Choice", say: Say) -> None:
    from iosim.exports.tables import write_csv

    write_csv(result, path)


def _parquet(result: "Result", path: Path, choice: "Choice", say: Say) -> None:
    from iosim.exports.tables import write_parquet

    write_parquet(result, path)


_ALL = (
    Export("perfetto", ".json", "timeline of requests, for ui.perfetto.dev and chrome://tracing", _perfetto, True),
    Export("folded", ".txt", "call stacks of all requests with their time, for flamegraph.pl and inferno", _folded),
    Export("speedscope", ".json", "the same for speedscope.app", _speedscope),
    Export("fio", ".json", "latencies as fio --output-format=json+ has them, a job per drive", _fio),
    Export("blktrace", "", "Q2D, D2C, Q2C of each request, and the text of blkparse", _blktrace),
    Export("csv", "", "every table as CSV", _csv),
    Export("parquet", "", "every table as Parquet", _parquet),
)
EXPORTS = {export.name: export for export in _ALL}
"""Every export by its name."""
