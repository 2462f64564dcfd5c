"""Plan files that are wrong: the one line that each is refused with before anything runs."""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.commandline import run
from tests.plans import PATH, PATH_PLAN, write_path

HEAD, _, KNOB = PATH_PLAN.partition("[knob]\n")
KNOB = f"[knob]\n{KNOB}"
COST = """\
[cost]
loads = [2, 4]
[[cost.resource]]
key = "host.disk.sda.count"
values = [1, 2]
cost_each = 50
"""


class Case(NamedTuple):
    """What differs from the good files, and the one line behind ``iosim: ``."""

    plan: str
    message: str
    scenario: str = PATH
    options: tuple[str, ...] = ()


def targets(text: str) -> str:
    return HEAD.replace('"utilisation[disk/sda] < 0.75"', text) + KNOB


def knob(old: str, new: str) -> str:
    assert old in KNOB
    return HEAD + KNOB.replace(old, new)


def cost(old: str, new: str) -> str:
    assert old in COST
    return PATH_PLAN + COST.replace(old, new)


METRIC = "must begin with a metric of docs/studies.md, cpu, mean, max, p50, p90, p95, p99, p99.9"
REFUSED = {
    "no plan table": Case(KNOB, "plan.toml: plan is required"),
    "no knob": Case(HEAD, "plan.toml: knob is required"),
    "unknown key": Case(
        HEAD + "replicationes = 3\n" + KNOB, "plan.toml: plan.replicationes is not a key; did you mean replications?"
    ),
    "no targets": Case(targets(""), "plan.toml: plan.targets must have at least one entry, got 0"),
    "target without value": Case(
        targets('"p99"'),
        'plan.toml: plan.targets.0 must be a target such as "p99 < 20ms" or "throughput[vm=web] > 500", got \'p99\'',
    ),
    "time without unit": Case(
        targets('"p99 < 20"'),
        "plan.toml: plan.targets.0 must have one of the units ns, us, ms, s, min, h, got 'p99 < 20'",
    ),
    "rate with a unit": Case(
        targets('"throughput > 5ms"'),
        "plan.toml: plan.targets.0 must compare throughput with a number, got 'throughput > 5ms'",
    ),
    "unknown metric": Case(targets('"latency < 1ms"'), f"plan.toml: plan.targets.0 {METRIC}, got 'latency < 1ms'"),
    "metric of nothing": Case(
        targets('"utilisation < 0.5"'),
        "plan.toml: plan.targets.0 must say of what, utilisation[...]: a resource, got 'utilisation < 0.5'",
    ),
    "second target": Case(targets('"p99 < 1ms", "p98 < 1ms"'), f"plan.toml: plan.targets.1 {METRIC}, got 'p98 < 1ms'"),
    "CPUs that are not counted": Case(
        targets('"cpu < 0.5"'),
        "plan.toml: plan.targets.0: cpu < 0.5 needs host.cpus, the number of CPUs, in the scenario",
    ),
    "unknown disk": Case(
        targets('"utilisation[disk/sdb] < 0.5"'),
        "plan.toml: plan.targets.0: the disk must be one of sda, got 'sdb'; did you mean sda?",
    ),
    "unknown resource": Case(
        targets('"utilisation[wbe/vcpu0] < 0.5"'),
        "plan.toml: plan.targets.0: the resource must be one of cpus, disk, web, got 'wbe'; did you mean web?",
    ),
    "clone by itself": Case(
        targets('"utilisation[web#0/vcpu0] < 0.5"'),
        "plan.toml: plan.targets.0: resources of clones are one, web/..., got 'web#0/vcpu0'",
        PATH.replace('name = "web"', 'name = "web"\ncount = 2'),
    ),
    "unknown stage": Case(
        targets('"stage_mean[diskwait] < 1ms"'),
        "plan.toml: plan.targets.0: the stage must be one of guest_queue, guest_run, vm_exit, kvm_exit_handling, "
        "bql_wait, qemu_dispatch, qemu_submit, vm_entry, aio_wait, aio_worker, disk_wait, disk_service, "
        "completion_wait, completion, irq_delivery, cpu_wait, submit_wait, throttle_wait, dirty_wait, paused, "
        "got 'diskwait'; did you mean disk_wait?",
    ),
    "operation that does not come": Case(
        targets('"p99[op=R] < 1ms"'), "plan.toml: plan.targets.0: op must be one of W, got 'R'"
    ),
    "unknown VM": Case(targets('"p99[vm=db] < 1ms"'), "plan.toml: plan.targets.0: vm must be one of web, got 'db'"),
    "one replication": Case(
        HEAD.replace("replications = 2\nmax", "replications = 1\nmax") + KNOB,
        "plan.toml: plan.replications must be at least 2, got 1",
    ),
    "fewer replications at most": Case(
        HEAD.replace("replications = 2\nmax", "replications = 3\nmax") + KNOB,
        "plan.toml: plan.max_replications must be at least replications, got 2 and 3",
    ),
    "missing scenario": Case(HEAD.replace("scenario.toml", "nope.toml") + KNOB, "nope.toml: No such file or directory"),
    "knob without a bound": Case(knob("high = 9\n", ""), "plan.toml: knob.high is required"),
    "bounds the wrong way": Case(knob("low = 1", "low = 10"), "plan.toml: knob.low must be below high, got 10 and 9"),
    "bounds of two kinds": Case(
        knob("low = 1", 'low = "1ms"'), "plan.toml: knob must have low and high of one kind, got '1ms' and 9"
    ),
    "bound that is no value": Case(
        knob("low = 1", "low = [1]"), "plan.toml: knob.low must be a number, a time or a size, got [1]"
    ),
    "logarithm of 0": Case(
        knob("low = 1", 'low = 0\nscale = "log"'), "plan.toml: knob.low must be above 0 with scale log, got 0"
    ),
    "too many values": Case(
        knob("high = 9", "high = 200000"), "plan.toml: knob must have at most 100001 values, got 200000; give steps"
    ),
    "unknown key of the scenario": Case(
        knob("trace_speed", "trace_sped"),
        "plan.toml: point vm.web.drive.0.trace_sped=1: vm.web.drive.0.trace_sped is not a key; "
        "did you mean trace_speed?",
    ),
    "value that the key does not take": Case(
        knob("low = 1", "low = 0"),
        "plan.toml: point vm.web.drive.0.trace_speed=0: vm.web.drive.0.trace_speed must be at least 0.000001, got 0",
    ),
    "seed as the knob": Case(
        knob("vm.web.drive.0.trace_speed", "run.seed"),
        "plan.toml: point run.seed=9: run.seed must be left out: replications choose it",
    ),
    "missing trace": Case(
        PATH_PLAN,
        "plan.toml: point vm.web.drive.0.trace_speed=1: missing.csv: No such file or directory",
        PATH.replace("even.csv", "missing.csv"),
    ),
    "change without a name": Case(
        PATH_PLAN + "[[change]]\nset = { host.cpus = 2 }\n", "plan.toml: change.0.name is required"
    ),
    "change that changes nothing": Case(
        PATH_PLAN + '[[change]]\nname = "a"\nset = {}\n', "plan.toml: change.a.set must have at least one entry, got 0"
    ),
    "change called base": Case(
        PATH_PLAN + '[[change]]\nname = "base"\nset = { host.cpus = 2 }\n',
        "plan.toml: change must have names that differ from each other and from base, got base twice",
    ),
    "change that breaks a rule": Case(
        PATH_PLAN + '[[change]]\nname = "few"\nset = { host.cpus = 0 }\n',
        "plan.toml: point few, vm.web.drive.0.trace_speed=1: host.cpus must be at least 1, got 0",
    ),
    "change of the knob": Case(
        PATH_PLAN + '[[change]]\nname = "a"\nset = { vm.web.drive.0.trace_speed = 2 }\n',
        "plan.toml: change a must not set vm.web.drive.0.trace_speed, which is the knob",
    ),
    "cost without loads": Case(cost("loads = [2, 4]\n", ""), "plan.toml: cost.loads is required"),
    "load out of bounds": Case(
        cost("[2, 4]", "[2, 40]"), "plan.toml: cost.loads.1 must lie within knob.low and knob.high, got 40"
    ),
    "load between two values": Case(
        cost("[2, 4]", "[2, 3.5]").replace("low = 1\n", "low = 1.0\nsteps = 8\n"),
        "plan.toml: cost.loads.1 must be a value of the knob, of which 3.0 is the nearest, got 3.5",
    ),
    "load of another kind": Case(
        cost("[2, 4]", '["2ms"]'), "plan.toml: cost.loads.0 must be of the kind of knob.low, got '2ms'"
    ),
    "resource without a cost": Case(
        cost("cost_each = 50\n", ""), "plan.toml: cost.resource.0.costs or cost_each is required, one of them, got none"
    ),
    "costs that do not match": Case(
        cost("cost_each = 50", "costs = [1]"),
        "plan.toml: cost.resource.0.costs must have an entry for each of values, got 1 and 2",
    ),
    "cost of what is no number": Case(
        cost("[1, 2]", '["1us", "2us"]'),
        "plan.toml: cost.resource.0.cost_each needs values that are numbers; give costs",
    ),
    "negative cost": Case(cost("= 50", "= -1"), "plan.toml: cost.resource.0.cost_each must be at least 0, got -1"),
    "resource that is the knob": Case(
        cost("host.disk.sda.count", "vm.web.drive.0.trace_speed"),
        "plan.toml: knob.key and the keys of cost.resource must differ, got vm.web.drive.0.trace_speed twice",
    ),
    "value of a resource": Case(
        cost("[1, 2]", "[1, 0]"),
        "plan.toml: point host.disk.sda.count=0: host.disk.sda.count must be at least 1, got 0",
    ),
    "wrong --set": Case(
        PATH_PLAN, "plan.toml: --set must be key.path=value, got 'host.cpus'", options=("--set", "host.cpus")
    ),
    "workers of a cluster": Case(
        PATH_PLAN,
        "--workers and --scheduler cannot be given together: the cluster has its own workers",
        options=("--workers", "2", "--scheduler", "tcp://127.0.0.1:8786"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_plans_are_refused_before_anything_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    write_path(tmp_path, case.plan, case.scenario)
    answer = run(capsys, "plan", "plan.toml", "--out", "out", *case.options)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == f"iosim: {case.message}\n"
    assert not (tmp_path / "out").exists()
