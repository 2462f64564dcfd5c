"""How far a model of a disk is from a recording: by operation and access, and in total."""

from typing import Any

from iosim.disk.model import DiskModel
from iosim.drives.replay import replay
from iosim.drives.services import Services
from iosim.model.errors import ScenarioError
from iosim.validate.distance import demerit_ns, ks_distance
from iosim.validate.match import Match, match

ALL = "all requests"
_OVERLAP = 0.01


def judge(model: DiskModel, recorded: Services, servers: int = 1, seed: int = 1) -> list[Match]:
    """Return the match of all requests, and of each operation and access that *recorded* has."""
    predicted = replay(model, recorded, servers, seed)
    sequential = recorded.sequential
    parts = {
        ALL: recorded.op >= 0,
        "reads, sequential": recorded.of("R") & sequential,
        "reads, other": recorded.of("R") & ~sequential,
        "writes, sequential": recorded.of("W") & sequential,
        "writes, other": recorded.of("W") & ~sequential,
        "flushes": recorded.of("F"),
    }
    return [match(name, recorded.service_ns[which], predicted[which]) for name, which in parts.items() if which.any()]


def check_size(model: DiskModel, recorded: Services, disk: str) -> None:
    """Raise ScenarioError if *recorded* goes beyond the disk, which *disk* names with its file."""
    sectors = getattr(model, "sectors", None)
    if sectors is not None and recorded.end_sector > sectors:
        raise ScenarioError(f"{disk} has {sectors:,} sectors, the recording goes up to {recorded.end_sector:,}")


def own_spread(recorded: Services) -> tuple[float, float]:
    """Return demerit figure in ns and KS distance of the two halves of *recorded* from each other."""
    first, second = recorded.halves()
    return demerit_ns(first.service_ns, second.service_ns), ks_distance(first.service_ns, second.service_ns)


def doubts(recorded: Services, found: list[Match]) -> list[str]:
    """Return what the comparison does not explain, and what stands against the recording."""
    said = []
    parts = found[1:] or found
    share = [one.demerit_ns**2 * len(one.measured) for one in parts]
    if sum(share) > 0:
        worst = max(range(len(parts)), key=share.__getitem__)
        part = parts[worst]
        errors = ", ".join(f"{figure} {error:+.0%}" for figure, error in part.error.items() if error is not None)
        said.append(
            f"Most of the distance is in {part.name} ({share[worst] / sum(share):.0%} of the squares): {errors}."
        )
    if len(recorded) > 3:
        demerit, ks = own_spread(recorded)
        said.append(
            f"The two halves of the recording are {demerit / 1e6:.3f} ms (KS {ks:.3f}) from each other, with other "
            "requests in each."
        )
    if recorded.overlapping > _OVERLAP:
        said.append(
            f"{recorded.overlapping:.0%} of the requests came while another one was under way: what the disk makes of "
            "their order is not in the model."
        )
    return said


def as_json(recorded: Services, found: list[Match]) -> dict[str, Any]:
    """Return everything as plain numbers."""
    demerit, ks = own_spread(recorded) if len(recorded) > 3 else (None, None)
    return {
        "recording": recorded.source,
        "requests": len(recorded),
        "overlapping": recorded.overlapping,
        "halves": {"demerit_ns": demerit, "ks": ks},
        "matches": [one.as_json() for one in found],
        "not_explained": doubts(recorded, found),
    }
