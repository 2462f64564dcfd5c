"""The guest model makes the port accesses that were recorded of real guests: port, direction, width, order.

The recordings are traces/accesses (traces/README.md). Two things are brought to one form, and nothing else:

* Extra status polls while the device is busy are the one permitted difference: their number depends on how long the
  device took. In a recording they are the status reads that returned BSY, or ACTIVE from the bus master in the guest
  that polls it; they are left out. The libata runs, recorded or simulated, have none. In a simulated bare-metal guest
  that polls, reads of one status register in a row are one.
* The Linux guest was recorded under emulation, where a string instruction is recorded item by item; KVM reads ahead
  and leaves once for many items. So for Linux items of the data port in a row are counted together. The bare-metal
  guests were recorded on KVM: there every exit is compared with the number of items that it moved.
"""

import csv
import gzip
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from iosim.guest import libata
from iosim.guest.access import Spec
from iosim.guest.command import FIELDS, Command
from iosim.model.ata import LBA28_SECTORS, Reg, Transfer, channel_ports
from iosim.model.records import FLUSH, READ, WRITE, Request
from iosim.results.result import Result
from iosim.traces import read_trace
from tests.support import Row, scenario, simulate

TRACES = Path(__file__).parents[1] / "traces"
DATA, STATUS, BM_STATUS = 0x1F0, 0x1F7, 0xC002
KERNEL_PORTS = (0x20, 0xA0)
BSY, ACTIVE = 0x80, 0x01


class Recorded(NamedTuple):
    direction: str
    port: int
    width: int
    items: int
    times: int
    value: int | None


Access = tuple[str, int, int, int, int]
"""direction, port, width, items of one access, accesses in a row (always 1 but for the data port)."""


@cache
def recordings(name: str) -> dict[str, list[Recorded]]:
    with gzip.open(TRACES / "accesses" / name, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        recording: [
            Recorded(
                row["direction"],
                int(row["port"], 16),
                int(row["width"]),
                int(row["items"]),
                int(row["times"]),
                None if row["value"] == "-" else int(row["value"], 16),
            )
            for row in group
        ]
        for recording, group in groupby(rows, key=lambda row: row["recording"])
    }


def joined(accesses: Iterable[Access]) -> list[Access]:
    """Accesses of the data port in a row as one entry, if they move equally many items."""
    result: list[Access] = []
    for access in accesses:
        if access[1] == DATA and result and result[-1][:4] == access[:4]:
            access = (*access[:4], result.pop()[4] + access[4])
        result.append(access)
    return result


def by_item(accesses: Iterable[Access]) -> Iterable[Access]:
    return (
        (direction, port, width, 1, items * times) if port == DATA else (direction, port, width, items, times)
        for direction, port, width, items, times in accesses
    )


def without_busy_polls(rows: Iterable[Recorded], bus_master: bool = False) -> Iterable[Access]:
    for row in rows:
        busy = row.value is not None and (
            (row.port == STATUS and row.value & BSY) or (bus_master and row.port == BM_STATUS and row.value & ACTIVE)
        )
        if row.direction == "out" or not busy:
            yield row[:5]


def one_poll(accesses: Iterable[Access]) -> Iterable[Access]:
    last: Access | None = None
    for access in accesses:
        if access != last or access[0] == "out" or access[1] not in (STATUS, BM_STATUS):
            yield access
        last = access


def simulated(result: Result) -> list[Access]:
    """The simulated accesses, equal ones of the data port in a row as one entry."""
    table = result.accesses
    assert table is not None
    columns = table[["direction", "port", "width", "count"]]
    begins = (columns != columns.shift()).any(axis=1) | (columns["port"] != DATA)
    first = np.flatnonzero(begins)
    times = np.diff(first, append=len(table)).tolist()
    return [(*access, n) for access, n in zip(columns.iloc[first].itertuples(index=False), times, strict=True)]


def requests(rows: list[Recorded]) -> list[Row]:
    """What the recorded register writes ask for: operation, sector, sectors. All come at once (for closed replay)."""
    registers = [0] * 8
    result: list[Row] = []
    ops = {0x20: READ, 0xC4: READ, 0xC8: READ, 0x30: WRITE, 0xC5: WRITE, 0xCA: WRITE}
    for row in rows:
        if row.direction == "in" or not 0x1F1 <= row.port <= 0x1F7:
            continue
        assert row.value is not None
        registers[row.port & 7] = row.value
        if row.port == 0x1F7 and row.value == 0xE7:
            result.append((0, FLUSH, 0, 0))
        elif row.port == 0x1F7:
            _, _, count, low, middle, high, device, command = registers
            result.append((0, ops[command], low | middle << 8 | high << 16 | (device & 15) << 24, count or 256))
    return result


