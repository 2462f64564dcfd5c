"""The Python interface: load a scenario, simulate it, look at frames."""

from collections.abc import Sequence
from pathlib import Path

from iosim import scenario_file
from iosim.model.scenario import RunTable
from iosim.model.scenario import Scenario as ScenarioModel
from iosim.results.result import Result
from iosim.run import Progress
from iosim.simulation import simulate as simulate_scenario


class Scenario(ScenarioModel):
    """A scenario that remembers the folder its file names are relative to."""

    _folder: Path = Path()


def load(path: str | Path, changes: Sequence[str] = ()) -> Scenario:
    """Return the scenario in the TOML file *path*, with *changes* ("key.path=value") applied.

    Raises ScenarioError for what breaks a rule.
    """
    scenario = Scenario.model_construct(**dict(scenario_file.load(path, changes)))
    scenario._folder = Path(path).parent
    return scenario


def simulate(scenario: ScenarioModel, progress: Progress | None = None, engine: str | None = None) -> Result:
    """Simulate *scenario* and return its result, with `.requests`, `.exits`, `.resources` ... as pandas frames.

    *engine* is that of `run.engine`, in its place: "auto", "simpy" or "compiled". Raises EngineError, TraceError,
    ProfileError or ScenarioError for bad input.
    """
    folder = scenario._folder if isinstance(scenario, Scenario) else Path()
    if engine is not None:
        table = RunTable.model_validate({**scenario.run.model_dump(), "engine": engine})
        scenario = scenario.model_copy(update={"run": table})
    return simulate_scenario(scenario, folder, progress)


__all__ = ["Result", "Scenario", "load", "simulate"]
