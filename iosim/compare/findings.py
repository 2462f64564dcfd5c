"""What a comparison shows, in words. Page and terminal both say these sentences."""

from iosim.compare.comparison import Comparison, Difference
from iosim.model.stages import Stage
from iosim.model.units import NS_PER_UNIT, human_time, human_unit, three_digits
from iosim.results.wording import percent, plural

MOST_STAGES = 4
"""Stages that a sentence names."""
_ENOUGH = 0.8
"""Share of the difference that the named stages make up."""
_WORTH_A_WORD = 0.05
"""A stage that goes the other way is named from this share of the difference on."""


def finding(found: Comparison) -> list[str]:
    """Return what differs between the two runs."""
    if found.mean is None:
        return [f"{found.base.name} and {found.other.name} have no request to compare."]
    return [_mean(found, found.mean), *_stages(found, found.mean), *_percentile(found, found.mean), *_rate(found)]


def _mean(found: Comparison, mean: Difference) -> str:
    base, other = found.base.name, found.other.name
    if mean.constant and not mean.value:
        same_stages = all(stage.constant and not stage.value for stage in found.stages.values())
        return (
            f"{other} has the latencies of {base}: each of {plural(found.n, 'pair')} is equal to the nanosecond"
            f"{', in every stage' if same_stages else ', though not in every stage'}."
        )
    size = f"{human_time(abs(mean.value))}{_ratio(mean)}"
    ends = f"from {human_time(mean.base)} to {human_time(mean.other)}"
    if mean.constant:
        verb = "raises" if mean.value > 0 else "lowers"
        return f"{other} {verb} the latency of each request by the same {size}; its mean goes {ends}."
    if mean.interval is None:
        direction = "higher" if mean.value > 0 else "lower"
        return (
            f"The mean latency of {other} is {size} {direction} than that of {base}, {ends}; "
            "there are too few independent requests to say how sure that is."
        )
    if not mean.is_clear:
        return (
            f"The mean latency of {other} does not differ from that of {base} beyond chance: "
            f"{signed_time(mean.value)}, 95% confidence {_between(mean, magnitude=False)}."
        )
    verb = "raises" if mean.value > 0 else "lowers"
    return f"{other} {verb} the mean latency by {size}, 95% confidence {_between(mean, magnitude=True)}, {ends}."


def _ratio(difference: Difference) -> str:
    return "" if difference.ratio is None else f" ({signed_percent(difference.ratio)})"


def signed_percent(ratio: float) -> str:
    """Return *ratio* in percent with its sign; above 1000 % as a factor."""
    if ratio > 10:
        return f"x{three_digits(ratio + 1)}"
    return f"{'+' if ratio > 0 else '-' if ratio < 0 else ''}{percent(abs(ratio))}"


def signed_time(ns: float) -> str:
    """Return a time with its sign."""
    return human_time(ns) if ns <= 0 else f"+{human_time(ns)}"


def _between(difference: Difference, magnitude: bool) -> str:
    """Return the interval in one unit; of a difference below 0 as a *magnitude*, the smaller bound first."""
    assert difference.interval is not None
    low, high = difference.interval
    if magnitude and difference.value < 0:
        low, high = -high, -low
    unit = human_unit(max(abs(low), abs(high)))
    return f"{three_digits(low / NS_PER_UNIT[unit])} to {three_digits(high / NS_PER_UNIT[unit])} {unit}"


def _stages(found: Comparison, mean: Difference) -> list[str]:
    """Name the stages that make most of the difference, and those that go the other way."""
    if not (mean.is_clear or (mean.interval is None and mean.value)):
        return []
    along = [(stage, d.value) for stage, d in found.stages.items() if d.value * mean.value > 0]
    against = [(stage, d.value) for stage, d in found.stages.items() if d.value * mean.value < 0]
    along.sort(key=lambda item: -abs(item[1]))
    against.sort(key=lambda item: -abs(item[1]))
    whole, named = sum(value for _, value in along), 0.0
    n = 0
    while n < min(len(along), MOST_STAGES) and abs(named) < _ENOUGH * abs(whole):
        named += along[n][1]
        n += 1
    back = [item for item in against[:MOST_STAGES] if abs(item[1]) >= _WORTH_A_WORD * abs(mean.value)]
    text = f"{_share(named / mean.value, bool(back))} in {_listed(along[:n])}"
    if back:
        text += f"; against it {'goes' if len(back) == 1 else 'go'} {_listed(back)}"
    return [f"{text}."]


def _share(share: float, is_opposed: bool) -> str:
    """Return how much of the difference is in the stages that are named: with others against it maybe more than all."""
    if share > 1.005 and is_opposed:
        return "It comes about"
    return "All of it is" if share >= 0.995 else f"{share:.0%} of it is"


def _listed(stages: list[tuple[Stage, float]]) -> str:
    texts = [f"{stage.label} ({signed_time(value)})" for stage, value in stages]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _percentile(found: Comparison, mean: Difference) -> list[str]:
    """Say what becomes of the tail: p99, or the highest percentile that is known."""
    known = [p for p in ("99", "95", "90") if p in found.percentiles]
    if not known or (mean.constant and not mean.value):
        return []
    name, difference = f"p{known[0]}", found.percentiles[known[0]]
    if not difference.value:
        return [f"{name} stays at {human_time(difference.base)}."]
    ends = f"from {human_time(difference.base)} to {human_time(difference.other)}"
    if difference.interval is not None and not difference.is_clear:
        return [f"{name} goes {ends}, which is not beyond chance."]
    verb = "rises" if difference.value > 0 else "falls"
    text = f"{name} {verb} by {human_time(abs(difference.value))}{_ratio(difference)}"
    if difference.constant:
        return [f"{text}, {ends}."]
    if difference.interval is None:
        return [f"{text}, {ends}; too few requests lie beyond it for an interval."]
    return [f"{text}, 95% confidence {_between(difference, magnitude=True)}, {ends}."]


def _rate(found: Comparison) -> list[str]:
    """Name the throughput if it differs by one percent or more."""
    rate = found.rates["requests/s"]
    if rate.ratio is None or abs(rate.ratio) < 0.01:
        return []
    return [f"Throughput goes from {three_digits(rate.base)} to {three_digits(rate.other)} requests/s{_ratio(rate)}."]
