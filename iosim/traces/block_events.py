"""Block tracepoints as text: block_bio_queue, block_rq_issue and block_rq_insert to requests.

Times begin at 0 with the first event of the file. Print formats of Linux 3.10 to 7.1 (TP_printk in
include/trace/events/block.h): an I/O priority stands behind the sectors since 6.12.
"""

import re
from collections.abc import Iterator

from iosim.model.errors import shown
from iosim.traces.kernel_text import LOST, KernelText, kinds
from iosim.traces.reading import Reading
from iosim.traces.rwbs import BlockRequests
from iosim.traces.table import TraceTable

EMPTY = "has no requests (block_bio_queue, block_rq_issue or block_rq_insert)"
_KINDS = {b"block_bio_queue": "Q", b"block_rq_issue": "D", b"block_rq_insert": "I"}
_ARGUMENTS = re.compile(rb"(\d+,\d+) ([A-Z]+) (?:\d+ \((.*?)\) )?(\d{1,20}) \+ (\d{1,10})(?: \S+,\d+,\d+)? \[.*\]")
_PIO = b"kvm_pio"


def fits(head: bytes) -> bool:
    """Tell whether *head* has block events, and no port accesses of a guest."""
    return kinds(head) == {"block"}


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one block device. Refuses discards and other requests without a place in a trace."""
    requests = BlockRequests(reading)
    for events in KernelText(reading, _KINDS).blocks():
        for at_ns, line, _, _, name, arguments in events:
            if name == LOST:
                continue
            match = _ARGUMENTS.fullmatch(arguments)
            if match is None:
                got = shown(arguments.decode("utf-8", "backslashreplace"))
                reading.refuse(line, f"is no {name.decode()} as Linux prints it", got)
                continue
            device, rwbs, command, sector, sectors = match.groups()
            if command:
                reading.beside["SCSI command passed through"] += 1
                continue
            requests.add(device.decode(), _KINDS[name], rwbs.decode(), int(sector), int(sectors), at_ns, line)
        yield TraceTable.of_rows(requests.taken())
