"""What tests of the command line share: a small scenario with its trace, and running a command in this process."""

import os
import select
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from iosim.cli import main

SCENARIO = """\
[host]
profile = "vmx-2013"
[[host.disk]]
name = "sda"
model = "constant"
service = "90us"
[[vm]]
name = "web"
[[vm.drive]]
cache = "none"
trace = "trace.csv"
"""
TRACE = """\
time_us,op,sector,sectors
0,W,0,8
1000,R,64,8
2000,F,0,0
"""


class Answer(NamedTuple):
    """What a command gave: exit status, standard output and standard error."""

    status: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Answer:
    """Run the command line with *arguments*, as the installed script does."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return Answer(ended.value.code, out, err)


def write_inputs(folder: Path, scenario: str = SCENARIO, trace: str = TRACE) -> None:
    """Write scenario.toml and trace.csv into *folder*."""
    (folder / "scenario.toml").write_text(scenario, encoding="utf-8")
    (folder / "trace.csv").write_text(trace, encoding="utf-8")


def read_terminal(terminal: int, until: bytes) -> bytes:
    """Return what is shown on *terminal* up to and with *until*; fails after 60 s."""
    shown = b""
    end = time.monotonic() + 60
    while until not in shown:
        assert time.monotonic() < end, shown
        if select.select([terminal], [], [], 1)[0]:
            try:
                shown += os.read(terminal, 4096)
            except OSError:  # Linux says so when the other side is closed.
                break
    return shown