LINUX = [
    ("dma_seq_none_threads_full", "dma-seq.csv", {"transfer": "dma"}),
    ("pio32_seq_none_threads_full", "pio32-seq.csv", {"transfer": "pio", "data_width": 32}),
    ("pio16_seq_none_threads_full", "pio16-seq.csv", {"transfer": "pio", "data_width": 16}),
]
"""Recording of the accesses, requests of another run of the same workload, drive."""


@pytest.mark.parametrize(("recording", "trace", "drive"), LINUX, ids=["dma", "pio32", "pio16"])
def test_linux_makes_the_recorded_accesses(recording: str, trace: str, drive: dict[str, Any]) -> None:
    recorded = recordings("linux.csv.gz")[recording]
    assert not any(row.port == STATUS and row.direction == "in" and (row.value or 0) & BSY for row in recorded)
    rows = requests(recorded)
    replayed = read_trace(TRACES / trace)
    assert [(op, sector, count) for _, op, sector, count in rows] == [row[1:] for row in replayed.rows(0)]
    assert {op for _, op, _, _ in rows} == {READ, WRITE, FLUSH}
    result = simulate(scenario([{**drive, "replay": "closed"}], run={"log": "ports", "slowest": 0}), rows)
    assert joined(by_item(simulated(result))) == joined(row[:5] for row in recorded)


BARE = [
    ("dma_w_irq_8_none.ftl", {"driver": "bare-irq"}),
    ("dma_w_8_none.ftl", {"driver": "bare-poll"}),
    ("dma_r_8_none.ftl", {"driver": "bare-poll"}),
    ("dma_w_flush1_8_none.ftl", {"driver": "bare-poll"}),
    ("w30_outw_irq_8_none.ftl", {"driver": "bare-irq", "multiple": 1, "data_width": 16, "string": False}),
    ("w30_outw_8_none.ftl", {"driver": "bare-poll", "multiple": 1, "data_width": 16, "string": False}),
    ("w30_outw_flush1_8_none.ftl", {"driver": "bare-poll", "multiple": 1, "data_width": 16, "string": False}),
    ("w30_outl_8_none.ftl", {"driver": "bare-poll", "multiple": 1, "data_width": 32, "string": False}),
    ("w30_repoutsw_8_none.ftl", {"driver": "bare-poll", "multiple": 1, "data_width": 16}),
    ("w30_repoutsl_8_none.ftl", {"driver": "bare-poll", "multiple": 1, "data_width": 32}),
    ("wc5_outw_8_none.ftl", {"driver": "bare-poll", "multiple": 8, "data_width": 16, "string": False}),
    ("r20_inw_8_none.ftl", {"driver": "bare-poll", "multiple": 1, "data_width": 16, "string": False}),
    ("r20_repinsw_8_none.ftl", {"driver": "bare-poll", "multiple": 1, "data_width": 16}),
    ("r20_repinsw_irq_8_none.ftl", {"driver": "bare-irq", "multiple": 1, "data_width": 16}),
    ("rc4_repinsw_64_none.ftl", {"driver": "bare-poll", "multiple": 16, "data_width": 16}),
    ("dma_w_irq_8_none.ftf.a", {"driver": "bare-irq"}),
    ("w30_outw_irq_8.s_none.ftf.a", {"driver": "bare-irq", "multiple": 1, "data_width": 16, "string": False}),
]


def bare(recording: str, drive: dict[str, Any]) -> tuple[list[Recorded], Result]:
    recorded = recordings("bare.csv.gz")[recording]
    transfer = "dma" if recording.startswith("dma") else "pio"
    described = scenario([{**drive, "transfer": transfer, "replay": "closed"}], run={"log": "ports", "slowest": 0})
    return recorded, simulate(described, requests(recorded))


def test_every_recorded_bare_metal_guest_is_compared() -> None:
    assert [recording for recording, _ in BARE] == list(recordings("bare.csv.gz"))


@pytest.mark.parametrize(("recording", "drive"), BARE, ids=[recording for recording, _ in BARE])
def test_bare_metal_guest_makes_the_recorded_accesses(recording: str, drive: dict[str, Any]) -> None:
    recorded, result = bare(recording, drive)
    polls = drive["driver"] == "bare-poll"
    made = simulated(result)
    if recording.endswith(".ftl"):  # a recording of what leaves KVM: without the ports that KVM takes itself
        made = [access for access in made if access[1] not in KERNEL_PORTS]
    expected = joined(without_busy_polls(recorded, bus_master=polls))
    assert joined(one_poll(made) if polls else made) == expected


def test_bare_metal_dma_command_has_13_accesses_that_leave_kvm_and_two_that_do_not() -> None:
    recorded, result = bare("dma_w_irq_8_none.ftf.a", {"driver": "bare-irq"})
    assert len(recorded) == 20 * 15
    assert sum(row.port in KERNEL_PORTS for row in recorded) == 20 * 2
    assert result.requests["userspace_exits"].tolist() == [13] * 20


# LBA48 and commands that no shipped recording has: the sequences of ../shared/docs/domain.md, 2.3, by hand.

