"""How far a prediction is from a measurement: distances of distributions, errors, tables and pictures of both."""

from iosim.validate.distance import demerit_ns, ks_distance
from iosim.validate.match import Match, Repetitions, match

__all__ = ["Match", "Repetitions", "demerit_ns", "ks_distance", "match"]
