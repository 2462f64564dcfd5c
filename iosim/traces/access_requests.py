"""The requests that the port accesses in an access table make."""

from collections.abc import Iterator

from iosim.traces.access_reader import fits_csv, tables_of
from iosim.traces.accesses import Decoder
from iosim.traces.reading import Reading
from iosim.traces.table import TraceTable

EMPTY = "has no read, write or flush command among its port accesses (writes to 0x1f7 or 0x177)"
fits = fits_csv


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one drive."""
    decoder = Decoder(reading)
    for table in tables_of(reading):
        yield decoder.requests(table.rows())
