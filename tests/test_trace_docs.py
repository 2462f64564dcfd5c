"""docs/traces.md says what is read and which options there are: no more and no less."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

import pytest

from iosim.trace_commands import trace_convert, trace_synth
from iosim.traces import ReadOptions, TraceStream
from iosim.traces.access_reader import SCHEMA
from iosim.traces.formats import FORMATS, GROUPS
from tests.commandline import run
from tests.test_docs import code, markdown_tables, page, section


def test_every_format_is_documented_in_order() -> None:
    rows = markdown_tables(section(page("traces.md"), "## Formats"))[0]
    assert [code(row["`--format`"]) for row in rows] == list(FORMATS)


def test_the_names_of_groups_are_documented() -> None:
    text = section(page("traces.md"), "## Formats")
    assert all(f"`{name}`" in text for name in GROUPS)


def test_the_columns_of_the_access_table_are_documented_in_order() -> None:
    rows = markdown_tables(section(page("traces.md"), "### Port accesses"))[0]
    assert [code(row["column"]) for row in rows] == SCHEMA.names


@pytest.mark.parametrize(
    ("command", "heading"), [(trace_convert, "## `trace convert`"), (trace_synth, "## `trace synth`")]
)
def test_the_options_of_a_trace_command_are_documented(command: Callable[..., None], heading: str) -> None:
    names = [
        name
        for parameter in get_type_hints(command, include_extras=True).values()
        for option in getattr(parameter, "__metadata__", ())
        for name in getattr(option, "param_decls", None) or ()
        if name.startswith("--")
    ]
    text = section(page("traces.md"), heading)
    elsewhere = {"--format", "--device", "--skip", "--sort", "--clock", "--threads"}
    assert [name for name in names if name not in elsewhere and f"`{name}" not in text and f" {name}" not in text] == []


EXAMPLES = [
    "128166372003061629,hm,0,Write,7014912,4096,26",
    "0,R,126703644672,4096,1577808000000626",
    "1538323199,105352008,584,1,1576",
    "0,20941264,8192,W,0.551706",
    "13.191135 30 0 5 1",
    "938513000 4 264719034 16 0",
    "223.412 0 3159347200 36864 0",
]


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_lines_of_datasets_in_the_page_are_read_as_it_says(line: str, tmp_path: Path) -> None:
    rows = markdown_tables(section(page("traces.md"), "### Published datasets"))[0]
    row = next(row for row in rows if row["line"] == f"`{line}`")
    path = tmp_path / "trace"
    path.write_text(f"{line}\n")
    with TraceStream(path, ReadOptions(format=code(row["format"]))) as stream:
        assert sum(map(len, stream)) == 1
    assert stream.reading.devices == {re.match(r"`([^`]*)`", row["device"])[1]}  # type: ignore[index]


def test_the_commands_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv", "x.perf.gz"):
        (tmp_path / name).write_text("time_us,op,sector,sectors\n0,W,0,8\n5,R,8,8\n")
    (block,) = re.findall(r"```sh\n(iosim trace info.*?)```", page("traces.md"), re.DOTALL)
    for line in block.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "iosim"
        arguments = [name for word in arguments for name in (["a.csv", "b.csv"] if word == "*.csv" else [word])]
        answer = run(capsys, *arguments)
        assert (answer.status, answer.err) == (0, ""), line
