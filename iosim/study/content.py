"""What a run depends on, as one hash: resolved scenario, content of its files, program and libraries."""

import hashlib
import json
import platform
from functools import lru_cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from iosim import scenario_file
from iosim.model.errors import ScenarioError, reason
from iosim.model.scenario import Scenario
from iosim.model.trace import AnyTrace
from iosim.traces import ReadOptions, open_trace

LIBRARIES = ("hdrhistogram", "numpy", "pandas", "pyarrow", "scipy", "simpy")
"""Libraries through which the figures of a run pass."""
NOT_MEASURED = ("engine", "slowest", "window", "log")
"""Keys of [run] that change how a run is made and what is kept of it, but none of its metrics."""


class InputFile(NamedTuple):
    """A file that a scenario reads: its name there, where it is, and the SHA-256 of its content."""

    name: str
    path: Path
    sha256: str


class Inputs:
    """Files that scenarios read. Each is read once; what was read first is what the study is about."""

    def __init__(self) -> None:
        self._traces: dict[tuple[Path, ReadOptions], AnyTrace] = {}
        self._digests: dict[Path, str] = {}

    def trace(self, path: Path, options: ReadOptions) -> AnyTrace:
        """Return the trace in *path*, read with *options*. Raises TraceError."""
        wanted = path, options
        if wanted not in self._traces:
            trace = self._traces[wanted] = open_trace(path, options)
            self._digests[path] = trace.sha256
        return self._traces[wanted]

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of the content of *path*. Raises ScenarioError."""
        if path not in self._digests:
            try:
                self._digests[path] = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                raise ScenarioError(f"{path}: {reason(error)}") from None
        return self._digests[path]

    def files(self, scenario: Scenario, folder: Path) -> tuple[InputFile, ...]:
        """Return the files of *scenario*, each once, in the order of their first use."""
        names = dict.fromkeys(scenario_file.file_names(scenario))
        return tuple(InputFile(name, (folder / name).absolute(), self.digest(folder / name)) for name in names)


@lru_cache
def environment() -> dict[str, str]:
    """Return what computes: versions of iosim, Python and the libraries, and a hash of iosim's own modules."""
    code = hashlib.sha256()
    package = resources.files("iosim")
    with resources.as_file(package) as folder:
        for path in sorted(folder.rglob("*.py")):
            content = path.read_bytes()
            code.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
            code.update(content)
    python = ".".join(platform.python_version_tuple()[:2])
    return {
        "iosim": version("iosim"),
        "code": code.hexdigest(),
        "python": python,
        **{name: version(name) for name in LIBRARIES},
    }


def run_digest(scenario: Scenario, files: tuple[InputFile, ...], kind: str) -> str:
    """Return the SHA-256 of everything that the outcome of a run of *scenario* depends on.

    Files count by their content, so that a trace under another name is the same. *kind* tells runs apart of which
    different things are wanted.
    """
    by_name = {file.name: file.sha256 for file in files}
    data = scenario_file.renamed(scenario, by_name.__getitem__)
    for key in NOT_MEASURED:
        data["run"].pop(key, None)
    profile = scenario.host.profile
    if not profile.endswith(".toml"):
        data["host"]["profile"] = _shipped_profile_digest(profile)
    document = {"scenario": data, "kind": kind, "environment": environment()}
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


@lru_cache
def _shipped_profile_digest(name: str) -> str:
    content = (resources.files("iosim") / "profiles" / f"{name}.toml").read_bytes()
    return hashlib.sha256(content).hexdigest()
