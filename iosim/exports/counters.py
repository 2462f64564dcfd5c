"""Counters and instants of a timeline: queues and utilisations from `series`, and what `events` has."""

from iosim.exports.trace_events import COUNTER, INSTANT, Events, compact, text, us
from iosim.model.clones import disk_names
from iosim.results.result import Result

_KINDS = {"queue": ("queue", 1), "utilisation": ("utilisation (%)", 100)}
"""The kinds of columns of `series` that become counters, what the number is called there, and its scale."""


def add_counters(result: Result, pids: dict[str, int], host: int, shown: tuple[int, int], events: Events) -> None:
    """Add a counter for each queue and utilisation of the VMs in *pids* and of the host, within *shown*.

    Its value is the mean over a bin of `series`, given at the begin of the bin and only where it changes. One that is
    0 throughout is left out.
    """
    series = result.series
    series = series[(series["end_ns"] > shown[0]) & (series["start_ns"] < shown[1])]
    starts = series["start_ns"].tolist()
    disks = {f"disk/{name}" for disk in result.scenario.host.disk for name in disk_names(disk)}
    for column in series.columns:
        kind, _, resource = str(column).partition(" ")
        if kind not in _KINDS or not series[column].any():
            continue
        vm, _, rest = resource.partition("/")
        pid, name = (pids.get(vm), rest) if rest and resource not in disks else (host, resource.replace("/", " "))
        if pid is None:
            continue
        unit, scale = _KINDS[kind]
        values = series[column].tolist()
        for k, value in enumerate(values):
            if k == 0 or value != values[k - 1]:
                what = f'"ph":"C","name":{text(name)},"cat":"{kind}","ts":{us(starts[k])},"pid":{pid}'
                events.add(starts[k], COUNTER, f'{what},"args":{{"{unit}":{round(value * scale, 6)!r}}}')


def add_instants(result: Result, pids: dict[str, int], shown: tuple[int, int], events: Events) -> None:
    """Add what went wrong or was done to the VMs in *pids* within *shown*."""
    table = result.events
    for row in table[table["time_ns"].between(*shown)].to_dict("records"):
        if row["vm"] in pids:
            ns, pid = row["time_ns"], pids[row["vm"]]
            arguments = compact({name: row[name] for name in ("drive", "request", "why")})
            what = f'"ph":"i","s":"p","name":{text(row["event"])},"cat":"event","ts":{us(ns)}'
            events.add(ns, INSTANT, f'{what},"pid":{pid},"tid":{pid},"args":{arguments}')
