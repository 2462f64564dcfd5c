"""What became of recorded port accesses that were replayed: how many there were, were made, and came otherwise."""

from iosim.report.table import Column, Table
from iosim.results.result import Result

_ROWS = {
    "recorded": "accesses",
    "left out": "left_out",
    "with the guest's recorded time": "with_gap",
    "of other devices' ports": "of_other_ports",
    "of the other channel": "of_other_channel",
    "reads of loops that found the device busy": "busy_reads",
    "loops, repeated until the device is ready": "poll_loops",
    "waits that the recording does not have": "stalls",
    "interrupts that never came": "missed_interrupts",
    "commands that the device ignored": "ignored_commands",
    "commands that the device aborted": "aborted_commands",
    "commands without their data or start": "incomplete_commands",
}
"""What each row says, and its key in summary.json. The first seven are of the recording, the others of the run."""
_ALWAYS = ("accesses", "with_gap")
"""Shown also where there are none: then the profile's figures stand for the guest."""


def port_accesses(result: Result) -> Table | None:
    """Return the account of every drive with replay = "ports"; None if there is none."""
    replayed = [fact for fact in result.summary["traces"] if "ports" in fact]
    if not replayed:
        return None
    names = [f"{fact['vm']} drive {fact['drive']}" for fact in replayed]
    table = Table(
        [Column("accesses", number=False), *map(Column, names)],
        label="Port accesses, recorded and replayed",
    )
    for text, key in _ROWS.items():
        counts = [fact["ports"].get(key, 0) for fact in replayed]
        if key in _ALWAYS or any(counts):
            table.add(text, *(f"{count:,}" for count in counts))
    return table
