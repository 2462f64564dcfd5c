"""Looking at a value of the knob: replications are run until the intervals decide, or there are enough of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from iosim.model.errors import StudyError
from iosim.plan.plan_file import PlanTable
from iosim.plan.search import Seen
from iosim.plan.targets import Target
from iosim.study.estimates import Sample
from iosim.study.points import Point, value_text
from iosim.study.runner import Runner
from iosim.study.statistics import Interval
from iosim.study.terminal import short_names

PointAt = Callable[[int], Point]
"""Position of the knob -> the scenario there."""
_MOST_SHOWN = 30
"""Characters of the changes of a point, for the progress bar."""
Note = Callable[[str], None]
"""Called with what is being run, for the progress bar."""


@dataclass(frozen=True)
class Schedule:
    """After how many replications a verdict may fall, and with what confidence.

    The number doubles from look to look. A verdict is wrong with a probability of at most 1 - confidence, however many
    looks and targets there are: they share it in equal parts (Bonferroni), and each takes its part on one side of the
    interval. So the two-sided intervals have confidence 1 - 2 (1 - confidence) / (looks x targets).
    """

    counts: tuple[int, ...]
    confidence: float

    @classmethod
    def of(cls, plan: PlanTable) -> "Schedule":
        """Return the schedule of a plan."""
        counts = [plan.replications]
        while counts[-1] < plan.max_replications:
            counts.append(min(2 * counts[-1], plan.max_replications))
        share = (1 - plan.confidence) / (len(counts) * len(plan.targets))
        return cls(tuple(counts), 1 - 2 * share)


@dataclass
class Looks:
    """What has been seen at the positions of one search; *targets* by `Schedule`, in replications of *point_at*."""

    name: str
    runner: Runner
    point_at: PointAt
    targets: Sequence[Target]
    schedule: Schedule
    note: Note
    samples: dict[int, Sample] = field(default_factory=dict)

    def __call__(self, positions: Sequence[int], group: Sequence[int]) -> Mapping[int, Seen]:
        """Look at *positions*, again and again until the targets of *group* are decided; once if there are none."""
        for number, count in enumerate(self.schedule.counts):
            wanted = [
                at
                for at in positions
                if at not in self.samples
                or (group and self.seen(at).joint(group) == "undecided" and self.replications(at) < count)
            ]
            if wanted:
                self.run(wanted, count)
            if number == 0 and not group:
                break
        return {at: self.seen(at) for at in positions}

    def run(self, positions: Sequence[int], count: int) -> None:
        """Have *count* replications at each of *positions*."""
        self.samples |= self.sampled(positions, count)

    def sampled(self, positions: Sequence[int], count: int) -> dict[int, Sample]:
        """Return *count* replications at each of *positions*; what has been seen there stays as it is."""
        points = [self.point_at(at) for at in positions]
        self.note(f"{self.name}: {_short(points[0])}" + (" ..." if len(points) > 1 else ""))
        runs = self.runner.run_points(points, count)
        return {at: Sample(runs[k * count : (k + 1) * count]) for k, at in enumerate(positions)}

    def replications(self, at: int) -> int:
        """Return how many replications there are at a position."""
        return len(self.samples[at].replications)

    def interval(self, at: int, target: Target) -> Interval:
        """Return what the replications at a position say of a target. Raises StudyError if they say nothing."""
        interval = self.samples[at].estimate(target.metric, target.of, self.schedule.confidence)
        if interval is None:
            of = f"[{target.of}]" if target.of else ""
            why = "; percentiles need requests beyond them" if target.metric.startswith("latency_p") else ""
            raise StudyError(
                f"target {target.text}: no {target.metric}{of} at {self.point_at(at).label()} "
                f"in {self.replications(at)} replications{why}"
            )
        return interval

    def seen(self, at: int) -> Seen:
        """Return estimates and verdicts at a position."""
        intervals = [self.interval(at, target) for target in self.targets]
        return Seen(
            tuple(interval.estimate for interval in intervals),
            tuple(
                target.verdict(interval.low, interval.high)
                for target, interval in zip(self.targets, intervals, strict=True)
            ),
            self.replications(at) >= self.schedule.counts[-1],
        )


def _short(point: Point) -> str:
    """Return the changes of *point* in a few words, the knob first."""
    names = short_names(list(point.changes))
    texts = [f"{name}={value_text(value)}" for name, value in zip(names, point.changes.values(), strict=True)]
    text = ", ".join(reversed(texts))
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
