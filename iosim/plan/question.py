"""A plan with everything that it names: the knob's values, and the scenario at each of them."""

from collections.abc import Sequence
from pathlib import Path

from iosim.model.errors import IosimError, StudyError
from iosim.plan.checks import resolved
from iosim.plan.configurations import Configurations, configurations
from iosim.plan.knob import knob_of
from iosim.plan.looks import PointAt, Schedule
from iosim.plan.plan_file import Plan
from iosim.plan.targets import Target
from iosim.simulation import read_traces
from iosim.study.content import Inputs
from iosim.study.points import Base, Changes, Point, flatten, value_text
from iosim.study.runner import Progress, check_points

BASE = "base"
"""Name of the search without a change."""


class Question:
    """What the plan in *path* asks; *options* ("key.path=value") change its base.

    Raises StudyError or ScenarioError.
    """

    def __init__(self, plan: Plan, path: Path, options: Sequence[str]) -> None:
        self.plan = plan
        self.place = str(path)
        self.knob = knob_of(plan.knob, self.place)
        self.schedule = Schedule.of(plan.plan)
        changes = flatten(plan.set, f"{self.place}: set")
        self.base = Base(path.parent / plan.plan.scenario, self.place, changes, options, plan.plan.seed)
        self.changes: dict[str, Changes] = {BASE: {}}
        for number, change in enumerate(plan.change):
            own = flatten(change.set, f"{self.place}: change.{number}.set")
            if self.knob.key in own:
                raise StudyError(f"{self.place}: change {change.name} must not set {self.knob.key}, which is the knob")
            self.changes[change.name] = own
        self.configurations: Configurations | None = None
        if plan.cost is not None:
            self.configurations = configurations(plan.cost, self.knob, self.place)
        self._points: dict[tuple[str, int], Point] = {}

    def point_at(self, search: str) -> PointAt:
        """Return what gives the scenario of one search by position of the knob."""

        def point(position: int) -> Point:
            key = search, position
            if key not in self._points:
                turned = {**self.changes[search], **self.knob.changes(position)}
                setting = f"{self.knob.key}={value_text(self.knob.settings[position])}"
                name = setting if search == BASE else f"{search}, {setting}"
                self._points[key] = self.base.point(name, turned)
            return self._points[key]

        return point

    def check(self, inputs: Inputs, progress: Progress | None = None) -> list[Target]:
        """Return the targets as the metrics of the scenario have them, once everything has been checked.

        The ends of each search, and each value of what can be bought, show whether all that lies between can be run.
        Raises the IosimError of what cannot.
        """
        ends = (0, len(self.knob) - 1)
        points = [self.point_at(name)(at) for name in self.changes for at in ends]
        if self.configurations is not None:
            points += [self.base.point(*named) for named in self.configurations.to_check()]
        try:
            check_points(points, inputs, progress)
        except IosimError as error:
            raise type(error)(f"{self.place}: {error}") from None
        scenario = points[0].scenario
        traces = list(read_traces(scenario, points[0].folder, inputs.trace).values())
        return [
            resolved(target, scenario, traces, f"{self.place}: plan.targets.{number}")
            for number, target in enumerate(self.plan.targets)
        ]
