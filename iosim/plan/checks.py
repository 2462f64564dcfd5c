"""What is checked before the first run: that the scenario has what the targets speak of, and that points can be run."""

import difflib
from collections.abc import Sequence
from dataclasses import replace

from iosim.model.clones import vm_names
from iosim.model.errors import StudyError, shown
from iosim.model.scenario import Scenario
from iosim.model.stages import Stage
from iosim.model.trace import OPS, AnyTrace
from iosim.plan.targets import Target

_GROUPED = ("throughput", "bandwidth", "latency_")


def resolved(target: Target, scenario: Scenario, traces: Sequence[AnyTrace], place: str) -> Target:
    """Return *target* as the metrics of *scenario* have it: `op=` and `vm=` left out where there is but one.

    *traces* are all that the scenario reads. Raises StudyError, naming *place*, for what the scenario does not have.
    """
    kind, _, name = target.of.partition("=")
    if target.metric.startswith(_GROUPED):
        if kind not in ("", "op", "vm"):
            raise StudyError(f"{place}: {target.metric} must be of op=R, W or F, or of vm=NAME, got {shown(target.of)}")
        known = {
            "": [""],
            "op": [op for number, op in enumerate(OPS) if any(trace.by_op()[number] for trace in traces)],
            "vm": [vm.name for vm in scenario.vm],
        }[kind]
        if name not in known:
            raise StudyError(f"{place}: {kind} must be one of {', '.join(known)}, got {shown(name)}")
        return replace(target, of="") if len(known) == 1 else target
    if target.metric in ("stage_mean", "stage_share"):
        _one_of(target.of, [stage.label for stage in Stage], f"{place}: the stage")
    elif target.metric in ("utilisation", "utilisation_max", "mean_queue", "max_queue"):
        _resource(target, scenario, place)
    elif target.of and target.metric not in ("page_cache", "write_amplification"):
        raise StudyError(f"{place}: {target.metric} is of the run as a whole, got {shown(target.of)}")
    return target


def _resource(target: Target, scenario: Scenario, place: str) -> None:
    """Raise StudyError unless the first part of the name of the resource is one that *scenario* has."""
    owner, _, part = target.of.partition("/")
    if owner in ("cpus", *(f"cpu{k}" for k in range(scenario.host.cpus or 0))) and not part:
        if scenario.host.cpus is None:
            raise StudyError(f"{place}: {target.text} needs host.cpus, the number of CPUs, in the scenario")
        return
    if owner == "disk" and part:
        _one_of(part, [disk.name for disk in scenario.host.disk], f"{place}: the disk")
    elif owner != "page_cache" or part:
        known = ["cpus", "disk", *(vm.name for vm in scenario.vm)]
        if any(owner in vm_names(vm) for vm in scenario.vm) and "#" in owner:
            raise StudyError(f"{place}: resources of clones are one, {owner.partition('#')[0]}/..., got {target.of!r}")
        _one_of(owner, known, f"{place}: the resource")
        if not part:
            raise StudyError(f"{place}: the resource must have a name such as {owner}/vcpu0, got {target.of!r}")


def _one_of(name: str, known: Sequence[str], place: str) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise StudyError(f"{place} must be one of {', '.join(known)}, got {shown(name)}{hint}")