SEL = "R1f7 W1f6 R3f6 R1f7"
TF = "W1f1 W1f2 W1f3 W1f4 W1f5 W1f6 R1f7"
TF_EXT = f"W1f1 W1f2 W1f3 W1f4 W1f5 {TF}"
CMD = "W1f7 R3f6"
IRQ = "R3f6 R1f7 Rc002 Wc002"
BM = "Wc004 Rc000 Wc000 W1f7 R3f6 Rc000 Wc000"
BM_IRQ = f"Rc002 Rc000 Wc000 R3f6 {IRQ}"
FAR = LBA28_SECTORS


@pytest.mark.parametrize(
    ("drive", "row", "expected"),
    [
        ({"transfer": "dma"}, (0, WRITE, FAR, 8), f"{SEL} {TF_EXT} {BM} {BM_IRQ}"),
        ({"transfer": "dma"}, (0, READ, FAR, 8), f"{SEL} {TF_EXT} {BM} {BM_IRQ}"),
        ({"transfer": "dma"}, (0, WRITE, 0, 257), f"{SEL} {TF_EXT} {BM} {BM_IRQ}"),
        ({"transfer": "pio"}, (0, WRITE, FAR, 1), f"{SEL} {TF_EXT} {CMD} R1f7 {'W1f0 ' * 128} R3f6 {IRQ}"),
        ({"transfer": "pio"}, (0, READ, FAR, 1), f"{SEL} {TF_EXT} {CMD} {IRQ} R1f0 R3f6 R1f7"),
        (
            {"transfer": "pio", "multiple": 1, "data_width": 16},
            (0, WRITE, 870_456, 2),
            f"{SEL} {TF} {CMD} R1f7 {'W1f0 ' * 256} R3f6 {IRQ} {'W1f0 ' * 256} R3f6 {IRQ}",
        ),
        (
            {"transfer": "pio", "multiple": 1, "data_width": 16},
            (0, READ, 870_456, 2),
            f"{SEL} {TF} {CMD} {IRQ} R1f0 R3f6 {IRQ} R1f0 R3f6 R1f7",
        ),
        ({"size": "200GiB"}, (0, FLUSH, 0, 0), f"{SEL} W1f6 R1f7 {CMD} {IRQ}"),
    ],
    ids=["dma-write-ext", "dma-read-ext", "dma-257", "pio-write-ext", "pio-read-ext", "0x30", "0x20", "flush-ext"],
)
def test_libata_sequences_without_a_shipped_recording(drive: dict[str, Any], row: Row, expected: str) -> None:
    result = simulate(scenario([drive], run={"log": "ports"}), [row])
    assert result.accesses is not None
    ports = zip(result.accesses["direction"], result.accesses["port"], strict=True)
    assert [f"{'W' if direction == 'out' else 'R'}{port:x}" for direction, port in ports] == expected.split()


LIBATA_WRITES: dict[tuple[Transfer, bool], tuple[Spec, ...]] = {
    (Transfer.DMA, False): (
        *libata.ATA_DEV_SELECT,
        *libata.ATA_SFF_TF_LOAD,
        *libata.ATA_BMDMA_SETUP,
        libata.ATA_BMDMA_START,
        *libata.ATA_BMDMA_STOP,
        *libata.ATA_SFF_PORT_INTR,
    ),
    (Transfer.PIO, False): (*libata.ATA_DEV_SELECT, *libata.ATA_SFF_TF_LOAD, libata.COMMAND),
    (Transfer.DMA, True): (
        *libata.ATA_DEV_SELECT,
        *libata.ATA_SFF_TF_LOAD_NODATA,
        libata.COMMAND,
        *libata.ATA_SFF_PORT_INTR,
    ),
}


@pytest.mark.parametrize(("recording", "trace", "drive"), LINUX, ids=["dma", "pio32", "pio16"])
def test_libata_writes_the_recorded_values(recording: str, trace: str, drive: dict[str, Any]) -> None:
    """All register writes of all commands, but for the address of the PRD table, which is the guest's memory."""
    ports = channel_ports(0)
    transfer = Transfer(drive["transfer"])
    recorded = recordings("linux.csv.gz")[recording]
    written = [(row.port, row.value) for row in recorded if row.direction == "out" and row.port not in (DATA, 0xC004)]
    made = []
    for at, op, sector, sectors in requests(recorded):
        command = Command(Request(0, None, 0, op, sector, sectors, at), sector, sectors, transfer, 16, False, False)
        specs = LIBATA_WRITES[Transfer.DMA if op == FLUSH else transfer, op == FLUSH]
        if transfer is Transfer.PIO and op != FLUSH:
            specs += libata.ATA_SFF_PORT_INTR * -(-sectors // 16)
        made += [
            (ports[spec.register], command.values[FIELDS[spec.value]])
            for spec in specs
            if spec.write and spec.register is not Reg.BM_PRD
        ]
    assert made == written
